//! Options that an engine reads from a file: TensorRT-LLM's `--extra_llm_api_options` and `--config`, the `--config` of
//! vLLM and SGLang.

use super::{EngineKind, LaunchFile, switches};
use serde_json::Value;

/// Flags that name such a file, as the engines spell them (`-` inside).
/// The last is Dynamo's name of TensorRT-LLM's file.
pub(super) const FILE_FLAGS: [&str; 4] =
    ["extra-llm-api-options", "config", "llm-api-options", "extra-engine-args"];

/// The keys of a file as flags: `-` for `_`, scalars as text, lists as JSON. TensorRT-LLM's nested keys are joined by dots;
/// the others take a nested table as the JSON of one flag, as on the command line.
///
/// A file that is no YAML mapping gives no flags; the second value then says why.
pub(super) fn flags(
    engine: Option<EngineKind>,
    file: &LaunchFile,
) -> (Vec<(String, Option<String>)>, Option<String>) {
    let nested = !matches!(engine, Some(EngineKind::Vllm | EngineKind::Sglang));
    match serde_saphyr::from_str::<Value>(&file.text) {
        Ok(Value::Object(map)) => {
            let mut out = Vec::new();
            for (key, value) in &map {
                let name = key.trim_start_matches('-').replace('_', "-");
                if nested {
                    flatten(&name, value, &mut out);
                } else {
                    out.extend(word(engine, name, value));
                }
            }
            (out, None)
        }
        Ok(Value::Null) => (Vec::new(), None),
        Ok(_) => (Vec::new(), Some(format!("{}: not a table of options", file.path))),
        Err(e) => (Vec::new(), Some(format!("{}: not YAML: {e}", file.path))),
    }
}

/// A table of options as the words of a command, as the same keys in the engine's file of options mean them; without the model.
pub(super) fn words(engine: EngineKind, table: &Value) -> Option<Vec<String>> {
    let file = LaunchFile { path: "options".to_owned(), text: table.to_string() };
    let (flags, None) = flags(Some(engine), &file) else { return None };
    let kept = flags.into_iter().filter(|(name, _)| name != "model-path" && name != "model");
    let word = |(name, value): (String, Option<String>)| match value {
        Some(value) => format!("--{name}={value}"),
        None => format!("--{name}"),
    };
    Some(kept.map(word).collect())
}

/// One key of a file whose keys are the flags of the command line.
///
/// A switch that is off: vLLM gives `--no-KEY` where it has that flag (`FlexibleArgumentParser.load_config_file`), and SGLang
/// gives nothing for a switch and `--KEY false` for a flag with a value.
fn word(engine: Option<EngineKind>, name: String, value: &Value) -> Option<(String, Option<String>)> {
    let text = match value {
        Value::Null => return None,
        // SGLang says so of a flag that takes a value, and leaves a switch out (`ConfigArgumentMerger._add_boolean_arg`).
        Value::Bool(on) if engine == Some(EngineKind::Sglang) && switches::takes_value(engine, &name) => {
            return Some((name, Some(on.to_string())));
        }
        Value::Bool(false) if engine == Some(EngineKind::Sglang) || name.starts_with("no-") => return None,
        Value::Bool(false) => return Some((format!("no-{name}"), None)),
        Value::Bool(true) => None,
        Value::String(text) => Some(text.clone()),
        Value::Array(items) if items.iter().all(|i| !i.is_object() && !i.is_array()) => {
            let words = items.iter().map(|i| i.as_str().map_or_else(|| i.to_string(), str::to_owned));
            Some(words.collect::<Vec<_>>().join(" "))
        }
        other => Some(other.to_string()),
    };
    Some((name, text))
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
        let (flags, problem) = flags(Some(EngineKind::Trtllm), &file);
        let is = |name: &str, value: &str| flags.contains(&(name.to_owned(), Some(value.to_owned())));
        assert!(is("max-batch-size", "64") && is("kv-cache-config.dtype", "fp8"), "{flags:?}");
        assert!(is("kv-cache-config.enable-block-reuse", "false") && is("cuda-graph-config", "null"));
        assert_eq!(problem, None);
        let broken = LaunchFile { path: "y.yaml".into(), text: "a: [1".into() };
        assert!(super::flags(None, &broken).1.unwrap().starts_with("y.yaml: not YAML"));
    }

    #[test]
    fn the_keys_of_vllm_and_sglang_are_their_flags() {
        let file = LaunchFile {
            path: "x.yaml".into(),
            text:
                "kv-cache-dtype: fp8\nasync-scheduling: true\nno-enable-prefix-caching: false\nseed: null\n\
                   cuda-graph-bs: [1, 2]\nspeculative-config:\n  method: ngram\n\
                   enable-prefix-caching: false\n"
                    .into(),
        };
        let (flags, _) = flags(Some(EngineKind::Vllm), &file);
        let of = |name: &str| flags.iter().find(|f| f.0 == name).map(|f| f.1.as_deref());
        assert_eq!((of("kv-cache-dtype"), of("async-scheduling")), (Some(Some("fp8")), Some(None)));
        assert_eq!((of("no-enable-prefix-caching"), of("seed")), (Some(None), None));
        let (sglang, _) = super::flags(Some(EngineKind::Sglang), &file);
        assert!(!sglang.iter().any(|f| f.0.ends_with("prefix-caching")), "{sglang:?}");
        let valued = LaunchFile {
            path: "y.yaml".into(),
            text: "attention-backend: false\nenable-dp-attention: false\n".into(),
        };
        let (valued, _) = super::flags(Some(EngineKind::Sglang), &valued);
        assert_eq!(valued, [("attention-backend".to_owned(), Some("false".to_owned()))]);
        assert_eq!(of("cuda-graph-bs"), Some(Some("1 2")));
        assert_eq!(of("speculative-config"), Some(Some("{\"method\":\"ngram\"}")));
    }
}
