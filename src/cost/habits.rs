//! What a run does that its scenario does not say: whether requests march in step, and when a closed loop's next one
//! is taken up. Latent variables, inferred in a fit; where nothing tells, a prediction is spread over them.

use crate::launch::EngineKind;
use crate::workload::Lengths;
use serde::{Deserialize, Serialize};

/// When the next request of a closed loop is taken up.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Intake {
    /// With the next step.
    AtOnce,
    /// Only with the completion after, so that one of those in flight always waits. Seen in closed loops of TensorRT-LLM
    /// 1.0's release candidates, and not in later ones.
    WithCompletion,
    /// Once every rank of data-parallel attention has a prompt: TensorRT-LLM's `enable_balance` as InferenceX's scripts set it
    /// (60 iterations at most), where the launch at hand does not say.
    Balanced,
}

/// One reading of what the scenario leaves open.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Habits {
    pub lengths: Lengths,
    pub intake: Intake,
}

impl Habits {
    /// Weight before any measurement. Of groups of closed loops of equal lengths in public data four of four march in step under
    /// SGLang, one of four under vLLM and one of three under TensorRT-LLM, of whose two harnesses the older takes requests up late.
    fn prior(self, engine: EngineKind) -> f64 {
        let in_step = match engine {
            EngineKind::Sglang => 0.8,
            EngineKind::Trtllm => 0.35,
            _ => 0.25,
        };
        let exact = if self.lengths == Lengths::Exact { in_step } else { 1.0 - in_step };
        let held = if self.intake == Intake::WithCompletion { 0.3 } else { 0.7 };
        exact * held
    }
}

/// A reading and how likely it is.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Likely {
    pub habits: Habits,
    pub weight: f64,
}

/// Least weight that a posterior leaves to a reading: the fit's own model is not exact. A hundredth moved values that the
/// readings tell apart by a factor of five by some 6 %.
const LEAST: f64 = 0.001;

/// The posterior of the readings from the cost (sum of squares) of each one's fit; likeliest first.
pub fn posterior(engine: EngineKind, costs: &[(Habits, f64)]) -> Vec<Likely> {
    let best = costs.iter().map(|c| c.1).fold(f64::INFINITY, f64::min);
    let weigh = |(habits, cost): &(Habits, f64)| Likely {
        habits: *habits,
        weight: habits.prior(engine) * (-0.5 * (cost - best)).exp() + LEAST,
    };
    normal(costs.iter().map(weigh).collect())
}

/// The readings of a launch: what a fit found of it, where that covers them, else the prior; likeliest first.
pub fn readings(engine: EngineKind, possible: &[Habits], fitted: &[Likely]) -> Vec<Likely> {
    let known: Vec<Likely> = fitted.iter().filter(|l| possible.contains(&l.habits)).copied().collect();
    if !known.is_empty() {
        return normal(known);
    }
    normal(possible.iter().map(|h| Likely { habits: *h, weight: h.prior(engine) }).collect())
}

fn normal(mut all: Vec<Likely>) -> Vec<Likely> {
    let sum: f64 = all.iter().map(|l| l.weight).sum();
    for l in &mut all {
        l.weight /= sum.max(f64::MIN_POSITIVE);
    }
    all.sort_by(|a, b| b.weight.total_cmp(&a.weight));
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    const SCATTERED: Habits = Habits { lengths: Lengths::Scattered, intake: Intake::AtOnce };
    const EXACT: Habits = Habits { lengths: Lengths::Exact, intake: Intake::AtOnce };

    #[test]
    fn a_clear_fit_decides_and_a_tie_leaves_the_prior() {
        let told = posterior(EngineKind::Vllm, &[(SCATTERED, 80.0), (EXACT, 20.0)]);
        assert_eq!(told[0].habits, EXACT);
        assert!(told[0].weight > 0.95);
        let tie = posterior(EngineKind::Vllm, &[(SCATTERED, 20.0), (EXACT, 20.0)]);
        assert!((tie[0].weight - 0.75).abs() < 0.02 && tie[0].habits == SCATTERED);
        assert_eq!(readings(EngineKind::Vllm, &[EXACT], &tie), [Likely { habits: EXACT, weight: 1.0 }]);
    }
}
