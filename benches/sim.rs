//! Speed of the simulator: `cargo bench --bench sim`, or `cargo bench --bench sim -- --long` for the runs
//! of one and ten million requests too.
//!
//! Requests of 215 prompt and 194 output tokens on average (exponential), Poisson arrivals, 256 sequences,
//! a budget of 2,048 tokens, vLLM's scheduler, Llama-3.1-8B on an A100 by the physical prior.
//!
//! Then a trace with `hash_ids` in Mooncake's public format on eight replicas behind a router: a sample made here in
//! that format, or with `-- --trace FILE` a file (such as `FAST25-release/traces/conversation_trace.jsonl` of
//! kvcache-ai/Mooncake).

#![expect(clippy::print_stdout, reason = "a bench prints what it measured")]

use llm_dyno::cost::{Coefficients, Physical};
use llm_dyno::engine::EngineConfig;
use llm_dyno::hardware::Hardware;
use llm_dyno::model::Model;
use llm_dyno::scenario::Key;
use llm_dyno::sim::{
    Arrival, Demand, Fleet, KvLayout, Load, Routing, Screen, SimOptions, SimResult, block_hashes, policy,
    simulate, simulate_routed,
};
use llm_dyno::units::Nanos;
use llm_dyno::workload::{self, RequestShape};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::fmt::Write;
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
        result.breakdown.steps,
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

/// Sessions whose prompts grow by whole blocks of 512 tokens, all with one first block, as lines of the format.
fn sample_trace() -> String {
    let mut stream = Stream::new(20.0);
    let mut next_block = 1_u64;
    let mut sessions: Vec<Vec<u64>> = Vec::new();
    let mut lines = String::new();
    let mut arrival = 0.0;
    for _ in 0..20_000 {
        arrival += stream.exponential(1e3 / 7.0);
        let begins = sessions.is_empty() || stream.rng.random::<f64>() < 0.4;
        let mut blocks =
            if begins { vec![0] } else { sessions.swap_remove(stream.rng.random_range(0..sessions.len())) };
        for _ in 0..=stream.exponential(11.0) as u32 {
            blocks.push(next_block);
            next_block += 1;
        }
        let input = blocks.len() as u32 * 512 - stream.rng.random_range(0..512);
        let output = stream.exponential(343.0).clamp(1.0, 2000.0) as u32;
        let _ = writeln!(
            lines,
            r#"{{"timestamp":{arrival:.0},"input_length":{input},"output_length":{output},"hash_ids":{blocks:?}}}"#
        );
        if blocks.len() < 200 {
            sessions.push(blocks);
        }
    }
    lines
}

/// The requests of the trace with the hashes of their blocks.
fn hashed(path: &std::path::Path, block_size: u32) -> Vec<Arrival> {
    let spec = workload::parse(&format!("trace:{}", path.display())).expect("a trace");
    let shapes = workload::shapes(&spec).expect("a trace that reads");
    let shared = workload::sharing(&spec).expect("a trace that reads").expect("hash_ids");
    let one = |(shape, shared): (&RequestShape, &workload::Shared)| {
        let mut a = Arrival::from(shape);
        a.request.block_hashes = block_hashes(&shared.spans, shape.input_tokens, block_size);
        a
    };
    shapes.iter().zip(&shared).map(one).collect()
}

fn routed(trace: Option<&str>) {
    let sample =
        tempfile::Builder::new().suffix(".jsonl").tempfile().expect("a writable temporary directory");
    let path = trace.map_or(sample.path().to_owned(), std::path::PathBuf::from);
    if trace.is_none() {
        std::fs::write(sample.path(), sample_trace()).expect("a writable temporary directory");
    }
    println!("{} on 8 replicas, best of 5:", trace.unwrap_or("a sample in Mooncake's format"));
    for block_size in [16, 64, 512] {
        let requests = hashed(&path, block_size);
        let config = EngineConfig {
            block_size,
            overlap: true,
            max_model_len: 131_072,
            max_num_batched_tokens: 8192,
            ..EngineConfig::default()
        };
        let time = Physical::new(&a100(), &llama(), &config, &Coefficients::default());
        let layout = KvLayout::dense(block_size, 432_000 / u64::from(block_size));
        let scheduler = || policy::build(&config, &layout, None);
        let options = SimOptions { streaming: true, overlap: true, ..SimOptions::default() };
        for routing in [Routing::RoundRobin, Routing::LeastLoaded, Routing::PrefixAware] {
            let one = || {
                let begin = Instant::now();
                let r = simulate_routed(
                    &requests,
                    Fleet { replicas: 8, routing, block_size },
                    &scheduler,
                    &time,
                    &options,
                );
                (r, begin.elapsed().as_secs_f64())
            };
            if let Some((r, seconds)) = (0..5).map(|_| one()).min_by(|a, b| a.1.total_cmp(&b.1)) {
                println!(
                    "block {block_size:>3}, {routing:<11?} {:>9.0} requests/s, {} steps, {:.1} % of prompt tokens from the cache, mean TTFT {:.2} s",
                    requests.len() as f64 / seconds,
                    r.breakdown.steps,
                    100.0 * r.breakdown.prefix_hits as f64 / r.breakdown.prefix_queries.max(1) as f64,
                    r.metrics.get(Key::MeanTtftMs).unwrap_or(f64::NAN) / 1e3,
                );
            }
        }
    }
    if trace.is_none() {
        let _ = std::fs::remove_file(sample);
    }
}

/// One run of one configuration, to be counted by an instruction counter.
fn only(name: &str, config: &EngineConfig) {
    let rate = name.split('/').next().and_then(|r| r.parse().ok()).unwrap_or(20.0);
    let (result, seconds) = run(rate, 10_000, false, config);
    report(name, 10_000, &result, seconds);
}

fn main() {
    let long = std::env::args().any(|a| a == "--long");
    let sync =
        EngineConfig { version: (0, 19, 0).into(), reserve_full_prompt: true, ..EngineConfig::default() };
    let overlap = EngineConfig { overlap: true, ..sync.clone() };
    let args: Vec<String> = std::env::args().collect();
    if let Some(name) = args.iter().position(|a| a == "--only").and_then(|i| args.get(i + 1)) {
        only(name, if name.ends_with("overlapped") { &overlap } else { &sync });
        return;
    }
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
    let trace = args.iter().position(|a| a == "--trace").and_then(|i| args.get(i + 1));
    routed(trace.map(String::as_str));
}
