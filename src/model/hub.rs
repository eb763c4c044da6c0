//! A model from the hub's `config.json`: a directory, or the hub's cache on this machine.

use super::{Mla, Model, Moe, Precision, Quantisation, Rest, Sliding, uniform};
use crate::data::schema::join;
use crate::error::{Error, Problem, Result};
use serde_json::Value;
use std::path::{Path, PathBuf};

/// The model that a directory with `config.json` describes; its id is `id`.
///
/// Errors: no directory, no `config.json`, not JSON, or keys missing (all of them at once).
pub(super) fn from_directory(dir: &Path, id: &str) -> Result<Model> {
    if !dir.is_dir() {
        return Err(Error::usage("the model directory does not exist").at(dir.display()));
    }
    let file = dir.join("config.json");
    let text = std::fs::read_to_string(&file).map_err(|e| {
        Error::usage("the model directory has no readable config.json").at(file.display()).source(e).hint(
            "give the directory that the hub's files were downloaded to: config.json beside the weights",
        )
    })?;
    let name = file.display().to_string();
    let mut model = parse(&name, &text, id)
        .map_err(|p| Error::problems("the model's config.json cannot be used", p).at(file.display()))?;
    model.weights_gb = checkpoint_gb(dir);
    Ok(model)
}

/// `config.json` of `org/name` in the hub's cache: the snapshot that `refs/main` names, else the last one.
pub fn cached(cache: &Path, name: &str) -> Option<PathBuf> {
    let folder = cache.join(format!("models--{}", name.trim().replace('/', "--")));
    let snapshots = folder.join("snapshots");
    let main = std::fs::read_to_string(folder.join("refs/main")).ok();
    let named = main.map(|rev| snapshots.join(rev.trim())).filter(|d| d.join("config.json").is_file());
    named.or_else(|| {
        let mut dirs: Vec<PathBuf> =
            std::fs::read_dir(&snapshots).ok()?.flatten().map(|e| e.path()).collect();
        dirs.sort();
        dirs.into_iter().rev().find(|d| d.join("config.json").is_file())
    })
}

/// Where the hub's tools cache: `HF_HUB_CACHE`, else `HF_HOME/hub`, else `~/.cache/huggingface/hub`.
pub fn default_cache() -> Option<PathBuf> {
    let set = |name: &str| std::env::var_os(name).filter(|v| !v.is_empty()).map(PathBuf::from);
    set("HF_HUB_CACHE")
        .or_else(|| set("HF_HOME").map(|d| d.join("hub")))
        .or_else(|| set("HOME").map(|d| d.join(".cache/huggingface/hub")))
}

/// Size of the checkpoint's safetensors, GB: the index's total, else the files' sizes.
fn checkpoint_gb(dir: &Path) -> Option<f64> {
    let index = std::fs::read_to_string(dir.join("model.safetensors.index.json")).ok();
    let total = index
        .and_then(|t| serde_json::from_str::<Value>(&t).ok())
        .and_then(|v| v["metadata"]["total_size"].as_f64());
    let bytes = total.or_else(|| {
        let files = std::fs::read_dir(dir).ok()?.flatten();
        let sizes = files
            .filter(|e| e.path().extension().is_some_and(|x| x == "safetensors"))
            .filter_map(|e| std::fs::metadata(e.path()).ok())
            .map(|m| m.len());
        Some(sizes.sum::<u64>() as f64).filter(|n| *n > 0.0)
    })?;
    Some(bytes / 1e9)
}

/// Every problem of a config.json; empty when it can be used.
pub fn check_config(file: &str, text: &str) -> Vec<Problem> {
    parse(file, text, file).err().unwrap_or_default()
}

fn parse(file: &str, text: &str, id: &str) -> Result<Model, Vec<Problem>> {
    let root: Value =
        serde_json::from_str(text).map_err(|e| vec![Problem::new(file, "", format!("not JSON: {e}"))])?;
    if !root.is_object() {
        return Err(vec![Problem::new(file, "", "must be a JSON object")]);
    }
    let mut config = Config::new(file, &root);
    let mut model = config.model(id);
    let mut problems = config.problems;
    if problems.is_empty() {
        problems = super::catalog::meaning(file, &model);
    }
    if problems.is_empty() {
        model.stack = uniform::layers(&model);
        model.rest = uniform::rest(&model);
    }
    if problems.is_empty() { Ok(model) } else { Err(problems) }
}

/// A config.json being read; multimodal models keep the language model's keys under `text_config`.
struct Config<'a> {
    file: &'a str,
    root: &'a Value,
    text: &'a Value,
    prefix: &'static str,
    kind: String,
    problems: Vec<Problem>,
}

impl<'a> Config<'a> {
    fn new(file: &'a str, root: &'a Value) -> Config<'a> {
        let nested = root.get("text_config").filter(|t| t.is_object());
        let text = nested.unwrap_or(root);
        let kind = text.get("model_type").or(root.get("model_type")).and_then(Value::as_str).unwrap_or("");
        Config {
            file,
            root,
            text,
            prefix: if nested.is_some() { "text_config" } else { "" },
            kind: kind.to_lowercase(),
            problems: Vec::new(),
        }
    }

    fn get(&self, key: &str) -> Option<&'a Value> {
        self.text.get(key).or_else(|| self.root.get(key)).filter(|v| !v.is_null())
    }

    /// The first of `keys` that is there, as a whole number; another type is a problem.
    fn count(&mut self, keys: &[&str]) -> Option<u32> {
        let (key, value) = keys.iter().find_map(|k| Some((*k, self.get(k)?)))?;
        let n = value.as_u64().and_then(|n| u32::try_from(n).ok());
        if n.is_none() {
            let path = join(self.prefix, key);
            self.problems.push(Problem::new(self.file, path, format!("{value} is not a whole number")));
        }
        n
    }

    /// As [`Config::count`], and its absence is a problem. Returns 1 then, so that reading goes on.
    fn need(&mut self, keys: &[&str]) -> u32 {
        let before = self.problems.len();
        self.count(keys).unwrap_or_else(|| {
            if self.problems.len() == before {
                let mut p = Problem::new(self.file, join(self.prefix, keys[0]), "missing");
                if keys.len() > 1 {
                    p = p.hint(format!("also looked for {}", keys[1..].join(", ")));
                }
                self.problems.push(p);
            }
            1
        })
    }

    fn flag(&self, key: &str) -> Option<bool> {
        self.get(key).and_then(Value::as_bool)
    }

    fn is(&self, kinds: &[&str]) -> bool {
        kinds.iter().any(|k| self.kind.starts_with(k))
    }

    fn model(&mut self, id: &str) -> Model {
        let layers = self.need(&["num_hidden_layers", "n_layer", "n_layers", "num_layers"]);
        let hidden = self.need(&["hidden_size", "n_embd", "d_model"]);
        let q_heads = self.need(&["num_attention_heads", "n_head", "n_heads"]);
        let vocab = self.need(&["vocab_size"]);
        let kv_heads = self.count(&["num_key_value_heads", "num_kv_heads"]).unwrap_or(q_heads);
        let moe = self.moe();
        let all_moe = moe.as_ref().is_some_and(|m| m.dense_layers == 0 && m.every == 1);
        let ffn_keys = ["intermediate_size", "ffn_hidden_size", "ffn_dim", "n_inner"];
        let ffn = match self.count(&["intermediate_size_mlp"]) {
            Some(n) => n,
            None if all_moe => self.count(&ffn_keys).unwrap_or(0),
            None if self.is(&["gpt2", "gpt_neo", "gptj", "bloom", "falcon"]) => {
                self.count(&ffn_keys).unwrap_or(hidden.saturating_mul(4))
            }
            None => self.need(&ffn_keys),
        };
        Model {
            id: id.to_owned(),
            aliases: Vec::new(),
            architecture: self.root["architectures"][0].as_str().unwrap_or_default().to_owned(),
            layers,
            hidden,
            q_heads,
            kv_heads,
            head_dim: self.count(&["head_dim"]).unwrap_or(hidden / q_heads.max(1)),
            ffn,
            vocab,
            tied_embeddings: self
                .flag("tie_word_embeddings")
                .unwrap_or_else(|| self.is(&["gemma", "gpt2", "opt", "bloom", "cohere"])),
            gated_ffn: !self.is(&[
                "gpt2",
                "gpt_neo",
                "gptj",
                "bloom",
                "falcon",
                "opt",
                "phi",
                "starcoder2",
                "mpt",
            ]) || self.is(&["phi3", "phi4", "phimoe"]),
            max_position: self.max_position(),
            moe,
            mla: self.mla(),
            sliding: self.sliding(layers),
            attention_sinks: self.kind == "gpt_oss",
            precision: self.precision(),
            weights_gb: None,
            note: String::new(),
            source: self.file.to_owned(),
            variants: Vec::new(),
            unverified: Vec::new(),
            stack: Vec::new(),
            rest: Rest::default(),
            quantisation: Quantisation::of(self.precision()),
            caveats: Vec::new(),
        }
    }

    /// The usable context; rotary scaling is included where the config keeps only the original length.
    fn max_position(&mut self) -> u32 {
        let keys = ["max_position_embeddings", "n_positions", "max_sequence_length", "max_seq_len", "n_ctx"];
        if self.kind.starts_with("gemma3") && self.get(keys[0]).is_none() {
            return 131_072; // the default of that architecture's config class
        }
        self.need(&keys)
    }

    fn moe(&mut self) -> Option<Moe> {
        let experts =
            self.count(&["num_local_experts", "n_routed_experts", "num_experts", "moe_num_experts"])?;
        if experts <= 1 {
            return None;
        }
        let top_k =
            self.need(&["num_experts_per_tok", "num_experts_per_token", "moe_top_k", "top_k_experts"]);
        let expert_ffn =
            self.need(&["moe_intermediate_size", "expert_intermediate_size", "intermediate_size"]);
        let shared = match self.count(&["shared_expert_intermediate_size"]) {
            Some(n) => n,
            None if self.is(&["llama4"]) => expert_ffn,
            None => self
                .count(&["n_shared_experts", "num_shared_experts"])
                .unwrap_or(0)
                .saturating_mul(expert_ffn),
        };
        let dense_list = self.get("mlp_only_layers").and_then(Value::as_array).map_or(0, Vec::len) as u32;
        Some(Moe {
            experts,
            top_k,
            expert_ffn,
            shared_expert_ffn: shared,
            dense_layers: self.count(&["first_k_dense_replace"]).unwrap_or(dense_list),
            every: match self.get("moe_layer_freq") {
                // A list says it layer by layer; first_k_dense_replace then stands beside it.
                Some(Value::Array(_)) => 1,
                _ => self
                    .count(&["interleave_moe_layer_step", "decoder_sparse_step", "moe_layer_freq"])
                    .unwrap_or(1)
                    .max(1),
            },
        })
    }

    fn mla(&mut self) -> Option<Mla> {
        let kv_lora_rank = self.count(&["kv_lora_rank"])?;
        Some(Mla {
            kv_lora_rank,
            rope_head_dim: self.need(&["qk_rope_head_dim"]),
            q_lora_rank: self.count(&["q_lora_rank"]).unwrap_or(0),
            nope_head_dim: self.need(&["qk_nope_head_dim"]),
            v_head_dim: self.need(&["v_head_dim"]),
        })
    }

    fn sliding(&mut self, layers: u32) -> Option<Sliding> {
        if self.flag("use_sliding_window") == Some(false) {
            return None;
        }
        let window = self.count(&["sliding_window", "attention_chunk_size"])?;
        if window == 0 {
            return None;
        }
        let local = self.local_layers(layers);
        (local > 0).then_some(Sliding { window, layers: local })
    }

    fn local_layers(&mut self, layers: u32) -> u32 {
        if let Some(Value::Array(types)) = self.get("layer_types") {
            let is_local = |t: &&Value| matches!(t.as_str(), Some("sliding_attention" | "chunked_attention"));
            return types.iter().filter(is_local).count() as u32;
        }
        if let Some(Value::Array(rope)) = self.get("no_rope_layers").filter(|_| self.is(&["llama4"])) {
            // 1 = rotary and chunked-local, 0 = global without position.
            return rope.iter().filter(|v| v.as_u64() == Some(1)).count() as u32;
        }
        let every = |n: u32| layers - layers / n.max(1);
        if let Some(n) = self.count(&["sliding_window_pattern"]) {
            return every(n);
        }
        if let Some(n) = self.count(&["max_window_layers"]) {
            return layers.saturating_sub(n);
        }
        match self.kind.as_str() {
            k if k.starts_with("gemma3") => every(6),
            k if k.starts_with("gemma2") || k == "gpt_oss" => every(2),
            k if k.starts_with("llama4") => every(4),
            _ => layers,
        }
    }

    fn precision(&self) -> Precision {
        if let Some(p) = self.get("quantization_config").and_then(quantised) {
            return p;
        }
        match self.get("dtype").or(self.get("torch_dtype")).and_then(Value::as_str) {
            Some("float16") => Precision::Fp16,
            // Engines load float32 checkpoints in 16 bits unless told otherwise.
            _ => Precision::Bf16,
        }
    }
}

/// Precision that a `quantization_config` says.
fn quantised(q: &Value) -> Option<Precision> {
    let method = q["quant_method"].as_str().unwrap_or("").to_lowercase();
    let bits = q["bits"].as_u64().or_else(|| q["w_bit"].as_u64());
    Some(match method.as_str() {
        "fp8" | "fbgemm_fp8" => Precision::Fp8,
        "mxfp4" => Precision::Mxfp4,
        "bitsandbytes" if q["load_in_8bit"].as_bool() == Some(true) => Precision::Int8,
        "awq" | "gptq" | "auto-round" if bits == Some(8) => Precision::Int8,
        "bitsandbytes" | "awq" | "gptq" | "auto-round" => Precision::Int4,
        "compressed-tensors" => {
            let weights = q["config_groups"].as_object()?.values().next()?.get("weights")?;
            match (weights["type"].as_str(), weights["num_bits"].as_u64()) {
                (Some("float"), Some(8)) => Precision::Fp8,
                (Some("float"), Some(4)) => Precision::Nvfp4,
                (_, Some(8)) => Precision::Int8,
                (_, Some(4)) => Precision::Int4,
                _ => return None,
            }
        }
        _ if method.starts_with("modelopt") => match q["quant_algo"].as_str() {
            Some("NVFP4") => Precision::Nvfp4,
            _ => Precision::Fp8,
        },
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
