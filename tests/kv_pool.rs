//! The KV pool against "GPU KV cache size" lines that vLLM printed in public reports (`tests/kv-pool.toml`).

#![expect(clippy::print_stdout, reason = "each line's error is the table that one reads: `-- --nocapture`")]

use llm_dyno::cost::memory::{MemoryEstimate, estimate};
use llm_dyno::engine::resolve_launch;
use llm_dyno::launch::{EngineKind, Launch};
use llm_dyno::{hardware, model};
use serde::Deserialize;

#[derive(Debug, Deserialize)]
struct Line {
    model: String,
    hardware: String,
    version: String,
    #[serde(default)]
    flags: String,
    available: Option<f64>,
    tokens: f64,
    #[serde(default)]
    launch: bool,
    half: String,
    source: String,
}

#[derive(Debug, Deserialize)]
struct Lines {
    line: Vec<Line>,
}

fn lines() -> Vec<Line> {
    toml::from_str::<Lines>(include_str!("kv-pool.toml")).unwrap().line
}

fn estimated(model: &str, hw: &str, version: &str, flags: &str) -> MemoryEstimate {
    let model = model::Catalog::load(None).unwrap().with_hub_cache(None).find(model).unwrap();
    let hardware = hardware::Catalog::load(None).unwrap();
    let hw = hardware.find(hw).unwrap();
    let words = format!("vllm serve {} {flags}", model.id);
    let launch =
        Launch { engine: Some(EngineKind::Vllm), version: version.parse().ok(), ..Launch::parse(&words) };
    let config = resolve_launch(&launch, None, hw, &model).unwrap();
    estimate(&config, hw, &model)
}

/// Median and 90th percentile of absolute errors.
fn quantiles(mut errors: Vec<f64>) -> (f64, f64) {
    errors.sort_by(f64::total_cmp);
    let at = |q: f64| errors[((errors.len() - 1) as f64 * q).round() as usize];
    (at(0.5), at(0.9))
}

#[test]
fn pages_hold_the_tokens_that_the_engine_says() {
    let mut errors = Vec::new();
    for l in lines().iter().filter(|l| l.available.is_some()) {
        let bytes = l.available.unwrap() * f64::from(1 << 30);
        let flags = format!("{} --kv-cache-memory-bytes {bytes:.0}", l.flags);
        let mut e = estimated(&l.model, &l.hardware, &l.version, &flags);
        if (e.kv.0 as f64) < bytes * 0.99 {
            // The weights of another format stood on the real device: a larger one leaves the room.
            e = estimated(&l.model, "b200-sxm-180gb", &l.version, &flags);
        }
        let off = e.kv_tokens as f64 / l.tokens - 1.0;
        println!(
            "{:+7.2} %  {} tokens, {} printed: {} {} ({})",
            off * 100.0,
            e.kv_tokens,
            l.tokens,
            l.model,
            l.flags,
            l.source
        );
        errors.push(off.abs());
    }
    let (median, p90) = quantiles(errors.clone());
    println!("{} lines: median {:.2} %, p90 {:.2} %", errors.len(), median * 100.0, p90 * 100.0);
    assert!(errors.len() >= 20 && median <= 0.01, "median {median}, p90 {p90}");
}

#[test]
fn whole_launches_leave_the_room_that_the_engine_says() {
    let mut halves = [Vec::new(), Vec::new()];
    for l in lines().iter().filter(|l| l.launch) {
        let e = estimated(&l.model, &l.hardware, &l.version, &l.flags);
        let off = e.kv_tokens as f64 / l.tokens - 1.0;
        println!(
            "{:+7.2} %  {} tokens, {} printed, {}: {} {}",
            off * 100.0,
            e.kv_tokens,
            l.tokens,
            l.half,
            l.model,
            l.flags
        );
        halves[usize::from(l.half == "blind")].push(off.abs());
    }
    for (name, errors) in ["seen", "blind"].iter().zip(&halves) {
        let (median, p90) = quantiles(errors.clone());
        println!(
            "{name}: {} launches, median {:.1} %, p90 {:.1} %",
            errors.len(),
            median * 100.0,
            p90 * 100.0
        );
        // A guard against getting worse. The aim (p90 <= 10 %) is not reached, see the worst lines.
        assert!(median <= 0.05, "{name}: median {median}");
    }
}

#[test]
fn gpt_oss_120b_does_not_start_on_one_h100_before_0_12() {
    let e = estimated("openai/gpt-oss-120b", "h100-sxm-80gb", "0.10.2", "");
    assert!(!e.refusals.is_empty(), "{e:?}");
    // Issue 27508: 1.71 GiB are left with 0.95 and 1,024 tokens, too little for 131,072.
    let flags = "--gpu-memory-utilization 0.95 --max-num-batched-tokens 1024";
    let e = estimated("openai/gpt-oss-120b", "h100-sxm-80gb", "0.11.0", flags);
    assert!(e.kv.gib() < 3.0 && !e.refusals.is_empty(), "{e:?}");
}

#[test]
fn bytes_given_and_weights_in_host_memory_are_counted() {
    let e = estimated("Qwen/Qwen3-8B", "a100-sxm-40gb", "0.19.0", "--kv-cache-memory-bytes 4Gi");
    assert_eq!(e.kv.gib(), 4.0);
    let tight = estimated("Qwen/Qwen3-32B", "h100-sxm-80gb", "0.19.0", "--max-model-len 32768");
    let offloaded =
        estimated("Qwen/Qwen3-32B", "h100-sxm-80gb", "0.19.0", "--max-model-len 32768 --cpu-offload-gb 20");
    assert!((offloaded.kv.gib() - tight.kv.gib() - 20.0).abs() < 0.01);
}
