//! A candidate's answers against the baseline's.

use super::accuracy::{Accuracy, accuracy};
use super::answers::{Answer, Answers};
use super::outcome::{Outcome, rate};
use crate::stats::{Interval, mean, t_interval};
use serde::{Deserialize, Serialize};

/// A token that the baseline holds less likely than its own by no more than this (natural logarithm) is a tie that
/// rounding may turn: logits of 16 bits have steps of about an eighth.
const TIE: f64 = 0.5;

/// One-sided error probability of each decision.
const ALPHA: f64 = 0.05;

/// What the gate says of one launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Check {
    pub outcome: Outcome,
    /// Largest loss allowed.
    pub margin: f64,
    pub prompts: usize,
    /// Share of the baseline's tokens up to the first that differs.
    pub agreement: f64,
    /// Places that were compared, and prompts at which another token stood than rounding explains.
    pub compared: usize,
    pub differ: usize,
    /// Change of the mean log probability that a token of the baseline's answers has, with its 90 % interval (one-sided
    /// 5 %); its exponential less one is the relative change of a token's probability. Absent without scores.
    pub log_likelihood: Option<Interval>,
    /// Right answers to the user's questions, where some were put.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub accuracy: Option<Accuracy>,
    /// In a sentence.
    pub words: String,
}

/// Compares; `same_distribution` where the candidate promises the baseline's very answers (exact and lossless changes).
pub fn check(baseline: &Answers, candidate: &Answers, margin: f64, same_distribution: bool) -> Check {
    let pairs: Vec<(&Answer, &Answer)> = baseline.answers.iter().zip(&candidate.answers).collect();
    let (mut equal, mut total, mut compared, mut differ) = (0usize, 0usize, 0usize, 0usize);
    for (b, c) in &pairs {
        let first = (0..b.tokens.len()).find(|&i| c.tokens.get(i) != b.tokens.get(i));
        equal += first.unwrap_or(b.tokens.len());
        total += b.tokens.len();
        compared += first.map_or(b.tokens.len(), |i| i + 1);
        differ += usize::from(first.is_some_and(|i| !tie(b, c, i)));
    }
    let log_likelihood = likelihood(&pairs);
    let mut outcomes = Vec::new();
    let limit = (1.0 - margin).ln();
    if let Some(i) = &log_likelihood {
        outcomes.push(decided(i.low > limit, i.high < limit));
    }
    if same_distribution && compared > 0 {
        let (low, high) = rate(differ, compared);
        outcomes.push(decided(high < margin, low > margin));
    }
    let accuracy = accuracy(&baseline.right, &candidate.right, baseline.chance, margin);
    outcomes.extend(accuracy.as_ref().map(|a| a.outcome));
    let outcome = if outcomes.contains(&Outcome::Failed) {
        Outcome::Failed
    } else if outcomes.is_empty() || outcomes.contains(&Outcome::NotDecided) {
        Outcome::NotDecided
    } else {
        Outcome::Passed
    };
    let agreement = if total == 0 { 0.0 } else { equal as f64 / total as f64 };
    let mut check = Check {
        outcome,
        margin,
        prompts: pairs.len(),
        agreement,
        compared,
        differ,
        log_likelihood,
        accuracy,
        words: String::new(),
    };
    check.words = words(&check, candidate.missing.as_deref().or(baseline.missing.as_deref()));
    check
}

fn decided(good: bool, bad: bool) -> Outcome {
    match (good, bad) {
        (true, _) => Outcome::Passed,
        (_, true) => Outcome::Failed,
        _ => Outcome::NotDecided,
    }
}

/// Whether rounding explains that the two go on differently at a place: the baseline holds both tokens about as likely.
/// Where it gives no scores, or an answer ended, nothing explains it.
fn tie(b: &Answer, c: &Answer, at: usize) -> bool {
    let own = b.tokens.get(at).and_then(|t| b.log_prob(at, t));
    let other = c.tokens.get(at).and_then(|t| b.log_prob(at, t));
    own.zip(other).is_some_and(|(x, y)| (x - y).abs() <= TIE)
}

/// Mean over prompts of the change of a token's mean log probability; prompts, not tokens, are independent.
fn likelihood(pairs: &[(&Answer, &Answer)]) -> Option<Interval> {
    let change = |(b, c): &(&Answer, &Answer)| {
        let alike = !b.scored.is_empty() && b.scored.len() == c.scored.len();
        alike.then(|| mean(&c.scored) - mean(&b.scored)).filter(|x| x.is_finite())
    };
    let changes: Vec<f64> = pairs.iter().filter_map(change).collect();
    (changes.len() >= 2).then(|| t_interval(&changes, 2.0 * ALPHA))
}

fn words(c: &Check, missing: Option<&str>) -> String {
    let mut parts = Vec::new();
    if let Some(i) = &c.log_likelihood {
        parts.push(format!(
            "the likelihood of a token of the baseline's answers changes by {:+.2} % ({:+.2} to {:+.2} %, {:.1} % may be lost)",
            100.0 * i.value.exp_m1(),
            100.0 * i.low.exp_m1(),
            100.0 * i.high.exp_m1(),
            100.0 * c.margin
        ));
    }
    if c.compared > 0 {
        parts.push(format!(
            "{:.0} % of the greedy tokens agree up to the first that differs; {} of {} prompts differ by more than rounding",
            100.0 * c.agreement,
            c.differ,
            c.prompts
        ));
    }
    parts.extend(c.accuracy.as_ref().map(Accuracy::words));
    if let Some(why) = missing {
        parts.push(format!("missing: {why}"));
    }
    if parts.is_empty() {
        "the engine gave no answers that can be compared".to_owned()
    } else {
        parts.join("; ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::{RngExt, SeedableRng};
    use rand_chacha::ChaCha8Rng;

    /// Answers of a model whose log probabilities are off by `shift` on average, by `scatter` a prompt, with wrong tokens at
    /// `wrong` prompts.
    fn answers(n: usize, shift: f64, scatter: f64, wrong: usize, seed: u64) -> Answers {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let one = |i: usize| {
            let off = shift + scatter * rng.random_range(-1.7..1.7);
            let tokens = (0..40).map(|t| if i < wrong && t == 5 { "x".into() } else { format!("t{t}") });
            Answer {
                text: String::new(),
                tokens: tokens.collect(),
                top: (0..40).map(|t| vec![(format!("t{t}"), -0.5), ("near".into(), -0.6)]).collect(),
                scored: vec![-1.0 + off; 40],
            }
        };
        Answers { answers: (0..n).map(one).collect(), ..Answers::default() }
    }

    #[test]
    fn a_loss_is_told_from_none_and_too_few_prompts_decide_nothing() {
        let base = answers(64, 0.0, 0.0, 0, 0);
        let verdict = |shift: f64, scatter: f64, n: usize| {
            let of = |s| check(&base, &answers(n, shift, scatter, 0, s), 0.01, false).outcome;
            (0..20).map(of).collect::<Vec<_>>()
        };
        assert!(verdict(0.0, 0.01, 64).iter().all(|o| *o == Outcome::Passed));
        assert!(verdict(-0.05, 0.02, 64).iter().all(|o| *o == Outcome::Failed));
        assert!(verdict(0.0, 0.1, 4).iter().filter(|o| **o == Outcome::NotDecided).count() >= 15);
        // At the margin itself, a pass is the error that alpha allows.
        let passed = (0..400).filter(|s| {
            let c = answers(64, 0.99f64.ln(), 0.02, 0, 1000 + s);
            check(&base, &c, 0.01, false).outcome == Outcome::Passed
        });
        assert!(passed.count() <= 32, "5 % of 400 and its scatter");
    }

    #[test]
    fn a_broken_sampler_shows_in_the_tokens_and_a_tie_does_not() {
        let base = answers(64, 0.0, 0.0, 0, 0);
        assert_eq!(check(&base, &base, 0.01, true).outcome, Outcome::Passed);
        let broken = check(&base, &answers(64, 0.0, 0.0, 64, 1), 0.01, true);
        assert_eq!((broken.outcome, broken.differ), (Outcome::Failed, 64));
        let mut tied = base.clone();
        tied.answers.iter_mut().for_each(|a| a.tokens[5] = "near".into());
        let c = check(&base, &tied, 0.01, true);
        assert_eq!((c.outcome, c.differ), (Outcome::Passed, 0));
        assert_eq!(check(&Answers::default(), &base, 0.01, true).outcome, Outcome::NotDecided);
    }
}
