//! Paired comparison of two configurations measured in turns (A B A B …).
//!
//! Each pair shares its seed, so that both sides served the same requests, and its time, so that a drift
//! of the machine (heat, clocks, neighbours) falls on both. What is estimated is the mean of the log
//! ratios `ln(b_i / a_i)`; its exponential is the ratio of geometric means.

use super::interval::{Interval, sample_variance, t_critical, t_interval};
use super::{mean, quantile_sorted};
use rand::RngExt;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

/// t interval of the ratio `b / a` from paired positive measurements, by log ratios at confidence
/// `1 - alpha`. Pairs with a value that is not positive are left out; `None` when none is left.
pub fn paired_ratio(a: &[f64], b: &[f64], alpha: f64) -> Option<Interval> {
    let logs = log_ratios(a, b);
    (!logs.is_empty()).then(|| t_interval(&logs, alpha).map(f64::exp))
}

/// Percentile bootstrap interval of the ratio `b / a` over pairs: `draws` resamples of whole pairs, mean
/// log ratio of each, quantiles `alpha/2` and `1 - alpha/2`. With fewer than about eight pairs it is
/// too narrow; the t interval is then the one to quote.
pub fn paired_bootstrap(a: &[f64], b: &[f64], alpha: f64, draws: usize, seed: u64) -> Option<Interval> {
    let logs = log_ratios(a, b);
    let n = logs.len();
    if n == 0 || draws == 0 {
        return None;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let mut means: Vec<f64> =
        (0..draws).map(|_| (0..n).map(|_| logs[rng.random_range(0..n)]).sum::<f64>() / n as f64).collect();
    means.sort_by(f64::total_cmp);
    let value = logs.iter().sum::<f64>() / n as f64;
    let (low, high) = (quantile_sorted(&means, alpha / 2.0), quantile_sorted(&means, 1.0 - alpha / 2.0));
    Some(Interval { value, low: low.min(value), high: high.max(value) }.map(f64::exp))
}

/// Logs of the ratios of the pairs in which both values are positive and finite.
pub fn log_ratios(a: &[f64], b: &[f64]) -> Vec<f64> {
    let usable = |x: f64| x.is_finite() && x > 0.0;
    a.iter().zip(b).filter(|(x, y)| usable(**x) && usable(**y)).map(|(x, y)| (y / x).ln()).collect()
}

/// Pairs needed until the half width of the interval falls to `target` (on the log scale), judged from
/// the spread of the pairs seen so far; `None` when fewer than two are there.
pub fn pairs_needed(logs: &[f64], target: f64, alpha: f64, most: usize) -> Option<usize> {
    if logs.len() < 2 || target <= 0.0 {
        return None;
    }
    let s = sample_variance(logs).sqrt();
    (2..=most).find(|&n| t_critical((n - 1) as f64, alpha) * s / (n as f64).sqrt() <= target)
}

/// Student's interval of the mean of the pairs. `noise` (standard deviation of a launch, log scale, and the degrees of
/// freedom behind it) is what other launches tell of the machine: pooled with the scatter of the pairs, where two or three
/// pairs alone would say next to nothing of it.
pub fn pooled_interval(pairs: &[f64], noise: Option<(f64, f64)>, alpha: f64) -> Interval {
    let Some((sigma, df)) = noise.filter(|(_, df)| *df > 0.0) else { return t_interval(pairs, alpha) };
    let own = pairs.len() as f64 - 1.0;
    // The difference of two launches scatters by twice the variance of one.
    let variance = (df * 2.0 * sigma * sigma + own * sample_variance(pairs)) / (df + own);
    Interval::around(mean(pairs), t_critical(df + own, alpha) * (variance / pairs.len() as f64).sqrt())
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand_distr::{Distribution, Normal};

    #[test]
    fn a_known_ratio_is_found() {
        let a = [100.0, 102.0, 98.0, 101.0];
        let b: Vec<f64> = a.iter().map(|x| x * 1.25).collect();
        let i = paired_ratio(&a, &b, 0.05).unwrap();
        assert!((i.value - 1.25).abs() < 1e-12 && i.excludes(1.0));
        assert_eq!(paired_ratio(&[0.0], &[1.0], 0.05), None);
    }

    #[test]
    fn bootstrap_depends_on_its_seed_alone() {
        let a = [10.0, 11.0, 9.5, 10.2, 10.4, 9.9, 10.1, 10.3];
        let b = [10.5, 11.2, 10.1, 10.4, 10.9, 10.6, 10.2, 10.8];
        let x = paired_bootstrap(&a, &b, 0.05, 2000, 7).unwrap();
        assert_eq!(x, paired_bootstrap(&a, &b, 0.05, 2000, 7).unwrap());
        assert!(x.low <= x.value && x.value <= x.high && x.excludes(1.0));
    }

    #[test]
    fn the_t_interval_covers_as_often_as_it_says() {
        // 1,000 experiments of 4 pairs with a true ratio of 1.03 and 2 % noise a run: 95 % ± 2 % cover.
        let mut rng = ChaCha8Rng::seed_from_u64(11);
        let noise = Normal::new(0.0f64, 0.02).unwrap();
        let covered = (0..1000)
            .filter(|_| {
                let a: Vec<f64> = (0..4).map(|_| 100.0 * noise.sample(&mut rng).exp()).collect();
                let b: Vec<f64> = (0..4).map(|_| 103.0 * noise.sample(&mut rng).exp()).collect();
                !paired_ratio(&a, &b, 0.05).unwrap().excludes(1.03)
            })
            .count();
        assert!((930..=970).contains(&covered), "{covered}");
    }

    #[test]
    fn the_needed_pairs_grow_with_the_precision_asked_for() {
        let logs = [0.01, 0.03, 0.02, 0.025];
        let coarse = pairs_needed(&logs, 0.02, 0.05, 100).unwrap();
        let fine = pairs_needed(&logs, 0.004, 0.05, 100).unwrap();
        assert!(coarse < fine, "{coarse} {fine}");
        assert_eq!(pairs_needed(&logs[..1], 0.01, 0.05, 100), None);
    }
}
