//! What `quantization_config`, `hf_quant_config.json` and their ignore lists say of each part.

use super::facts::Facts;
use super::formats::modelopt;
use super::groups;
use crate::model::Precision;
use crate::model::layer::LayerRun;
use crate::model::quantisation::{Format, Quantisation, Scheme};
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
    for said in [modelopt, inner].into_iter().flatten() {
        groups::apply(f, &mut q, &groups::all(said), stack);
    }
    let lists = [inner, modelopt].into_iter().flatten().flat_map(ignored).collect::<Vec<_>>();
    groups::leave_out(f, &mut q.covered, &lists, stack);
    if f.text_or_root("expert_dtype").is_some_and(|d| d == "fp4") {
        q.own.experts = Some(Format::quantised(Precision::Mxfp4, Scheme::Group(32)));
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
        m if m.is_empty() || m.starts_with("modelopt") => text("quant_algo"),
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
        "compressed-tensors" | "compressed_tensors" => first_group(q),
        "hqq" => Some((Precision::Int4, four(true, group.unwrap_or(64)))),
        "quark" => Some((Precision::Mxfp4, Format::quantised(Precision::Mxfp4, Scheme::Group(32)))),
        other => modelopt(other, group).or_else(|| first_group(q)),
    }?;
    let mut out = Quantisation { base, format, ..Quantisation::of(p) };
    // Only experts are in MXFP4 where the list of exceptions says so; gpt-oss names all others.
    out.kv_cache = kv_cache(q);
    Some(out)
}

/// The format of the first of several groups.
fn first_group(q: &Value) -> Option<(Precision, Format)> {
    let (_, format) = groups::all(q).into_iter().next()?;
    Some((format.precision, format))
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
    let listed = lists.flatten().filter_map(|v| v.as_str().map(str::to_owned));
    // GPTQModel's `dynamic`: `-:` before an expression leaves its modules out.
    let dynamic = q.get("dynamic").and_then(Value::as_object).into_iter().flat_map(|m| m.keys());
    listed.chain(dynamic.filter_map(|k| Some(format!("re:{}", k.strip_prefix("-:")?)))).collect()
}
