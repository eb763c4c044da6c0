//! The same launch otherwise: readings of what its scenario leaves open, bounds of its acceptance, without speculation.

use super::super::habits::{Habits, Intake};
use super::super::{Coefficients, payoff};
use super::Setup;
use crate::engine::{AttentionBalance, EngineConfig};
use crate::launch::{EngineKind, Version};
use crate::workload::{Lengths, RequestShape};

impl Setup {
    /// This launch with its acceptance of speculated tokens at the lower and the upper bound; `None` without speculation.
    pub(in super::super) fn acceptance_bounds(&self) -> Option<[Setup; 2]> {
        let s = self.config.speculative.as_ref()?;
        Some([false, true].map(|high| {
            let config = EngineConfig { speculative: Some(s.bound(high)), ..self.config.clone() };
            Setup { config, ..self.clone() }
        }))
    }

    /// Where speculation stops to pay, at the context of the mean request; `None` without speculation.
    pub fn payoff(&self, c: &Coefficients) -> Option<payoff::Payoff> {
        let s = self.config.speculative.as_ref()?;
        let plain = self.unspeculated();
        let n = self.requests.len().max(1) as u64;
        let tokens = |r: &RequestShape| u64::from(r.input_tokens) + u64::from(r.output_tokens) / 2;
        let context = (self.requests.iter().map(tokens).sum::<u64>() / n) as u32;
        let overlap = (self.config.overlap, plain.config.overlap);
        let most = self.config.max_num_seqs.max(plain.config.max_num_seqs);
        Some(payoff::payoff(s, &self.physical(c), &plain.physical(c), overlap, context, most))
    }

    /// The same launch without speculation; whether its host would work ahead then is the engine's default.
    fn unspeculated(&self) -> Setup {
        let config = EngineConfig {
            speculative: None,
            overlap: self.config.overlap || self.config.speculative.as_ref().is_some_and(|s| s.held_up_host),
            ..self.config.clone()
        };
        Setup { config, ..self.clone() }
    }

    /// The habits that this launch may have as far as its scenario tells; its own ones where that says all.
    pub fn possible_habits(&self) -> Vec<Habits> {
        let lengths = match self.readings {
            Some(_) => vec![Lengths::Scattered, Lengths::Exact],
            None => vec![self.habits.lengths],
        };
        let old = self.config.engine == EngineKind::Trtllm && self.config.version < Version(1, 1, 0);
        let may_hold = old && self.concurrency.is_some_and(|n| n > 1);
        let untold =
            self.config.attention_parallel > 1 && self.config.attention_balance == AttentionBalance::Untold;
        let intakes = match (untold, may_hold) {
            (true, _) => &[Intake::AtOnce, Intake::Balanced][..],
            (false, true) => &[Intake::AtOnce, Intake::WithCompletion],
            (false, false) => &[Intake::AtOnce],
        };
        let of = |l: &Lengths| intakes.iter().map(|i| Habits { lengths: *l, intake: *i }).collect::<Vec<_>>();
        lengths.iter().flat_map(of).collect()
    }

    /// This launch with other habits.
    #[must_use]
    pub fn with_habits(&self, habits: Habits) -> Setup {
        let mut s = Setup { habits, ..self.clone() };
        if let Some(r) = &self.readings {
            s.requests = match habits.lengths {
                Lengths::Exact => r.0.clone(),
                Lengths::Scattered => r.1.clone(),
            };
        }
        s
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::cost::Catalogs;
    use std::collections::BTreeSet;

    fn intakes(version: &str, flags: &str) -> Vec<Intake> {
        let command = format!("trtllm-serve deepseek-ai/DeepSeek-R1 --tp_size 8 --ep_size 8 {flags}");
        let record = serde_json::from_value(serde_json::json!({
            "engine": "trtllm", "engine_version": version, "hardware": "h200-sxm-141gb", "serve_command": command,
            "workload": { "dataset": "random", "input_len": 1024, "output_len": 64, "num_prompts": 64,
                          "max_concurrency": 32, "seed": 1 }
        }))
        .unwrap();
        let setup = Setup::new(&record, &Catalogs::load(None).unwrap()).unwrap();
        // Each stands once for every reading of the lengths.
        setup.possible_habits().into_iter().map(|h| h.intake).collect::<BTreeSet<_>>().into_iter().collect()
    }

    #[test]
    fn prompts_may_wait_for_ranks_where_nothing_is_said_of_it() {
        assert_eq!(intakes("1.2.0", "--enable_attention_dp false"), [Intake::AtOnce]);
        assert_eq!(intakes("1.2.0", "--enable_attention_dp true"), [Intake::AtOnce, Intake::Balanced]);
        let told = "--enable_attention_dp true --attention_dp_config.enable_balance false";
        assert_eq!(intakes("1.2.0", told), [Intake::AtOnce]);
        assert_eq!(intakes("1.0.0", "--enable_attention_dp false"), [Intake::AtOnce, Intake::WithCompletion]);
    }
}
