//! How the prompts of a step lie on the ranks of data-parallel attention.

use crate::engine::{AttentionBalance, EngineConfig};
use crate::sim::step::StepShape;

/// Ranks that each attend to requests of their own. TensorRT-LLM's are held to InferenceX's runs; that SGLang's wait likewise is
/// unverified.
#[derive(Debug, Clone, Copy)]
pub(super) struct Dealing {
    ranks: f64,
    /// There is one rank, or prompts wait until each has as many.
    even: bool,
}

impl Dealing {
    pub(super) fn of(config: &EngineConfig) -> Dealing {
        let on = matches!(config.attention_balance, AttentionBalance::On { .. });
        Dealing {
            ranks: f64::from(config.attention_parallel.max(1)),
            even: on || config.attention_parallel <= 1,
        }
    }

    /// How much longer the prompts of a step take than were they spread evenly: each is of one rank, and all wait for the rank
    /// with the most: `ranks × ceil(prompts / ranks) / prompts`.
    pub(super) fn uneven(self, s: &StepShape) -> f64 {
        if self.even {
            return 1.0;
        }
        let prompts = f64::from(s.prefill_rows.max(1));
        let busiest = self.ranks * (prompts / self.ranks).ceil();
        busiest / prompts
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn one_prompt_keeps_eight_ranks_waiting() {
        let of = |prefill_rows, attention_balance| {
            let config = EngineConfig { attention_parallel: 8, attention_balance, ..EngineConfig::default() };
            Dealing::of(&config).uneven(&StepShape { prefill_rows, ..StepShape::default() })
        };
        assert_eq!([0, 1, 8, 12].map(|n| of(n, AttentionBalance::Off)), [8.0, 8.0, 1.0, 16.0 / 12.0]);
        assert_eq!(of(1, AttentionBalance::On { timeout_iters: 50, batching_wait_iters: 10 }), 1.0);
        let plain = Dealing::of(&EngineConfig::default());
        assert_eq!(plain.uneven(&StepShape { prefill_rows: 3, ..StepShape::default() }), 1.0);
    }
}
