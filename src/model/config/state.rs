//! Mixers with a state: Mamba 1 and 2, gated delta rules, lightning attention, short convolutions.

use super::attention::Sizes;
use super::facts::Facts;
use crate::model::Precision;
use crate::model::layer::{StateKind, StateMixer};
use serde_json::Value;

pub(super) fn state(f: &Facts<'_>, s: Sizes, kind: StateKind) -> StateMixer {
    let mut m = match kind {
        StateKind::Mamba1 => mamba1(f, s),
        StateKind::Mamba2 => mamba2(f, s),
        StateKind::GatedDelta => gated_delta(f, s),
        StateKind::LightningAttention => lightning(f, s),
        StateKind::ShortConv => short_conv(f, s),
        StateKind::Rwkv => rwkv(f, s),
    };
    let dtype = f.get("mamba_ssm_cache_dtype").or_else(|| f.get("mamba_ssm_dtype")).and_then(Value::as_str);
    m.state_elem_bytes = dtype.and_then(|d| d.parse::<Precision>().ok()).map(Precision::bytes);
    m
}

/// The first of several keys.
fn any(f: &Facts<'_>, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|k| f.count(k)).map(u64::from)
}

fn mamba1(f: &Facts<'_>, s: Sizes) -> StateMixer {
    let hidden = u64::from(s.hidden);
    let expand = any(f, &["mamba_expand", "expand"]).unwrap_or(2);
    // Falcon-Mamba writes a width that is not its factor times the hidden one; engines take the width.
    let own = f.find("intermediate_size").is_some_and(|w| w.written) && f.is(&["mamba", "falcon_mamba"]);
    let own = if own { f.count("intermediate_size").map(u64::from) } else { None };
    let inner = own.or_else(|| any(f, &["mamba_intermediate_size"])).unwrap_or(expand * hidden);
    let state = any(f, &["mamba_d_state", "state_size", "ssm_state_size"]).unwrap_or(16);
    let conv = any(f, &["mamba_d_conv", "conv_kernel"]).unwrap_or(4);
    let rank = ["mamba_dt_rank", "time_step_rank"].iter().find_map(|k| f.get(k).and_then(Value::as_u64));
    let rank = rank.unwrap_or(hidden.div_ceil(16));
    StateMixer {
        kind: StateKind::Mamba1,
        conv_elements: inner * conv.saturating_sub(1),
        state_elements: inner * state,
        state_elem_bytes: None,
        heads: inner as u32,
        params: 2 * inner * hidden
            + inner * (conv + 1)
            + inner * (rank + 2 * state)
            + inner * (rank + 1)
            + inner * (state + 1)
            + inner * hidden,
    }
}

fn mamba2(f: &Facts<'_>, s: Sizes) -> StateMixer {
    let hidden = u64::from(s.hidden);
    let heads = any(f, &["mamba_num_heads", "mamba_n_heads", "n_mamba_heads", "num_heads"]);
    let expand = any(f, &["mamba_expand", "expand"]).unwrap_or(2);
    let dim = any(f, &["mamba_head_dim", "mamba_d_head", "mamba_headdim"]);
    let inner = any(f, &["mamba_d_ssm"]).unwrap_or(expand * hidden);
    let (heads, inner) = match (heads, dim) {
        (Some(h), Some(d)) => (h, h * d),
        (Some(h), None) => (h, inner),
        (None, d) => (inner / d.unwrap_or(64).max(1), inner),
    };
    let groups = any(f, &["mamba_n_groups", "mamba_ngroups", "n_groups"]).unwrap_or(1);
    let state = any(f, &["mamba_d_state", "ssm_state_size", "state_size"]).unwrap_or(128);
    let conv = any(f, &["mamba_d_conv", "conv_kernel"]).unwrap_or(4);
    let mixed = inner + 2 * groups * state;
    StateMixer {
        kind: StateKind::Mamba2,
        conv_elements: mixed * conv.saturating_sub(1),
        state_elements: inner * state,
        state_elem_bytes: None,
        heads: heads as u32,
        params: hidden * (inner + mixed + heads) + mixed * (conv + 1) + inner * hidden + 3 * heads + inner,
    }
}

/// Gated delta nets (Qwen3-Next) and Kimi's delta attention, whose gates come through a low rank.
fn gated_delta(f: &Facts<'_>, s: Sizes) -> StateMixer {
    let hidden = u64::from(s.hidden);
    let inner = |key: &str| f.inner("linear_attn_config", key).and_then(Value::as_u64);
    let kimi = f.get("linear_num_heads").is_some() || f.get("linear_attn_config").is_some();
    let conv = inner("short_conv_kernel_size").or_else(|| any(f, &["linear_conv_kernel_dim"])).unwrap_or(4);
    if kimi {
        let heads = inner("num_heads").or_else(|| any(f, &["linear_num_heads"])).unwrap_or(1);
        let dim = inner("head_dim").or_else(|| any(f, &["linear_head_dim"])).unwrap_or(128);
        let width = heads * dim;
        return StateMixer {
            kind: StateKind::GatedDelta,
            conv_elements: 3 * width * conv.saturating_sub(1),
            state_elements: heads * dim * dim,
            state_elem_bytes: None,
            heads: heads as u32,
            params: 4 * hidden * width
                + 3 * width * conv
                + 2 * (hidden * dim + dim * width)
                + hidden * heads
                + width,
        };
    }
    let (k_heads, v_heads) =
        (u64::from(f.need("linear_num_key_heads")), u64::from(f.need("linear_num_value_heads")));
    let (k_dim, v_dim) =
        (u64::from(f.need("linear_key_head_dim")), u64::from(f.need("linear_value_head_dim")));
    let (keys, values) = (k_heads * k_dim, v_heads * v_dim);
    StateMixer {
        kind: StateKind::GatedDelta,
        conv_elements: (2 * keys + values) * conv.saturating_sub(1),
        state_elements: v_heads * k_dim * v_dim,
        state_elem_bytes: None,
        heads: v_heads as u32,
        params: hidden * (2 * keys + 2 * values + 2 * v_heads)
            + (2 * keys + values) * conv
            + values * hidden
            + 2 * v_heads
            + v_dim,
    }
}

fn lightning(f: &Facts<'_>, s: Sizes) -> StateMixer {
    let hidden = u64::from(s.hidden);
    let heads = u64::from(f.need("num_attention_heads"));
    let dim = any(f, &["head_dim"]).unwrap_or(hidden / heads.max(1));
    StateMixer {
        kind: StateKind::LightningAttention,
        conv_elements: 0,
        state_elements: heads * dim * dim,
        state_elem_bytes: Some(4.0),
        heads: heads as u32,
        params: 5 * hidden * heads * dim + heads * dim,
    }
}

fn short_conv(f: &Facts<'_>, s: Sizes) -> StateMixer {
    let hidden = u64::from(s.hidden);
    let conv = any(f, &["conv_L_cache", "conv_kernel"]).unwrap_or(3);
    StateMixer {
        kind: StateKind::ShortConv,
        conv_elements: hidden * conv.saturating_sub(1),
        state_elements: 0,
        state_elem_bytes: None,
        heads: s.hidden,
        params: 4 * hidden * hidden + hidden * conv,
    }
}

fn rwkv(f: &Facts<'_>, s: Sizes) -> StateMixer {
    let hidden = u64::from(s.hidden);
    let dim = any(f, &["head_size", "head_dim"]).unwrap_or(64);
    let width = any(f, &["attention_hidden_size"]).unwrap_or(hidden);
    StateMixer {
        kind: StateKind::Rwkv,
        conv_elements: 2 * hidden,
        state_elements: width * dim,
        state_elem_bytes: Some(4.0),
        heads: (width / dim.max(1)) as u32,
        params: 5 * hidden * width,
    }
}
