//! Serving commands as people write them: how many GPUs they take, what is told of them. The scenarios under
//! `tests/inputs/` are public ones; their sources stand in the index there.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::Command;

fn case(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/inputs").join(name)
}

struct Said {
    code: Option<i32>,
    out: String,
    err: String,
}

fn dyno(dir: &Path, args: &[&str]) -> Said {
    let o = Command::new(assert_cmd::cargo::cargo_bin!("dyno")).args(args).current_dir(dir).output().unwrap();
    let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
    Said { code: o.status.code(), out: text(o.stdout), err: text(o.stderr) }
}

/// The prediction of a case, and its notes in one text.
fn predicted(name: &str) -> (Value, String) {
    let o = dyno(&case(name), &["predict", "--scenarios", "scenario.json", "--draws", "1", "--json"]);
    let all: Value = serde_json::from_str(&o.out).unwrap_or_else(|e| panic!("{name}: {e}: {}", o.err));
    let notes =
        all[0]["notes"].as_array().map(|l| l.iter().filter_map(Value::as_str).collect::<Vec<_>>().join("\n"));
    (all[0].clone(), notes.unwrap_or_default())
}

#[test]
fn attention_ranks_share_the_gpus() {
    let (p, notes) = predicted("004-glm52-sglang-dpattn");
    assert_eq!(p["gpus"], 8);
    assert!(notes.contains("8 ranks share the 8 GPUs"), "{notes}");
    let total = p["predicted"]["total_token_throughput"]["value"].as_f64().unwrap();
    assert!((3000.0..14000.0).contains(&total), "measured 7011 tok/s on the 8 GPUs: {total}");
    assert_eq!(predicted("005-ds-v3-mi300x-dpattn").0["gpus"], 8);
}

#[test]
fn a_contradiction_has_both_figures() {
    for (name, said, takes) in
        [("006-vllm-tp8-dp8-8gpus", "8", "64 (TP 8 x DP 8)"), ("007-tp8-on-one-gpu", "1", "8 (TP 8)")]
    {
        let o = dyno(&case(name), &["predict", "--scenarios", "scenario.json", "--draws", "1"]);
        assert_eq!(o.code, Some(2), "{name}: {}", o.out);
        assert!(o.err.contains(&format!("num_gpus says {said}, and the launch takes {takes}")), "{}", o.err);
    }
}

#[test]
fn a_price_is_that_of_all_gpus() {
    let here = case("007-tp8-on-one-gpu");
    let plan = |tp: &str| {
        let args = [
            "capacity",
            "--model",
            "Qwen/Qwen3-8B",
            "--hardware",
            "h100-sxm-80gb",
            "--workload",
            "random:500/50,n=50",
            "--target-rate",
            "1",
            "--usd-per-gpu-hour",
            "2",
            "--loads",
            "4",
            "--draws",
            "1",
            "--json",
            "--",
            "-tp",
            tp,
        ];
        let o = dyno(&here, &args);
        let v: Value = serde_json::from_str(&o.out).unwrap_or_else(|e| panic!("{e}: {}", o.err));
        (
            v["gpus"].as_u64(),
            v["plan"]["usd_per_hour"].as_f64().or_else(|| v["target"]["usd_per_hour"].as_f64()),
            v,
        )
    };
    let (one, eight) = (plan("1"), plan("8"));
    assert_eq!((one.0, eight.0), (Some(1), Some(8)));
    assert_eq!((one.1, eight.1), (Some(2.0), Some(16.0)), "{:#}", eight.2);
}

#[test]
fn scenarios_that_agree_carry_their_gpus() {
    for name in [
        "020-kimi-k2t-tp8",
        "023-llama31-405b-h200",
        "024-kubecon-llama8b-noprefix",
        "026-minimax-m25-h100-tp8ep8",
        "030-ds-v31-mi300x",
        "031-llama4-maverick-mi300x",
        "032-qwen3coder-480b-fp8-mi300x",
        "035-kv-gptoss120b-h100",
        "036-kv-llama70b-w8a8",
        "037-kv-r1-distill-14b-4090x2",
        "039-kv-qwen3coder30b-l40s-tp4",
        "040-kv-qwen3-32b-h100nvl",
        "042-kv-gemma4-e2b-l4",
    ] {
        // A few requests are enough to see what is counted.
        let text = std::fs::read_to_string(case(name).join("scenario.json")).unwrap();
        let mut all: Value = serde_json::from_str(&text).unwrap();
        all[0]["workload"]["num_prompts"] = 8.into();
        let dir = tempfile::tempdir().unwrap();
        let file = dir.path().join("s.json");
        std::fs::write(&file, all.to_string()).unwrap();
        let o =
            dyno(&case(name), &["predict", "--scenarios", file.to_str().unwrap(), "--draws", "1", "--json"]);
        let out: Value = serde_json::from_str(&o.out).unwrap_or_else(|e| panic!("{name}: {e}: {}", o.err));
        assert_eq!(out[0]["gpus"], all[0]["num_gpus"], "{name}");
    }
}

#[test]
fn an_abbreviation_is_the_flag_that_it_begins() {
    let (_, notes) = predicted("023-llama31-405b-h200");
    assert!(notes.contains("--mem-frac is read as --mem-fraction-static"), "{notes}");
    assert!(!notes.contains("neutral: --mem-frac"), "{notes}");
}

#[test]
fn shell_variables_are_unknown_and_said_so() {
    let (p, notes) = predicted("048-form-shell-variables");
    assert_eq!(p["gpus"], 8);
    assert!(notes.contains("--tensor-parallel-size $TP: a shell variable"), "{notes}");
    assert!(notes.contains("the model is $MODEL, a shell variable"), "{notes}");
    assert!(notes.contains("TP 8 (8) is assumed, from num_gpus 8"), "{notes}");
}

#[test]
fn dashes_of_a_text_program_are_told() {
    let (_, notes) = predicted("051-form-smart-dash");
    assert!(notes.contains("typographic dash") && notes.contains("`--max-num-seqs` was meant"), "{notes}");
}

#[test]
fn a_refused_launch_tells_its_flags_too() {
    // With 30 GiB of the weights in host memory they fit; what does not is the whole context.
    let (p, _) = predicted("054-form-cpu-offload");
    assert!(
        p.get("predicted").is_some() || p["failure"].as_str().is_some_and(|f| !f.contains("weights need")),
        "{p:#}"
    );
    let args = [
        "predict",
        "--model",
        "openai/gpt-oss-120b",
        "--hardware",
        "l4-24gb",
        "--draws",
        "1",
        "--",
        "--enable-lora",
    ];
    let o = dyno(&case("054-form-cpu-offload"), &args);
    assert_eq!(o.code, Some(3), "{}", o.out);
    assert!(o.err.contains("flags without a model, taken as neutral: --enable-lora"), "{}", o.err);
}

/// The KV pool of a case with and without the options of its file.
fn pools(name: &str, bare: &str) -> (f64, f64) {
    let (with, notes) = predicted(name);
    assert!(!notes.contains("was not read") && !notes.contains("neutral: --config"), "{notes}");
    let text = std::fs::read_to_string(case(name).join("scenario.json")).unwrap();
    let mut all: Value = serde_json::from_str(&text).unwrap();
    all[0]["serve_command"] = bare.into();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("scenario.json"), all.to_string()).unwrap();
    let o = dyno(dir.path(), &["predict", "--scenarios", "scenario.json", "--draws", "1", "--json"]);
    let out: Value = serde_json::from_str(&o.out).unwrap_or_else(|e| panic!("{name}: {e}: {}", o.err));
    let tokens = |v: &Value| v["kv_pool_tokens"].as_f64().unwrap_or_else(|| panic!("{v:#}"));
    (tokens(&with), tokens(&out[0]))
}

#[test]
fn files_of_options_are_read_where_the_command_names_them() {
    // Half of the memory, and half of the bytes a token.
    let bare = "trtllm-serve openai/gpt-oss-120b --max_batch_size 64 --max_num_tokens 20000 --max_seq_len=9416 --tp_size=8 \
                --kv_cache_free_gpu_memory_fraction 0.5";
    let (with, without) = pools("201-config-trtllm", bare);
    assert!((with / without - 2.0).abs() < 0.01, "{with} and {without}");
    let (p, notes) = predicted("202-config-vllm");
    assert!(p["failure"].as_str().unwrap().contains("max_model_len 131072"), "{p:#}");
    assert!(!notes.contains("was not read") && !notes.contains("--config"), "{notes}");
    let (p, _) = predicted("203-config-sglang");
    assert_eq!((p["gpus"].as_u64(), p["model"].as_str()), (Some(2), Some("Qwen/Qwen3-32B")));
    let pool = p["kv_pool_tokens"].as_f64().unwrap();
    assert!(pool > 100_000.0, "32 GB of weights lie on each of two GPUs: {pool}");
}

#[test]
fn keys_of_a_table_are_what_the_table_is() {
    let command = "vllm serve zai-org/GLM-5.2-FP8 -tp 8 --kv-cache-dtype fp8_e4m3 --speculative-config.method mtp \
                   --speculative-config.num_speculative_tokens 5 --max-num-seqs 32";
    let args = ["predict", "--hardware", "b200-sxm-180gb", "--model", "zai-org/GLM-5.2-FP8", "--draws", "1"];
    let more = ["--workload", "random:1000/100,n=8", "--serve-command", command];
    let o = dyno(&case("057-form-lora"), &[args.as_slice(), more.as_slice()].concat());
    assert_eq!(o.code, Some(0), "{}", o.err);
    assert!(o.err.contains("speculation by mtp of 5 tokens") && !o.err.contains("neutral"), "{}", o.err);
}

#[test]
fn half_of_a_disaggregated_service_is_refused() {
    for command in [
        "python -m sglang.launch_server --model-path meta-llama/Llama-3.1-8B-Instruct --disaggregation-mode prefill",
        r#"vllm serve meta-llama/Llama-3.1-8B-Instruct --kv-transfer-config '{"kv_connector":"NixlConnector","kv_role":"kv_producer"}'"#,
    ] {
        let args = ["predict", "--hardware", "h100-sxm-80gb", "--model", "meta-llama/Llama-3.1-8B-Instruct"];
        let o = dyno(&case("057-form-lora"), &[args.as_slice(), &["--serve-command", command]].concat());
        assert_eq!(o.code, Some(3), "{}", o.err);
        assert!(o.out.contains("one half of a disaggregated service"), "{}", o.out);
    }
}

#[test]
fn a_directory_that_is_not_the_served_model_is_told() {
    let (_, notes) = predicted("042-kv-gemma4-e2b-l4");
    assert!(notes.contains("the command serves google/gemma-4-E2B (35 layers of width 1536)"), "{notes}");
    // The model by its name: the engine printed 1,062,157 tokens.
    let text = std::fs::read_to_string(case("042-kv-gemma4-e2b-l4").join("scenario.json")).unwrap();
    let mut all: Value = serde_json::from_str(&text).unwrap();
    all[0]["model"] = "google/gemma-4-E2B".into();
    let dir = tempfile::tempdir().unwrap();
    std::fs::write(dir.path().join("s.json"), all.to_string()).unwrap();
    let o = dyno(dir.path(), &["predict", "--scenarios", "s.json", "--draws", "1", "--json"]);
    let out: Value = serde_json::from_str(&o.out).unwrap_or_else(|e| panic!("{e}: {}", o.err));
    let tokens = out[0]["kv_pool_tokens"].as_f64().unwrap();
    assert!((tokens / 1_062_157.0 - 1.0).abs() < 0.1, "{tokens}");
}

#[test]
fn another_model_in_the_command_is_told() {
    let (_, notes) = predicted("056-form-model-mismatch");
    assert!(notes.contains("the command serves meta-llama/Llama-3.1-70B-Instruct"), "{notes}");
    let (_, notes) = predicted("057-form-lora");
    assert!(notes.contains("--enable-lora") && !notes.contains("the command serves"), "{notes}");
}
