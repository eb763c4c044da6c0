//! Result files and data files as people have them: read, completed on the command line, or named as what they are.
//! The inputs under `tests/inputs/` are shortened public ones; their sources stand in the index beside them.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

use llm_dyno::launch::EngineKind;
use llm_dyno::scenario::{Key, Record, load};
use llm_dyno::workload::{Dataset, RequestRate};
use std::path::{Path, PathBuf};
use std::process::Command;

fn input(case: &str) -> PathBuf {
    let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inputs").join(case);
    let mut files =
        std::fs::read_dir(&dir).unwrap_or_else(|e| panic!("{case}: {e}")).flatten().map(|e| e.path());
    files.next().unwrap()
}

fn records(case: &str) -> (Option<&'static str>, Vec<Record>) {
    let loaded = load(&input(case)).unwrap_or_else(|e| panic!("{case}: {e}"));
    (loaded.tool, loaded.records)
}

fn figure(r: &Record, key: Key) -> f64 {
    r.result.as_ref().and_then(|m| m.get(key)).unwrap_or_else(|| panic!("no {}", key.name()))
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn dyno(args: &[&str]) -> Said {
    let dir = tempfile::tempdir().unwrap();
    let o = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(args)
        .current_dir(dir.path())
        .output()
        .unwrap();
    let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
    Said { code: o.status.code(), out: text(o.stdout), err: text(o.stderr) }
}

fn near(a: f64, b: f64) -> bool {
    (a / b - 1.0).abs() < 1e-3
}

#[test]
fn an_azure_trace_is_a_workload() {
    let path = format!("trace:{},n=20", input("101-azure-2023-code").display());
    let o = dyno(&[
        "predict",
        "--model",
        "meta-llama/Llama-3.1-8B-Instruct",
        "--hardware",
        "h100-sxm-80gb",
        "--draws",
        "1",
        "--workload",
        &path,
    ]);
    assert_eq!(o.code, Some(0), "{}", o.err);
}

#[test]
fn odd_sharegpt_records_are_skipped_and_counted() {
    let path = format!("sharegpt:{}", input("108-sharegpt-odd").display());
    let o = dyno(&[
        "predict",
        "--model",
        "meta-llama/Llama-3.1-8B-Instruct",
        "--hardware",
        "h100-sxm-80gb",
        "--draws",
        "1",
        "--workload",
        &path,
    ]);
    assert_eq!(o.code, Some(0), "{}", o.err);
    assert!(o.err.contains("4 of 8 records are used; skipped: 2 are no conversation"), "{}", o.err);
}

#[test]
fn sharegpt_as_json_lines_reads() {
    let path = format!("sharegpt:{}", input("109-sharegpt-jsonl").display());
    let spec = path.parse::<llm_dyno::workload::WorkloadSpec>().unwrap();
    let shapes = llm_dyno::workload::shapes(&spec).unwrap();
    assert_eq!(shapes.len(), 5);
    assert!(shapes.iter().all(|s| s.output_tokens > 100));
    assert!(llm_dyno::workload::notes(&spec).is_empty());
}

#[test]
fn sglang_runs_one_a_line() {
    let (tool, all) = records("110-sglang-jsonl-3lines");
    assert_eq!((tool, all.len()), (Some("sglang.bench_serving"), 7));
    let first = all[0].workload.as_ref().unwrap();
    assert_eq!(
        (first.dataset, first.input_range, first.output_range),
        (Dataset::Random, Some((1, 1024)), Some((1, 1024)))
    );
    assert_eq!((first.request_rate, first.num_prompts), (RequestRate::PerSecond(1.0), Some(300)));
    assert!(near(figure(&all[0], Key::MeanE2elMs), 7840.616));
    assert!(near(figure(&all[0], Key::RequestThroughput), 300.0 / 298.3676));
    assert_eq!(all[5].workload.as_ref().unwrap().dataset, Dataset::Sharegpt);
    assert!(all.iter().all(|r| r.engine == Some(EngineKind::Sglang)));
}

#[test]
fn pythons_infinity_is_all_at_once() {
    let (_, all) = records("111-sglang-infinity");
    let w = all[0].workload.as_ref().unwrap();
    assert_eq!((w.request_rate, w.input_len, w.output_len), (RequestRate::Inf, Some(1), Some(512)));
    assert_eq!((w.input_range, w.output_range), (None, None), "a ratio of 1 is a fixed length");
}

#[test]
fn what_an_sglang_run_lacks_the_command_line_supplies() {
    let file = input("112-sglang-04-one-line");
    let file = file.to_str().unwrap();
    let bare = dyno(&["fit", file, "-o", "p.toml"]);
    assert_eq!(bare.code, Some(2));
    assert!(
        bare.err.contains("model: not in this file of sglang.bench_serving")
            && bare.err.contains("--hardware ID"),
        "{}",
        bare.err
    );
    assert!(!bare.err.contains("engine:"), "the file names its engine: {}", bare.err);
    let o = dyno(&[
        "fit",
        file,
        "--model",
        "meta-llama/Llama-3.1-8B-Instruct",
        "--hardware",
        "h100-sxm-80gb",
        "-o",
        "p.toml",
    ]);
    assert_eq!(o.code, Some(0), "{}", o.err);
    assert!(o.out.contains("llama-3.1-8b (bf16) on h100-sxm-80gb with sglang: 1 observations"), "{}", o.out);
    let p = dyno(&[
        "predict",
        "--scenarios",
        file,
        "--draws",
        "1",
        "--model",
        "meta-llama/Llama-3.1-8B-Instruct",
        "--hardware",
        "h100-sxm-80gb",
    ]);
    assert_eq!(p.code, Some(0), "{}", p.err);
}

#[test]
fn a_single_vllm_run_needs_hardware_and_engine() {
    let file = input("113-vllm-bench-one");
    let file = file.to_str().unwrap();
    let bare = dyno(&["fit", "--observations", file, "--out", "p.toml"]);
    assert_eq!(bare.code, Some(2));
    assert!(
        bare.err.contains("hardware: not in this file of vllm bench serve")
            && bare.err.contains("--serve-command"),
        "{}",
        bare.err
    );
    let (_, all) = records("113-vllm-bench-one");
    let w = all[0].workload.as_ref().unwrap();
    assert_eq!((w.input_len, w.output_len, w.max_concurrency), (Some(127), Some(128), Some(64)));
    assert!(w.note.as_deref().is_some_and(|n| n.contains("means")));
    let command = "vllm serve deepseek-ai/DeepSeek-R1-0528 --tensor-parallel-size 8";
    let c = dyno(&["check", file, "--hardware", "h200-sxm-141gb", "--serve-command", command]);
    assert!(c.code == Some(0) && !c.out.contains("for `dyno fit`"), "{} {}", c.out, c.err);
}

#[test]
fn appended_results_and_nan_read() {
    let (tool, all) = records("115-vllm-append-result");
    assert_eq!((tool, all.len()), (Some("vllm bench serve"), 2));
    let (_, all) = records("116-vllm-nan");
    let m = all[0].result.as_ref().unwrap();
    assert_eq!((m.get(Key::StdTpotMs), m.get(Key::MeanTpotMs)), (None, Some(22.1)));
    assert_eq!(all[0].workload.as_ref().unwrap().request_rate, RequestRate::Inf);
}

#[test]
fn a_sweep_tells_the_servers_flags() {
    let (_, all) = records("117-vllm-sweep-summary-json");
    assert_eq!(all.len(), 4);
    let file = input("117-vllm-sweep-summary-json");
    let o = dyno(&["check", file.to_str().unwrap(), "--hardware", "h100-sxm-80gb", "--engine", "vllm"]);
    assert_eq!(o.code, Some(0), "{}", o.err);
    assert!(o.out.contains("read as flags of the server: --max-num-seqs 128"), "{}", o.out);
}

#[test]
fn a_row_of_inferencex_is_a_whole_observation() {
    let (tool, all) = records("120-infmax-agg");
    let r = &all[0];
    assert_eq!((tool, r.engine, r.num_gpus), (Some("InferenceX"), Some(EngineKind::Sglang), Some(8)));
    assert_eq!((r.hardware.as_deref(), r.engine_version.as_deref()), (Some("h200"), Some("0.5.9")));
    assert_eq!(
        r.serve_command.as_deref(),
        Some("python3 -m sglang.launch_server --model-path deepseek-ai/DeepSeek-R1-0528 --tp-size 8")
    );
    let w = r.workload.as_ref().unwrap();
    assert_eq!((w.input_len, w.output_len, w.max_concurrency), (Some(1024), Some(1024), Some(64)));
    assert!(near(figure(r, Key::TotalTokenThroughput), 8.0 * 602.1));
    assert!(near(figure(r, Key::MeanTtftMs), 410.0) && near(figure(r, Key::P99TpotMs), 26.9));
}

#[test]
fn inference_perf_reads_as_json_and_yaml() {
    let (tool, all) = records("121-inference-perf-stage");
    assert_eq!(tool, Some("inference-perf"));
    let r = &all[0];
    assert!(near(figure(r, Key::MeanTtftMs), 146.2339) && near(figure(r, Key::MeanTpotMs), 12.01959));
    assert!(near(figure(r, Key::Duration), 6715.0 / 110.7595));
    let w = r.workload.as_ref().unwrap();
    assert_eq!((w.input_len, w.output_len, w.num_prompts), (Some(201), Some(63), Some(6715)));
    assert_eq!(w.request_rate, RequestRate::PerSecond(111.92));
    let (_, all) = records("122-inference-perf-yaml");
    assert!(near(figure(&all[0], Key::RequestThroughput), 1.20968));
    assert!(all[0].note.as_deref().is_some_and(|n| n.contains("image, video, audio")), "{:?}", all[0].note);
}

#[test]
fn guidellm_of_the_old_layout_reads() {
    let (tool, all) = records("128-guidellm-02");
    assert_eq!(tool, Some("guidellm"));
    let w = all[0].workload.as_ref().unwrap();
    assert_eq!((w.input_len, w.output_len, w.max_concurrency), (Some(1024), Some(128), Some(8)));
    let file = input("128-guidellm-02");
    let model = "meta-llama/Llama-3.1-8B-Instruct";
    let o = dyno(&[
        "check",
        file.to_str().unwrap(),
        "--model",
        model,
        "--hardware",
        "h100-sxm-80gb",
        "--engine",
        "vllm",
    ]);
    assert!(o.code == Some(0) && !o.out.contains("for `dyno fit`"), "{}", o.out);
}

#[test]
fn a_file_of_another_trade_is_named() {
    let file = input("130-k6-summary");
    let o = dyno(&["check", file.to_str().unwrap()]);
    assert_eq!(o.code, Some(2));
    assert!(o.err.contains("is a summary of k6") && !o.err.contains("unknown key"), "{}", o.err);
}

#[test]
fn runs_of_an_engine_without_a_server_are_read_as_such() {
    let (tool, all) = records("205-trtllm-bench");
    assert_eq!((tool, all.len()), (Some("trtllm-bench"), 1));
    let r = &all[0];
    assert_eq!(
        (r.engine, r.num_gpus, r.precision.as_deref()),
        (Some(EngineKind::Trtllm), Some(1), Some("fp8"))
    );
    assert_eq!(r.model.as_deref(), Some("meta-llama/Llama-3.1-8B-Instruct"));
    assert!(near(figure(r, Key::OutputThroughput), 19103.8) && near(figure(r, Key::MeanE2elMs), 41000.1));
    let (tool, all) = records("206-sglang-offline");
    assert_eq!((tool, all[0].engine), (Some("sglang.bench_offline_throughput"), Some(EngineKind::Sglang)));
    assert!(near(figure(&all[0], Key::OutputThroughput), 8858.6));
    assert!(all[0].note.as_deref().is_some_and(|n| n.contains("without its server")));
}

#[test]
fn a_file_of_no_known_form_is_one_problem() {
    let o = dyno(&["check", input("207-llama-bench").to_str().unwrap()]);
    assert_eq!(o.code, Some(2));
    assert!(o.err.contains("1 problem") && o.err.contains("llama-bench"), "{}", o.err);
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("x.json");
    std::fs::write(&file, r#"{"cells": 3, "voltage": [1, 2], "maker": "x", "date": "y"}"#).unwrap();
    let o = dyno(&["check", file.to_str().unwrap()]);
    assert!(o.err.contains("1 problem") && o.err.contains("its keys: cells, "), "{}", o.err);
    // A misspelt key of ours is still named.
    std::fs::write(&file, r#"{"engine": "vllm", "hardwear": "x", "model": "m"}"#).unwrap();
    let o = dyno(&["check", file.to_str().unwrap()]);
    assert!(o.err.contains("hardwear: unknown key"), "{}", o.err);
}

#[test]
fn the_gpus_of_public_reports_are_known() {
    let file = input("058-hw-t4-v100-3090");
    let o = dyno(&["predict", "--scenarios", file.to_str().unwrap(), "--draws", "1"]);
    assert_eq!(o.code, Some(0), "{}", o.err);
    let text = std::fs::read_to_string(&file).unwrap();
    let dir = tempfile::tempdir().unwrap();
    for gpu in ["v100-sxm-32gb", "NVIDIA GeForce RTX 3090", "Tesla T4", "NVIDIA A30", "gb10", "mi355x"] {
        let path = dir.path().join("s.json");
        std::fs::write(&path, text.replace("t4-16gb", gpu)).unwrap();
        let o = dyno(&["predict", "--scenarios", path.to_str().unwrap(), "--draws", "1"]);
        assert_eq!(o.code, Some(0), "{gpu}: {}", o.err);
    }
}

#[test]
fn lines_with_metadata_of_the_user_read() {
    let (tool, all) = records("208-llmd-vllm-bench-two-lines");
    assert_eq!((tool, all.len()), (Some("vllm bench serve"), 2));
    assert_eq!(all[1].model.as_deref(), Some("meta-llama/Llama-3.2-3B-Instruct"));
    let w = |i: usize| all[i].workload.as_ref().unwrap();
    assert_eq!((w(0).request_rate, w(1).request_rate), (RequestRate::PerSecond(10.0), RequestRate::Inf));
    assert_eq!((w(1).num_prompts, w(1).max_concurrency), (Some(900), None));
    assert!(
        near(figure(&all[0], Key::MeanTtftMs), 54.577) && near(figure(&all[1], Key::MeanTtftMs), 902.253)
    );
}

#[test]
fn lost_requests_and_single_requests_are_kept() {
    let (_, all) = records("209-vllm-bench-failed");
    assert!(
        near(figure(&all[0], Key::MedianTtftMs), 73.2587) && near(figure(&all[0], Key::P99ItlMs), 27.5113)
    );
    assert_eq!((figure(&all[0], Key::Completed), figure(&all[0], Key::Failed)), (1791.0, 1409.0));
    let (_, all) = records("210-vllm-bench-detailed");
    let rows = all[0].requests.as_ref().unwrap();
    assert_eq!((rows.len(), all[0].model.as_deref()), (4, Some("Qwen/Qwen2.5-3B-Instruct-AWQ")));
}

#[test]
fn a_summary_of_aiperf_names_its_model_inside() {
    let (tool, all) = records("211-aiperf-summary");
    assert!(tool.is_some_and(|t| t.contains("aiperf")));
    assert_eq!(all[0].model.as_deref(), Some("meta-llama/Llama-3-8B"));
    assert!(near(figure(&all[0], Key::MeanTtftMs), 25.0) && near(figure(&all[0], Key::P99TtftMs), 34.9));
    assert!(near(figure(&all[0], Key::OutputThroughput), 1000.0));
}

#[test]
fn what_a_tool_printed_reads_as_its_file() {
    let (_, all) = records("212-vllm-console");
    assert!(
        near(figure(&all[0], Key::MeanTtftMs), 7279.56)
            && near(figure(&all[0], Key::OutputThroughput), 434.4)
    );
    let w = all[0].workload.as_ref().unwrap();
    assert_eq!((w.max_concurrency, w.input_len, w.output_len), (Some(32), Some(2048), Some(2048)));
    let (tool, all) = records("213-sglang-console");
    assert_eq!((tool, all.len()), (Some("sglang.bench_serving"), 2));
    assert_eq!(all[1].workload.as_ref().unwrap().request_rate, RequestRate::PerSecond(4.0));
    assert!(near(figure(&all[0], Key::MeanE2elMs), 2098.07));
}

#[test]
fn results_of_unknown_programs_are_one_problem_each() {
    for case in ["214-image-benchmark", "215-task-result"] {
        let o = dyno(&["check", input(case).to_str().unwrap()]);
        assert!(o.code == Some(2) && o.err.contains("1 problem") && o.err.contains("its keys:"), "{}", o.err);
    }
}

/// What is true of a file of `tests/result-files`, written down before it was first read.
#[derive(Debug, serde::Deserialize)]
#[serde(deny_unknown_fields)]
struct Truth {
    file: String,
    source: Option<String>,
    engine: Option<EngineKind>,
    model: Option<String>,
    hardware: Option<String>,
    gpus: Option<u32>,
    concurrency: Option<u32>,
    records: Option<usize>,
    /// Tokens of a prompt and of an answer.
    lengths: Option<[u32; 2]>,
    figures: std::collections::BTreeMap<String, f64>,
    /// Figures that the file does not tell.
    #[serde(default)]
    absent: Vec<String>,
}

#[derive(Debug, serde::Deserialize)]
struct Truths {
    file: Vec<Truth>,
}

/// What is read of a result file otherwise than it is.
fn misread(t: &Truth) -> Vec<String> {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/result-files").join(&t.file);
    let loaded = match load(&path) {
        Ok(loaded) => loaded,
        Err(e) => return vec![e.to_string()],
    };
    let (r, mut out) = (&loaded.records[0], Vec::new());
    let mut same = |what: &str, read: String, truth: String| {
        if read != truth {
            out.push(format!("{what} {read}, not {truth}"));
        }
    };
    same("records", loaded.records.len().to_string(), t.records.unwrap_or(1).to_string());
    if t.engine.is_some() {
        same("engine", format!("{:?}", r.engine), format!("{:?}", t.engine));
    }
    if t.model.is_some() {
        same("model", format!("{:?}", r.model), format!("{:?}", t.model));
    }
    if let Some(gpus) = t.gpus {
        let launch = llm_dyno::launch::GpuLayout::of(&r.launch()).gpus();
        same(
            "GPUs",
            format!("{:?}, its launch {launch}", r.num_gpus),
            format!("Some({gpus}), its launch {gpus}"),
        );
    }
    let concurrency = r.workload.as_ref().and_then(|w| w.max_concurrency);
    if t.concurrency.is_some() {
        same("concurrency", format!("{concurrency:?}"), format!("{:?}", t.concurrency));
    }
    let lengths = r.workload.as_ref().and_then(|w| Some([w.input_len?, w.output_len?]));
    if t.lengths.is_some() {
        same("lengths", format!("{lengths:?}"), format!("{:?}", t.lengths));
    }
    let hardware = r.hardware.as_deref().unwrap_or_default();
    let named = t.hardware.as_deref().is_none_or(|h| hardware.contains(h));
    same("hardware", named.to_string(), true.to_string());
    let figure = |name: &str| r.result.as_ref().and_then(|m| m.get(Key::from_name(name)?));
    for (name, truth) in &t.figures {
        let right = figure(name).is_some_and(|read| (read / truth - 1.0).abs() < 2e-3);
        if !right {
            out.push(format!("{name} {:?}, not {truth}", figure(name)));
        }
    }
    out.extend(t.absent.iter().filter_map(|n| Some(format!("{n} {}, which it does not tell", figure(n)?))));
    out
}

#[test]
fn files_are_read_as_their_tools_wrote_them() {
    let all: Truths = toml::from_str(include_str!("result-files.toml")).unwrap();
    let found = |t: &Truth| {
        let wrong = misread(t);
        let source = t.source.as_deref().unwrap_or_default();
        (!wrong.is_empty()).then(|| format!("{} ({source}): {}", t.file, wrong.join("; ")))
    };
    let wrong: Vec<String> = all.file.iter().filter_map(found).collect();
    assert!(wrong.is_empty(), "{} of {} misread:\n{}", wrong.len(), all.file.len(), wrong.join("\n"));
}
