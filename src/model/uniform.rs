//! Layers of a plain description: one kind of attention, optionally some local layers, dense or mixture of experts.

use super::layer::{
    Attention, AttentionParams, DenseFfn, Experts, Latent, Layer, LayerRun, Rest, Span, runs,
};
use super::{Model, Moe};

/// The layers that a description without a layer list means: local layers first within each period, dense layers
/// where `moe` says.
pub(super) fn layers(m: &Model) -> Vec<LayerRun> {
    runs((0..m.layers).map(|i| Layer {
        attention: Some(attention(m, span(m, i))),
        state: None,
        dense: (!is_moe(m.moe.as_ref(), i)).then(|| dense(m)),
        experts: m.moe.as_ref().filter(|_| is_moe(m.moe.as_ref(), i)).map(|e| experts(m, e)),
        other_params: 2 * u64::from(m.hidden),
    }))
}

/// What stands outside the layers.
pub(super) fn rest(m: &Model) -> Rest {
    let embedding = u64::from(m.vocab) * u64::from(m.hidden);
    Rest {
        embedding,
        lm_head: if m.tied_embeddings { 0 } else { embedding },
        other: u64::from(m.hidden),
        rotary_dim: m.mla.as_ref().map_or(m.head_dim, |l| l.rope_head_dim),
        ..Rest::default()
    }
}

/// Local layers are spread evenly: layer i is local when the running share passes a whole number.
fn span(m: &Model, i: u32) -> Span {
    let Some(s) = &m.sliding else { return Span::Full };
    let (n, of) = (u64::from(m.layers - s.layers.min(m.layers)), u64::from(m.layers.max(1)));
    let full_before = |i: u64| i * n / of;
    if full_before(u64::from(i) + 1) > full_before(u64::from(i)) {
        Span::Full
    } else {
        Span::Window(s.window)
    }
}

fn is_moe(moe: Option<&Moe>, i: u32) -> bool {
    moe.is_some_and(|e| i >= e.dense_layers && (i + 1).is_multiple_of(e.every.max(1)))
}

fn attention(m: &Model, span: Span) -> Attention {
    let (hidden, heads) = (u64::from(m.hidden), u64::from(m.q_heads));
    let head = u64::from(m.head_dim);
    let plain = AttentionParams {
        by_head: 2 * hidden * heads * head,
        by_kv_head: 2 * hidden * u64::from(m.kv_heads) * head,
        replicated: 0,
    };
    let latent = m.mla.as_ref().map(|a| Latent {
        kv_rank: a.kv_lora_rank,
        rope_dim: a.rope_head_dim,
        q_rank: a.q_lora_rank,
        nope_dim: a.nope_head_dim,
    });
    let v_head_dim = m.mla.as_ref().map_or(m.head_dim, |a| a.v_head_dim);
    Attention {
        span,
        q_heads: m.q_heads,
        kv_heads: m.kv_heads,
        head_dim: m.head_dim,
        v_head_dim,
        params: latent.map_or(plain, |l| latent_params(&l, hidden, heads, u64::from(v_head_dim))),
        latent,
        indexer: None,
        tokens_per_entry: 1,
        entry_bytes: None,
        shares_kv: false,
    }
}

/// Projections of multi-head latent attention, with the norms of the two latents.
pub(super) fn latent_params(l: &Latent, hidden: u64, heads: u64, v_dim: u64) -> AttentionParams {
    let (rank, rope, nope) = (u64::from(l.kv_rank), u64::from(l.rope_dim), u64::from(l.nope_dim));
    let query = heads * (nope + rope);
    let (q_down, q_up) = match u64::from(l.q_rank) {
        0 => (0, hidden * query),
        r => (hidden * r + r, r * query),
    };
    AttentionParams {
        by_head: q_up + rank * heads * (nope + v_dim) + heads * v_dim * hidden,
        by_kv_head: 0,
        replicated: q_down + hidden * (rank + rope) + rank,
    }
}

fn matrices(m: &Model) -> u64 {
    if m.gated_ffn { 3 } else { 2 }
}

fn dense(m: &Model) -> DenseFfn {
    DenseFfn { width: m.ffn, params: matrices(m) * u64::from(m.hidden) * u64::from(m.ffn) }
}

fn experts(m: &Model, e: &Moe) -> Experts {
    let hidden = u64::from(m.hidden);
    Experts {
        count: e.experts,
        top_k: e.top_k,
        width: e.expert_ffn,
        input: m.hidden,
        params_each: matrices(m) * hidden * u64::from(e.expert_ffn),
        shared_width: e.shared_expert_ffn,
        shared_params: matrices(m) * hidden * u64::from(e.shared_expert_ffn),
        router_params: hidden * u64::from(e.experts),
    }
}
