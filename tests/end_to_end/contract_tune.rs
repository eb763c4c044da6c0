//! Whole campaigns over contract engines: one starts, one is slow and is cut, one refuses; the report tells
//! it. And a campaign whose `dyno` is killed goes on where it was.

use crate::contract::Bench;
use llm_dyno::launch::EngineKind::{Sglang, Trtllm, Vllm};
use serde_json::Value;
use std::collections::BTreeSet;
use std::process::Output;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const CAMPAIGN: &[&str] = &[
    "tune",
    "--model",
    "openai/gpt-oss-20b",
    "--hardware",
    "a100-sxm-80gb",
    "--engine",
    "vllm,sglang,trtllm",
    "--workload",
    "random:64/12,n=16,concurrency=8",
    "--repeats",
    "3",
    "--flags",
    "async-scheduling,stream-interval",
    "--max-trials",
    "18",
];

/// vLLM with a real gain behind one flag, a slow SGLang, and a TensorRT-LLM that cannot run MXFP4 on SM80.
fn engines(bench: &Bench) {
    let refusal =
        std::fs::read_to_string(concat!(env!("CARGO_MANIFEST_DIR"), "/tests/corpus/trtllm/mxfp4-sm80.log"))
            .expect("an excerpt");
    bench
        .install(
            Vllm,
            "version = '0.11.0'\nphase_ms = 1\nttft_ms = 12.0\ntpot_ms = 40.0\nkv_tokens = 1048576\nmodel_len = 131072\n\
             effects = [{ when = 'async-scheduling=true', tpot = 0.25 }]\n\
             workers = [{ name = 'VLLM::EngineCore' }]\n",
        )
        .install(
            Sglang,
            "version = '0.5.4.post2'\nphase_ms = 1\nttft_ms = 900.0\ntpot_ms = 250.0\nmodel_len = 131072\n\
             workers = [{ name = 'sglang::scheduler' }, { name = 'sglang::detokenizer' }]\n",
        )
        .install(
            Trtllm,
            &format!(
                "version = '1.2.0rc1'\nphase_ms = 1\nworkers = [{{ name = 'mpi4py.futures' }}]\n\
                 failures = [{{ phase = 'load', how = 'exit', log = '''\n{refusal}''' }}]\n"
            ),
        );
}

fn tune(bench: &Bench, more: &[&str]) -> Output {
    let out = bench.path("out/campaign").display().to_string();
    let args: Vec<&str> =
        CAMPAIGN.iter().copied().chain(["--out", &out, "--quiet"]).chain(more.iter().copied()).collect();
    bench.run(&args)
}

fn read(bench: &Bench, name: &str) -> String {
    let file = bench.path("out/campaign").join(name);
    std::fs::read_to_string(&file).unwrap_or_else(|e| panic!("{}: {e}", file.display()))
}

/// Lines of trials in the record: stage, engine, flags, launch.
fn trials(bench: &Bench) -> Vec<(String, String, String, u64)> {
    let text = |v: &Value| v.as_str().unwrap_or_default().to_owned();
    let lines = read(bench, "trials.jsonl");
    let values = lines.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
    let all = values.filter(|v| v["kind"] == "trial");
    all.map(|v| {
        let candidate = &v["result"]["spec"]["candidate"];
        let flags = candidate["flags"].to_string();
        (text(&v["stage"]), text(&candidate["engine"]), flags, v["launch"].as_u64().unwrap_or_default())
    })
    .collect()
}

/// Campaigns measure, so not two at once.
static ONE_AT_A_TIME: Mutex<()> = Mutex::new(());

fn alone() -> MutexGuard<'static, ()> {
    ONE_AT_A_TIME.lock().unwrap_or_else(PoisonError::into_inner)
}

#[test]
fn one_starts_one_is_cut_one_refuses_and_the_report_says_so() {
    let _alone = alone();
    let bench = Bench::new();
    engines(&bench);
    let out = tune(&bench, &[]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    bench.assert_nothing_left(Vec::new());

    let recommended: Value = serde_json::from_str(&read(&bench, "recommendation.json")).expect("JSON");
    assert_eq!(recommended["engine"], "vllm");
    assert_eq!(recommended["flags"][0]["flag"], "async-scheduling", "{recommended:#}");
    assert_eq!(recommended["improvement"]["significant"], true, "{recommended:#}");
    // 12 ms to the first token and 11 gaps of 40 ms, against gaps of 10 ms; a busy machine takes some of it.
    let gain = recommended["improvement"]["value"].as_f64().expect("a number");
    let exact = (12.0 + 11.0 * 40.0) / (12.0 + 11.0 * 10.0) - 1.0;
    assert!(gain > 0.5 * exact && gain < 1.3 * exact, "{gain}, not {exact}: {recommended:#}");

    let report = read(&bench, "report.md");
    let row = |engine: &str| {
        let start = format!("| {engine} |");
        let rows: Vec<&str> = report.lines().filter(|l| l.starts_with(&start)).collect();
        assert!(!rows.is_empty(), "no row of {engine}:\n{report}");
        rows.join("\n")
    };
    assert!(row("vllm").contains("chosen"), "{}", row("vllm"));
    assert!(row("sglang").contains("outpaced"), "{}", row("sglang"));
    assert!(row("trtllm").contains("unsupported-quantization"), "{}", row("trtllm"));
    for told in [
        "WFP4A16 MoE is unsupported on SM80",
        "of 16 requests done",
        "vllm serve openai/gpt-oss-20b --async-scheduling",
    ] {
        assert!(report.contains(told), "`{told}` is not in the report:\n{report}");
    }
    // Neither the loser nor the one that cannot start costs a second launch.
    let launches = |engine: &str| trials(&bench).iter().filter(|t| t.1 == engine).count();
    assert_eq!((launches("sglang"), launches("trtllm")), (1, 1));
}

#[test]
fn an_engine_that_loses_by_three_percent_is_told_beside_one_that_refuses() {
    let _alone = alone();
    let bench = Bench::new();
    engines(&bench);
    let sglang = |slower: f64| {
        format!(
            "version = '0.5.4.post2'\nphase_ms = 1\nttft_ms = {:.2}\ntpot_ms = {:.2}\nmodel_len = 131072\n\
             workers = [{{ name = 'sglang::scheduler' }}, {{ name = 'sglang::detokenizer' }}]\n",
            12.0 * slower,
            40.0 * slower
        )
    };
    bench.install(Sglang, &sglang(1.03));
    let out = tune(&bench, &[]);
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    bench.assert_nothing_left(Vec::new());
    let report = read(&bench, "report.md");
    let row = |engine: &str| {
        let start = format!("| {engine} |");
        let rows: Vec<&str> = report.lines().filter(|l| l.starts_with(&start)).collect();
        rows.first().unwrap_or_else(|| panic!("no row of {engine}:\n{report}")).to_owned().to_owned()
    };
    assert!(row("vllm").contains("chosen"), "{}", row("vllm"));
    assert!(row("trtllm").contains("unsupported-quantization"), "{}", row("trtllm"));
    let lost = row("sglang");
    let behind = lost.split(" % behind").next().and_then(|t| t.rsplit(' ').next()).map(str::parse::<f64>);
    // A busy machine adds to either side.
    assert!(matches!(behind, Some(Ok(b)) if b > 0.5 && b < 8.0), "{lost}");
    assert!(report.contains("vllm serve openai/gpt-oss-20b --async-scheduling"), "{report}");
}

#[test]
fn a_campaign_killed_at_any_time_goes_on_and_leaves_no_engine() {
    let _alone = alone();
    let bench = Bench::new();
    engines(&bench);
    let dir = bench.path("out/campaign").display().to_string();
    let mut first = bench.dyno().args(CAMPAIGN).args(["--out", &dir, "--quiet"]).spawn().expect("dyno runs");
    let mut seen = Vec::new();
    // There is nothing to go on with before the campaign has written its plan and opened its record.
    let record = bench.path("out/campaign/trials.jsonl");
    let deadline = std::time::Instant::now() + Duration::from_secs(60);
    while !record.exists() && std::time::Instant::now() < deadline {
        std::thread::sleep(Duration::from_millis(20));
    }
    for pause in [500, 2500, 4000] {
        std::thread::sleep(Duration::from_millis(pause));
        first.kill().expect("it is killed");
        first.wait().expect("it ends");
        let now = trials(&bench);
        assert!(now.starts_with(&seen), "a trial was lost: {seen:?} then {now:?}");
        seen = now;
        let again = bench.dyno().args(["tune", "--resume", &dir, "--quiet"]).spawn();
        first = again.expect("dyno runs");
    }
    let out = first.wait_with_output().expect("dyno ends");
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    bench.assert_nothing_left(Vec::new());
    let all = trials(&bench);
    let distinct: BTreeSet<_> = all.iter().collect();
    assert_eq!(distinct.len(), all.len(), "a trial was made twice: {all:?}");
    let recommended: Value = serde_json::from_str(&read(&bench, "recommendation.json")).expect("JSON");
    assert_eq!(recommended["flags"][0]["flag"], "async-scheduling", "{recommended:#}");
}
