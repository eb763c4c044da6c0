//! The schemas of the recorded and exchanged formats are those of the types, and what dyno writes conforms to them.

use llm_dyno::report::Recommendation;
use llm_dyno::scenario::Record;
use llm_dyno::store::{Line, RunFile};
use llm_dyno::trial::{TrialResult, TrialSpec};
use schemars::{JsonSchema, schema_for};
use serde_json::Value;
use std::fs;
use std::path::PathBuf;

fn root() -> PathBuf {
    PathBuf::from(env!("CARGO_MANIFEST_DIR"))
}

fn schema<T: JsonSchema>() -> Value {
    schema_for!(T).to_value()
}

/// File under `schemas/`, and what it describes.
fn all() -> Vec<(&'static str, Value)> {
    vec![
        ("record.json", schema::<Record>()),
        ("trial-spec.json", schema::<TrialSpec>()),
        ("trial-result.json", schema::<TrialResult>()),
        ("trials-line.json", schema::<Line>()),
        ("run.json", schema::<RunFile>()),
        ("recommendation.json", schema::<Recommendation>()),
    ]
}

#[test]
fn schemas_on_disk_are_those_of_the_types() {
    let update = std::env::var_os("DYNO_UPDATE").is_some();
    let mut stale = Vec::new();
    for (file, value) in all() {
        let path = root().join("schemas").join(file);
        let text = serde_json::to_string_pretty(&value).unwrap() + "\n";
        if update {
            fs::create_dir_all(root().join("schemas")).unwrap();
            fs::write(&path, &text).unwrap();
        } else if fs::read_to_string(&path).unwrap_or_default() != text {
            stale.push(file);
        }
    }
    assert!(
        stale.is_empty(),
        "these differ from their types: {stale:?}; DYNO_UPDATE=1 cargo test --test schemas writes them, read the diff"
    );
}

#[test]
fn recorded_campaigns_conform_to_the_schemas() {
    let schemas = all();
    let validator = |file: &str| {
        let (_, value) = schemas.iter().find(|(f, _)| *f == file).expect("a schema");
        jsonschema::validator_for(value).expect("a valid schema")
    };
    let (line, run) = (validator("trials-line.json"), validator("run.json"));
    let mut wrong = Vec::new();
    let mut seen = 0;
    for entry in fs::read_dir(root().join("tests/campaigns")).expect("recorded campaigns") {
        let dir = entry.unwrap().path();
        let mut check = |what: &str, validator: &jsonschema::Validator, text: &str| {
            let value: Value = serde_json::from_str(text).expect("JSON");
            seen += 1;
            wrong.extend(validator.iter_errors(&value).map(|e| format!("{} {what}: {e}", dir.display())));
        };
        check("run.json", &run, &fs::read_to_string(dir.join("run.json")).unwrap());
        for (i, text) in fs::read_to_string(dir.join("trials.jsonl")).unwrap().lines().enumerate() {
            check(&format!("trials.jsonl:{}", i + 1), &line, text);
        }
    }
    assert!(seen > 10, "{seen} files and lines");
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn a_schema_refuses_what_the_reader_refuses() {
    let record = jsonschema::validator_for(&schema::<Record>()).unwrap();
    for (good, text) in [
        (
            true,
            r#"{"engine":"vllm","model":"m","workload":{"dataset":"random","input_len":8,"output_len":2,"num_prompts":1,"request_rate":"inf"}}"#,
        ),
        (false, r#"{"engine":"vlm"}"#),
        (false, r#"{"no_such_key":1}"#),
        (false, r#"{"workload":{"dataset":"random","request_rate":"slow"}}"#),
    ] {
        let value: Value = serde_json::from_str(text).unwrap();
        assert_eq!(record.is_valid(&value), good, "{text}");
        assert_eq!(serde_json::from_value::<Record>(value).is_ok(), good, "{text}");
    }
}
