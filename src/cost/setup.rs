//! From a record to everything a simulation of it needs, coefficients apart.

use super::footprint::Footprint;
use super::memory;
use super::quick::{self, Load};
use super::{Coefficients, Physical};
use crate::engine::{EngineConfig, ServeCommand, resolve};
use crate::error::{Error, Result};
use crate::hardware::{self, Hardware};
use crate::model::{self, Model};
use crate::scenario::{Key, Record};
use crate::units::Nanos;
use crate::workload::{Dataset, RequestRate, RequestShape, WorkloadSpec, shapes};

/// What is known of parts and models; loaded once.
#[derive(Debug, Clone)]
pub struct Catalogs {
    pub hardware: hardware::Catalog,
    pub models: model::Catalog,
}

/// A record made ready to simulate.
#[derive(Debug, Clone)]
pub struct Setup {
    pub hardware: Hardware,
    pub model: Model,
    /// With the KV blocks filled in.
    pub config: EngineConfig,
    pub load: Load,
    pub refusals: Vec<String>,
    /// KV groups of (full, local) layers.
    pub groups: (f64, f64),
    /// Requests sent in one burst at the start.
    pub burst: bool,
}

impl Setup {
    pub fn new(record: &Record, catalogs: &Catalogs) -> Result<Setup> {
        let command = record.serve_command.as_deref().map(ServeCommand::parse).unwrap_or_default();
        let name = record
            .model
            .clone()
            .or(command.model)
            .ok_or_else(|| Error::usage("the scenario names no model").hint("set `model`"))?;
        let hw = record
            .hardware
            .as_deref()
            .ok_or_else(|| Error::usage("the scenario names no hardware").hint("set `hardware`"))?;
        let hardware = catalogs.hardware.find(hw)?.clone();
        let model = catalogs.models.find(&name)?;
        let config = resolve(record, &hardware, &model)?;
        let estimate = memory::estimate(&config, &hardware, &model);
        let mut config = memory::with_kv_blocks(&config, &hardware, &model);
        let (_, full, local) = memory::kv_groups(&Footprint::new(&model, &config));
        let load = load(record, &config)?;
        admit_longest(&mut config, &load, full, local);
        let burst = load.concurrency.is_none() && load.requests.iter().all(|r| r.arrival == Nanos::ZERO);
        Ok(Setup { hardware, model, config, load, refusals: estimate.refusals, groups: (full, local), burst })
    }
}

/// An engine that runs holds at least one request of the load: an estimate a little below that is raised.
fn admit_longest(config: &mut EngineConfig, load: &Load, full: f64, local: f64) {
    let longest = load.requests.iter().map(|r| r.input_tokens + r.output_tokens).max().unwrap_or(1);
    let one = (f64::from(longest.div_ceil(config.block_size)) + 1.0) * (full + local) + 1.0;
    config.num_kv_blocks = config.num_kv_blocks.map(|b| b.max(one as u64));
}

impl Setup {
    /// A simulated run with these coefficients.
    pub fn run(&self, c: &Coefficients) -> quick::Run {
        let p = Physical::new(&self.hardware, &self.model, &self.config, c);
        let mut load = self.load.clone();
        if self.burst {
            let tokens: u64 = load.requests.iter().map(|r| u64::from(r.input_tokens)).sum();
            let us = c.burst_request * load.requests.len() as f64 + c.burst_token * tokens as f64;
            load.gate = (us * 1e3) as u64;
        }
        quick::run(&load, &self.config, self.groups, &p)
    }
}

/// The requests of a record: its exact rows when it has them, else generated from its workload.
fn load(record: &Record, config: &EngineConfig) -> Result<Load> {
    if let Some(rows) = &record.requests {
        let requests = rows
            .iter()
            .map(|r| RequestShape {
                arrival: Nanos::from_secs_f64(r.arrival_s),
                input_tokens: r.input_tokens.max(1),
                output_tokens: r.output_tokens.max(1),
            })
            .collect();
        return Ok(Load { requests, ..Load::default() });
    }
    let spec = record
        .workload
        .as_ref()
        .ok_or_else(|| Error::usage("the scenario has no workload").hint("set `workload` or `requests`"))?;
    let mut requests = shapes(spec)?;
    let known = |in_spec: Option<f64>, key: Key| {
        in_spec.or_else(|| record.result.as_ref().and_then(|r| r.get(key)))
    };
    let done = record.result.as_ref().and_then(|r| r.get(Key::Completed)).unwrap_or(requests.len() as f64);
    let scale = requests.len() as f64 / done.max(1.0);
    let max_tokens = spec.output_len.filter(|_| spec.dataset == Dataset::Random);
    if let Some(total) = known(spec.total_output_tokens, Key::TotalOutputTokens) {
        stop_early(&mut requests, total * scale);
    }
    if let Some(total) = known(spec.total_input_tokens, Key::TotalInputTokens) {
        scale_inputs(&mut requests, total * scale);
    }
    let limit = config.max_model_len.max(2);
    for r in &mut requests {
        r.input_tokens = r.input_tokens.clamp(1, limit - 1);
        r.output_tokens = r.output_tokens.clamp(1, limit - r.input_tokens);
    }
    let concurrency = spec.max_concurrency.filter(|c| *c > 0).filter(|_| spec.request_rate == RequestRate::Inf);
    Ok(Load { requests, max_tokens, concurrency, ..Load::default() })
}

/// Shortens outputs to a known total: each token ends its request with the same small probability, so that
/// an answer of limit `L` keeps `(1 - e^{-hL}) / h` tokens on average. Quantiles of that law are dealt out
/// in a fixed scattered order, so equal inputs give equal bytes.
fn stop_early(requests: &mut [RequestShape], total: f64) {
    let limits: f64 = requests.iter().map(|r| f64::from(r.output_tokens)).sum();
    if !(total > 0.0) || limits <= 0.0 {
        return;
    }
    if total >= limits * 0.999 {
        let f = total / limits;
        for r in requests.iter_mut() {
            r.output_tokens = (f64::from(r.output_tokens) * f).round().max(1.0) as u32;
        }
        return;
    }
    let kept = |h: f64| -> f64 {
        requests.iter().map(|r| (1.0 - (-h * f64::from(r.output_tokens)).exp()) / h).sum()
    };
    let (mut low, mut high) = (1e-9, 10.0);
    for _ in 0..80 {
        let mid = f64::sqrt(low * high);
        if kept(mid) > total { low = mid } else { high = mid }
    }
    let mut u = 0.5;
    for r in requests.iter_mut() {
        u = (u + 0.618_033_988_749_895) % 1.0;
        let stop = -(1.0 - u as f64).ln() / low;
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

/// The workload as a record's scenario: real token counts of a result moved into the workload.
pub fn with_known_totals(record: &Record) -> Record {
    let mut r = record.clone();
    if let (Some(w), Some(m)) = (&mut r.workload, &record.result) {
        let w: &mut WorkloadSpec = w;
        w.total_input_tokens = w.total_input_tokens.or(m.get(Key::TotalInputTokens));
        w.total_output_tokens = w.total_output_tokens.or(m.get(Key::TotalOutputTokens));
    }
    r.result = None;
    r
}
