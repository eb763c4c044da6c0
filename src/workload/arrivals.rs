//! Intended send times.

use super::{Arrivals, RequestRate, WorkloadSpec};
use crate::units::Nanos;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Gamma};

/// `n` ascending send times since the start of the run.
///
/// - `inf`: all at zero.
/// - constant: the i-th request (from 0) at `i / rate`.
/// - gamma (Poisson at shape 1): gaps of mean `1 / rate` and shape `burstiness`, the first request after the
///   first gap, the sum stretched to `n / rate` so that every seed offers exactly the stated rate, as
///   `vllm bench serve` does.
pub(super) fn arrivals(spec: &WorkloadSpec, n: usize, rng: &mut ChaCha8Rng) -> Vec<Nanos> {
    let rate = match spec.request_rate {
        RequestRate::Inf => return vec![Nanos::ZERO; n],
        RequestRate::PerSecond(rate) => rate,
    };
    if spec.arrivals == Some(Arrivals::Constant) {
        return (0..n).map(|i| Nanos::from_secs_f64(i as f64 / rate)).collect();
    }
    let shape = spec.burstiness.unwrap_or(1.0);
    // A checked spec has a positive finite shape; anything else would be equal gaps.
    let Ok(gamma) = Gamma::new(shape, 1.0 / (rate * shape)) else {
        return (0..n).map(|i| Nanos::from_secs_f64(i as f64 / rate)).collect();
    };
    let mut at = 0.0;
    let times: Vec<f64> = (0..n)
        .map(|_| {
            at += gamma.sample(rng);
            at
        })
        .collect();
    let stretch = if at > 0.0 { n as f64 / rate / at } else { 1.0 };
    times.into_iter().map(|t| Nanos::from_secs_f64(t * stretch)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{generate::rng, parse};

    fn gaps(text: &str) -> Vec<f64> {
        let spec = parse(text).unwrap();
        let at = arrivals(&spec, 2000, &mut rng(3, 1));
        assert!(at.is_sorted());
        at.windows(2).map(|w| (w[1] - w[0]).secs()).collect()
    }

    #[test]
    fn rate_and_burstiness_come_out() {
        for (text, cv) in [
            ("short,rate=10", 1.0),
            ("short,rate=10,burstiness=0.25", 2.0),
            ("short,rate=10,burstiness=4", 0.5),
            ("short,rate=10,arrivals=constant", 0.0),
        ] {
            let g = gaps(text);
            let mean = crate::stats::mean(&g);
            assert!((mean - 0.1).abs() < 0.002, "{text}: mean gap {mean}");
            let seen = crate::stats::std_dev(&g) / mean;
            assert!((seen - cv).abs() < 0.15, "{text}: coefficient of variation {seen}");
        }
    }
}
