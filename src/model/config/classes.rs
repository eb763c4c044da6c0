//! What the released configuration classes of transformers say: defaults, synonyms, the type of the text part.
//!
//! `classes.json` is written by `scripts/meta-models.py classes`; null and false defaults are left out.

use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::sync::LazyLock;

#[derive(Debug, Deserialize)]
pub(super) struct Class {
    #[serde(default)]
    pub(super) defaults: Map<String, Value>,
    /// Canonical name -> the class's own name.
    #[serde(default)]
    pub(super) synonyms: HashMap<String, String>,
    /// `model_type` of the language part of a multimodal model.
    pub(super) text: Option<String>,
}

#[derive(Debug, Deserialize)]
pub(super) struct Classes {
    pub(super) source: String,
    pub(super) encoders: Vec<String>,
    pub(super) encoder_decoders: Vec<String>,
    pub(super) architectures: HashMap<String, String>,
    pub(super) classes: HashMap<String, Class>,
}

pub(super) static CLASSES: LazyLock<Classes> = LazyLock::new(|| {
    #[expect(clippy::expect_used, reason = "the file is compiled in, and a test reads it")]
    serde_json::from_str(include_str!("classes.json")).expect("classes.json")
});

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_table_is_readable_and_holds_what_it_should() {
        assert!(CLASSES.source.contains("transformers"));
        assert_eq!(CLASSES.classes["llama"].defaults["hidden_size"], 4096);
        assert_eq!(CLASSES.classes["gpt2"].synonyms["hidden_size"], "n_embd");
        assert_eq!(CLASSES.architectures["Qwen3NextForCausalLM"], "qwen3_next");
        assert!(CLASSES.encoders.iter().any(|k| k == "nomic_bert"));
        assert!(CLASSES.encoder_decoders.iter().any(|k| k == "whisper"));
    }
}
