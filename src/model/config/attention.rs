//! The attention of one layer: heads, widths, latents, indexes, and their parameters.

use super::facts::Facts;
use super::plan::{Mix, window_size};
use crate::model::layer::{Attention, AttentionParams, Indexer, Latent, Span};
use crate::model::uniform::latent_params;
use serde_json::Value;

/// Sizes that hold for the whole model.
#[derive(Debug, Clone, Copy)]
pub(super) struct Sizes {
    pub(super) layers: u32,
    pub(super) hidden: u32,
}

pub(super) fn attention(f: &Facts<'_>, s: Sizes, layer: u32, mix: Mix) -> Attention {
    let local = mix == Mix::Local;
    let span = match window_size(f) {
        Some(w) if local => Span::Window(w),
        _ => Span::Full,
    };
    if f.starts(&["deepseek_v4"]) {
        return compressed(f, s, layer);
    }
    if f.count("kv_lora_rank").is_some_and(|n| n > 0) {
        return latent(f, s, layer, mix, span);
    }
    let heads = heads_at(f, layer, local);
    let (q_heads, kv_heads) = (heads, kv_heads(f, layer, local, heads));
    let head_dim = head_dim(f, s, layer, local, q_heads);
    // DeepSeek's small models without latents write widths of none.
    let v_head_dim = of_span(f, layer, local, "v_head_dim").filter(|n| *n > 0).unwrap_or(head_dim);
    let indexer = (mix == Mix::Indexed && f.get("index_head_dim").is_some()).then(|| indexer(f));
    let shares_kv = shares_kv(f, s, layer);
    // Keys and values of such a layer are the picture's: a token of text has none (Llama-3.2-Vision).
    let crosses = f
        .list("cross_attention_layers")
        .is_some_and(|l| l.iter().any(|v| v.as_u64() == Some(u64::from(layer))));
    let mut params = plain_params(f, s, (q_heads, kv_heads), (head_dim, v_head_dim), local);
    params.by_kv_head = if shares_kv { 0 } else { params.by_kv_head };
    Attention {
        span,
        q_heads,
        kv_heads,
        head_dim,
        v_head_dim,
        latent: None,
        indexer,
        tokens_per_entry: 1,
        entry_bytes: crosses.then_some(0.0),
        shares_kv,
        params,
    }
}

/// A key of local layers under the names that families give it, else of all layers.
fn of_span(f: &Facts<'_>, layer: u32, local: bool, key: &str) -> Option<u32> {
    let swa = format!("swa_{key}");
    let global = format!("global_{key}");
    let own = if local { f.count_at(&swa, layer) } else { f.count_at(&global, layer) };
    own.or_else(|| f.count_at(key, layer))
}

fn heads_at(f: &Facts<'_>, layer: u32, local: bool) -> u32 {
    let by_layer = f.count_at("num_attention_heads_per_layer", layer);
    by_layer
        .or_else(|| of_span(f, layer, local, "num_attention_heads"))
        .unwrap_or_else(|| f.need("num_attention_heads"))
}

fn kv_heads(f: &Facts<'_>, layer: u32, local: bool, heads: u32) -> u32 {
    // Falcon and GPT-BigCode: one KV head unless the newer layout says otherwise.
    if f.is(&["falcon"]) {
        // The first release of the large one says its number alone.
        let new = f.flag("new_decoder_architecture") || f.text.get("n_head_kv").is_some();
        return match new {
            true => f.count("num_key_value_heads").unwrap_or(heads),
            false if f.flag("multi_query") => 1,
            false => heads,
        };
    }
    if f.is(&["gpt_bigcode"]) {
        return if f.flag("multi_query") { 1 } else { heads };
    }
    if !local && let Some(n) = f.count_at("num_global_key_value_heads", layer) {
        return n;
    }
    // MiMo-V2: local layers have twice the KV heads where the file names no number of their own.
    if local && f.starts(&["mimo_v2"]) && f.get("swa_num_key_value_heads").is_none() {
        return 2 * f.need("num_key_value_heads");
    }
    if f.get("multi_query_attention") == Some(&Value::Bool(false)) {
        return heads;
    }
    let attn = f.inner("attn_config", "kv_n_heads").and_then(Value::as_u64).map(|n| n as u32);
    attn.or_else(|| of_span(f, layer, local, "num_key_value_heads")).unwrap_or(heads).max(1)
}

fn head_dim(f: &Facts<'_>, s: Sizes, layer: u32, local: bool, heads: u32) -> u32 {
    let whole = s.hidden / f.count("num_attention_heads").unwrap_or(heads).max(1);
    if f.is(&["zamba2"]) {
        return f.count("head_dim").unwrap_or(2 * whole);
    }
    // Gemma-4's full layers have heads of 512 where the file says nothing.
    let wide = (!local && f.starts(&["gemma4"]) && f.get("per_layer_config").is_none()).then_some(512);
    let own =
        if local { f.count_at("swa_head_dim", layer) } else { f.count_at("global_head_dim", layer).or(wide) };
    own.or_else(|| f.count_at("head_dim", layer)).filter(|n| *n > 0).unwrap_or(whole.max(1))
}

/// Gemma-3n and Gemma-4: the last layers read the cache of the last own layer of their kind.
fn shares_kv(f: &Facts<'_>, s: Sizes, layer: u32) -> bool {
    let shared = f.count("num_kv_shared_layers").unwrap_or(0);
    layer >= s.layers.saturating_sub(shared)
}

fn plain_params(
    f: &Facts<'_>,
    s: Sizes,
    heads: (u32, u32),
    dims: (u32, u32),
    local: bool,
) -> AttentionParams {
    let hidden = u64::from(s.hidden);
    let (q_heads, kv_heads) = (u64::from(heads.0), u64::from(heads.1));
    let (k_dim, v_dim) = (u64::from(dims.0), u64::from(dims.1));
    let (mut q, o) = (hidden * q_heads * k_dim, q_heads * v_dim * hidden);
    let gated = f.starts(&["qwen3_next", "qwen3_5", "qwen4_exp"])
        || f.starts(&["afmoe", "hrm_text", "muse_glimmer"])
        || f.flag("attn_output_gate");
    if gated {
        q += hidden * q_heads * v_dim;
    } else if f.starts(&["laguna", "step3p", "dots3_note"]) {
        // One gate a head.
        q += hidden * q_heads;
    }
    let input = if f.is(&["zamba2"]) { 2 * hidden } else { hidden };
    if f.is(&["zamba2"]) {
        q = input * q_heads * k_dim;
    }
    // Gemma-4's full layers take values from the key projection.
    let keys_are_values = f.flag("attention_k_eq_v") && !local;
    let kv = input * kv_heads * if keys_are_values { k_dim } else { k_dim + v_dim };
    let bias = if f.flag("attention_bias") || f.flag("qkv_bias") || f.starts(&["qwen2", "gpt2", "opt"]) {
        q_heads * k_dim + kv_heads * (k_dim + v_dim)
    } else {
        0
    };
    let mut extra = bias;
    if f.starts(&["inkling"]) {
        // Relative positions, and short convolutions over keys, values and both residual streams.
        let rel = f.count("num_attention_heads").map_or(0, u64::from) * 16;
        extra += hidden * rel + 4 * (2 * kv_heads * k_dim + 2 * hidden);
    }
    AttentionParams { by_head: q + o, by_kv_head: kv, replicated: extra }
}

fn indexer(f: &Facts<'_>) -> Indexer {
    Indexer {
        heads: f.count("index_n_heads").unwrap_or(1),
        head_dim: f.need("index_head_dim"),
        top_k: f.count("index_topk").unwrap_or(2048),
        tokens_per_key: f.count("index_kpool").unwrap_or(1).max(1),
    }
}

/// Whether this layer computes an index itself; some families share it among neighbours.
fn has_own_index(f: &Facts<'_>, layer: u32) -> bool {
    if let Some(types) = f.list("indexer_types") {
        return types.get(layer as usize).and_then(Value::as_str) != Some("shared");
    }
    if f.is(&["hy_v4"]) {
        return layer == 0 || (layer - 1).is_multiple_of(4);
    }
    true
}

fn latent(f: &Facts<'_>, s: Sizes, layer: u32, mix: Mix, span: Span) -> Attention {
    let local = mix == Mix::Local;
    let of = |key: &str| of_span(f, layer, local, key);
    let q_heads = heads_at(f, layer, local);
    let l = Latent {
        kv_rank: of("kv_lora_rank").unwrap_or_else(|| f.need("kv_lora_rank")),
        rope_dim: of("qk_rope_head_dim").unwrap_or_else(|| f.need("qk_rope_head_dim")),
        q_rank: of("q_lora_rank").unwrap_or(0),
        nope_dim: of("qk_nope_head_dim").unwrap_or_else(|| f.need("qk_nope_head_dim")),
    };
    // MiniCPM3's class works it out.
    let own = f.is(&["minicpm3"]).then(|| s.hidden / q_heads.max(1));
    let v_head_dim = of("v_head_dim").or(own).unwrap_or_else(|| f.need("v_head_dim"));
    let (hidden, heads) = (u64::from(s.hidden), u64::from(q_heads));
    let mut params = latent_params(&l, hidden, heads, u64::from(v_head_dim));
    let indexer = (mix == Mix::Indexed && has_own_index(f, layer)).then(|| indexer(f));
    if let Some(i) = &indexer {
        let width = u64::from(i.heads) * u64::from(i.head_dim);
        let from = if l.q_rank > 0 { u64::from(l.q_rank) } else { hidden };
        params.replicated += from * width + hidden * (u64::from(i.head_dim) + u64::from(i.heads));
    }
    if f.starts(&["dots3_note"]) {
        params.by_head += hidden * heads;
    }
    if f.is(&["hy_v4"]) {
        params.by_head += hidden * heads * u64::from(v_head_dim);
    }
    Attention {
        span,
        q_heads,
        kv_heads: 1,
        head_dim: l.nope_dim + l.rope_dim,
        v_head_dim,
        latent: Some(l),
        indexer,
        tokens_per_entry: 1,
        entry_bytes: None,
        shares_kv: false,
        params,
    }
}

/// DeepSeek-V4: one latent serves as key and value; the cache holds one entry for 4 tokens (and an index) or for
/// 128; a ratio of 0 is a plain window. The window of recent tokens beside a compressed cache is not counted.
fn compressed(f: &Facts<'_>, s: Sizes, layer: u32) -> Attention {
    let (hidden, q_heads) = (u64::from(s.hidden), f.need("num_attention_heads"));
    let dim = f.need("head_dim");
    let (rank, width) = (u64::from(f.need("q_lora_rank")), u64::from(dim));
    let groups = u64::from(f.count("o_groups").unwrap_or(1));
    let o_rank = u64::from(f.count("o_lora_rank").unwrap_or(0));
    let ratio = compress_ratio(f, layer);
    let rope = f.count("qk_rope_head_dim").unwrap_or(64).min(dim);
    let mut params = AttentionParams {
        by_head: rank * u64::from(q_heads) * width
            + groups * o_rank * (u64::from(q_heads) * width / groups.max(1) + hidden),
        by_kv_head: 0,
        replicated: hidden * rank + hidden * width,
    };
    let mut index = None;
    if ratio == 4 {
        let i = indexer(f);
        let (heads, dim) = (u64::from(i.heads), u64::from(i.head_dim));
        params.replicated += 4 * width * hidden + 4 * dim * hidden + rank * heads * dim + heads * hidden;
        params.replicated += 4 * 2 * (width + dim);
        index = Some(i);
    } else if ratio > 0 {
        params.replicated += 2 * width * hidden + u64::from(ratio) * width;
    }
    Attention {
        span: if ratio == 0 { Span::Window(f.count("sliding_window").unwrap_or(128)) } else { Span::Full },
        q_heads,
        kv_heads: 1,
        head_dim: dim,
        v_head_dim: dim,
        latent: Some(Latent {
            kv_rank: dim - rope,
            rope_dim: rope,
            q_rank: rank as u32,
            nope_dim: dim - rope,
        }),
        indexer: index,
        tokens_per_entry: ratio.max(1),
        entry_bytes: Some(f64::from(dim - rope) + 2.0 * f64::from(rope) + 8.0),
        shares_kv: false,
        params,
    }
}

fn compress_ratio(f: &Facts<'_>, layer: u32) -> u32 {
    if let Some(n) = f.list("compress_ratios").and_then(|l| l.get(layer as usize)?.as_u64()) {
        return n as u32;
    }
    match f.list("layer_types").and_then(|l| l.get(layer as usize)?.as_str()) {
        Some("compressed_sparse_attention") => 4,
        Some("sliding_attention") => 0,
        // The class: two heavily compressed layers, then both kinds in turn.
        None if layer >= 2 && layer % 2 == 1 => 4,
        _ => 128,
    }
}
