//! Confidence intervals of means and of ratios.
//!
//! Ratios of throughputs and latencies are formed on logarithms: the log of a ratio is symmetric (twice
//! as fast and half as fast are equally far from no change), and a multiplicative disturbance of a run
//! becomes an additive one, as the t interval assumes.

use super::mean;
use serde::{Deserialize, Serialize};
use statrs::distribution::{ContinuousCDF, StudentsT};

/// An estimate with the bounds of its confidence interval, `low <= value <= high`.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Interval {
    pub value: f64,
    pub low: f64,
    pub high: f64,
}

impl Interval {
    /// An estimate known to be exact.
    pub fn exact(value: f64) -> Interval {
        Interval { value, low: value, high: value }
    }

    /// `value` ± `half`.
    pub fn around(value: f64, half: f64) -> Interval {
        Interval { value, low: value - half, high: value + half }
    }

    /// True when the interval lies wholly on one side of `point`.
    pub fn excludes(&self, point: f64) -> bool {
        self.low > point || self.high < point
    }

    /// Applies an increasing function to the estimate and both bounds.
    pub fn map(self, f: impl Fn(f64) -> f64) -> Interval {
        Interval { value: f(self.value), low: f(self.low), high: f(self.high) }
    }

    pub fn half_width(&self) -> f64 {
        (self.high - self.low) / 2.0
    }
}

/// Two-sided critical value of Student's t: `P(|T| > t) = alpha` with `df` degrees of freedom. Infinite
/// when there are none, so that an interval of a single value is the whole line.
pub fn t_critical(df: f64, alpha: f64) -> f64 {
    if df <= 0.0 || !(alpha > 0.0 && alpha < 1.0) {
        return f64::INFINITY;
    }
    StudentsT::new(0.0, 1.0, df).map_or(f64::INFINITY, |t| t.inverse_cdf(1.0 - alpha / 2.0))
}

/// Two-sided p value of a t statistic with `df` degrees of freedom; 1 when there are none.
pub fn t_p_value(t: f64, df: f64) -> f64 {
    if df <= 0.0 || t.is_nan() {
        return 1.0;
    }
    StudentsT::new(0.0, 1.0, df).map_or(1.0, |d| 2.0 * d.sf(t.abs()))
}

/// Sample variance (`n - 1` in the denominator); 0 for fewer than two values.
pub fn sample_variance(values: &[f64]) -> f64 {
    if values.len() < 2 {
        return 0.0;
    }
    let m = mean(values);
    values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / (values.len() - 1) as f64
}

/// Student t interval of the mean of `values` at confidence `1 - alpha`: mean ± t·s/√n. Unbounded for one
/// value; NaN for none.
pub fn t_interval(values: &[f64], alpha: f64) -> Interval {
    let n = values.len();
    if n < 2 {
        let v = mean(values);
        return Interval { value: v, low: f64::NEG_INFINITY, high: f64::INFINITY };
    }
    let half = t_critical((n - 1) as f64, alpha) * (sample_variance(values) / n as f64).sqrt();
    Interval::around(mean(values), half)
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    #[test]
    fn t_interval_matches_the_textbook() {
        // Tables: t(0.975, 4) = 2.776; mean 3, s = 1.5811, n = 5 -> half width 1.963.
        let i = t_interval(&[1.0, 2.0, 3.0, 4.0, 5.0], 0.05);
        assert!((i.value - 3.0).abs() < 1e-12);
        assert!((i.half_width() - 1.963).abs() < 1e-3, "{i:?}");
        assert!((t_critical(2.0, 0.05) - 4.302_65).abs() < 1e-4);
        assert!((t_p_value(2.776_445, 4.0) - 0.05).abs() < 1e-6);
    }

    #[test]
    fn one_value_bounds_nothing() {
        let i = t_interval(&[2.0], 0.05);
        assert_eq!(i.value, 2.0);
        assert!(!i.excludes(1e9) && !i.excludes(-1e9));
        assert_eq!(t_p_value(5.0, 0.0), 1.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn the_interval_shifts_with_its_data(v in proptest::collection::vec(-5.0f64..5.0, 2..8), by in -3.0f64..3.0) {
            let a = t_interval(&v, 0.1);
            let moved: Vec<f64> = v.iter().map(|x| x + by).collect();
            let b = t_interval(&moved, 0.1);
            prop_assert!((a.low + by - b.low).abs() < 1e-9 && (a.high + by - b.high).abs() < 1e-9);
        }
    }
}
