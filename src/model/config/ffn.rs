//! The feed-forward part of one layer: dense, experts, or both.

use super::attention::Sizes;
use super::facts::Facts;
use super::plan::Follow;
use crate::model::layer::{DenseFfn, Experts};
use serde_json::Value;

/// Families whose feed-forward part is two matrices, not three.
pub(super) fn gated(f: &Facts<'_>) -> bool {
    let plain = [
        "gpt2",
        "gpt_bigcode",
        "gpt_neo",
        "gpt_neox",
        "gpt_neox_japanese",
        "gptj",
        "bloom",
        "falcon",
        "opt",
        "phi",
        "phi-msft",
        "starcoder2",
        "mpt",
        "nemotron",
        "apertus",
        "apertus1p5_text",
        "arcee",
        "biogpt",
        "codegen",
        "xglm",
        "ctrl",
        "openai-gpt",
        "persimmon",
        "cosmos3_edge_text",
        "cosmos3_edge",
        "gpt-sw3",
        "fuyu",
    ];
    !(f.is(&plain) || f.starts(&["nemotron_h"]))
}

/// Whether layer `i` has experts, where the plan leaves it to the rule.
fn has_experts(f: &Facts<'_>, i: u32) -> bool {
    let listed = |key: &str| f.list(key).map(|l| l.iter().any(|v| v.as_u64() == Some(u64::from(i))));
    if let Some(types) = f.list("mlp_layer_types") {
        return types.get(i as usize).and_then(Value::as_str) != Some("dense");
    }
    if let Some(on) = listed("moe_layers").or_else(|| listed("moe_layers_enum_list")) {
        return on;
    }
    if let Some(text) = f.get("moe_layers_enum").and_then(Value::as_str) {
        return text.split(',').any(|n| n.trim().parse() == Ok(i));
    }
    if listed("mlp_only_layers") == Some(true) {
        return false;
    }
    if let Some(period) = f.count("expert_layer_period") {
        return i % period.max(1) == f.count("expert_layer_offset").unwrap_or(0);
    }
    // ERNIE counts from a start to an end.
    if let Some(interval) = f.count("moe_layer_interval") {
        let (from, to) = (
            f.count("moe_layer_start_index").unwrap_or(0),
            f.get("moe_layer_end_index").and_then(Value::as_i64),
        );
        let to = to.and_then(|n| u32::try_from(n).ok()).unwrap_or(u32::MAX);
        return (i + 1).is_multiple_of(interval.max(1)) && i >= from && i <= to;
    }
    if let Some(on) = f.list("moe_layer_freq").and_then(|l| l.get(i as usize)) {
        return on.as_u64() != Some(0) && on.as_bool() != Some(false);
    }
    let first = f.count("first_k_dense_replace").unwrap_or_else(|| first_dense(f));
    if i < first {
        return false;
    }
    if let Some(freq) = f.get("moe_layer_freq").and_then(Value::as_u64) {
        return u64::from(i).is_multiple_of(freq.max(1));
    }
    let step = f.count("interleave_moe_layer_step").or_else(|| f.count("decoder_sparse_step")).unwrap_or(1);
    (i + 1).is_multiple_of(step.max(1))
}

/// First dense layers by class, where the file names none.
fn first_dense(f: &Facts<'_>) -> u32 {
    match f.kind.as_str() {
        "deepseek_v3" | "deepseek_v32" | "glm_moe_dsa" | "glm5_next_text" => 3,
        "glm4_moe" | "glm4v_moe_text" | "glm4_moe_lite" | "laguna" | "hy_v3" | "hy_v4" | "kimi_linear"
        | "axk1" | "mimo_v2_flash" | "dots3_note_text" => 1,
        _ => 0,
    }
}

/// Number of experts; one or none is no mixture.
pub(super) fn expert_count(f: &Facts<'_>) -> Option<u32> {
    let listed = f.list("num_experts").and_then(|l| l.iter().filter_map(Value::as_u64).max());
    let n = match listed {
        Some(n) => u32::try_from(n).ok(),
        None => f.count("num_experts"),
    };
    let nested = || f.inner("ffn_config", "moe_num_experts").and_then(Value::as_u64).map(|n| n as u32);
    n.or_else(nested).filter(|n| *n > 1)
}

pub(super) fn feed_forward(
    f: &Facts<'_>,
    s: Sizes,
    layer: u32,
    follow: Follow,
) -> (Option<DenseFfn>, Option<Experts>) {
    let routed = match follow {
        Follow::Nothing => return (None, None),
        Follow::Dense => false,
        Follow::Experts => true,
        Follow::Rule => expert_count(f).is_some() && has_experts(f, layer),
    };
    if f.starts(&["mamba", "falcon_mamba"]) {
        return (None, None);
    }
    // Gemma-4's block has both; LongCat's dense parts stand beside the experts.
    let both = f.starts(&["gemma4"]) && f.flag("enable_moe_block");
    if both {
        return (Some(dense(f, s, layer)), expert_count(f).map(|_| experts(f, s, layer)));
    }
    if routed { (None, Some(experts(f, s, layer))) } else { (Some(dense(f, s, layer)), None) }
}

fn matrices(f: &Facts<'_>) -> u64 {
    if gated(f) { 3 } else { 2 }
}

pub(super) fn dense(f: &Facts<'_>, s: Sizes, layer: u32) -> DenseFfn {
    let width = dense_width(f, s, layer);
    let mut params = matrices(f) * u64::from(s.hidden) * u64::from(width);
    if f.starts(&["gpt2", "opt", "gptj", "gpt_neo", "phi"]) && !gated(f) {
        params += u64::from(width) + u64::from(s.hidden);
    }
    DenseFfn { width, params }
}

fn dense_width(f: &Facts<'_>, s: Sizes, layer: u32) -> u32 {
    // granite-4.0-h: the shared part is the dense one where there are no experts.
    if f.is(&["granitemoehybrid"])
        && let Some(n) = f.count("shared_intermediate_size")
    {
        return n;
    }
    // Qwen's first release and Molmo write the widths of their two upper matrices together.
    if f.is(&["qwen", "molmo"]) {
        return f.need("intermediate_size") / 2;
    }
    let width = f.count("intermediate_size_mlp").or_else(|| f.count("dense_intermediate_size"));
    let width = width.or_else(|| f.count_at("intermediate_size", layer)).or_else(|| {
        let four = f.starts(&["gpt", "bloom", "falcon", "mpt", "phi", "codegen", "opt", "zamba2", "biogpt"]);
        four.then(|| s.hidden.saturating_mul(4))
    });
    let width = width.unwrap_or_else(|| f.need("intermediate_size"));
    let flag = |key: &str| f.get(key).is_none_or(|v| v.as_bool() == Some(true));
    if f.starts(&["lfm2"]) && f.count("block_multiple_of").is_some() && flag("block_auto_adjust_ff_dim") {
        let multiplier = f.get("block_ffn_dim_multiplier").and_then(Value::as_f64).unwrap_or(1.0);
        let cut = (f64::from(2 * (width / 2)) * 2.0 / 3.0) as u32;
        let cut = (f64::from(cut) * multiplier) as u32;
        return cut.next_multiple_of(f.count("block_multiple_of").unwrap_or(256).max(1));
    }
    // Gemma-4: layers that share KV may be twice as wide.
    let shared = f.count("num_kv_shared_layers").unwrap_or(0);
    let wide = f.flag("use_double_wide_mlp") && layer >= s.layers.saturating_sub(shared) && shared > 0;
    if wide { width.saturating_mul(2) } else { width }
}

pub(super) fn experts(f: &Facts<'_>, s: Sizes, layer: u32) -> Experts {
    let hidden = u64::from(s.hidden);
    let count =
        f.count_at("num_experts", layer).or_else(|| expert_count(f)).unwrap_or_else(|| f.need("num_experts"));
    let nested = |key: &str| f.inner("ffn_config", key).and_then(Value::as_u64).map(|n| n as u32);
    let width = f.count_at("moe_intermediate_size", layer).or_else(|| nested("ffn_hidden_size"));
    let width = width.unwrap_or_else(|| f.need_any(&["moe_intermediate_size", "intermediate_size"]));
    let top_k = f.count_at("num_experts_per_tok", layer).or_else(|| nested("moe_top_k"));
    let top_k = top_k.unwrap_or_else(|| f.need("num_experts_per_tok"));
    if top_k == 0 || top_k > count {
        f.problem("num_experts_per_tok", format!("{top_k} is not between 1 and the {count} experts"));
    }
    // Nemotron-3: experts work in a narrower latent space.
    let latent = f.count("moe_latent_size").filter(|n| *n > 0);
    let input = latent.unwrap_or(s.hidden);
    let shared = shared_width(f, layer, width);
    // LongCat: experts that compute nothing are routed to as well.
    let routes = u64::from(count) + u64::from(f.count("zero_expert_num").unwrap_or(0));
    let mut shared_params = matrices(f) * hidden * u64::from(shared);
    if f.starts(&["qwen2_moe", "qwen3_next", "qwen3_5", "qwen4_exp"]) && shared > 0 {
        shared_params += hidden;
    }
    let bias = if f.is(&["gpt_oss"]) { 2 * u64::from(width) + hidden } else { 0 };
    Experts {
        count,
        top_k: top_k.min(count),
        width,
        input,
        params_each: matrices(f) * u64::from(input) * u64::from(width) + bias,
        shared_width: shared,
        shared_params,
        router_params: hidden * routes + routes + latent.map_or(0, |l| 2 * hidden * u64::from(l)),
    }
}

fn shared_width(f: &Facts<'_>, layer: u32, width: u32) -> u32 {
    if let Some(n) = f.count_at("shared_expert_intermediate_size", layer) {
        let many = f.starts(&["nemotron_h"]).then(|| f.count("n_shared_experts")).flatten().unwrap_or(1);
        return if f.starts(&["nemotron_h"]) { n.saturating_mul(many.max(1)) } else { n };
    }
    if f.starts(&["granitemoe", "minimax_m3"]) {
        return f.count("shared_intermediate_size").unwrap_or(0);
    }
    if f.starts(&["llama4"]) {
        return f.need("intermediate_size");
    }
    f.count_at("n_shared_experts", layer).unwrap_or(0).saturating_mul(width)
}
