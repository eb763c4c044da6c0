//! The decision on one metric, and on all of them together.

use crate::stats::{Interval, holm, log_ratios, mean, sample_variance, t_critical, t_p_value};
use serde::Serialize;

/// Error probability of a PASS and, over all metrics together, of a FAIL: half of the 5 % that are promised, since it is what
/// the two ends of a 95 % interval leave.
pub(super) const ALPHA: f64 = 0.025;
/// Runs a side below which nothing is decided: from two runs, the scatter is a guess.
pub(super) const FEWEST: usize = 3;
/// Smallest scatter of one run (log scale) that is believed: equal values by chance do not make runs exact.
const NOISE_FLOOR: f64 = 0.002;
/// Most runs a side that are worth asking for.
const MOST_RUNS: usize = 200;

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "UPPERCASE")]
pub enum Verdict {
    Pass,
    Fail,
    Inconclusive,
}

impl Verdict {
    pub fn name(self) -> &'static str {
        match self {
            Verdict::Pass => "PASS",
            Verdict::Fail => "FAIL",
            Verdict::Inconclusive => "INCONCLUSIVE",
        }
    }
}

/// What the runs say of one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Judged {
    /// Relative change of the value from A to B (b / a - 1) with its 95 % interval; unbounded with one run a side.
    pub change: Interval,
    /// Probability of runs like these if B were worse by the limit at most.
    p_fail: f64,
    /// Probability of runs like these if B were worse by the limit at least.
    p_pass: f64,
    /// Runs of the smaller side.
    runs: usize,
    /// Further runs a side until the interval no longer holds the limit, if the estimate stays; `None` where the scatter is
    /// unknown or no sensible number is enough.
    more: Option<usize>,
    /// Each run of A stands beside one of B that served the same requests.
    pub paired: bool,
}

/// The verdict on one metric.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Outcome {
    pub verdict: Verdict,
    /// Further runs a side that would decide; 0 where it is decided.
    pub runs_needed: Option<usize>,
}

/// Compares positive values of A and B; `limit` is the share by which B may be worse (0.05 is 5 %).
///
/// Works on logarithms: a t test of the mean ratio where runs are paired, Welch's test where they are not. `None` when a
/// side has no positive value.
pub fn judge(a: &[f64], b: &[f64], paired: bool, higher_is_better: bool, limit: f64) -> Option<Judged> {
    let logs =
        |v: &[f64]| v.iter().filter(|x| x.is_finite() && **x > 0.0).map(|x| x.ln()).collect::<Vec<_>>();
    let (la, lb) = (logs(a), logs(b));
    if la.is_empty() || lb.is_empty() {
        return None;
    }
    let paired = paired && a.len() == b.len() && la.len() == a.len() && lb.len() == b.len();
    let (estimate, spread) = if paired {
        let ratios = log_ratios(a, b);
        (mean(&ratios), Spread::paired(&ratios))
    } else {
        (mean(&lb) - mean(&la), Spread::apart(&la, &lb))
    };
    // Worse is positive, for throughput as for latency.
    let worse = if higher_is_better { -estimate } else { estimate };
    let bound = if higher_is_better { -(1.0 - limit.min(0.99)).ln() } else { limit.ln_1p() };
    let half = spread.error * t_critical(spread.df, 2.0 * ALPHA);
    let half = if half.is_nan() { f64::INFINITY } else { half };
    let t = (worse - bound) / spread.error;
    Some(Judged {
        change: Interval::around(estimate, half).map(f64::exp_m1),
        p_fail: upper_tail(t, spread.df),
        p_pass: upper_tail(-t, spread.df),
        runs: la.len().min(lb.len()),
        more: spread.more((worse - bound).abs()),
        paired,
    })
}

/// One verdict a metric. FAILs are corrected for the number of metrics (Holm), since among many one looks bad by chance; a
/// PASS needs no correction, since all must pass.
pub fn judge_all(all: &[Judged]) -> Vec<Outcome> {
    let failed = holm(&all.iter().map(|j| j.p_fail).collect::<Vec<_>>(), ALPHA);
    all.iter()
        .zip(failed)
        .map(|(j, failed)| {
            let enough = j.runs >= FEWEST;
            let verdict = match (enough, failed, j.p_pass <= ALPHA) {
                (true, true, _) => Verdict::Fail,
                (true, false, true) => Verdict::Pass,
                _ => Verdict::Inconclusive,
            };
            let runs_needed = match verdict {
                Verdict::Inconclusive => {
                    j.more.map(|m| m.max(1)).or((!enough && j.runs < 2).then(|| FEWEST - j.runs))
                }
                _ => Some(0),
            };
            Outcome { verdict, runs_needed }
        })
        .collect()
}

/// P(T > t) with `df` degrees of freedom; 1/2 when there are none, which decides nothing.
fn upper_tail(t: f64, df: f64) -> f64 {
    if df <= 0.0 || t.is_nan() {
        return 0.5;
    }
    let two_sided = t_p_value(t, df);
    if t > 0.0 { two_sided / 2.0 } else { 1.0 - two_sided / 2.0 }
}

/// Standard error of the estimate, its degrees of freedom, and what one more run brings.
struct Spread {
    error: f64,
    df: f64,
    /// Variance that `n` runs a side divide by `n`, and degrees of freedom that each run brings.
    variance: f64,
    df_a_run: f64,
    runs: usize,
}

impl Spread {
    fn paired(ratios: &[f64]) -> Spread {
        let n = ratios.len();
        let floor = 2.0 * NOISE_FLOOR.powi(2);
        let variance = sample_variance(ratios).max(floor);
        let df = n as f64 - 1.0;
        Spread { error: (variance / n as f64).sqrt(), df, variance, df_a_run: 1.0, runs: n }
    }

    /// Welch: each side has its own scatter.
    fn apart(a: &[f64], b: &[f64]) -> Spread {
        let floor = NOISE_FLOOR.powi(2);
        let part = |v: &[f64]| (sample_variance(v).max(floor), v.len() as f64);
        let ((va, na), (vb, nb)) = (part(a), part(b));
        let (ea, eb) = (va / na, vb / nb);
        let df = if a.len() < 2 || b.len() < 2 {
            0.0
        } else {
            (ea + eb).powi(2) / (ea.powi(2) / (na - 1.0) + eb.powi(2) / (nb - 1.0))
        };
        Spread { error: (ea + eb).sqrt(), df, variance: va + vb, df_a_run: 2.0, runs: a.len().min(b.len()) }
    }

    fn more(&self, distance: f64) -> Option<usize> {
        if self.df <= 0.0 {
            return None;
        }
        (FEWEST..=MOST_RUNS)
            .find(|&n| {
                let df = self.df_a_run * (n as f64 - 1.0);
                t_critical(df, 2.0 * ALPHA) * (self.variance / n as f64).sqrt() <= distance
            })
            .map(|n| n.saturating_sub(self.runs))
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    const LIMIT: f64 = 0.05;

    fn one(a: &[f64], b: &[f64]) -> Outcome {
        judge_all(&[judge(a, b, false, true, LIMIT).unwrap()])[0]
    }

    #[test]
    fn clear_cases_are_told() {
        let a = [100.0, 101.0, 99.0, 100.5];
        let scaled = |f: f64| a.map(|x| x * f);
        assert_eq!(one(&a, &scaled(1.0)).verdict, Verdict::Pass);
        assert_eq!(one(&a, &scaled(1.3)).verdict, Verdict::Pass, "better is not worse");
        assert_eq!(one(&a, &scaled(0.8)).verdict, Verdict::Fail);
        let latency = judge(&a, &scaled(1.2), false, false, LIMIT).unwrap();
        assert_eq!(judge_all(&[latency])[0].verdict, Verdict::Fail, "more time is worse");
        assert!(judge(&[0.0], &a, false, true, LIMIT).is_none());
    }

    #[test]
    fn one_or_two_runs_decide_nothing() {
        for f in [1.0, 0.5, 2.0] {
            let o = one(&[100.0], &[100.0 * f]);
            assert_eq!((o.verdict, o.runs_needed), (Verdict::Inconclusive, Some(2)));
            let o = one(&[100.0, 100.1], &[100.0 * f, 100.2 * f]);
            assert_eq!(o.verdict, Verdict::Inconclusive);
            assert_eq!(o.runs_needed, Some(1));
        }
        assert!(judge(&[1.0], &[2.0], false, true, LIMIT).unwrap().change.high.is_infinite());
    }

    /// Runs of one pair of commands: five metrics, `n` runs a side with 3 % scatter each, B worse by `truth` in all.
    fn drawn(rng: &mut ChaCha8Rng, n: usize, truth: f64, paired: bool) -> Vec<Outcome> {
        let noise = Normal::new(0.0f64, 0.03).unwrap();
        let shared = Normal::new(0.0f64, 0.05).unwrap();
        let all: Vec<Judged> = (0..5)
            .map(|metric| {
                // A pair shares its requests, so what they bring is common to both.
                let common: Vec<f64> =
                    (0..n).map(|_| if paired { shared.sample(rng) } else { 0.0 }).collect();
                let higher = metric % 2 == 0;
                let factor: f64 = if higher { 1.0 - truth } else { 1.0 + truth };
                let mut side = |f: f64| -> Vec<f64> {
                    common.iter().map(|c| 100.0 * f * (c + noise.sample(rng)).exp()).collect()
                };
                let (a, b) = (side(1.0), side(factor));
                judge(&a, &b, paired, higher, LIMIT).unwrap()
            })
            .collect();
        judge_all(&all)
    }

    fn overall(all: &[Outcome]) -> Verdict {
        if all.iter().any(|o| o.verdict == Verdict::Fail) {
            Verdict::Fail
        } else if all.iter().all(|o| o.verdict == Verdict::Pass) {
            Verdict::Pass
        } else {
            Verdict::Inconclusive
        }
    }

    /// 200 pairs of commands with a known truth, of each kind. The hardest truths are those at the limit itself: B worse by
    /// exactly 5 % must not be called FAIL (it is not worse by more), and by a hair more must not be called PASS.
    #[test]
    fn two_hundred_pairs_with_a_known_truth() {
        for paired in [false, true] {
            let mut rng = ChaCha8Rng::seed_from_u64(20261125);
            let mut count = |n: usize, truth: f64, wrong: Verdict| {
                (0..200).filter(|_| overall(&drawn(&mut rng, n, truth, paired)) == wrong).count()
            };
            for n in [3, 5, 8] {
                // B as good as A, and B at the limit: a FAIL is false.
                for truth in [0.0, LIMIT] {
                    let failed = count(n, truth, Verdict::Fail);
                    assert!(failed <= 10, "{failed} of 200 false FAIL, {n} runs, {truth}, paired {paired}");
                }
                // B worse than the limit in everything: a PASS is false.
                for truth in [LIMIT, 0.08, 0.2] {
                    let passed = count(n, truth, Verdict::Pass);
                    assert!(passed <= 10, "{passed} of 200 false PASS, {n} runs, {truth}, paired {paired}");
                }
            }
            // At two runs nothing is guessed, whatever the truth is.
            for truth in [0.0, 0.05, 0.5] {
                assert_eq!(count(2, truth, Verdict::Inconclusive), 200, "paired {paired}");
            }
            // And it is not for ever undecided: with eight runs most clear cases are told.
            let (passed, failed) = (count(16, 0.0, Verdict::Pass), count(8, 0.2, Verdict::Fail));
            assert!(passed > 150 && failed > 190, "{passed} {failed} of 200, paired {paired}");
        }
    }

    /// A single metric, not helped by the others: the share of false verdicts of each kind alone.
    #[test]
    fn a_single_metric_at_the_limit_is_seldom_wrong() {
        let mut rng = ChaCha8Rng::seed_from_u64(7);
        let noise = Normal::new(0.0f64, 0.03).unwrap();
        let mut wrong = [0, 0];
        for _ in 0..4000 {
            let mut side =
                |f: f64| -> Vec<f64> { (0..4).map(|_| f * noise.sample(&mut rng).exp()).collect() };
            let (a, b) = (side(1.0), side(1.0 - LIMIT));
            match one(&a, &b).verdict {
                Verdict::Fail => wrong[0] += 1,
                Verdict::Pass => wrong[1] += 1,
                Verdict::Inconclusive => {}
            }
        }
        assert!(wrong.iter().all(|w| *w < 130), "{wrong:?} of 4000 at 2.5 % each");
    }

    #[test]
    fn the_runs_asked_for_decide() {
        // The estimate lies 3 points from the limit with 3 % scatter: told what is needed, that many suffice in most cases.
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let noise = Normal::new(0.0f64, 0.03).unwrap();
        let mut side =
            |n: usize| -> Vec<f64> { (0..n).map(|_| 100.0 * noise.sample(&mut rng).exp()).collect() };
        let mut asked = Vec::new();
        for _ in 0..50 {
            let o = one(&side(4), &side(4));
            if let (Verdict::Inconclusive, Some(n)) = (o.verdict, o.runs_needed) {
                asked.push(n);
            }
        }
        asked.sort_unstable();
        let middle = asked[asked.len() / 2];
        assert!((1..40).contains(&middle), "{asked:?}");
        let told =
            (0..50).filter(|_| one(&side(4 + middle), &side(4 + middle)).verdict == Verdict::Pass).count();
        assert!(told >= 25, "{told} of 50 with {middle} more");
    }
}
