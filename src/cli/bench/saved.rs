//! The result file of `vllm bench serve --save-result --save-detailed`, from this tool's run.

use super::{BenchArgs, Route};
use crate::scenario::{Record, to_vllm_json};

/// The result as `vllm bench serve` writes it, with what that tool knows from its command line.
pub(super) fn saved_result(args: &BenchArgs, record: &Record) -> serde_json::Value {
    let mut saved = serde_json::Map::new();
    let now =
        humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + crate::host::since_epoch()).to_string();
    // 2026-11-25T18:02:00Z becomes 20261125-180200, that tool's form.
    let date: String = now.trim_end_matches('Z').replace(['-', ':'], "").replace('T', "-");
    let route = match args.endpoint {
        Route::Completions => "openai",
        Route::Chat => "openai-chat",
    };
    let text = |v: &Option<String>| v.as_ref().map_or(serde_json::Value::Null, |v| v.as_str().into());
    saved.insert("date".into(), date.into());
    saved.insert("endpoint_type".into(), route.into());
    saved.insert("backend".into(), route.into());
    saved.insert("label".into(), text(&args.label));
    saved.insert("model_id".into(), text(&record.model));
    saved.insert("tokenizer_id".into(), text(&args.tokenizer.clone().or_else(|| record.model.clone())));
    for (key, value) in &args.metadata {
        saved.insert(key.clone(), value.as_str().into());
    }
    if let serde_json::Value::Object(figures) = to_vllm_json(record) {
        for (key, value) in figures {
            saved.entry(key).or_insert(value);
        }
    }
    saved.into()
}
