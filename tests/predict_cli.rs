//! `dyno predict` and `dyno fit` as commands: the contract's keys, intervals, exit codes, and that a profile
//! moves a prediction towards what was measured.

use assert_cmd::Command;
use serde_json::{Value, json};
use std::path::Path;

fn dyno(args: &[&str]) -> std::process::Output {
    Command::cargo_bin("dyno").expect("the binary").args(args).output().expect("it runs")
}

fn scenario(n: u32, concurrency: u32) -> Value {
    json!({"engine": "vllm", "engine_version": "0.11.0", "model": "Qwen/Qwen3-8B", "hardware": "l40s-48gb",
           "serve_command": "vllm serve Qwen/Qwen3-8B --max-model-len 8192",
           "workload": {"dataset": "random", "input_len": 300, "output_len": 40, "num_prompts": n,
                        "max_concurrency": concurrency, "seed": 1}})
}

fn write(path: &Path, value: &Value) {
    std::fs::write(path, value.to_string()).expect("writable");
}

fn predict(args: &[&str]) -> Vec<Value> {
    let out = dyno(&[&["predict", "--json", "--draws", "4"], args].concat());
    assert!(out.status.success(), "{}", String::from_utf8_lossy(&out.stderr));
    serde_json::from_slice(&out.stdout).expect("only JSON on stdout")
}

fn value(v: &Value, key: &str, part: &str) -> f64 {
    v["predicted"][key][part].as_f64().unwrap_or_else(|| panic!("{key}.{part} in {v}"))
}

#[test]
fn scenarios_come_back_with_intervals_and_what_binds() {
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("scenarios.json");
    write(&file, &json!([scenario(24, 4), scenario(24, 8)]));
    let path = file.to_str().unwrap();
    let all = predict(&["--scenarios", path, "--per-request"]);
    assert_eq!(all.len(), 2);
    for v in &all {
        for key in ["total_token_throughput", "mean_ttft_ms", "p99_tpot_ms", "median_itl_ms", "mean_e2el_ms"]
        {
            let (low, mid, high) = (value(v, key, "p05"), value(v, key, "value"), value(v, key, "p95"));
            assert!(0.0 < low && low < mid && mid < high, "{key}: {low} {mid} {high}");
        }
        assert!(v["binding"].as_str().is_some_and(|b| !b.is_empty()));
        assert_eq!(v["requests"].as_array().map(Vec::len), Some(24));
        assert!(v["basis"].as_str().is_some_and(|b| b.contains("prior")));
    }
    assert_eq!(all, predict(&["--scenarios", path, "--per-request"]), "equal seeds, equal answers");
}

#[test]
fn a_profile_moves_a_prediction_to_what_was_measured() {
    let dir = tempfile::tempdir().unwrap();
    let (file, profile) = (dir.path().join("runs.json"), dir.path().join("profile.toml"));
    write(&file, &json!([scenario(24, 4)]));
    let before = predict(&["--scenarios", file.to_str().unwrap()]);
    let slow = |key: &str| 1.5 * value(&before[0], key, "value");
    let mut run = scenario(24, 4);
    run["result"] =
        json!({"completed": 24, "mean_tpot_ms": slow("mean_tpot_ms"), "mean_ttft_ms": slow("mean_ttft_ms")});
    write(&file, &run);
    let (runs, out) = (file.to_str().unwrap(), profile.to_str().unwrap());
    let fitted = dyno(&["fit", "--observations", runs, "--where", "engine=vllm", "-o", out]);
    assert!(fitted.status.success(), "{}", String::from_utf8_lossy(&fitted.stderr));
    let after = predict(&["--profile", out, "--scenarios", runs]);
    let ratio = value(&after[0], "mean_tpot_ms", "value") / slow("mean_tpot_ms");
    assert!((ratio - 1.0).abs() < 0.05, "{ratio}");
    assert!(after[0]["result"].is_null(), "a scenario carries no result");
    assert!(after[0]["basis"].as_str().is_some_and(|b| b.starts_with("a fit")));
}

#[test]
fn bad_input_and_hopeless_launches_have_their_exit_codes() {
    let refused = dyno(&["predict", "--model", "Qwen/Qwen3-32B", "--hardware", "rtx-4090-24gb"]);
    assert_eq!(refused.status.code(), Some(3));
    let unknown = dyno(&["predict", "--model", "Qwen/Qwen3-8B", "--hardware", "no-such-gpu"]);
    assert_eq!(unknown.status.code(), Some(2));
    let nothing = dyno(&["fit", "--observations", "/nonexistent.json", "-o", "/tmp/never.toml"]);
    assert_eq!(nothing.status.code(), Some(2));
}

#[test]
fn a_mixture_is_predicted_as_a_whole_and_by_its_parts() {
    let mix = "mix:0.75*random:100/10+0.25*random:1000/60,n=40,rate=4,seed=5";
    let one = ["--model", "Qwen/Qwen3-8B", "--hardware", "l40s-48gb", "--workload", mix];
    let all = predict(&[&one[..], &["--", "--max-model-len", "8192"]].concat());
    assert_eq!(value(&all[0], "total_output_tokens", "value"), 30.0 * 10.0 + 10.0 * 60.0);
    assert!(all[0].get("requests").is_none(), "only with --per-request");
    let parts = all[0]["predicted_components"].as_array().unwrap();
    let figure = |i: usize, key: &str| parts[i][key].as_f64().unwrap_or_else(|| panic!("{key} in {parts:?}"));
    assert_eq!((figure(0, "completed"), figure(1, "completed")), (30.0, 10.0));
    assert!(figure(1, "mean_e2el_ms") > 3.0 * figure(0, "mean_e2el_ms"), "{parts:?}");
    // The pooled mean is the mean of the parts, weighted by their requests.
    let pooled = (30.0 * figure(0, "mean_ttft_ms") + 10.0 * figure(1, "mean_ttft_ms")) / 40.0;
    let whole = value(&all[0], "mean_ttft_ms", "value");
    assert!((pooled / whole - 1.0).abs() < 0.35, "{pooled} {whole}");
    // The same from a file.
    let dir = tempfile::tempdir().unwrap();
    let file = dir.path().join("s.json");
    let mut record = all[0].clone();
    for key in [
        "predicted",
        "predicted_components",
        "binding",
        "standing",
        "kv_pool_tokens",
        "max_concurrency_at_max_model_len",
        "gpus",
        "basis",
        "notes",
    ] {
        record.as_object_mut().unwrap().remove(key);
    }
    write(&file, &record);
    let again = predict(&["--scenarios", file.to_str().unwrap()]);
    assert_eq!(again[0]["predicted_components"], all[0]["predicted_components"]);
    // A mistake inside a part is named where it stands.
    record["workload"]["components"][1]["workload"]["inputlen"] = json!(3);
    write(&file, &record);
    let out = dyno(&["predict", "--scenarios", file.to_str().unwrap()]);
    assert_eq!(out.status.code(), Some(2));
    let text = String::from_utf8_lossy(&out.stderr).into_owned();
    assert!(text.contains("workload.components[1].workload.inputlen: unknown key"), "{text}");
}

#[test]
fn steps_are_fitted_alone_and_beside_observations() {
    let dir = tempfile::tempdir().unwrap();
    let path = |name: &str| dir.path().join(name).to_str().unwrap().to_owned();
    let mut log = String::new();
    for i in 0..200 {
        log += &format!(
            "(APIServer pid=7) INFO 11-22 04:24:43 [loggers.py:199] Engine 000: Iteration({i}): 0 context requests, \
             0 context tokens, 4 generation requests, 4 generation tokens, iteration elapsed time: 90.00 ms, \
             GPU KV cache usage: 0.0%\n"
        );
    }
    std::fs::write(path("engine.log"), log).unwrap();
    let launch = ["--engine", "vllm", "--model", "Qwen/Qwen3-8B", "--hardware", "l40s-48gb"];
    let steps = path("engine.log");
    let alone = dyno(&[&["fit", "--steps", &steps, "-o", &path("a.toml")][..], &launch].concat());
    assert!(alone.status.success(), "{}", String::from_utf8_lossy(&alone.stderr));
    let said = String::from_utf8_lossy(&alone.stdout).into_owned();
    assert!(
        said.contains("4 decoding") && said.contains("90.00 ms") && said.contains("not identified"),
        "{said}"
    );
    write(Path::new(&path("s.json")), &json!([scenario(24, 4)]));
    let tpot = |args: &[&str]| {
        value(&predict(&[&["--scenarios", &path("s.json")], args].concat())[0], "mean_tpot_ms", "value")
    };
    let (prior, fitted) = (tpot(&[]), tpot(&["--profile", &path("a.toml")]));
    assert!(fitted > 1.3 * prior, "steps of 90 ms must show: {prior} {fitted}");

    let mut run = scenario(24, 4);
    run["result"] = json!({"mean_tpot_ms": 95.0});
    write(Path::new(&path("o.json")), &json!([run]));
    let both = dyno(&[
        "fit",
        "--observations",
        &path("o.json"),
        "--steps",
        &steps,
        "--engine",
        "vllm",
        "-o",
        &path("b.toml"),
    ]);
    assert!(both.status.success(), "{}", String::from_utf8_lossy(&both.stderr));

    let empty = path("none.log");
    std::fs::write(&empty, "nothing\n").unwrap();
    let refused = dyno(&[&["fit", "--steps", &empty, "-o", &path("c.toml")][..], &launch].concat());
    assert_eq!(refused.status.code(), Some(2));
    assert!(String::from_utf8_lossy(&refused.stderr).contains("--enable-logging-iteration-details"));
    let whose = dyno(&["fit", "--steps", &steps, "--engine", "vllm", "-o", &path("c.toml")]);
    assert_eq!(whose.status.code(), Some(2));
}

#[test]
fn a_launch_over_two_nodes_pays_for_the_link_between_them_and_says_so_where_nobody_knows_it() {
    let of = |layout: &str, more: &[&str]| {
        let args = "--model meta-llama/Llama-3.1-70B-Instruct --hardware h100-sxm-80gb --num-gpus 16 --workload random:500/50,n=32";
        let args: Vec<&str> =
            args.split(' ').chain(more.iter().copied()).chain(["--"]).chain(layout.split(' ')).collect();
        predict(&args).remove(0)
    };
    let speed = |v: &Value| value(v, "total_token_throughput", "value");
    let wide = "--tensor-parallel-size 16";
    let (one, two) = (of(wide, &[]), of(wide, &["--gpus-per-node", "8", "--node-link-gbps", "50"]));
    let slow = of(wide, &["--gpus-per-node", "8", "--node-link-gbps", "5"]);
    assert!(speed(&one) > 1.1 * speed(&two) && speed(&two) > 1.5 * speed(&slow), "{one} {two} {slow}");
    let assumed = of(wide, &["--gpus-per-node", "8"]);
    assert_eq!(speed(&assumed), speed(&two));
    let told = |v: &Value| v.to_string().contains("the link between nodes");
    assert!(told(&assumed) && !told(&two), "{assumed}");
    // Stages hand over little: one on each node is what a slow link is for.
    let stages = "--tensor-parallel-size 8 --pipeline-parallel-size 2";
    let apart = of(stages, &["--gpus-per-node", "8", "--node-link-gbps", "5"]);
    assert!(speed(&apart) > speed(&slow), "{apart} {slow}");
}
