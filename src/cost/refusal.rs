//! Why an engine would refuse a launch, by arithmetic alone.

use crate::launch::EngineKind;
use crate::units::Bytes;
use std::fmt;

/// One reason for which a launch would be refused.
///
/// `certain`: it would be refused even if the reserves were over-estimated by [`RESERVE_ERROR`].
#[derive(Debug, Clone, PartialEq)]
pub enum Refusal {
    /// Attention heads cannot be split over the ranks.
    HeadsDoNotSplit { heads: u32, tensor_parallel: u32 },
    /// The engine has no kernels for so old a GPU (compute capability as major*10+minor).
    GpuTooOld { engine: EngineKind, capability: u32, least: u32 },
    /// A width cannot be divided over the ranks: FP8 scales lie over whole blocks.
    DoesNotDivide { why: String },
    /// The token budget of a step is below the number of sequences: vLLM's configuration check refuses it.
    BudgetBelowSequences { max_num_batched_tokens: u32, max_num_seqs: u32 },
    /// Weights alone fill what the engine may use of each device.
    WeightsTooLarge { weights: Bytes, budget: Bytes },
    /// Weights and activations leave nothing for the KV cache.
    NoKvRoom { weights: Bytes, activations: Bytes, budget: Bytes, certain: bool },
    /// One request of the full context does not fit into the KV cache: vLLM refuses it.
    ContextTooLong { max_model_len: u32, kv_tokens: u64, certain: bool },
    /// vLLM 0.9 and 0.10: it starts where FlashInfer samples, and not where PyTorch sorts the vocabulary, which keeps `sort` more.
    OnlyWithFlashinfer { sort: Bytes },
}

/// Share of a device's memory by which the reserves for activations, graphs and the runtime may be over-estimated: of
/// the launches in `tests/kv-pool-launches.csv` 98 of 100 have at most 1.3 % more room than estimated.
pub const RESERVE_ERROR: f64 = 0.03;

impl Refusal {
    /// True when the launch will not start; false when the estimate is too near to tell, so that it may.
    ///
    /// `doctor`, `predict` and the search all ask this.
    pub fn fatal(&self) -> bool {
        match self {
            Refusal::NoKvRoom { certain, .. } | Refusal::ContextTooLong { certain, .. } => *certain,
            Refusal::OnlyWithFlashinfer { .. } => false,
            _ => true,
        }
    }

    /// The KV cache is too small.
    pub(super) fn of_cache(&self) -> bool {
        matches!(self, Refusal::NoKvRoom { .. } | Refusal::ContextTooLong { .. })
    }
}

impl fmt::Display for Refusal {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        if let Refusal::OnlyWithFlashinfer { sort } = self {
            return write!(
                f,
                "starts only where FlashInfer samples (vLLM's image of this release has it; its package alone does not): PyTorch's \
                 sampler sorts the vocabulary and keeps {sort} more, which leaves too little for the cache"
            );
        }
        if !self.fatal() {
            let share = 100.0 * RESERVE_ERROR;
            write!(
                f,
                "may not start, which is nearer than this estimate can tell ({share:.0} % of a device's memory): "
            )?;
        }
        match self {
            Refusal::HeadsDoNotSplit { heads, tensor_parallel } => {
                write!(
                    f,
                    "{heads} attention heads cannot be split over tensor parallelism of {tensor_parallel}"
                )
            }
            Refusal::GpuTooOld { engine, capability, least } => write!(
                f,
                "{engine} needs compute capability {}.{}, and this GPU has {}.{}",
                least / 10,
                least % 10,
                capability / 10,
                capability % 10
            ),
            Refusal::DoesNotDivide { why } => f.write_str(why),
            Refusal::BudgetBelowSequences { max_num_batched_tokens, max_num_seqs } => {
                write!(
                    f,
                    "max_num_batched_tokens ({max_num_batched_tokens}) is below max_num_seqs ({max_num_seqs})"
                )
            }
            Refusal::WeightsTooLarge { weights, budget } => {
                write!(f, "weights need {weights} on each device, of {budget} that the engine may use")
            }
            Refusal::NoKvRoom { weights, activations, budget, .. } => write!(
                f,
                "no room for KV: weights {weights} and activations {activations} fill the {budget} that the engine may use"
            ),
            Refusal::ContextTooLong { max_model_len, kv_tokens, .. } => write!(
                f,
                "max_model_len {max_model_len} needs more KV than the {kv_tokens} tokens that fit; lower it to start"
            ),
            Refusal::OnlyWithFlashinfer { .. } => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_context_near_the_estimate_may_start_and_one_far_beyond_does_not() {
        let context = |certain| Refusal::ContextTooLong { max_model_len: 10_000, kv_tokens: 7, certain };
        assert!(!context(false).fatal() && context(true).fatal());
        assert!(Refusal::HeadsDoNotSplit { heads: 6, tensor_parallel: 4 }.fatal());
        assert!(context(true).to_string().starts_with("max_model_len 10000"));
        assert!(context(false).to_string().starts_with("may not start"));
    }
}
