//! Options that an engine reads from a file: TensorRT-LLM's `--extra_llm_api_options` and `--config`, SGLang's `--config`.

use super::LaunchFile;
use serde_json::Value;

/// Flags that name such a file, as the engines spell them (`-` inside).
pub(super) const FILE_FLAGS: [&str; 3] = ["extra-llm-api-options", "config", "llm-api-options"];

/// The keys of a file as flags: nested keys joined by dots, `-` for `_`, scalars as text, lists as JSON.
///
/// A file that is no YAML mapping gives no flags; the second value then says why.
pub(super) fn flags(file: &LaunchFile) -> (Vec<(String, Option<String>)>, Option<String>) {
    match serde_saphyr::from_str::<Value>(&file.text) {
        Ok(Value::Object(map)) => {
            let mut out = Vec::new();
            for (key, value) in &map {
                flatten(&key.replace('_', "-"), value, &mut out);
            }
            (out, None)
        }
        Ok(Value::Null) => (Vec::new(), None),
        Ok(_) => (Vec::new(), Some(format!("{}: not a table of options", file.path))),
        Err(e) => (Vec::new(), Some(format!("{}: not YAML: {e}", file.path))),
    }
}

fn flatten(name: &str, value: &Value, out: &mut Vec<(String, Option<String>)>) {
    match value {
        Value::Object(map) if !map.is_empty() => {
            for (key, inner) in map {
                flatten(&format!("{name}.{}", key.replace('_', "-")), inner, out);
            }
        }
        Value::String(text) => out.push((name.to_owned(), Some(text.clone()))),
        other => out.push((name.to_owned(), Some(other.to_string()))),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nested_keys_become_dotted_flags() {
        let file = LaunchFile {
            path: "x.yaml".into(),
            text: "max_batch_size: 64\nkv_cache_config:\n  dtype: fp8\n  enable_block_reuse: false\ncuda_graph_config: null\n"
                .into(),
        };
        let (flags, problem) = flags(&file);
        let is = |name: &str, value: &str| flags.contains(&(name.to_owned(), Some(value.to_owned())));
        assert!(is("max-batch-size", "64") && is("kv-cache-config.dtype", "fp8"), "{flags:?}");
        assert!(is("kv-cache-config.enable-block-reuse", "false") && is("cuda-graph-config", "null"));
        assert_eq!(problem, None);
        let broken = LaunchFile { path: "y.yaml".into(), text: "a: [1".into() };
        assert!(super::flags(&broken).1.unwrap().starts_with("y.yaml: not YAML"));
    }
}
