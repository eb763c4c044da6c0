//! Paired accuracy: the same questions put to the baseline and to a candidate.

use super::outcome::{Outcome, rate};
use crate::stats::Interval;
use serde::{Deserialize, Serialize};

/// Normal quantile of one-sided 5 %.
const Z: f64 = 1.645;

/// How a candidate answers questions whose answers are known, beside the baseline.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Accuracy {
    pub questions: usize,
    /// Shares of right answers.
    pub baseline: f64,
    pub candidate: f64,
    /// Questions that the baseline alone, and that the candidate alone, answers rightly.
    pub lost: usize,
    pub gained: usize,
    /// Change of the share of right answers, in questions per question, with Tango's score interval for paired proportions
    /// (90 %: one-sided 5 %).
    pub change: Interval,
    /// Largest loss of that share that is allowed: the margin times the baseline's share.
    pub allowed: f64,
    pub outcome: Outcome,
}

/// Compares what both answered rightly, in the order of the questions; `chance` is the share that a guess answers rightly. `None`
/// where there are no common questions.
pub(super) fn accuracy(baseline: &[bool], candidate: &[bool], chance: f64, margin: f64) -> Option<Accuracy> {
    let pairs: Vec<(bool, bool)> = baseline.iter().copied().zip(candidate.iter().copied()).collect();
    let n = pairs.len();
    if n == 0 || baseline.len() != candidate.len() {
        return None;
    }
    let count = |f: fn(&(bool, bool)) -> bool| pairs.iter().filter(|p| f(p)).count();
    let (lost, gained) = (count(|p| p.0 && !p.1), count(|p| !p.0 && p.1));
    let share = |hits: usize| hits as f64 / n as f64;
    let (own, other) = (share(count(|p| p.0)), share(count(|p| p.1)));
    let (low, high) = change(lost, gained, n);
    let allowed = margin * own;
    // Where the baseline itself does no better than a guess, nothing can be lost and nothing is shown.
    let able = rate(count(|p| p.0), n).0 > chance;
    let outcome = match (low > -allowed, high < -allowed) {
        _ if !able => Outcome::NotDecided,
        (true, _) => Outcome::Passed,
        (_, true) => Outcome::Failed,
        _ => Outcome::NotDecided,
    };
    let change = Interval { value: other - own, low, high };
    Some(Accuracy { questions: n, baseline: own, candidate: other, lost, gained, change, allowed, outcome })
}

impl Accuracy {
    pub(super) fn words(&self) -> String {
        let percent = |x: f64| format!("{:.1}", 100.0 * x);
        format!(
            "{} % of {} questions are answered rightly, by the baseline {} % ({} lost, {} gained; change {:+.1} to {:+.1} points, \
             {:.1} may be lost)",
            percent(self.candidate),
            self.questions,
            percent(self.baseline),
            self.lost,
            self.gained,
            100.0 * self.change.low,
            100.0 * self.change.high,
            100.0 * self.allowed
        )
    }
}

/// Bounds of the change of a paired proportion, each with a one-sided error of 5 %: the changes that Tango's score test (Statistics
/// in Medicine 17, 1998) does not reject. Unlike the difference over its standard error it holds where no pair differs.
fn change(lost: usize, gained: usize, n: usize) -> (f64, f64) {
    let (b, c, n) = (gained as f64, lost as f64, n as f64);
    let score = |d: f64| {
        // Maximum-likelihood share of lost questions if the change were `d`.
        let linear = -b - c + (2.0 * n - b + c) * d;
        let q = ((linear * linear + 8.0 * n * c * d * (1.0 - d)).max(0.0).sqrt() - linear) / (4.0 * n);
        let variance = (n * (2.0 * q + d * (1.0 - d))).max(1e-12);
        (b - c - n * d) / variance.sqrt()
    };
    // The score falls with the change.
    let solve = |wanted: f64| {
        let (mut low, mut high) = (-1.0 + 1e-9, 1.0 - 1e-9);
        for _ in 0..60 {
            let middle = f64::midpoint(low, high);
            if score(middle) > wanted { low = middle } else { high = middle }
        }
        f64::midpoint(low, high)
    };
    (solve(Z), solve(-Z))
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    #[test]
    fn the_interval_is_the_published_one() {
        // Tango's example (crossover trial of soft contact lenses): 44 pairs, 1 against 0, and its 95 % interval of
        // -0.027 to 0.118; here by the quantile of 90 %, narrower by about 1.645 / 1.96.
        let (low, high) = change(0, 1, 44);
        assert!((-0.05..-0.02).contains(&low) && (0.08..0.12).contains(&high), "{low} {high}");
        // No pair differs: as Wilson's bound of a share of none, z^2 / (n + z^2).
        let (low, high) = change(0, 0, 100);
        let bound = Z * Z / (100.0 + Z * Z);
        assert!((low + bound).abs() < 1e-6 && (high - bound).abs() < 1e-6, "{low} {high}");
    }

    /// Answers to `n` questions, `p` of them right, and a candidate that loses a share and gains another.
    fn drawn(n: usize, p: f64, lose: f64, gain: f64, seed: u64) -> (Vec<bool>, Vec<bool>) {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let one = |_| {
            let right = rng.random_bool(p);
            let turned = rng.random_bool(if right { lose } else { gain });
            (right, right != turned)
        };
        (0..n).map(one).unzip()
    }

    #[test]
    fn a_loss_is_told_from_none_few_questions_decide_nothing_and_a_guessing_baseline_neither() {
        let outcome = |n, p, lose, gain, seed| {
            let (b, c) = drawn(n, p, lose, gain, seed);
            accuracy(&b, &c, 0.1, 0.05).unwrap().outcome
        };
        assert!((0..20).all(|s| outcome(1000, 0.6, 0.02, 0.03, s) == Outcome::Passed));
        assert!((0..20).all(|s| outcome(1000, 0.6, 0.25, 0.02, s) == Outcome::Failed));
        let open = (0..20).filter(|s| outcome(20, 0.6, 0.1, 0.1, *s) == Outcome::NotDecided).count();
        assert!(open >= 15, "{open}");
        assert!(
            (0..20).all(|s| outcome(100, 0.08, 0.0, 0.0, s) == Outcome::NotDecided),
            "no better than a guess"
        );
        // At the margin itself (3 of 60 points) a pass is the error that alpha allows: 5 % of 400 and its scatter.
        let passed = (0..400).filter(|s| outcome(600, 0.6, 0.07, 0.03, 1000 + s) == Outcome::Passed).count();
        assert!(passed <= 34, "{passed}");
        assert!(accuracy(&[true], &[], 0.0, 0.01).is_none());
    }
}
