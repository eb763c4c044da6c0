//! Means and quantiles as `vllm bench serve` (numpy) defines them.

/// Arithmetic mean; NaN for no values.
pub fn mean(values: &[f64]) -> f64 {
    values.iter().sum::<f64>() / values.len() as f64
}

/// Population standard deviation (numpy's default, `ddof = 0`); NaN for no values.
pub fn std_dev(values: &[f64]) -> f64 {
    let m = mean(values);
    (values.iter().map(|v| (v - m).powi(2)).sum::<f64>() / values.len() as f64).sqrt()
}

/// Quantile `q` in 0..=1 of ascending values by linear interpolation between the two nearest ranks:
/// position `q * (n - 1)`. NaN for no values.
pub fn quantile_sorted(sorted: &[f64], q: f64) -> f64 {
    let Some(last) = sorted.len().checked_sub(1) else { return f64::NAN };
    let position = q.clamp(0.0, 1.0) * last as f64;
    let below = position.floor() as usize;
    let above = (below + 1).min(last);
    let share = position - below as f64;
    sorted[below] + (sorted[above] - sorted[below]) * share
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn quantiles_interpolate_as_numpy_does() {
        // numpy.percentile([1, 2, 3, 4], [50, 99]) = 2.5, 3.97
        let v = [1.0, 2.0, 3.0, 4.0];
        assert!((quantile_sorted(&v, 0.5) - 2.5).abs() < 1e-12);
        assert!((quantile_sorted(&v, 0.99) - 3.97).abs() < 1e-12);
        assert!(quantile_sorted(&[], 0.5).is_nan());
        assert!((std_dev(&v) - 1.118_033_988_749_895).abs() < 1e-12);
    }
}
