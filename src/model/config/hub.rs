//! Models known by name: facts of their published config.json, shortened, read by the same reader as any other.

use super::read;
use crate::model::Model;
use indexmap::IndexMap;
use serde::Deserialize;
use serde_json::Value;
use std::sync::LazyLock;

#[derive(Debug, Deserialize)]
struct Known {
    source: String,
    #[serde(default)]
    aliases: Vec<String>,
    config: Value,
    /// `hf_quant_config.json` of the repository.
    quant: Option<Value>,
}

static KNOWN: LazyLock<IndexMap<String, Known>> =
    LazyLock::new(|| serde_json::from_str(include_str!("hub.json")).unwrap_or_default());

/// All embedded models, read once. One that cannot be read is left out; a test reads them all.
static ALL: LazyLock<Vec<Model>> = LazyLock::new(|| KNOWN.keys().filter_map(|id| hub_model(id)).collect());

/// Names of the embedded models, each with its other names.
pub(crate) fn hub_names() -> impl Iterator<Item = (&'static str, &'static [String])> + Clone {
    KNOWN.iter().map(|(id, k)| (id.as_str(), k.aliases.as_slice()))
}

/// The embedded model of exactly that id.
pub(crate) fn hub_model(id: &str) -> Option<Model> {
    let k = KNOWN.get(id)?;
    let mut m = read(id, &k.config, k.quant.as_ref(), id).ok()?;
    m.aliases.clone_from(&k.aliases);
    m.source.clone_from(&k.source);
    Some(m)
}

pub(crate) fn hub_models() -> &'static [Model] {
    &ALL
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_known_model_can_be_read() {
        for (id, k) in KNOWN.iter() {
            if let Err(problems) = read(id, &k.config, k.quant.as_ref(), id) {
                panic!("{id}: {problems:?}");
            }
        }
        assert!(KNOWN.len() > 60);
    }

    #[test]
    fn parameter_counts_equal_the_published_ones() {
        for (id, published) in [
            ("Qwen/Qwen2.5-0.5B-Instruct", 494_032_768.0),
            ("Qwen/Qwen2.5-7B-Instruct", 7_615_616_512.0),
            ("Qwen/Qwen2.5-72B-Instruct", 72_706_203_648.0),
            ("meta-llama/Llama-3.2-1B-Instruct", 1_235_814_400.0),
            ("meta-llama/Llama-3.2-3B-Instruct", 3_212_749_824.0),
            ("mistralai/Mistral-7B-Instruct-v0.3", 7_248_023_552.0),
            ("mistralai/Mistral-Nemo-Instruct-2407", 12_247_782_400.0),
            ("mistralai/Mistral-Small-24B-Instruct-2501", 23_572_403_200.0),
            ("microsoft/phi-4", 14_659_507_200.0),
            ("Qwen/Qwen3-4B", 4_022_468_096.0),
            ("google/gemma-3-1b-it", 999_885_952.0),
            ("google/gemma-3-12b-it", 11_765_788_416.0),
            ("google/gemma-2-9b-it", 9_241_705_984.0),
            ("google/gemma-2-27b-it", 27_227_128_320.0),
            ("LiquidAI/LFM2-1.2B", 1_170_340_608.0),
            ("facebook/opt-125m", 125_239_296.0),
            ("moonshotai/Kimi-K2-Instruct", 1_026.4e9),
            ("deepseek-ai/DeepSeek-V3.2", 671.9e9),
            ("Qwen/Qwen3-Next-80B-A3B-Instruct", 79.67e9),
            ("meta-llama/Meta-Llama-3.1-405B", 405.85e9),
            ("nvidia/Llama-3_3-Nemotron-Super-49B-v1", 49.87e9),
            ("zai-org/GLM-5", 743.9e9),
            ("google/gemma-4-E2B", 4.6286e9),
            ("google/gemma-4-E4B", 7.4630e9),
            ("Qwen/Qwen3.5-4B", 4.2058e9),
            ("moonshotai/Kimi-Linear-48B-A3B-Instruct", 49.1227e9),
            ("nvidia/NVIDIA-Nemotron-Nano-9B-v2", 8.8882e9),
            ("ibm-granite/granite-4.0-h-small", 32.2073e9),
            ("ibm-granite/granite-4.0-h-tiny", 6.9390e9),
            ("LiquidAI/LFM2-8B-A1B", 8_338_929_664.0),
            ("MiniMaxAI/MiniMax-M1-80k", 456.1e9),
            ("stepfun-ai/Step-3.5-Flash", 195.8e9),
            ("baidu/ERNIE-4.5-300B-A47B-PT", 299.4842e9),
            ("tencent/Hunyuan-A13B-Instruct", 80.3932e9),
            ("inclusionAI/Ling-1T", 999.7e9),
        ] {
            let got = hub_model(id).unwrap().params().total() as f64;
            assert!((got / published - 1.0).abs() < 0.001, "{id}: {got} against {published}");
        }
    }
}
