//! `dyno export`: every format is well-formed and holds the measured command; and the shell form runs.

#![expect(clippy::disallowed_methods, reason = "tests start the program as a user does")]

use llm_dyno::scenario::Key;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::process::{Command, Stdio};

fn campaign(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/campaigns").join(name)
}

fn export(dir: &Path, format: &str, more: &[&str]) -> (Option<i32>, String, String) {
    let out = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .arg("export")
        .arg(dir)
        .args(["--format", format])
        .args(more)
        .output()
        .unwrap();
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code(), text(&out.stdout), text(&out.stderr))
}

/// The clear win as if vLLM had been measured: with a quote, a dollar sign and JSON in its command, and two GPUs.
fn as_vllm(tmp: &Path) -> PathBuf {
    let dir = tmp.join("vllm");
    std::fs::create_dir_all(&dir).unwrap();
    for file in ["run.json", "trials.jsonl"] {
        let text = std::fs::read_to_string(campaign("clear-win").join(file)).unwrap();
        let command = "/opt/venv/bin/vllm serve openai/gpt-oss-20b --async-scheduling --limit-mm-per-prompt \
                       '{\\\\\"image\\\\\": 2}' --chat-template '$x it'\\\\\\\\''s'";
        let command = command.replace("\\\\\\\\", "\\\\").replace("\\\\\"", "\\\"");
        let text = text
            .replace("\"emulated\"", "\"vllm\"")
            .replace("\"num_gpus\": 1", "\"num_gpus\": 2")
            .replace(
                "dyno emulate --model openai/gpt-oss-20b --hardware a100-sxm-80gb --async-scheduling --emulate-version 0.11.0",
                &command,
            );
        // What was changed has another checksum; a line without one is read as it is.
        let unsealed = |line: &str| match line.rfind(",\"sum\":\"") {
            Some(at) => format!("{}}}\n", &line[..at]),
            None => format!("{line}\n"),
        };
        let text: String = text.lines().map(unsealed).collect();
        std::fs::write(dir.join(file), text).unwrap();
    }
    dir
}

/// YAML documents as JSON.
fn documents(text: &str) -> Vec<Value> {
    text.split("\n---\n").map(|d| serde_saphyr::from_str(d).unwrap_or_else(|e| panic!("{e}\n{d}"))).collect()
}

#[test]
fn kubernetes_text_holds_the_command_word_by_word() {
    let tmp = tempfile::tempdir().unwrap();
    let (code, text, err) = export(&as_vllm(tmp.path()), "kubernetes", &[]);
    assert_eq!(code, Some(0), "{err}");
    let all = documents(&text);
    let kinds: Vec<&str> = all.iter().filter_map(|d| d["kind"].as_str()).collect();
    assert_eq!(kinds, ["Deployment", "Service"]);
    let container = &all[0]["spec"]["template"]["spec"]["containers"][0];
    assert_eq!(container["image"], "vllm/vllm-openai:v0.11.0");
    assert_eq!(container["command"][0], "vllm");
    let args: Vec<&str> = container["args"].as_array().unwrap().iter().filter_map(Value::as_str).collect();
    let expected = [
        "serve",
        "openai/gpt-oss-20b",
        "--async-scheduling",
        "--limit-mm-per-prompt",
        "{\"image\": 2}",
        "--chat-template",
        "$x it's",
        "--host",
        "0.0.0.0",
        "--port",
        "8000",
    ];
    assert_eq!(args, expected);
    assert_eq!(container["resources"]["limits"]["nvidia.com/gpu"], "2");
    let (deployment, service) = (&all[0], &all[1]);
    assert_eq!(
        deployment["spec"]["selector"]["matchLabels"],
        deployment["spec"]["template"]["metadata"]["labels"]
    );
    assert_eq!(service["spec"]["selector"], deployment["spec"]["selector"]["matchLabels"]);
    assert!(container["startupProbe"]["failureThreshold"].as_u64().unwrap() >= 30);
}

#[test]
fn every_other_format_is_well_formed() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = as_vllm(tmp.path());
    let text = |format: &str| {
        let (code, out, err) = export(&dir, format, &[]);
        assert_eq!(code, Some(0), "{format}: {err}");
        out
    };
    let compose = &documents(&text("compose"))[0]["services"]["gpt-oss-20b"].clone();
    assert_eq!(compose["entrypoint"][0], "vllm");
    // Compose reads a doubled dollar sign as one.
    assert!(compose["command"].as_array().unwrap().contains(&Value::from("$$x it's")), "{compose}");
    let kserve = &documents(&text("kserve"))[0];
    assert_eq!(kserve["kind"], "InferenceService");
    assert_eq!(kserve["spec"]["predictor"]["containers"][0]["name"], "kserve-container");
    assert_eq!(kserve["spec"]["predictor"]["containers"][0]["command"][0], "vllm");
    let helm = &documents(&text("helm"))[0]["servingEngineSpec"]["modelSpec"][0].clone();
    let args = helm["vllmConfig"]["extraArgs"].as_array().unwrap();
    assert!(
        args.contains(&Value::from("--async-scheduling")) && !args.contains(&Value::from("--host")),
        "{helm}"
    );
    let recipe = &documents(&text("recipe"))[0];
    assert_eq!(recipe["model"], "openai/gpt-oss-20b");
    assert_eq!(recipe["async-scheduling"], true);
    assert_eq!(
        (&recipe["port"], &recipe["limit-mm-per-prompt"]),
        (&Value::from(8000), &Value::from("{\"image\": 2}"))
    );
    let unit = text("systemd");
    assert!(
        unit.contains("ExecStart=/usr/bin/env vllm serve openai/gpt-oss-20b --async-scheduling"),
        "{unit}"
    );
    assert!(unit.contains("\"$$x it's\"") && unit.contains("\"{\\\"image\\\": 2}\""), "{unit}");
    for runtime in ["docker", "podman"] {
        let t = text(runtime);
        let words = shlex::split(
            &t.lines().filter(|l| !l.starts_with('#')).collect::<Vec<_>>().join("\n").replace("\\\n", " "),
        );
        let words = words.expect("a shell reads it");
        assert!(
            words.contains(&"{\"image\": 2}".to_owned()) && words.contains(&"$x it's".to_owned()),
            "{words:?}"
        );
        assert_eq!(words[0], runtime);
    }
    let sweep: Value = serde_json::from_str(&text("sweep")).unwrap();
    assert!(sweep.as_array().unwrap().iter().any(|c| c["async_scheduling"] == true), "{sweep}");
    let csv = text("csv");
    let mut rows = csv::Reader::from_reader(csv.as_bytes());
    assert_eq!(rows.records().filter(|r| r.as_ref().is_ok_and(|r| r.len() > 20)).count(), csv_runs());
    assert!(text("shell").contains("--host 0.0.0.0"));
}

fn csv_runs() -> usize {
    let text = std::fs::read_to_string(campaign("clear-win").join("trials.jsonl")).unwrap();
    let trials =
        text.lines().map(|l| serde_json::from_str::<Value>(l).unwrap()).filter(|v| v["kind"] == "trial");
    trials.map(|t| t["result"]["runs"].as_array().map_or(0, Vec::len)).sum()
}

#[test]
fn the_exported_command_serves() {
    let (code, text, err) = export(&campaign("clear-win"), "shell", &[]);
    assert_eq!(code, Some(0), "{err}");
    let line = text.lines().find(|l| l.starts_with("dyno emulate")).unwrap_or_else(|| panic!("{text}"));
    let port = std::net::TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap().port();
    let line =
        line.replace("--host 0.0.0.0", "--host 127.0.0.1").replace("--port 8000", &format!("--port {port}"));
    let words = shlex::split(&line).unwrap();
    let mut child = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(&words[1..])
        .stdout(Stdio::null())
        .stderr(Stdio::null())
        .spawn()
        .unwrap();
    let until = std::time::Instant::now() + std::time::Duration::from_secs(60);
    let mut answered = false;
    while !answered && std::time::Instant::now() < until && child.try_wait().unwrap().is_none() {
        answered = std::net::TcpStream::connect(("127.0.0.1", port)).is_ok();
        std::thread::sleep(std::time::Duration::from_millis(50));
    }
    child.kill().unwrap();
    child.wait().unwrap();
    assert!(answered, "nothing listens after {line}");
}

#[test]
fn what_cannot_be_exported_is_said() {
    let (code, _, err) = export(&campaign("everything-failed"), "docker", &[]);
    assert!(code == Some(2) && err.contains("nothing to recommend"), "{err}");
    let (code, _, err) = export(&campaign("clear-win"), "helm", &[]);
    assert!(code == Some(2) && err.contains("production-stack"), "{err}");
    let (code, _, err) = export(Path::new("nowhere"), "docker", &[]);
    assert!(code == Some(2) && err.contains("no campaign"), "{err}");
    let tmp = tempfile::tempdir().unwrap();
    let file = tmp.path().join("k.yaml");
    let (code, out, err) = export(
        &campaign("clear-win"),
        "kubernetes",
        &["--image", "registry/x:1", "--out", &file.display().to_string()],
    );
    assert!(code == Some(0) && out.is_empty(), "{err}");
    let text = std::fs::read_to_string(file).unwrap();
    assert!(
        text.contains("registry/x:1") && !text.contains("nvidia.com/gpu"),
        "the embedded engine needs no GPU: {text}"
    );
}

/// What dyno reads of its own llm-d report is the run that it wrote.
#[test]
fn a_report_for_llmd_is_read_back() {
    let tmp = tempfile::tempdir().unwrap();
    let (code, text, err) = export(&campaign("clear-win"), "llm-d", &[]);
    assert_eq!(code, Some(0), "{err}");
    let path = tmp.path().join("report.yaml");
    std::fs::write(&path, &text).unwrap();
    let records = llm_dyno::scenario::load(&path).unwrap().records;
    let journal = llm_dyno::store::read_journal(&campaign("clear-win")).unwrap();
    let subject_run = llm_dyno::store::read_run(&campaign("clear-win")).unwrap();
    let verdict = journal.verdict.as_ref().unwrap();
    let subject =
        llm_dyno::report::Subject { run: &subject_run, trials: &journal.trials, verdict, analysis: None };
    let winner = &verdict.compared.as_ref().unwrap().winner;
    let was = subject.observed(winner).unwrap().result.as_ref().unwrap();
    let is = records[0].result.as_ref().unwrap();
    for key in
        [Key::MeanTtftMs, Key::P99TtftMs, Key::MeanTpotMs, Key::TotalTokenThroughput, Key::RequestThroughput]
    {
        let (was, is) = (was.get(key).unwrap(), is.get(key).unwrap());
        // The form tells the duration to the millisecond.
        assert!((was - is).abs() < 1e-3 * was, "{}: {was} {is}", key.name());
    }
    assert_eq!(records[0].model.as_deref(), Some("openai/gpt-oss-20b"));
    assert!(text.contains("Emulated: not measured"), "{text}");
}
