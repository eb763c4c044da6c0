//! Intended send times.

use super::spec::Stage;
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
    if let Some(stages) = spec.stages.as_deref() {
        return staged(spec, stages, n, rng);
    }
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

/// The rate at which the first stage begins.
fn start_rate(spec: &WorkloadSpec) -> f64 {
    match spec.request_rate {
        RequestRate::PerSecond(rate) => rate,
        RequestRate::Inf => 0.0,
    }
}

/// A growth by factors cannot begin at nothing: it begins at a hundredth of its end.
fn exponential_start(from: f64, to: f64) -> f64 {
    from.max(to / 100.0)
}

/// Requests that a stage offers: the integral of its rate.
fn offered(from: f64, stage: &Stage) -> f64 {
    let to = stage.rate;
    if stage.exponential && to > 0.0 {
        let from = exponential_start(from, to);
        let growth = (to / from).ln();
        return if growth.abs() < 1e-9 { to * stage.seconds } else { (to - from) / growth * stage.seconds };
    }
    f64::midpoint(from, to) * stage.seconds
}

/// Seconds into a stage at which it has offered `x` requests: the integral of the rate, inverted.
fn within(from: f64, stage: &Stage, x: f64) -> f64 {
    let (to, t) = (stage.rate, stage.seconds);
    if stage.exponential && to > 0.0 {
        let from = exponential_start(from, to);
        let growth = (to / from).ln() / t;
        return if growth.abs() < 1e-9 { x / to } else { (1.0 + x * growth / from).ln() / growth };
    }
    let slope = (to - from) / t;
    if slope.abs() < 1e-12 {
        return x / from;
    }
    // x = from s + slope s^2 / 2
    ((from * from + 2.0 * slope * x).max(0.0).sqrt() - from) / slope
}

/// Number of requests that the stages offer.
pub(super) fn staged_count(spec: &WorkloadSpec, stages: &[Stage]) -> usize {
    let mut from = start_rate(spec);
    let mut total = 0.0;
    for stage in stages {
        total += offered(from, stage);
        from = stage.rate;
    }
    (total + 1e-9).floor() as usize
}

/// Arrivals at a rate that changes in stages: a stream of unit rate (gamma or even), its clock bent so that the
/// rate follows the stages, without a jump where one begins at the rate at which the one before has ended.
fn staged(spec: &WorkloadSpec, stages: &[Stage], n: usize, rng: &mut ChaCha8Rng) -> Vec<Nanos> {
    let shape = spec.burstiness.unwrap_or(1.0);
    let gamma = Gamma::new(shape, 1.0 / shape).ok().filter(|_| spec.arrivals != Some(Arrivals::Constant));
    let mut sum = 0.0;
    let units: Vec<f64> = (0..n)
        .map(|_| {
            sum += gamma.as_ref().map_or(1.0, |g| g.sample(rng));
            sum
        })
        .collect();
    // Every seed offers exactly the whole of the stages.
    let stretch = if sum > 0.0 { n as f64 / sum } else { 1.0 };
    let (mut from, mut before, mut began, mut k) = (start_rate(spec), 0.0, 0.0, 0);
    units
        .into_iter()
        .map(|u| {
            let x = u * stretch;
            while k + 1 < stages.len() && x > before + offered(from, &stages[k]) {
                before += offered(from, &stages[k]);
                began += stages[k].seconds;
                from = stages[k].rate;
                k += 1;
            }
            stages.get(k).map_or(Nanos::ZERO, |s| {
                Nanos::from_secs_f64(began + within(from, s, x - before).min(s.seconds))
            })
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{draft::rng, parse};

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

    #[test]
    fn stages_ramp_and_hold_without_spikes() {
        // 0 to 20/s in 10 s (100 requests), 10 s held (200), down to 10/s in 10 s (150).
        let spec = parse("short,stages=20@10/20@10/10@10,arrivals=constant").unwrap();
        let stages = spec.stages.clone().unwrap();
        assert_eq!(staged_count(&spec, &stages), 450);
        let at = arrivals(&spec, 450, &mut rng(3, 1));
        let in_window = |a: f64, b: f64| at.iter().filter(|t| (a..b).contains(&t.secs())).count() as i64;
        for (a, b, want) in
            [(0.0, 5.0, 25), (5.0, 10.0, 75), (10.0, 20.0, 200), (20.0, 25.0, 88), (25.0, 30.1, 62)]
        {
            assert!((in_window(a, b) - want).abs() <= 2, "{a}..{b}: {} for {want}", in_window(a, b));
        }
        assert!(at.is_sorted());
        let poisson = parse("short,stages=20@10/20@10/10@10").unwrap();
        assert!(arrivals(&poisson, 450, &mut rng(3, 1)).is_sorted());
        // 1/s to 16/s by factors in 8 s: (16 - 1) / ln 16 x 8 = 43.3; half of the time brings it to 4/s.
        let spec = parse("short,rate=1,stages=16@8exp,arrivals=constant").unwrap();
        assert_eq!(staged_count(&spec, &spec.stages.clone().unwrap()), 43);
        let at = arrivals(&spec, 43, &mut rng(3, 1));
        let half = at.iter().filter(|t| t.secs() < 4.0).count();
        assert!((8..=9).contains(&half), "{half}");
        assert!(parse("short,stages=0@10").is_err() && parse("short,stages=5").is_err());
    }
}
