//! What `quantization_config`, `hf_quant_config.json` and their ignore lists say of each part.

use super::facts::Facts;
use crate::model::Precision;
use crate::model::layer::LayerRun;
use crate::model::quantisation::{Format, Parts, Quantisation, Scheme};
use serde_json::Value;

/// The quantisation of a model: `quantization_config` of the file, else the `hf_quant_config.json` beside it.
pub(super) fn quantisation(f: &Facts<'_>, beside: Option<&Value>, stack: &[LayerRun]) -> Quantisation {
    let base = base(f);
    let inner =
        f.get("quantization_config").or_else(|| f.get("compression_config")).filter(|q| q.is_object());
    let modelopt = beside.and_then(|b| b.get("quantization")).filter(|q| q.is_object());
    let mut q = match (inner, modelopt) {
        (Some(q), m) => described(q, base).or_else(|| described(m?, base)),
        (None, Some(m)) => described(m, base),
        (None, None) => return Quantisation { base, format: Format::plain(base), ..Quantisation::of(base) },
    }
    .unwrap_or_else(|| Quantisation {
        base,
        notes: vec!["quantization_config is of no known form: weights taken as they are".to_owned()],
        format: Format::plain(base),
        ..Quantisation::of(base)
    });
    let lists = [inner, modelopt].into_iter().flatten().flat_map(ignored).collect::<Vec<_>>();
    apply_ignored(f, &mut q.covered, &lists, stack);
    if f.text_or_root("expert_dtype").is_some_and(|d| d == "fp4") {
        q.experts = Some(Format::quantised(Precision::Mxfp4, Scheme::Group(32)));
    }
    q
}

/// The precision that names the model: of what holds most, the covered weights.
pub(super) fn headline(q: &Quantisation) -> Precision {
    q.format.precision
}

fn base(f: &Facts<'_>) -> Precision {
    let dtype = f.get("dtype").or_else(|| f.get("torch_dtype")).and_then(Value::as_str);
    match dtype {
        Some("float16") => Precision::Fp16,
        // Engines load float32 checkpoints in 16 bits unless told otherwise.
        _ => Precision::Bf16,
    }
}

fn described(q: &Value, base: Precision) -> Option<Quantisation> {
    let text = |k: &str| q.get(k).and_then(Value::as_str).unwrap_or("").to_lowercase();
    let method = match text("quant_method") {
        m if m.is_empty() => text("quant_algo"),
        m => m,
    };
    let number = |k: &str| q.get(k).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let bits = number("bits").or_else(|| number("w_bit"));
    let group = number("group_size").or_else(|| number("q_group_size")).filter(|n| *n > 0 && *n < 100_000);
    let four = |zero: bool, group: u32| {
        let f = Format::quantised(Precision::Int4, Scheme::Group(group));
        Format { bits: f.bits + if zero { 4.0 / f64::from(group) } else { 0.0 }, ..f }
    };
    let whole = |p: Precision, scheme: Scheme| Some((p, Format::quantised(p, scheme)));
    let (p, format) = match method.as_str() {
        "fp8" | "fbgemm_fp8" | "finegrained_fp8" | "w8a8_fp8" => {
            let block = q.get("weight_block_size").and_then(Value::as_array);
            let side = |i: usize| {
                block?.get(i)?.as_u64().and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0 && *n < 65_536)
            };
            match (side(0), side(1)) {
                (Some(r), Some(c)) => whole(Precision::Fp8, Scheme::Block(r, c)),
                _ => whole(Precision::Fp8, Scheme::Tensor),
            }
        }
        "mxfp4" => whole(Precision::Mxfp4, Scheme::Group(32)),
        "bitsandbytes" if q.get("load_in_8bit").and_then(Value::as_bool) == Some(true) => {
            whole(Precision::Int8, Scheme::Channel)
        }
        // NF4: a scale of 32 bits for 64 values, itself quantised.
        "bitsandbytes" => Some((Precision::Int4, Format { bits: 4.127, ..four(false, 64) })),
        "awq" | "gptq" | "auto-round" | "auto_round" | "inc" | "gptqmodel" if bits == Some(8) => {
            whole(Precision::Int8, Scheme::Group(group.unwrap_or(128)))
        }
        "awq" | "gptq" | "auto-round" | "auto_round" | "inc" | "awq_marlin" | "gptq_marlin" | "gptqmodel" => {
            Some((Precision::Int4, four(true, group.unwrap_or(128))))
        }
        "compressed-tensors" | "compressed_tensors" => compressed_tensors(q),
        "hqq" => Some((Precision::Int4, four(true, group.unwrap_or(64)))),
        "quark" => Some((Precision::Mxfp4, Format::quantised(Precision::Mxfp4, Scheme::Group(32)))),
        "modelopt" | "modelopt_fp4" | "modelopt_mixed" => {
            modelopt(&text("quant_algo"), group).or_else(|| compressed_tensors(q))
        }
        other => modelopt(other, group).or_else(|| compressed_tensors(q)),
    }?;
    let mut out = Quantisation { base, format, ..Quantisation::of(p) };
    // Only experts are in MXFP4 where the list of exceptions says so; gpt-oss names all others.
    out.kv_cache = kv_cache(q);
    Some(out)
}

fn modelopt(algo: &str, group: Option<u32>) -> Option<(Precision, Format)> {
    let whole = |p: Precision, s: Scheme| Some((p, Format::quantised(p, s)));
    match algo.to_lowercase().as_str() {
        "fp8" => whole(Precision::Fp8, Scheme::Tensor),
        "fp8_pb_wo" | "fp8_block_scales" => whole(Precision::Fp8, Scheme::Block(128, 128)),
        "fp8_per_channel_per_token" => whole(Precision::Fp8, Scheme::Channel),
        "nvfp4" | "w4a16_nvfp4" | "nvfp4_awq" => whole(Precision::Nvfp4, Scheme::Group(group.unwrap_or(16))),
        "mxfp4" | "w4a8_mxfp4_fp8" | "w4a8_mxfp4_mxfp8" => whole(Precision::Mxfp4, Scheme::Group(32)),
        "mxfp8" => whole(Precision::Fp8, Scheme::Group(32)),
        "int8_sq" | "w8a8_sq_per_channel" | "w8a16" => whole(Precision::Int8, Scheme::Channel),
        "int4_awq" | "w4a16_awq" | "w4a8_awq" | "w4a16" => {
            whole(Precision::Int4, Scheme::Group(group.unwrap_or(128)))
        }
        _ => None,
    }
}

/// The first group of `config_groups` that has weights; mixed groups are rare and named by the format of the first.
fn compressed_tensors(q: &Value) -> Option<(Precision, Format)> {
    let groups = q.get("config_groups")?.as_object()?;
    let w = groups.values().find_map(|g| g.get("weights").filter(|w| w.is_object()))?;
    let number = |k: &str| w.get(k).and_then(Value::as_u64).and_then(|n| u32::try_from(n).ok());
    let group = number("group_size").filter(|n| *n > 0 && *n < 100_000);
    let scheme = match w.get("strategy").and_then(Value::as_str) {
        Some("tensor") => Scheme::Tensor,
        Some("block") => {
            let side = |i: usize| {
                w.get("block_structure")?.get(i)?.as_u64().map(|n| n as u32).filter(|n| *n > 0 && *n < 65_536)
            };
            Scheme::Block(side(0).unwrap_or(128), side(1).unwrap_or(128))
        }
        Some("group" | "tensor_group") => Scheme::Group(group.unwrap_or(128)),
        _ => group.map_or(Scheme::Channel, Scheme::Group),
    };
    let p = match (w.get("type").and_then(Value::as_str), number("num_bits")?) {
        (Some("float"), 8) => Precision::Fp8,
        (Some("float"), 4) if group == Some(32) => Precision::Mxfp4,
        (Some("float"), 4) => Precision::Nvfp4,
        (_, 8) => Precision::Int8,
        (_, 4) => Precision::Int4,
        _ => return None,
    };
    Some((p, Format::quantised(p, scheme)))
}

fn kv_cache(q: &Value) -> Option<Precision> {
    let v = q.get("kv_cache_quant_algo").or_else(|| q.get("kv_cache_scheme"))?;
    match v {
        Value::String(s) => s.parse().ok(),
        Value::Object(_) if v["type"] == "float" && v["num_bits"] == 8 => Some(Precision::Fp8),
        _ => None,
    }
}

/// Modules that stay as they are.
fn ignored(q: &Value) -> Vec<String> {
    let keys =
        ["ignore", "modules_to_not_convert", "exclude_modules", "ignored_layers", "llm_int8_skip_modules"];
    let lists = keys.iter().filter_map(|k| q.get(*k)?.as_array());
    lists.flatten().filter_map(|v| v.as_str().map(str::to_owned)).collect()
}

/// Takes what the lists name out of the covered shares: of each part the share of the layers that are named.
fn apply_ignored(f: &Facts<'_>, covered: &mut Parts<f64>, names: &[String], stack: &[LayerRun]) {
    if names.is_empty() {
        return;
    }
    let layers = stack.iter().map(|r| r.count).sum::<u32>().clamp(1, 2_000);
    let patterns: Vec<Pattern> = names.iter().filter_map(|n| Pattern::new(n)).collect();
    let kept = |samples: &[&str]| {
        let named = |i: u32| {
            let module = |s: &&str| s.replace('#', &i.to_string());
            samples.iter().map(module).any(|m| patterns.iter().any(|p| p.matches(&m)))
        };
        1.0 - (0..layers).filter(|i| named(*i)).count() as f64 / f64::from(layers)
    };
    covered.attention *= kept(&["model.layers.#.self_attn.q_proj", "model.layers.#.self_attn.o_proj"]);
    covered.state *= kept(&["model.layers.#.linear_attn.in_proj_qkvz", "backbone.layers.#.mixer.in_proj"]);
    covered.shared_experts *=
        kept(&["model.layers.#.mlp.shared_experts.gate_proj", "model.layers.#.mlp.shared_expert.gate_proj"]);
    covered.experts *= if f.starts(&["gemma4"]) {
        kept(&["model.layers.#.experts.0.gate_proj"])
    } else {
        kept(&["model.layers.#.mlp.experts.0.gate_proj", "model.layers.#.mlp.experts.0.down_proj"])
    };
    covered.dense_ffn *= kept(&["model.layers.#.mlp.gate_proj", "model.layers.#.mlp.down_proj"]);
    covered.lm_head *= kept(&["lm_head"]);
}

/// A name of an ignore list: a regular expression (`re:`), a glob, or a module with all below it.
enum Pattern {
    Regex(regex::Regex),
    Module(String),
}

/// Prefixes that writers of lists put before the layers, or leave out.
fn bare(module: &str) -> &str {
    let mut m = module;
    while let Some(rest) = ["model.", "language_model.", "backbone."].iter().find_map(|p| m.strip_prefix(p)) {
        m = rest;
    }
    m
}

impl Pattern {
    fn new(name: &str) -> Option<Pattern> {
        if let Some(re) = name.strip_prefix("re:") {
            return regex::Regex::new(re).ok().map(Pattern::Regex);
        }
        if name.contains('*') {
            let text = format!("^{}$", regex::escape(bare(name)).replace("\\*", ".*"));
            return regex::Regex::new(&text).ok().map(Pattern::Regex);
        }
        (!name.is_empty()).then(|| Pattern::Module(bare(name).to_owned()))
    }

    fn matches(&self, module: &str) -> bool {
        let m = bare(module);
        match self {
            Pattern::Regex(r) => r.is_match(module) || r.is_match(m),
            Pattern::Module(p) => {
                m == p
                    || m.strip_prefix(p.as_str()).is_some_and(|rest| rest.starts_with('.'))
                    || m.strip_suffix(p.as_str()).is_some_and(|rest| rest.ends_with('.'))
                    || m.contains(&format!(".{p}."))
            }
        }
    }
}
