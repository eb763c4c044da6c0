//! Our simulator and aisimulate-core's, the same requests, in turns in one run:
//! `cargo run --release --manifest-path benches/aisimulate/Cargo.toml`.
//!
//! 10,000 requests of 215 prompt and 194 output tokens on average (exponential), Poisson arrivals, 256 sequences, a budget of
//! 2,048 tokens, 27,000 blocks of 16, vLLM's scheduler. Ours takes its step times from the cost model (Llama-3.1-8B on an
//! A100), the other has fixed ones: 35 ms a step with prefill, 17 ms a decode step. Single requests are recorded by neither.

use aisimulate_core::engine::{Backend, EngineConfig as TheirEngine, TimingModelConfig};
use aisimulate_core::replay::{
    CURRENT_REPLAY_SPEC_VERSION, DirectRequest, ReplayEngineConfig, ReplayEngineFactory, ReplayRuntimeInput,
    ReplaySpec, ReplayTopology, Replayer,
};
use llm_dyno::cost::{Catalogs, Coefficients, Physical};
use llm_dyno::engine::EngineConfig;
use llm_dyno::sim::{KvLayout, SimOptions, policy, simulate};
use llm_dyno::units::Nanos;
use llm_dyno::workload::RequestShape;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::time::Instant;
use uuid::Uuid;

const REQUESTS: u32 = 10_000;
const ROUNDS: usize = 3;
const BLOCKS: u64 = 27_000;

/// Arrival in seconds, prompt tokens, output tokens.
fn requests(rate: f64) -> Vec<(f64, u32, u32)> {
    let mut rng = ChaCha8Rng::seed_from_u64(42);
    let mut exponential = |mean: f64| -mean * (1.0 - rng.random::<f64>()).ln();
    let mut now = 0.0;
    let mut one = |_| {
        now += exponential(1.0 / rate);
        (now, exponential(215.0).clamp(1.0, 4000.0) as u32, exponential(194.0).clamp(1.0, 4000.0) as u32)
    };
    (0..REQUESTS).map(&mut one).collect()
}

/// Seconds that ours takes, and the requests that completed.
fn ours(time: &Physical, rate: f64) -> (f64, usize) {
    let shapes: Vec<RequestShape> = requests(rate)
        .into_iter()
        .map(|(at, input_tokens, output_tokens)| RequestShape {
            arrival: Nanos::from_secs_f64(at),
            input_tokens,
            output_tokens,
        })
        .collect();
    let config = EngineConfig { max_num_seqs: 256, max_num_batched_tokens: 2048, ..EngineConfig::default() };
    let mut scheduler = policy::build(&config, &KvLayout::dense(16, BLOCKS), None);
    let options = SimOptions { streaming: true, overlap: config.overlap, ..SimOptions::default() };
    let begin = Instant::now();
    let result = simulate(shapes.into_iter(), scheduler.as_mut(), time, &options);
    let seconds = begin.elapsed().as_secs_f64();
    (seconds, result.metrics.get(llm_dyno::scenario::Key::Completed).unwrap_or(0.0) as usize)
}

fn theirs(rate: f64, prefix: bool) -> (f64, usize) {
    let engine = ReplayEngineConfig {
        rank: TheirEngine {
            block_size: 16,
            num_gpu_blocks: BLOCKS as usize,
            max_num_seqs: 256,
            max_num_batched_tokens: 2048,
            enable_prefix_caching: prefix,
            timing_model: TimingModelConfig::Fixed { prefill_ms: 35.0, decode_ms: 17.0 },
            ..TheirEngine::for_backend(Backend::Vllm)
        },
        ..Default::default()
    };
    let spec = ReplaySpec {
        version: CURRENT_REPLAY_SPEC_VERSION,
        topology: ReplayTopology::aggregated(1),
        engine: serde_json::to_value(engine).expect("a plain structure"),
        adapters: Default::default(),
        max_sim_time_ms: None,
        max_in_flight: None,
        record_per_request: false,
        sla: Default::default(),
        requests: Vec::new(),
    };
    // Contents that no two requests share.
    let direct = |(i, (at, input, output)): (usize, (f64, u32, u32))| DirectRequest {
        tokens: (0..input).map(|t| (i as u32).wrapping_mul(4099).wrapping_add(t)).collect(),
        max_output_tokens: output as usize,
        uuid: Some(Uuid::from_u128(i as u128 + 1)),
        arrival_timestamp_ms: Some(at * 1e3),
        ..Default::default()
    };
    let input = ReplayRuntimeInput::Requests(requests(rate).into_iter().enumerate().map(direct).collect());
    let replayer = Replayer::new(spec, ReplayEngineFactory::new()).expect("a valid specification");
    let begin = Instant::now();
    let report = replayer.with_runtime_input(input).run().expect("a run");
    (begin.elapsed().as_secs_f64(), report.request_counts.completed_requests as usize)
}

fn main() {
    let catalogs = Catalogs::load(None).expect("the shipped catalogues");
    let model = &catalogs.models.find("meta-llama/Llama-3.1-8B-Instruct").expect("a shipped model");
    let device = catalogs.hardware.find("a100-sxm-80gb").expect("shipped hardware");
    let config = EngineConfig { max_num_seqs: 256, max_num_batched_tokens: 2048, ..EngineConfig::default() };
    let time = Physical::new(device, model, &config, &Coefficients::default());
    println!(
        "| load | round | llm-dyno, requests/s | aisimulate-core, requests/s | with prefix cache | ratio |"
    );
    println!("|---|--:|--:|--:|--:|--:|");
    for rate in [20.0, 200.0] {
        for round in 1..=ROUNDS {
            let runs = [ours(&time, rate), theirs(rate, false), theirs(rate, true)];
            assert!(runs.iter().all(|r| r.1 == REQUESTS as usize), "a simulator lost requests: {runs:?}");
            let [a, b, c] = runs.map(|(s, _)| f64::from(REQUESTS) / s);
            println!("| {rate}/s | {round} | {a:.0} | {b:.0} | {c:.0} | {:.0} |", a / b);
        }
    }
}
