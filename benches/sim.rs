//! Speed of the simulator: `cargo bench --bench sim`, or `cargo bench --bench sim -- --long` for the runs
//! of one and ten million requests too.
//!
//! Requests of 215 prompt and 194 output tokens on average (exponential), Poisson arrivals, 256 sequences,
//! a budget of 2,048 tokens, vLLM's scheduler, Llama-3.1-8B on an A100 by the physical prior.

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use llm_dyno::cost::{Coefficients, Physical};
use llm_dyno::engine::EngineConfig;
use llm_dyno::hardware::Hardware;
use llm_dyno::model::Model;
use llm_dyno::scenario::Key;
use llm_dyno::sim::{Demand, KvLayout, Load, Screen, SimOptions, SimResult, policy, simulate};
use llm_dyno::units::Nanos;
use llm_dyno::workload::RequestShape;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;

/// An endless Poisson stream of requests.
struct Stream {
    rng: ChaCha8Rng,
    rate: f64,
    now: f64,
}

impl Stream {
    fn new(rate: f64) -> Stream {
        Stream { rng: ChaCha8Rng::seed_from_u64(42), rate, now: 0.0 }
    }
    fn exponential(&mut self, mean: f64) -> f64 {
        -mean * (1.0 - self.rng.random::<f64>()).ln()
    }
}

impl Iterator for Stream {
    type Item = RequestShape;
    fn next(&mut self) -> Option<RequestShape> {
        self.now += self.exponential(1.0 / self.rate);
        Some(RequestShape {
            arrival: Nanos::from_secs_f64(self.now),
            input_tokens: self.exponential(215.0).clamp(1.0, 4000.0) as u32,
            output_tokens: self.exponential(194.0).clamp(1.0, 4000.0) as u32,
        })
    }
}

fn llama() -> Model {
    serde_json::from_str(
        r#"{"id":"llama-3.1-8b","layers":32,"hidden":4096,"q_heads":32,"kv_heads":8,"head_dim":128,"ffn":14336,
            "vocab":128256,"max_position":131072,"precision":"bf16","source":"config.json"}"#,
    )
    .expect("a model")
}

fn a100() -> Hardware {
    serde_json::from_str(
        r#"{"id":"a100-sxm-80gb","name":"NVIDIA A100-SXM4-80GB","vendor":"nvidia","sm":80,"memory_gb":80,
            "bandwidth_gbps":2039,"bf16_tflops":312,"int8_tops":624,"link_gbps":300,"source":"data sheet"}"#,
    )
    .expect("a device")
}

fn run(rate: f64, requests: usize, streaming: bool, config: &EngineConfig) -> (SimResult, f64) {
    let time = Physical::new(&a100(), &llama(), config, &Coefficients::default());
    let mut scheduler = policy::build(config, &KvLayout::dense(16, 27_000), None);
    let options = SimOptions { streaming, overlap: config.overlap, ..SimOptions::default() };
    let begin = Instant::now();
    let result = simulate(Stream::new(rate).take(requests), scheduler.as_mut(), &time, &options);
    (result, begin.elapsed().as_secs_f64())
}

/// Peak resident memory of this process so far, MiB.
fn peak_mib() -> f64 {
    let status = std::fs::read_to_string("/proc/self/status").unwrap_or_default();
    let line = status.lines().find(|l| l.starts_with("VmHWM:")).unwrap_or_default();
    line.split_whitespace().nth(1).and_then(|kb| kb.parse::<f64>().ok()).unwrap_or(f64::NAN) / 1024.0
}

fn report(name: &str, requests: usize, result: &SimResult, seconds: f64) {
    println!(
        "{name:<28} {requests:>9} requests  {:>9.0} requests/s  {:>9} steps  {:>6.1} s simulated  TPOT {:>6.2} ms  peak memory {:>6.1} MiB",
        requests as f64 / seconds,
        result.account.steps,
        result.metrics.get(Key::Duration).unwrap_or(f64::NAN),
        result.metrics.get(Key::MeanTpotMs).unwrap_or(f64::NAN),
        peak_mib(),
    );
}

/// Microseconds of one screened scenario, its moments taken before.
fn screen() {
    let config = EngineConfig { version: (0, 19, 0).into(), ..EngineConfig::default() };
    let layout = KvLayout::dense(16, 27_000);
    let time = Physical::new(&a100(), &llama(), &config, &Coefficients::default());
    let shapes: Vec<RequestShape> = Stream::new(20.0).take(10_000).collect();
    let demand = Demand::of(&shapes);
    let loads =
        [("all at once", Load::AllAtOnce), ("64 in flight", Load::Closed(64)), ("10/s", Load::Open(10.0))];
    for (name, load) in loads {
        let rounds = 20_000;
        let begin = Instant::now();
        let mut sum = 0.0;
        for i in 0..rounds {
            let config = EngineConfig { max_num_seqs: 64 + i % 512, ..config.clone() };
            sum += Screen::new(&config, &layout, &time, demand).run(load).rate;
        }
        let each = begin.elapsed().as_secs_f64() / f64::from(rounds) * 1e6;
        println!("screen, {name:<20} {each:>6.2} µs a scenario (mean rate {:.2}/s)", sum / f64::from(rounds));
    }
}

fn main() {
    let long = std::env::args().any(|a| a == "--long");
    let sync =
        EngineConfig { version: (0, 19, 0).into(), reserve_full_prompt: true, ..EngineConfig::default() };
    let overlap = EngineConfig { overlap: true, ..sync.clone() };
    println!("streaming statistics, memory flat:");
    let lengths: &[usize] = if long { &[10_000, 100_000, 1_000_000, 10_000_000] } else { &[10_000, 100_000] };
    for &n in lengths {
        let (result, seconds) = run(20.0, n, true, &overlap);
        report("20/s", n, &result, seconds);
    }
    println!("exact statistics, best of 9:");
    for (name, rate, config) in [
        ("20/s", 20.0, &sync),
        ("20/s overlapped", 20.0, &overlap),
        ("200/s", 200.0, &sync),
        ("200/s overlapped", 200.0, &overlap),
    ] {
        let runs = (0..9).map(|_| run(rate, 10_000, false, config));
        if let Some((result, seconds)) = runs.min_by(|a, b| a.1.total_cmp(&b.1)) {
            report(name, 10_000, &result, seconds);
        }
    }
    screen();
}
