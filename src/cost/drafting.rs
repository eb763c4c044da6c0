//! What proposing tokens costs in a step, and what the drafter holds of memory.
//!
//! An MTP layer or an EAGLE head is one layer of the model and a head: once over all tokens of the step (it keeps a cache
//! of its own), then once more for every further token. A draft model is the same with all its layers. N-gram and suffix
//! lookups run on the host. Costs of a launch a pass and of lookups are unverified.

use super::StepShape;
use super::coefficients::Coefficients;
use super::footprint::Footprint;
use crate::engine::speculation::{DraftSize, Speculation};
use crate::engine::{Drafter, EngineConfig};
use crate::model::Model;

/// Host time of preparing and launching one pass of the drafter, and of an n-gram lookup a row and by token of context, ns
/// (unverified).
const PASS_HOST: f64 = 60e3;
const LOOKUP_ROW: f64 = 5e3;
const LOOKUP_TOKEN: f64 = 1.0;
/// EAGLE-3 heads propose from the most frequent tokens of the vocabulary.
const EAGLE3_VOCAB: f64 = 32000.0;
/// A draft model of unknown size is taken as this share of the model.
const UNKNOWN_DRAFT: f64 = 0.05;

/// The drafter of one launch; ns a pass.
#[derive(Debug, Clone)]
pub(super) struct Drafting {
    looks_up: bool,
    passes: f64,
    /// Whatever is in the pass; streaming its weights and its head; arithmetic by token and by row through the head;
    /// reading a token's KV.
    fixed: f64,
    weights: f64,
    token: f64,
    head: f64,
    head_row: f64,
    kv_token: f64,
}

/// Size of the drafter of a launch, and 0 where it looks up.
fn size(s: &Speculation, f: &Footprint) -> DraftSize {
    let layers = f.layers.max(1.0);
    let moe = f.moe_layers.max(1.0);
    let one_layer = DraftSize {
        layers: 1.0,
        params: f.dense_params / layers,
        bytes: f.dense_bytes / layers,
        head_params: f.head_params,
        head_bytes: f.head_bytes,
        kv_bytes: f.kv_bytes_token() / (f.full_layers + f.local_layers).max(1.0),
    };
    match s.method {
        Drafter::Ngram | Drafter::Suffix => DraftSize {
            layers: 0.0,
            params: 0.0,
            bytes: 0.0,
            head_params: 0.0,
            head_bytes: 0.0,
            kv_bytes: 0.0,
        },
        // Its experts are those of a layer of the model, of which a token computes top_k.
        Drafter::Mtp => DraftSize {
            params: one_layer.params + f.expert_params * f.top_k * f.moe_layers / moe,
            bytes: one_layer.bytes + f.expert_bytes * f.experts * f.moe_layers / moe,
            ..one_layer
        },
        Drafter::Eagle => one_layer,
        Drafter::Eagle3 => {
            let part = (EAGLE3_VOCAB / f.vocab.max(1.0)).min(1.0);
            DraftSize { head_params: part * f.head_params, head_bytes: part * f.head_bytes, ..one_layer }
        }
        Drafter::DraftModel => s.draft_size.unwrap_or(DraftSize {
            layers: (layers * UNKNOWN_DRAFT.sqrt()).ceil(),
            params: f.dense_params * UNKNOWN_DRAFT,
            bytes: f.dense_params * UNKNOWN_DRAFT * 2.0,
            head_params: f.head_params * UNKNOWN_DRAFT.sqrt(),
            head_bytes: f.head_bytes * UNKNOWN_DRAFT.sqrt(),
            kv_bytes: f.kv_bytes_token() * UNKNOWN_DRAFT,
        }),
    }
}

/// The size of a draft model, as a launch computes with it.
pub(super) fn draft_size(model: &Model) -> DraftSize {
    let f = Footprint::new(model, &EngineConfig::default());
    DraftSize {
        layers: f.layers,
        params: f.dense_params + f.expert_params * f.top_k * f.moe_layers,
        bytes: f.dense_bytes + f.expert_bytes * f.experts * f.moe_layers,
        head_params: f.head_params,
        head_bytes: f.head_bytes,
        kv_bytes: f.kv_bytes_token(),
    }
}

/// (Bytes of the drafter's weights on each device, its KV as a share of the model's); nothing without speculation.
pub(super) fn memory(config: &EngineConfig, f: &Footprint) -> (f64, f64) {
    let Some(s) = &config.speculative else { return (0.0, 0.0) };
    let d = size(s, f);
    let own_head = matches!(s.method, Drafter::Eagle3 | Drafter::DraftModel);
    let head = if own_head { d.head_bytes } else { 0.0 };
    let tp = f64::from(config.tensor_parallel.max(1));
    ((d.bytes + head) / tp, d.kv_bytes / f.kv_bytes_token().max(1.0))
}

/// Rates of a device as the step model takes them: bytes and FLOP a nanosecond.
pub(super) struct Rates {
    pub(super) weights: f64,
    pub(super) kv: f64,
    pub(super) dense: f64,
    pub(super) head: f64,
}

impl Drafting {
    pub(super) fn new(
        s: &Speculation,
        config: &EngineConfig,
        f: &Footprint,
        c: &Coefficients,
        rates: &Rates,
    ) -> Drafting {
        let d = size(s, f);
        let tp = f64::from(config.tensor_parallel.max(1));
        let kv_split = f64::from(config.tensor_parallel.min(f.kv_shards).max(1));
        Drafting {
            looks_up: s.method.looks_up(),
            passes: f64::from(s.num_speculative_tokens),
            fixed: d.layers * c.layer_overhead * 1e3,
            weights: d.bytes / tp / rates.weights,
            token: 2.0 * d.params / tp / rates.dense,
            head: d.head_bytes / tp / rates.weights,
            head_row: 2.0 * d.head_params / tp / rates.head,
            kv_token: d.kv_bytes / kv_split / rates.kv,
        }
    }

    fn pass(&self, tokens: f64, rows: f64, context: f64) -> f64 {
        let arithmetic = self.token * tokens + self.head_row * rows;
        self.fixed + (self.weights + self.head).hypot(arithmetic) + self.kv_token * context
    }

    /// Device time of proposing after the step, ns.
    pub(super) fn device(&self, s: &StepShape) -> f64 {
        if self.looks_up {
            return 0.0;
        }
        let rows = f64::from(s.rows());
        let context = s.decode_ctx as f64;
        self.pass(f64::from(s.tokens()), rows, context) + (self.passes - 1.0) * self.pass(rows, rows, context)
    }

    /// Host time of it, ns.
    pub(super) fn host(&self, s: &StepShape) -> f64 {
        if self.looks_up {
            LOOKUP_ROW * f64::from(s.decode_rows) + LOOKUP_TOKEN * s.decode_ctx as f64
        } else {
            PASS_HOST * self.passes
        }
    }
}
