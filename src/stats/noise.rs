//! Run-to-run noise, pooled over everything that was measured more than once.

use super::interval::{Interval, t_critical, t_p_value};

/// Noise of one measurement on the log scale, pooled from groups of repeats.
///
/// Each group holds measurements of the same thing (same candidate, same workload, same seed). Its
/// squared deviations and `n - 1` degrees of freedom are added up: σ² = Σ Σ (x - mean)² / Σ (n - 1).
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct PooledNoise {
    sum_squares: f64,
    df: f64,
    floor: f64,
}

impl PooledNoise {
    /// `floor` is the smallest σ that is believed: a few equal values by chance do not make a run exact.
    pub fn with_floor(floor: f64) -> PooledNoise {
        PooledNoise { floor, ..PooledNoise::default() }
    }

    pub fn add_group(&mut self, logs: &[f64]) {
        if logs.len() < 2 {
            return;
        }
        let m = super::mean(logs);
        self.sum_squares += logs.iter().map(|x| (x - m).powi(2)).sum::<f64>();
        self.df += (logs.len() - 1) as f64;
    }

    /// Adds a sum of squared deviations that was formed elsewhere, with its degrees of freedom.
    pub fn add_squares(&mut self, squares: f64, df: f64) {
        self.sum_squares += squares;
        self.df += df;
    }

    /// Degrees of freedom behind the estimate.
    pub fn df(&self) -> f64 {
        self.df
    }

    /// Standard deviation of one measurement (log scale, so about a relative error); `None` when nothing
    /// was repeated.
    pub fn sigma(&self) -> Option<f64> {
        (self.df > 0.0).then(|| (self.sum_squares / self.df).sqrt().max(self.floor))
    }

    /// Interval of a difference of means of `n_a` and `n_b` measurements at confidence `1 - alpha`;
    /// unbounded when the noise is unknown.
    pub fn difference(&self, value: f64, n_a: usize, n_b: usize, alpha: f64) -> Interval {
        let half = self.standard_error(n_a, n_b).map_or(f64::INFINITY, |se| se * t_critical(self.df, alpha));
        Interval::around(value, half)
    }

    /// Two-sided p value of that difference under "no effect".
    pub fn p_value(&self, value: f64, n_a: usize, n_b: usize) -> f64 {
        self.standard_error(n_a, n_b).map_or(1.0, |se| t_p_value(value / se, self.df))
    }

    fn standard_error(&self, n_a: usize, n_b: usize) -> Option<f64> {
        if n_a == 0 || n_b == 0 {
            return None;
        }
        self.sigma().map(|s| s * (1.0 / n_a as f64 + 1.0 / n_b as f64).sqrt())
    }
}

/// Holm's step-down correction for many comparisons: which hypotheses are rejected so that the chance of
/// any false rejection stays at `alpha`.
pub fn holm(p_values: &[f64], alpha: f64) -> Vec<bool> {
    let mut order: Vec<usize> = (0..p_values.len()).collect();
    order.sort_by(|&i, &j| p_values[i].total_cmp(&p_values[j]));
    let mut rejected = vec![false; p_values.len()];
    for (rank, &i) in order.iter().enumerate() {
        if p_values[i] > alpha / (p_values.len() - rank) as f64 {
            break;
        }
        rejected[i] = true;
    }
    rejected
}

#[cfg(test)]
mod tests {
    use super::*;
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    #[test]
    fn groups_pool_by_degrees_of_freedom() {
        let mut n = PooledNoise::default();
        assert_eq!(n.sigma(), None);
        n.add_group(&[1.0]);
        assert_eq!(n.sigma(), None);
        n.add_group(&[1.0, 3.0]); // squares 2, df 1
        n.add_group(&[0.0, 0.0, 3.0]); // squares 6, df 2
        assert!((n.sigma().unwrap() - (8.0f64 / 3.0).sqrt()).abs() < 1e-12);
        assert!(!n.difference(1.0, 1, 1, 0.05).excludes(0.0));
        assert!(n.difference(100.0, 1, 1, 0.05).excludes(0.0));
    }

    #[test]
    fn a_lucky_tie_does_not_make_runs_exact() {
        let mut n = PooledNoise::with_floor(0.002);
        n.add_group(&[1.0, 1.0]);
        assert_eq!(n.sigma(), Some(0.002));
    }

    #[test]
    fn without_an_effect_few_are_called_significant() {
        // 400 campaigns of 12 flags without effect: Holm calls any significant in about 5 % of them.
        let mut rng = ChaCha8Rng::seed_from_u64(5);
        let noise = Normal::new(0.0f64, 0.01).unwrap();
        let mut draw = |n: usize| (0..n).map(|_| noise.sample(&mut rng)).collect::<Vec<_>>();
        let false_alarms = (0..400)
            .filter(|_| {
                let base = draw(6);
                let mut pooled = PooledNoise::default();
                pooled.add_group(&base);
                let p: Vec<f64> = draw(12)
                    .iter()
                    .map(|x| pooled.p_value(x - super::super::mean(&base), 1, base.len()))
                    .collect();
                holm(&p, 0.05).contains(&true)
            })
            .count();
        assert!(false_alarms < 36, "{false_alarms} of 400");
    }

    #[test]
    fn holm_steps_down() {
        assert_eq!(holm(&[0.01, 0.04, 0.03], 0.05), vec![true, false, false]);
        assert_eq!(holm(&[0.01, 0.02, 0.03], 0.05), vec![true, true, true]);
        assert!(holm(&[], 0.05).is_empty());
    }
}
