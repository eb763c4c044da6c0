//! Every problem of a scenario or observation file, found in one pass.

use crate::data::schema::{self, Key, Shape, opt, req};
use crate::error::Problem;
use crate::launch::EngineKind;
use serde_json::{Map, Value};

const DATASETS: &[&str] = &["random", "sharegpt", "trace", "chat", "custom", "mix"];
const PART_DATASETS: &[&str] = &["random", "sharegpt", "trace", "chat", "custom"];

const STAGE: &[Key] =
    &[req("rate", Shape::Number), req("seconds", Shape::Positive), opt("exponential", Shape::Bool)];

/// What one part of a mixture may say.
const PART: &[Key] = &[
    req("dataset", Shape::OneOf(PART_DATASETS)),
    opt("path", Shape::Text),
    opt("input_len", Shape::Count),
    opt("output_len", Shape::Count),
    opt("random_range_ratio", Shape::Number),
    opt("random_prefix_len", Shape::Count),
    opt("input_range", Shape::List(&Shape::Count)),
    opt("output_range", Shape::List(&Shape::Count)),
    opt("prefix_share", Shape::Number),
    opt("prefix_groups", Shape::Count),
    opt("think_time_s", Shape::Number),
    opt("turns", Shape::Count),
    opt("context_min", Shape::Count),
    opt("context_max", Shape::Count),
    opt("source", Shape::Text),
    opt("note", Shape::Text),
];

const COMPONENT: &[Key] = &[req("weight", Shape::Positive), req("workload", Shape::Table(PART))];

const WORKLOAD: &[Key] = &[
    req("dataset", Shape::OneOf(DATASETS)),
    opt("components", Shape::List(&Shape::Table(COMPONENT))),
    opt("path", Shape::Text),
    opt("input_len", Shape::Count),
    opt("output_len", Shape::Count),
    opt("random_range_ratio", Shape::Number),
    opt("random_prefix_len", Shape::Count),
    opt("input_range", Shape::List(&Shape::Count)),
    opt("output_range", Shape::List(&Shape::Count)),
    opt("prefix_share", Shape::Number),
    opt("prefix_groups", Shape::Count),
    opt("stages", Shape::List(&Shape::Table(STAGE))),
    opt("num_prompts", Shape::Count),
    opt("request_rate", Shape::Any),
    opt("burstiness", Shape::Positive),
    opt("arrivals", Shape::OneOf(&["gamma", "constant"])),
    opt("time_scale", Shape::Positive),
    opt("think_time_s", Shape::Number),
    opt("max_concurrency", Shape::Count),
    opt("seed", Shape::Any),
    opt("turns", Shape::Count),
    opt("context_min", Shape::Count),
    opt("context_max", Shape::Count),
    opt("total_input_tokens", Shape::Number),
    opt("total_output_tokens", Shape::Number),
    opt("source", Shape::Text),
    opt("note", Shape::Text),
];

const REQUEST: &[Key] = &[
    req("arrival_s", Shape::Number),
    req("input_tokens", Shape::Count),
    req("output_tokens", Shape::Count),
    opt("ttft_s", Shape::Number),
    opt("e2e_s", Shape::Number),
    opt("queue_s", Shape::Number),
    opt("itl_s", Shape::List(&Shape::Number)),
    opt("send_late_s", Shape::Number),
    opt("error", Shape::Text),
];

const FILE: &[Key] = &[req("path", Shape::Text), req("text", Shape::Text)];

const RECORD: &[Key] = &[
    opt("engine", Shape::OneOf(&["vllm", "sglang", "trtllm", "emulated"])),
    opt("engine_version", Shape::Text),
    opt("serve_command", Shape::Text),
    opt("files", Shape::List(&Shape::Table(FILE))),
    opt("model", Shape::Text),
    opt("precision", Shape::Text),
    opt("hardware", Shape::Text),
    opt("num_gpus", Shape::Count),
    opt("replicas", Shape::Count),
    opt("gpus_per_node", Shape::Count),
    opt("node_link_gbps", Shape::Positive),
    opt("workload", Shape::Table(WORKLOAD)),
    opt("lengths", Shape::OneOf(&["exact", "scattered"])),
    opt("acceptance", Shape::Any),
    opt("resolved", Shape::Any),
    opt("requests", Shape::List(&Shape::Table(REQUEST))),
    opt("result", Shape::Any),
    opt("failure", Shape::Text),
    opt("source", Shape::Text),
    opt("note", Shape::Text),
];

/// Whether a key is one of a record's, or so near to one that a slip of the pen may have made it.
pub(super) fn might_be_ours(key: &str) -> bool {
    let ours = || RECORD.iter().map(|k| k.name).chain(["meta", "observations"]);
    // `successful_requests` holds a key of ours and is none: what is meant is a slip of the pen.
    let slip = |near: &String| near.len().abs_diff(key.len()) <= 2;
    ours().any(|k| k == key) || crate::data::nearest::nearest(key, ours(), 1).iter().any(slip)
}

/// `null` says the same as an absent key everywhere in this format.
fn without_nulls(v: &Value) -> Value {
    match v {
        Value::Object(m) => Value::Object(
            m.iter().filter(|(_, v)| !v.is_null()).map(|(k, v)| (k.clone(), without_nulls(v))).collect(),
        ),
        Value::Array(a) => Value::Array(a.iter().map(without_nulls).collect()),
        other => other.clone(),
    }
}

/// Every way in which `value` is no record; `path` is its place in the file, such as `observations[3]`.
pub(super) fn record(file: &str, path: &str, value: &Value) -> Vec<Problem> {
    let value = without_nulls(value);
    let mut out = schema::check(file, path, &value, RECORD);
    if !out.is_empty() {
        return out;
    }
    let empty = Map::new();
    let map = value.as_object().unwrap_or(&empty);
    let mut say = |key: &str, message: String, hint: &str| {
        out.push(Problem::new(file, schema::join(path, key), message).hint(hint));
    };
    if map.contains_key("result") && map.contains_key("failure") {
        say("failure", "stands beside `result`".into(), "an observation has one of the two");
    }
    if map.get("num_gpus").is_some_and(|n| n == 0) {
        say("num_gpus", "0 is not a number of GPUs".into(), "1 or more");
    }
    if let Some(Value::Object(result)) = map.get("result") {
        for (k, v) in result {
            if super::Key::from_name(k).is_some() && !v.is_number() {
                say(&format!("result.{k}"), format!("{v} is not a number"), "leave unknown results out");
            }
        }
    } else if map.contains_key("result") {
        say("result", "is not a table".into(), "result keys and their numbers");
    }
    if map.get("resolved").is_some_and(|r| !r.is_object()) {
        say("resolved", "is not a table".into(), "facts read back from the engine, such as num_gpu_blocks");
    }
    let has_requests = map.get("requests").and_then(Value::as_array).is_some_and(|r| !r.is_empty());
    // Of a run that is measured the requests may be unknown: then it says nothing of lengths.
    let told = has_requests || map.contains_key("result");
    if let Some(Value::Object(w)) = map.get("workload") {
        workload(w, told, &mut |key, message, hint| say(&format!("workload.{key}"), message, hint));
    }
    for (i, r) in map.get("requests").and_then(Value::as_array).into_iter().flatten().enumerate() {
        for key in ["arrival_s", "ttft_s", "e2e_s", "queue_s"] {
            if r.get(key).and_then(Value::as_f64).is_some_and(|x| x < 0.0) {
                say(&format!("requests[{i}].{key}"), format!("{} is negative", r[key]), "seconds, 0 or more");
            }
        }
    }
    out
}

fn workload(w: &Map<String, Value>, told: bool, say: &mut dyn FnMut(&str, String, &str)) {
    let positive = |key: &str| w.get(key).and_then(Value::as_u64).is_some_and(|n| n > 0);
    match w.get("dataset").and_then(Value::as_str) {
        Some("random") => {
            for key in ["input_len", "output_len"] {
                if !positive(key) {
                    say(key, "missing or 0, and dataset is random".into(), "tokens a request, such as 2000");
                }
            }
        }
        Some("mix") if w.get("components").and_then(Value::as_array).is_none_or(Vec::is_empty) => {
            say(
                "components",
                "missing or empty, and dataset is mix".into(),
                "the parts, each with its weight",
            );
        }
        Some("trace" | "custom") if !told && !w.contains_key("path") => {
            say("path", "missing, and the record has no `requests`".into(), "the CSV or JSONL file");
        }
        _ => {}
    }
    for key in ["num_prompts", "max_concurrency"] {
        if w.get(key).is_some_and(|n| n == 0) {
            say(key, "is 0".into(), "1 or more; null for no limit of concurrency");
        }
    }
    if let Some(rate) = w.get("request_rate") {
        let number = rate.as_f64().or_else(|| rate.as_str().and_then(|s| s.parse().ok()));
        if number.is_none_or(|r: f64| r.is_nan() || r <= 0.0) {
            say("request_rate", format!("{rate} is no rate"), "\"inf\" or requests a second above 0");
        }
    }
    if w.get("random_range_ratio").and_then(Value::as_f64).is_some_and(|r| !(0.0..1.0).contains(&r)) {
        say("random_range_ratio", "is outside 0..1".into(), "0 for fixed lengths");
    }
    if w.get("seed").is_some_and(|s| s.as_u64().is_none()) {
        say("seed", format!("{} is no seed", w["seed"]), "a whole number from 0");
    }
}

/// Keys that a scenario must have before it can be predicted.
pub(super) fn scenario(file: &str, path: &str, r: &super::Record) -> Vec<Problem> {
    let missing = |key: &str, hint: &str| Problem::new(file, schema::join(path, key), "missing").hint(hint);
    let mut out = Vec::new();
    if r.model.is_none() {
        out.push(missing("model", "the hub name, such as openai/gpt-oss-20b"));
    }
    if r.hardware.is_none() {
        out.push(missing("hardware", "an id of `dyno list hardware`"));
    }
    if r.engine.is_none() && r.serve_command.as_deref().and_then(engine_of).is_none() {
        out.push(missing("engine", "vllm, sglang, trtllm or emulated"));
    }
    if r.workload.is_none() && r.requests.is_none() {
        out.push(missing(
            "workload",
            "what is sent, such as {\"dataset\": \"random\", \"input_len\": 2000, …}",
        ));
    }
    out
}

/// The engine that a serve command starts; of a text that starts none, the one that its words name.
pub fn engine_of(serve_command: &str) -> Option<EngineKind> {
    if let Some(engine) = crate::launch::Launch::parse(serve_command).engine {
        return Some(engine);
    }
    let words: Vec<&str> = serve_command.split_whitespace().collect();
    let has = |part: &str| words.iter().any(|w| w.contains(part));
    if has("trtllm-serve") {
        Some(EngineKind::Trtllm)
    } else if has("sglang") {
        Some(EngineKind::Sglang)
    } else if words.contains(&"emulate") {
        Some(EngineKind::Emulated)
    } else if has("vllm") {
        Some(EngineKind::Vllm)
    } else {
        None
    }
}
