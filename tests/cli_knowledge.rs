//! `dyno list` and `dyno check` as a user sees them: exit code, standard output, standard error.

use assert_cmd::Command;
use std::fs;
use std::path::Path;

/// Runs `dyno` with no hub cache and no other programs in sight; returns everything that it says.
fn dyno(dir: &Path, args: &[&str]) -> String {
    let out = Command::cargo_bin("dyno")
        .unwrap()
        .args(args)
        .current_dir(dir)
        .env_clear()
        .env("PATH", dir)
        .env("HF_HUB_CACHE", dir)
        .output()
        .unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    format!(
        "exit code: {}\n----- stdout -----\n{}----- stderr -----\n{}",
        out.status.code().unwrap_or(-1),
        text(&out.stdout),
        text(&out.stderr)
    )
}

#[test]
fn list_hardware() {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(dyno(dir.path(), &["list", "hardware"]));
}

#[test]
fn list_models() {
    let dir = tempfile::tempdir().unwrap();
    insta::assert_snapshot!(dyno(dir.path(), &["list", "models"]));
}

#[test]
fn list_engines() {
    let dir = tempfile::tempdir().unwrap();
    let said = dyno(dir.path(), &["list", "engines"]);
    assert!(said.starts_with("exit code: 0"), "{said}");
    for engine in ["vllm", "sglang", "trtllm", "emulated"] {
        assert!(said.contains(&format!(" {engine} ")), "{said}");
    }
}

#[test]
fn list_spaces_for_a_context() {
    let dir = tempfile::tempdir().unwrap();
    let args = ["list", "spaces", "--engine", "vllm", "--engine-version", "0.11.0"];
    let context = ["--hardware", "a100-sxm-80gb", "--model", "openai/gpt-oss-20b", "--json"];
    let said = dyno(dir.path(), &[&args[..], &context[..]].concat());
    let json: serde_json::Value = serde_json::from_str(
        said.split("----- stdout -----\n").nth(1).unwrap().split("-----").next().unwrap(),
    )
    .unwrap();
    let flags: Vec<&str> = json.as_array().unwrap().iter().filter_map(|a| a["flag"].as_str()).collect();
    insta::assert_snapshot!(flags.join("\n"), @r"
    max-num-batched-tokens
    max-num-seqs
    long-prefill-token-threshold
    async-scheduling
    gpu-memory-utilization
    block-size
    compilation-config.cudagraph_mode
    VLLM_USE_FLASHINFER_SAMPLER
    VLLM_MARLIN_USE_ATOMIC_ADD
    ");
}

#[test]
fn json_lists_are_json_and_carry_sources() {
    let dir = tempfile::tempdir().unwrap();
    for what in ["hardware", "models", "engines", "spaces"] {
        let said = dyno(dir.path(), &["list", what, "--json"]);
        let body = said.split("----- stdout -----\n").nth(1).unwrap().split("----- stderr").next().unwrap();
        let json: serde_json::Value = serde_json::from_str(body).unwrap_or_else(|e| panic!("{what}: {e}"));
        let rows = json.as_array().unwrap();
        assert!(rows.len() >= 4, "{what}");
        if what != "engines" {
            assert!(rows.iter().all(|r| r["source"].as_str().is_some_and(|s| !s.is_empty())), "{what}");
        }
    }
}

#[test]
fn check_names_every_problem_of_every_file() {
    let dir = tempfile::tempdir().unwrap();
    let write = |name: &str, text: &str| fs::write(dir.path().join(name), text).unwrap();
    write(
        "gpu.toml",
        "id = \"My GPU\"\nvendor = \"nvidia\"\nmemory_gb = -1\nbandwidth = 100\nbf16_tflops = 1.0\n",
    );
    write("model.toml", "id = \"x\"\nlayers = 2\nhidden = \"big\"\nprecision = \"fp7\"\n");
    write(
        "space.toml",
        "engine = \"vllm\"\noldest = \"0.1.0\"\n[[flag]]\nname = \"a\"\ntype = \"integer\"\n",
    );
    write("config.json", "{\"model_type\": \"llama\", \"hidden_size\": 64}");
    write("broken.toml", "id = \n");
    write("other.toml", "a = 1\n");
    write(
        "runs.json",
        "[{\"hardware\": \"a100-smx-80gb\", \"model\": \"openai/gpt-os-20b\", \"precision\": \"fp7\", \
          \"serve_command\": \"vllm serve x\", \"failure\": \"out of memory\"}]",
    );
    let files = [
        "gpu.toml",
        "model.toml",
        "space.toml",
        "config.json",
        "broken.toml",
        "other.toml",
        "runs.json",
        "absent.toml",
    ];
    insta::assert_snapshot!(dyno(dir.path(), &[&["check"], &files[..]].concat()));
    let said = dyno(dir.path(), &["check", "--json", "gpu.toml"]);
    assert!(said.starts_with("exit code: 2") && said.contains("\"ok\": false"), "{said}");
}

#[test]
fn check_of_the_shipped_data_is_good() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let said = dyno(root, &["check", "."]);
    assert!(said.starts_with("exit code: 0"), "{said}");
    assert!(said.contains("search-spaces/vllm.toml: search space, good"), "{said}");
}

#[test]
fn doctor_looks_and_says_what_will_work() {
    let dir = tempfile::tempdir().unwrap();
    let context = ["--hardware", "a100-sxm-80gb", "--model", "openai/gpt-oss-20b"];
    let said = dyno(dir.path(), &[&["doctor", "--offline"], &context[..]].concat());
    // TensorRT-LLM cannot serve it here: something will not work.
    assert!(said.starts_with("exit code: 4"), "{said}");
    for part in ["ok   vllm: fits", "BAD  trtllm: its MXFP4", "emulated: built in", "port 8000"] {
        assert!(said.contains(part), "{part} in {said}");
    }
    let said = dyno(dir.path(), &["doctor", "--offline", "--model", "nobody/nothing-9b"]);
    assert!(said.starts_with("exit code: 2") && said.contains("config.json"), "{said}");
}

#[test]
fn a_reader_that_stops_early_is_no_failure() {
    let dir = tempfile::tempdir().unwrap();
    let dyno = assert_cmd::cargo::cargo_bin("dyno");
    let status = Command::new("/bin/sh")
        .arg("-c")
        .arg(format!("{{ {} list spaces; echo $? >code; }} | true", dyno.display()))
        .current_dir(dir.path())
        .output()
        .unwrap();
    assert!(status.status.success());
    assert_eq!(fs::read_to_string(dir.path().join("code")).unwrap().trim(), "0");
}

#[test]
fn the_report_on_flags_is_what_the_search_spaces_say() {
    let dir = tempfile::tempdir().unwrap();
    let out = Command::cargo_bin("dyno")
        .unwrap()
        .args(["list", "flags", "--markdown"])
        .current_dir(dir.path())
        .output();
    let fresh = String::from_utf8(out.unwrap().stdout).unwrap();
    let file = Path::new(env!("CARGO_MANIFEST_DIR")).join("reports/flags.md");
    if std::env::var_os("DYNO_UPDATE").is_some() {
        fs::write(&file, &fresh).unwrap();
    }
    assert_eq!(fs::read_to_string(file).unwrap_or_default(), fresh, "DYNO_UPDATE=1 writes it again");
}
