//! Which mixer each layer has: the spellings of layer patterns, and the rules of classes that leave them out.

use super::facts::Facts;
use crate::model::layer::StateKind;
use serde_json::Value;

/// How a layer mixes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Mix {
    Full,
    Local,
    /// Sparse attention over an index.
    Indexed,
    State(StateKind),
    /// Attention and a state in one layer.
    Both(StateKind),
    /// A layer without mixer: its feed-forward part is a layer of its own.
    None,
}

/// What follows the mixer, where the pattern itself says so.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Follow {
    /// As the model's rule for experts says.
    Rule,
    Dense,
    Experts,
    Nothing,
}

pub(super) type Plan = Vec<(Mix, Follow)>;

/// The recurrence of the family's state layers.
pub(super) fn state_kind(f: &Facts<'_>) -> Option<StateKind> {
    let has = |key: &str| f.get(key).is_some();
    Some(match f.kind.as_str() {
        "jamba" | "mamba" | "falcon_mamba" => StateKind::Mamba1,
        k if k.starts_with("lfm2") => StateKind::ShortConv,
        k if k.starts_with("rwkv") => StateKind::Rwkv,
        "minimax" | "minimax_text_01" | "minimax_m1" | "bailing_moe_linear" => StateKind::LightningAttention,
        _ if has("linear_num_value_heads") || has("linear_num_heads") || has("linear_attn_config") => {
            StateKind::GatedDelta
        }
        "mamba2" | "zamba2" | "bamba" | "granitemoehybrid" | "falcon_h1" | "plamo2" => StateKind::Mamba2,
        k if k.starts_with("nemotron_h") => StateKind::Mamba2,
        _ if has("mamba_n_heads") || has("mamba_num_heads") || has("n_mamba_heads") => StateKind::Mamba2,
        _ if has("mamba_d_state") && has("mamba_dt_rank") => StateKind::Mamba1,
        _ => return None,
    })
}

/// The plan of every layer. A kind of layer that is not known is a problem, never taken for another.
pub(super) fn plan(f: &Facts<'_>, layers: u32) -> Plan {
    let out = explicit(f, layers).unwrap_or_else(|| {
        let mixes = (0..layers).map(|i| (by_rule(f, i, layers), Follow::Rule));
        mixes.collect()
    });
    if out.len() < layers as usize {
        f.problem("layer_types", format!("names {} layers of {layers}", out.len()));
    }
    out.into_iter().take(layers as usize).collect()
}

/// How many layers a pattern names, for configs that state no count (Nemotron-H).
pub(super) fn pattern_length(f: &Facts<'_>) -> Option<u32> {
    let list = f.list("layer_types").map(Vec::len);
    let pattern = f.get("hybrid_override_pattern").and_then(Value::as_str).map(|p| p.chars().count());
    list.or(pattern).and_then(|n| u32::try_from(n).ok()).filter(|n| *n > 0)
}

fn explicit(f: &Facts<'_>, layers: u32) -> Option<Plan> {
    if f.starts(&["deepseek_v4"]) {
        return Some(vec![(Mix::Indexed, Follow::Rule); layers as usize]);
    }
    if let Some(p) = f.get("hybrid_override_pattern").and_then(Value::as_str) {
        return Some(p.chars().map(|c| letter(f, c)).collect());
    }
    if let Some(types) = f.list("layer_types") {
        return Some(types.iter().map(|t| word(f, t.as_str().unwrap_or_default())).collect());
    }
    // MiniMax: 0 = lightning, 1 = full. MiMo: 0 = full, 1 = local.
    let ones = |key: &str, one: Mix, zero: Mix| {
        let list = f.list(key)?;
        Some(list.iter().map(|v| (if v.as_u64() == Some(1) { one } else { zero }, Follow::Rule)).collect())
    };
    ones("attn_type_list", Mix::Full, Mix::State(StateKind::LightningAttention))
        .or_else(|| ones("hybrid_layer_pattern", Mix::Local, Mix::Full))
        .or_else(|| linear_attn_lists(f, layers))
}

/// Kimi-Linear: `linear_attn_config` with layers counted from one.
fn linear_attn_lists(f: &Facts<'_>, layers: u32) -> Option<Plan> {
    let full = f.inner("linear_attn_config", "full_attn_layers")?.as_array()?;
    let is_full = |i: u32| full.iter().any(|v| v.as_u64() == Some(u64::from(i) + 1));
    let mix = |i| if is_full(i) { Mix::Full } else { Mix::State(StateKind::GatedDelta) };
    Some((0..layers).map(|i| (mix(i), Follow::Rule)).collect())
}

fn letter(f: &Facts<'_>, c: char) -> (Mix, Follow) {
    match c {
        'M' => (Mix::State(StateKind::Mamba2), Follow::Nothing),
        '*' => (Mix::Full, Follow::Nothing),
        '-' => (Mix::None, Follow::Dense),
        'E' => (Mix::None, Follow::Experts),
        _ => {
            f.problem(
                "hybrid_override_pattern",
                format!("unknown kind of layer `{c}`: known are M, *, - and E"),
            );
            (Mix::None, Follow::Nothing)
        }
    }
}

fn word(f: &Facts<'_>, name: &str) -> (Mix, Follow) {
    let state = || state_kind(f).map(Mix::State);
    let mix = match name {
        // One mixer or feed-forward part a layer.
        "mamba" | "linear_attention" if f.starts(&["nemotron_h"]) => {
            return (Mix::State(StateKind::Mamba2), Follow::Nothing);
        }
        "attention" | "full_attention" if f.starts(&["nemotron_h"]) => return (Mix::Full, Follow::Nothing),
        "linear_attention" | "mamba" if f.is(&["zamba2"]) => {
            return (Mix::State(StateKind::Mamba2), Follow::Nothing);
        }
        "hybrid" if f.is(&["zamba2"]) => return (Mix::Both(StateKind::Mamba2), Follow::Dense),
        "moe" => return (Mix::None, Follow::Experts),
        "mlp" | "dense" => return (Mix::None, Follow::Dense),
        "full_attention" | "indexed_attention" | "attention" if has_index(f) => Some(Mix::Indexed),
        "full_attention" | "attention" | "full" | "global" | "global_attention" | "hybrid" => Some(Mix::Full),
        "sliding_attention" | "chunked_attention" | "local" | "local_attention" | "hybrid_sliding"
        | "sliding_window" | "window_attention" => Some(Mix::Local),
        "indexed_attention"
        | "compressed_sparse_attention"
        | "heavily_compressed_attention"
        | "minimax_m3_sparse" => Some(Mix::Indexed),
        sparse if has_index(f) && sparse.contains("sparse") => Some(Mix::Indexed),
        "linear_attention" | "mamba" | "mamba2" | "recurrent" => state(),
        "conv" => Some(Mix::State(StateKind::ShortConv)),
        _ => None,
    };
    if mix.is_none() {
        f.problem("layer_types", format!("unknown kind of layer `{name}`"));
    }
    (mix.unwrap_or(Mix::None), Follow::Rule)
}

/// DeepSeek-V3.2, GLM-5 and their like attend through an index in every layer that is not local.
fn has_index(f: &Facts<'_>) -> bool {
    f.get("index_topk").is_some() && f.count("kv_lora_rank").is_some_and(|n| n > 0)
}

/// Layers of a class whose file names no pattern.
fn by_rule(f: &Facts<'_>, i: u32, layers: u32) -> Mix {
    let full = if has_index(f) { Mix::Indexed } else { Mix::Full };
    if let (Some(period), offset) = (f.count("attn_layer_period"), f.count("attn_layer_offset").unwrap_or(0))
    {
        let attends = i % period.max(1) == offset;
        return if attends { full } else { Mix::State(state_kind(f).unwrap_or(StateKind::Mamba1)) };
    }
    let listed = |key: &str| f.list(key).map(|l| l.iter().any(|v| v.as_u64() == Some(u64::from(i))));
    let state = state_kind(f);
    if let (Some(attends), Some(s)) = (
        listed("attn_layer_indices")
            .or_else(|| listed("full_attn_idxs"))
            .or_else(|| listed("attention_layers_idx")),
        state,
    ) {
        return if attends { full } else { Mix::State(s) };
    }
    match f.kind.as_str() {
        "mamba" | "mamba2" | "falcon_mamba" => return Mix::State(state.unwrap_or(StateKind::Mamba1)),
        "falcon_h1" => return Mix::Both(StateKind::Mamba2),
        "zamba2" => {
            let hybrid = listed("hybrid_layer_ids").unwrap_or(false);
            return if hybrid { Mix::Both(StateKind::Mamba2) } else { Mix::State(StateKind::Mamba2) };
        }
        "granitemoehybrid" | "bamba" => return Mix::State(StateKind::Mamba2),
        "kimi_linear" => {
            return if i > 0 && i.is_multiple_of(4) { Mix::Full } else { Mix::State(StateKind::GatedDelta) };
        }
        "lfm2" | "lfm2_moe" => return Mix::Full,
        "minimax" => return if i % 2 == 1 { Mix::Full } else { Mix::State(StateKind::LightningAttention) },
        k if k.starts_with("rwkv") => return Mix::State(StateKind::Rwkv),
        _ => {}
    }
    if let Some(s) = state.filter(|s| *s == StateKind::GatedDelta) {
        let interval = f.count("full_attention_interval").unwrap_or(4).max(1);
        return if (i + 1).is_multiple_of(interval) { full } else { Mix::State(s) };
    }
    if is_local(f, i, layers) { Mix::Local } else { full }
}

/// Whether a layer's attention is local.
fn is_local(f: &Facts<'_>, i: u32, layers: u32) -> bool {
    if window_size(f).is_none() || f.get("use_sliding_window") == Some(&Value::Bool(false)) {
        return false;
    }
    let every = |n: u32| n > 0 && !(i + 1).is_multiple_of(n);
    if let Some(rope) = f.list("no_rope_layers").filter(|l| !l.is_empty() && f.starts(&["llama4"])) {
        // 1 = rotary and chunked-local, 0 = global without position.
        return rope.get(i as usize).and_then(Value::as_u64) == Some(1);
    }
    match f.get("sliding_window_pattern") {
        Some(Value::String(p)) if !p.is_empty() => {
            // EXAONE-4: "LLLG".
            return p.chars().nth(i as usize % p.chars().count()).is_some_and(|c| c == 'L');
        }
        Some(v) if v.is_number() => return every(f.count("sliding_window_pattern").unwrap_or(0)),
        _ => {}
    }
    if let Some(n) = f.count("global_attn_every_n_layers") {
        return every(n);
    }
    if let Some(n) = f.count("no_rope_layer_interval").filter(|_| f.starts(&["llama4"])) {
        return every(n);
    }
    if f.starts(&["qwen"]) {
        let from = f.count("max_window_layers").unwrap_or(layers);
        return f.flag("use_sliding_window") && i >= from;
    }
    if f.kind == "dots1" {
        return f.count("max_window_layers").is_some_and(|from| i >= from);
    }
    match f.kind.as_str() {
        k if k.starts_with("gemma3n") => every(5),
        "gemma4_text" | "gemma4_unified_text" => every(6) && i + 1 < layers,
        k if k.starts_with("gemma3") || k.starts_with("gemma4") => every(6),
        // Even layers are local.
        k if k.starts_with("gemma2") || k == "gpt_oss" || k == "vaultgemma" => i.is_multiple_of(2),
        k if k.starts_with("llama4") || k.starts_with("cohere2") || k == "smollm3" => every(4),
        k if k.starts_with("mimo_v2") => i != 0 && every(6),
        "granitemoe_swa" | "granite_swa" => !i.is_multiple_of(4),
        k if k.starts_with("inkling") => every(6),
        k if k.starts_with("muse_glimmer") => !(layers - 1 - i).is_multiple_of(4),
        k if k.starts_with("dots3_note") => i >= 2 && i % 4 != 1,
        "laguna" | "step3p7_text" | "step3p7" | "hy_v4" | "ministral3" => false,
        _ => true,
    }
}

/// Tokens of the local window.
pub(super) fn window_size(f: &Facts<'_>) -> Option<u32> {
    f.count("sliding_window").filter(|w| *w > 0)
}
