//! The requests of a record: its exact rows when it has them, else generated from its workload.

use crate::engine::EngineConfig;
use crate::error::{Error, Result};
use crate::scenario::Record;
use crate::units::Nanos;
use crate::workload::{Dataset, Lengths, RequestRate, RequestShape, WorkloadSpec, shapes};
use std::sync::Arc;

/// The requests of a record.
pub(super) struct Load {
    pub(super) requests: Vec<RequestShape>,
    pub(super) max_tokens: Option<u32>,
    pub(super) concurrency: Option<u32>,
    pub(super) lengths: Lengths,
    /// (exact, scattered), where nothing tells which.
    pub(super) readings: Option<Arc<(Vec<RequestShape>, Vec<RequestShape>)>>,
}

impl Load {
    /// The requests of a record: its exact rows when it has them, else generated from its workload.
    pub(super) fn of(record: &Record, config: &EngineConfig) -> Result<Load> {
        if let Some(rows) = &record.requests {
            let mut requests: Vec<RequestShape> = rows
                .iter()
                .map(|r| RequestShape {
                    arrival: Nanos::from_secs_f64(r.arrival_s),
                    input_tokens: r.input_tokens.max(1),
                    output_tokens: r.output_tokens.max(1),
                })
                .collect();
            requests.sort_by_key(|r| r.arrival);
            let lengths = Lengths::Scattered;
            return Ok(Load { requests, max_tokens: None, concurrency: None, lengths, readings: None });
        }
        let spec = record.workload.as_ref().ok_or_else(|| {
            Error::usage("the scenario has no workload").hint("set `workload` or `requests`")
        })?;
        let mut requests = shapes(spec)?;
        if let Some(total) = spec.total_output_tokens {
            stop_early(&mut requests, total);
        }
        if let Some(total) = spec.total_input_tokens {
            scale_inputs(&mut requests, total);
        }
        let concurrency =
            spec.max_concurrency.filter(|c| *c > 0).filter(|_| spec.request_rate == RequestRate::Inf);
        let told = record.lengths.or_else(|| told_by_totals(spec));
        let nominal = concurrency.filter(|_| equal_lengths(spec));
        let limited = |mut requests: Vec<RequestShape>| {
            let limit = config.max_model_len.max(2);
            for r in &mut requests {
                r.input_tokens = r.input_tokens.clamp(1, limit - 1);
                r.output_tokens = r.output_tokens.clamp(1, limit - r.input_tokens);
            }
            requests
        };
        let scattered = nominal.filter(|_| told != Some(Lengths::Exact)).map(|n| {
            let mut other = requests.clone();
            scatter(&mut other, n as usize);
            limited(other)
        });
        let exact = limited(requests);
        let (requests, readings) = match (scattered, told) {
            (Some(s), None) => (s.clone(), Some(Arc::new((exact, s)))),
            (Some(s), Some(_)) => (s, None),
            (None, _) => (exact, None),
        };
        let lengths = match told {
            Some(l) => l,
            None if readings.is_none() && nominal.is_some() => Lengths::Exact,
            None => Lengths::Scattered,
        };
        Ok(Load {
            requests,
            max_tokens: spec.output_len.filter(|_| spec.dataset == Dataset::Random),
            concurrency,
            lengths,
            readings,
        })
    }
}

/// Requests that would all be as long if their lengths were exact.
fn equal_lengths(spec: &WorkloadSpec) -> bool {
    spec.dataset == Dataset::Random
        && spec.random_range_ratio.is_none_or(|r| r == 0.0)
        && spec.input_range.is_none()
        && spec.output_range.is_none()
}

/// What the real token counts say of the lengths: as many as asked for, or fewer.
fn told_by_totals(spec: &WorkloadSpec) -> Option<Lengths> {
    let asked = f64::from(spec.output_len?) * f64::from(spec.num_prompts?);
    let share = spec.total_output_tokens? / asked.max(1.0);
    Some(if (share - 1.0).abs() < EXACT { Lengths::Exact } else { Lengths::Scattered })
}

/// Totals nearer than this to what was asked for are exact.
const EXACT: f64 = 0.001;

/// How far lengths are taken to lie around the nominal ones where they scatter (unverified; early stops and the tokenizer's
/// round trips give that order).
const SCATTER: f64 = 0.1;

/// Lengths around the nominal ones, and the first wave in mid-flight, so that a short run shows the steady state: such
/// requests do not march in step, those of exact lengths do.
fn scatter(requests: &mut [RequestShape], in_flight: usize) {
    // Multiples of irrational numbers scatter evenly over 0..1.
    let share = |i: usize, step: f64| (i as f64 * step + 0.5) % 1.0;
    for (i, r) in requests.iter_mut().enumerate() {
        let around =
            |len: u32, u: f64| ((f64::from(len) * (1.0 - SCATTER + 2.0 * SCATTER * u)).round() as u32).max(1);
        r.input_tokens = around(r.input_tokens, share(i, 0.618_033_988_749_895));
        r.output_tokens = around(r.output_tokens, share(i, 0.754_877_666_246_693));
        if i < in_flight {
            let phase = share(i, 0.569_840_290_998_053);
            r.output_tokens = ((f64::from(r.output_tokens) * phase).round() as u32).max(2);
        }
    }
}

/// Shortens outputs to a known total: each token ends its request with the same small probability `h`, so
/// that an answer of limit `L` keeps `(1 - e^{-hL}) / h` tokens on average. Quantiles of that law are dealt
/// out in a fixed scattered order, so equal inputs give equal bytes.
fn stop_early(requests: &mut [RequestShape], total: f64) {
    let limits: f64 = requests.iter().map(|r| f64::from(r.output_tokens)).sum();
    if total <= 0.0 || limits <= 0.0 {
        return;
    }
    if total >= limits * 0.999 {
        for r in requests.iter_mut() {
            r.output_tokens = (f64::from(r.output_tokens) * total / limits).round().max(1.0) as u32;
        }
        return;
    }
    let kept = |h: f64| -> f64 {
        requests.iter().map(|r| (1.0 - (-h * f64::from(r.output_tokens)).exp()) / h).sum()
    };
    let (mut low, mut high) = (1e-9_f64, 10.0_f64);
    for _ in 0..80 {
        let mid = (low * high).sqrt();
        if kept(mid) > total {
            low = mid;
        } else {
            high = mid;
        }
    }
    // Golden-ratio steps scatter evenly over 0..1.
    let mut u = 0.5;
    for r in requests.iter_mut() {
        u = (u + 0.618_033_988_749_895_f64) % 1.0;
        let stop = -(1.0 - u).ln() / low;
        r.output_tokens = r.output_tokens.min(stop.ceil().max(1.0) as u32);
    }
}

fn scale_inputs(requests: &mut [RequestShape], total: f64) {
    let sum: f64 = requests.iter().map(|r| f64::from(r.input_tokens)).sum();
    if total > 0.0 && sum > 0.0 {
        for r in requests.iter_mut() {
            r.input_tokens = (f64::from(r.input_tokens) * total / sum).round().max(1.0) as u32;
        }
    }
}
