//! Looking up the keys of a config.json: the text part, then the whole, then the class's defaults; every synonym.

use super::classes::{CLASSES, Class};
use crate::data::schema::join;
use crate::error::Problem;
use serde_json::Value;
use std::cell::RefCell;

/// Where multimodal models keep their language model.
const TEXT_PARTS: &[&str] = &[
    "text_config",
    "llm_config",
    "language_config",
    "thinker_config",
    "language_model_config",
    "text_model_config",
    "lang_config",
];

/// Canonical key -> other spellings, beside those that the class names.
const SYNONYMS: &[(&str, &[&str])] = &[
    ("num_hidden_layers", &["n_layer", "n_layers", "num_layers"]),
    ("hidden_size", &["n_embd", "d_model", "model_dim", "dim"]),
    ("num_attention_heads", &["n_head", "n_heads", "num_heads", "encoder_attention_heads"]),
    (
        "num_key_value_heads",
        &["num_kv_heads", "n_head_kv", "n_kv_heads", "num_query_groups", "multi_query_group_num"],
    ),
    ("head_dim", &["attention_head_dim", "kv_channels", "d_kv", "attn_head_dim"]),
    (
        "intermediate_size",
        &["ffn_hidden_size", "ffn_dim", "n_inner", "ffn_size", "hidden_dim", "ff_intermediate_size"],
    ),
    (
        "max_position_embeddings",
        &["n_positions", "max_sequence_length", "max_seq_len", "n_ctx", "seq_length", "model_max_length"],
    ),
    ("vocab_size", &["padded_vocab_size"]),
    (
        "num_experts",
        &[
            "num_local_experts",
            "n_routed_experts",
            "moe_num_experts",
            "num_routed_experts",
            "moe_num_primary_experts",
        ],
    ),
    (
        "num_experts_per_tok",
        &["num_experts_per_token", "moe_top_k", "top_k_experts", "moe_topk", "moe_k", "num_experts_per_topk"],
    ),
    (
        "moe_intermediate_size",
        &[
            "expert_ffn_hidden_size",
            "expert_intermediate_size",
            "moe_ffn_hidden_size",
            "expert_dim",
            "ffn_intermediate_size",
        ],
    ),
    ("moe_latent_size", &["routed_expert_hidden_size"]),
    ("n_shared_experts", &["num_shared_experts", "moe_num_shared_experts", "num_shared_expert"]),
    (
        "shared_expert_intermediate_size",
        &[
            "moe_shared_expert_intermediate_size",
            "shared_experts_intermediate_size",
            "share_expert_dim",
            "shared_expert_ffn_hidden_size",
        ],
    ),
    ("first_k_dense_replace", &["num_dense_layers", "n_dense_layers", "first_k_dense_layers"]),
    ("layer_types", &["layers_block_type", "block_types", "layer_block_types"]),
    ("hybrid_override_pattern", &["hybrid_layer_pattern_string", "layer_pattern"]),
    (
        "sliding_window",
        &["sliding_window_size", "attention_chunk_size", "window_size", "attention_window_size"],
    ),
];

/// Types of the hub's own code whose class ties head and embedding where the file says nothing.
const TIED_REMOTE: [&str; 1] = ["phi3small"];

/// A key's value, and whether it is written in the file rather than a default of the class.
#[derive(Clone, Copy)]
pub(super) struct Found<'a> {
    pub(super) value: &'a Value,
    pub(super) path: &'a str,
    pub(super) written: bool,
}

/// A config.json being read.
pub(super) struct Facts<'a> {
    pub(super) file: &'a str,
    pub(super) root: &'a Value,
    pub(super) text: &'a Value,
    pub(super) prefix: String,
    /// `model_type` of the language part, else of the class that the architecture names.
    pub(super) kind: String,
    pub(super) architecture: String,
    class: Option<&'static Class>,
    root_class: Option<&'static Class>,
    /// Whether the class's sizes stand in for keys that are not written.
    sizes_from_class: bool,
    pub(super) problems: RefCell<Vec<Problem>>,
    /// Keys that came from the class.
    pub(super) assumed: RefCell<Vec<String>>,
}

/// The most that is plausible under a key: far above any model, and such that no product of sizes overflows.
fn most_plausible(key: &str) -> u32 {
    let has = |part: &str| key.contains(part);
    if has("position") || has("seq") || has("n_ctx") || has("max_length") || has("window") || has("chunk") {
        1_000_000_000
    } else if has("vocab") {
        100_000_000
    } else if has("layers") || key == "n_layer" {
        2_000
    } else if has("expand") || has("conv") || has("mem_blocks") || has("n_groups") || has("ngroups") {
        64
    } else if has("heads") || key == "n_head" {
        4_096
    } else if has("head_dim") || has("head_size") || has("d_head") || has("headdim") || has("state") {
        16_384
    } else if has("rank") || has("rope") || has("nope") || has("per_layer_input") || has("ple_") {
        65_536
    } else if has("num_experts") || has("n_routed") || has("local_experts") || has("shared_experts") {
        8_192
    } else if has("hidden_size") || key == "n_embd" || key == "d_model" {
        200_000
    } else {
        1_000_000
    }
}

fn text(v: &Value, key: &str) -> Option<String> {
    v.get(key).and_then(Value::as_str).map(str::to_owned)
}

impl<'a> Facts<'a> {
    pub(super) fn new(file: &'a str, root: &'a Value) -> Facts<'a> {
        let (mut part, mut prefix) = (root, String::new());
        while let Some((key, v)) =
            TEXT_PARTS.iter().find_map(|k| Some((k, part.get(k)?))).filter(|(_, v)| v.is_object())
        {
            prefix = join(&prefix, key);
            part = v;
        }
        let architecture = root["architectures"][0].as_str().unwrap_or_default().to_owned();
        // Types of the hub's own code whose parts are a known class's.
        let same = |kind: String| match kind.as_str() {
            "kimi_k2" | "kimi_k25" => "deepseek_v3".to_owned(),
            "minimax_m3" => "minimax_m3_vl_text".to_owned(),
            "minimax_text_01" | "minimax_m1" => "minimax".to_owned(),
            "phi-msft" => "phi".to_owned(),
            "refinedweb" | "refinedwebmodel" => "falcon".to_owned(),
            _ => kind,
        };
        let class = |kind: &str| CLASSES.classes.get(kind);
        let of_architecture = |a: &str| CLASSES.architectures.get(a).cloned();
        let root_kind = text(root, "model_type");
        let root_kind = root_kind.filter(|k| class(k).is_some()).or_else(|| of_architecture(&architecture));
        let root_class = root_kind.as_deref().and_then(class);
        // The text part's own type; else what the whole's class makes it; else what its architecture is.
        let own = text(part, "model_type").map(|k| same(k.to_lowercase()));
        let nested = root_class.and_then(|c| c.text.clone());
        let by_architecture = part["architectures"][0].as_str().and_then(of_architecture);
        let known = own.clone().filter(|k| class(k).is_some());
        // A type with classes for whole and part under one name means the part here.
        let known = known.map(|k| class(&k).and_then(|c| c.text.clone()).unwrap_or(k));
        let sizes_from_class = known.is_some() || (own.is_none() && nested.is_some());
        let kind = known.or(nested).or(by_architecture).or_else(|| of_architecture(&architecture));
        let kind = kind.or(own).unwrap_or_default();
        Facts {
            file,
            root,
            text: part,
            prefix,
            class: class(&kind),
            root_class,
            sizes_from_class,
            kind,
            architecture,
            problems: RefCell::default(),
            assumed: RefCell::default(),
        }
    }

    /// Whether a class of that type is known.
    pub(super) fn known(&self) -> bool {
        self.class.is_some()
    }

    pub(super) fn is(&self, kinds: &[&str]) -> bool {
        kinds.contains(&self.kind.as_str())
    }

    pub(super) fn starts(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|k| self.kind.starts_with(k))
    }

    /// All spellings of a key, its own first.
    fn names<'k>(&self, key: &'k str) -> Vec<&'k str>
    where
        'a: 'k,
    {
        let mut out = vec![key];
        out.extend(self.class.and_then(|c| c.synonyms.get(key)).map(String::as_str));
        out.extend(SYNONYMS.iter().filter(|(k, _)| *k == key).flat_map(|(_, all)| all.iter().copied()));
        out
    }

    /// A key as it is written or as the class has it; null is written, and means "none".
    pub(super) fn find<'k>(&'k self, key: &'k str) -> Option<Found<'k>> {
        let names = self.names(key);
        for part in [self.text, self.root] {
            // A value wins over a null under another spelling.
            let written = names.iter().filter_map(|n| Some((*n, part.get(*n)?)));
            if let Some((path, value)) = written.min_by_key(|(_, v)| v.is_null()) {
                return Some(Found { value, path, written: true });
            }
        }
        let class = self.class.filter(|_| self.sizes_from_class)?;
        let found = names.into_iter().find_map(|n| Some((n, class.defaults.get(n)?)));
        found.map(|(path, value)| Found { value, path, written: false })
    }

    /// The value of a key, null taken for none.
    pub(super) fn get<'k>(&'k self, key: &'k str) -> Option<&'k Value> {
        self.find(key).map(|f| f.value).filter(|v| !v.is_null())
    }

    /// As [`Facts::get`], for one layer: `per_layer_config` comes first, and of a list by layer its item.
    pub(super) fn at(&self, key: &str, layer: u32) -> Option<Value> {
        let own = self.text.get("per_layer_config").and_then(Value::as_object).and_then(|layers| {
            let of = layers.iter().find(|(k, _)| k.parse::<u32>() == Ok(layer))?.1;
            self.names(key).into_iter().find_map(|n| of.get(n))
        });
        let value = own.or_else(|| self.get(key))?;
        match value {
            // A list as long as the model is by layer; another is by modality, text first.
            Value::Array(items) if self.layers() == Some(items.len()) => items.get(layer as usize).cloned(),
            Value::Array(items) => items.first().cloned(),
            Value::Null => None,
            v => Some(v.clone()),
        }
    }

    fn layers(&self) -> Option<usize> {
        let n = self.get("num_hidden_layers").and_then(Value::as_u64).and_then(|n| usize::try_from(n).ok());
        n.or_else(|| self.list("layer_types").map(Vec::len))
    }

    pub(super) fn problem(&self, key: &str, message: impl Into<String>) {
        let p = Problem::new(self.file, join(&self.prefix, key), message.into());
        if !self.problems.borrow().iter().any(|q| q.key == p.key) {
            self.problems.borrow_mut().push(p);
        }
    }

    fn whole(&self, key: &str, value: &Value) -> Option<u32> {
        let n = self.number(key, value)?;
        let most = most_plausible(key);
        if n > most {
            self.problem(key, format!("{n} is out of range: at most {most}"));
        }
        Some(n.min(most))
    }

    fn number(&self, key: &str, value: &Value) -> Option<u32> {
        let n = value.as_u64().and_then(|n| u32::try_from(n).ok());
        // Some writers make 4096.0 of 4096.
        let n = n.or_else(|| {
            value.as_f64().filter(|x| x.fract() == 0.0 && *x >= 0.0 && *x < 4e9).map(|x| x as u32)
        });
        if n.is_none() {
            self.problem(key, format!("{value} is not a whole number"));
        }
        n
    }

    /// A whole number; absence and null are none, another type is a problem.
    pub(super) fn count(&self, key: &str) -> Option<u32> {
        let f = self.find(key).filter(|f| !f.value.is_null())?;
        if !f.written {
            self.assumed.borrow_mut().push(f.path.to_owned());
        }
        let first = f.value.as_array().and_then(|a| a.first());
        self.whole(f.path, first.unwrap_or(f.value))
    }

    pub(super) fn count_at(&self, key: &str, layer: u32) -> Option<u32> {
        let value = self.at(key, layer)?;
        self.whole(key, &value)
    }

    /// As [`Facts::count`], and its absence is a problem. Returns 1 then, so that reading goes on.
    pub(super) fn need(&self, key: &str) -> u32 {
        let before = self.problems.borrow().len();
        let n = self.count(key);
        if n == Some(0) {
            self.problem(key, "must be above 0");
        }
        n.unwrap_or_else(|| {
            if self.problems.borrow().len() == before {
                let names = self.names(key);
                let mut p = Problem::new(self.file, join(&self.prefix, key), "missing");
                if names.len() > 1 {
                    p = p.hint(format!("also looked for {}", names[1..].join(", ")));
                }
                // A key of every layer is missing once.
                if !self.problems.borrow().contains(&p) {
                    self.problems.borrow_mut().push(p);
                }
            }
            1
        })
    }

    /// The first of several keys that is there; the absence of all is a problem with the first one's name.
    pub(super) fn need_any(&self, keys: &[&str]) -> u32 {
        keys.iter().find_map(|k| self.count(k)).unwrap_or_else(|| self.need(keys[0]))
    }

    pub(super) fn flag(&self, key: &str) -> bool {
        self.get(key).and_then(Value::as_bool).unwrap_or(false)
    }

    pub(super) fn list<'k>(&'k self, key: &'k str) -> Option<&'k Vec<Value>> {
        self.get(key).and_then(Value::as_array)
    }

    /// Whether output head and input embedding are one: written in the whole, then in the text part, then by class.
    pub(super) fn tied(&self) -> bool {
        let key = "tie_word_embeddings";
        let written = |v: &Value| v.get(key).and_then(Value::as_bool);
        let of_class = |c: Option<&Class>| c.is_some_and(|c| c.defaults.get(key) == Some(&Value::Bool(true)));
        // Of a model with several decoders (Omni) the whole says nothing of this one.
        let thinker = self.root.get("thinker_config").filter(|_| self.prefix.starts_with("thinker"));
        written(thinker.unwrap_or(self.root)).or_else(|| written(self.text)).unwrap_or_else(|| {
            self.is(&TIED_REMOTE) || of_class(self.root_class.or(self.class)) || of_class(self.class)
        })
    }

    /// A word of the text part or the whole, whatever the class says.
    pub(super) fn text_or_root(&self, key: &str) -> Option<&'a str> {
        self.text.get(key).or_else(|| self.root.get(key)).and_then(Value::as_str)
    }

    /// Items of a nested table, such as `linear_attn_config.num_heads`.
    pub(super) fn inner<'k>(&'k self, table: &'k str, key: &str) -> Option<&'k Value> {
        self.get(table)?.get(key).filter(|v| !v.is_null())
    }
}
