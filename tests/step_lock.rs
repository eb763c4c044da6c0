//! Closed loops that march in step: SGLang's measured waves, from public runs (aiconfigurator-core's silicon sample, Apache-2.0;
//! `reports/data/silicon-concurrency-sglang.json`).

use llm_dyno::cost::{Catalogs, Predictor};
use llm_dyno::scenario::{Key, Record};
use serde_json::json;

/// Qwen3-32B on two H100 under SGLang 0.5.1, 64 in flight, 1,024/128 tokens.
fn scenario(lengths: Option<&str>) -> Record {
    let mut value = json!({
        "engine": "sglang", "engine_version": "0.5.1.post1", "model": "Qwen/Qwen3-32B",
        "hardware": "h100-sxm-80gb", "num_gpus": 2,
        "serve_command": "python3 -m sglang.launch_server --model-path Qwen/Qwen3-32B --tp-size 2",
        "workload": {"dataset": "random", "input_len": 1024, "output_len": 128, "num_prompts": 640,
                     "request_rate": "inf", "max_concurrency": 64}
    });
    if let Some(lengths) = lengths {
        value["lengths"] = json!(lengths);
    }
    serde_json::from_value(value).expect("a scenario")
}

/// What was measured there.
const MEAN_TTFT_MS: f64 = 2530.07;
const MEAN_TPOT_MS: f64 = 30.12;

#[test]
fn exact_lengths_make_the_waves_that_sglang_shows() {
    let catalogs = Catalogs::load(None).expect("the catalogs");
    let p = Predictor::new(&catalogs, None).predict(&scenario(Some("exact")), false).expect("a prediction");
    let ttft = p.get(Key::MeanTtftMs).expect("a mean TTFT");
    assert!((ttft.value / MEAN_TTFT_MS).ln().abs() < 0.1, "{ttft:?} beside {MEAN_TTFT_MS}");
    let tpot = p.get(Key::MeanTpotMs).expect("a mean TPOT");
    assert!((tpot.value / MEAN_TPOT_MS).ln().abs() < 0.3, "{tpot:?} beside {MEAN_TPOT_MS}");
}

#[test]
fn where_nothing_tells_the_interval_holds_both_readings() {
    let catalogs = Catalogs::load(None).expect("the catalogs");
    let predictor = Predictor::new(&catalogs, None);
    let mean =
        |lengths| predictor.predict(&scenario(lengths), false).expect("a prediction").get(Key::MeanTtftMs);
    let open = mean(None).expect("a mean TTFT");
    let scattered = mean(Some("scattered")).expect("a mean TTFT");
    assert!(open.p05 < scattered.value && MEAN_TTFT_MS < open.p95, "{open:?}");
    assert!(scattered.value < 0.5 * MEAN_TTFT_MS, "out of step nobody waits for a wave: {scattered:?}");
}
