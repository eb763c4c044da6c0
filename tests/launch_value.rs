//! A launch is a value: what a candidate says arrives whole in the record, the configuration, the report and a shell.

use llm_dyno::engine::{adapter, resolve_launch};
use llm_dyno::launch::{Candidate, EngineKind, FlagValue, Launch, LaunchRequest};
use llm_dyno::scenario::{Record, parse_records};
use llm_dyno::{hardware, model};
use std::collections::BTreeMap;

fn launch(candidate: &Candidate) -> Launch {
    let request = LaunchRequest {
        candidate,
        model: "Qwen/Qwen3-8B",
        served_model_name: None,
        hardware: "h100-sxm-80gb",
        num_gpus: 1,
        fixed_args: &[],
        fixed_env: &BTreeMap::new(),
        port: 8000,
        dir: "a directory",
    };
    adapter(candidate.engine).launch(&request, None, None)
}

fn recorded(launch: &Launch) -> Record {
    let mut record =
        Record { hardware: Some("h100-sxm-80gb".into()), failure: Some("x".into()), ..Record::default() };
    record.set_launch(launch);
    let text = serde_json::to_string(&record).unwrap();
    parse_records("record.json", &text).unwrap().remove(0)
}

fn config(launch: &Launch) -> llm_dyno::engine::EngineConfig {
    let hw = hardware::Catalog::load(None).unwrap().find("h100-sxm-80gb").unwrap().clone();
    let model = model::Catalog::load(None).unwrap().find("Qwen/Qwen3-8B").unwrap();
    resolve_launch(launch, None, &hw, &model).unwrap()
}

#[test]
fn tensorrt_llm_candidates_that_differ_in_a_key_of_the_file_resolve_apart() {
    let base = Candidate::baseline(EngineKind::Trtllm);
    let keys: [(&str, FlagValue); 6] = [
        ("max_batch_size", FlagValue::Int(16)),
        ("kv_cache_config.free_gpu_memory_fraction", FlagValue::Float(0.5)),
        ("kv_cache_config.dtype", FlagValue::Text("fp8".into())),
        ("cuda_graph_config", FlagValue::Text("null".into())),
        ("disable_overlap_scheduler", FlagValue::Bool(true)),
        ("scheduler_config.capacity_scheduler_policy", FlagValue::Text("MAX_UTILIZATION".into())),
    ];
    for (key, value) in keys {
        let changed = launch(&base.with(key, value));
        assert_ne!(config(&launch(&base)), config(&changed), "{key}");
        // The record carries the file, so that what is read from disk resolves alike.
        assert_eq!(config(&recorded(&changed).launch()), config(&changed), "{key}");
        assert!(config(&changed).unmodelled.is_empty(), "{:?}", config(&changed).unmodelled);
    }
}

#[test]
fn blanks_quotes_and_json_survive_record_and_shell() {
    for engine in [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Emulated, EngineKind::Trtllm] {
        for value in
            [r#"{"mode": 3, "name": "it's a \"test\""}"#, "a b", "$(rm -rf /)", "new\nline", "", "'", "*"]
        {
            let mut candidate =
                Candidate::baseline(engine).with("compilation-config", FlagValue::Text(value.into()));
            candidate.env.insert("SOME_VARIABLE".into(), value.into());
            let made = launch(&candidate);
            let read = recorded(&made).launch();
            assert_eq!(
                (&read.argv, &read.env, &read.files),
                (&made.argv, &made.env, &made.files),
                "{engine} {value}"
            );
            if engine != EngineKind::Trtllm {
                assert_eq!(read.text(&["compilation-config"]), Some(value), "{engine}");
            }
            assert_eq!(shell_words(&made), made.argv, "{engine} {value}");
        }
    }
}

/// The words that a real shell makes of the printed launch.
#[expect(clippy::disallowed_methods, reason = "a real shell is what the printed launch is for")]
fn shell_words(launch: &Launch) -> Vec<String> {
    let script = format!(
        "set -f; show() {{ printf '%s\\0' \"$@\"; }}; {}",
        launch.to_text().replacen(&first(launch), "show", 1)
    );
    let out = std::process::Command::new("sh").arg("-c").arg(script).output().expect("a shell");
    let text = String::from_utf8(out.stdout).unwrap();
    let mut words: Vec<String> = text.split_terminator('\0').map(str::to_owned).collect();
    words.insert(0, launch.argv[0].clone());
    words
}

/// The program as it stands in the printed launch, behind the environment.
fn first(launch: &Launch) -> String {
    let text = launch.to_text();
    let bare = Launch { env: BTreeMap::new(), ..launch.clone() }.to_text();
    assert!(text.ends_with(&bare));
    format!(" {}", launch.argv[0]).trim_start().to_owned()
}
