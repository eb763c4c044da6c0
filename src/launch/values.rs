//! Values of charts, whose keys are of the chart's own: the vLLM production stack's, and others that name engine, model and
//! arguments (`framework`, `model`, `tpSize`, `extraArgs`).

use super::part::{environment, image_of, list, replicas, scalar};
use super::program::{named, program_of};
use super::{EngineKind, runtime, switches, yaml};
use serde_json::{Map, Value};

/// Keys that name an engine.
const ENGINE: [&str; 5] = ["framework", "engine", "backend", "inferenceEngine", "inferenceFramework"];
/// Keys that name a model, and where it lies.
const MODEL: [&str; 5] = ["model", "modelId", "modelName", "model_id", "model_name"];
const PATH: [&str; 2] = ["modelPath", "model_path"];
/// Flags whose spelling in a chart is known beyond the tables of flags.
const SIZES: [&str; 3] = ["nnodes", "tp", "served-model-name"];

/// The launches of charts' values, in the order of their keys.
pub(super) fn charts(documents: &[Value]) -> Vec<Chart> {
    let mut all = Vec::new();
    for document in documents {
        collect(document, &mut all);
    }
    all
}

/// The words of a launch, what is to be told of it, and its copies.
pub(super) type Chart = (Vec<String>, Vec<String>, u64);

fn collect(value: &Value, out: &mut Vec<Chart>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| collect(v, out)),
        Value::Object(map) => match chart(map) {
            Some(found) => out.push(found),
            None => map.values().for_each(|v| collect(v, out)),
        },
        _ => {}
    }
}

/// The engine that a key of a document names.
pub(super) fn engine_of_key(value: &Value) -> Option<EngineKind> {
    match value {
        Value::Array(items) => items.iter().find_map(engine_of_key),
        Value::Object(map) => {
            let own = || ENGINE.iter().find_map(|k| named(map.get(*k)?.as_str()?));
            own().or_else(|| map.values().find_map(engine_of_key))
        }
        _ => None,
    }
}

/// One part that names engine, model and at least one flag.
fn chart(map: &Map<String, Value>) -> Option<Chart> {
    let image = image_of(map).filter(|image| runtime::names_engine(image));
    let by_key = ENGINE.iter().find_map(|k| named(map.get(*k)?.as_str()?));
    let by_image = image.as_deref().and_then(named);
    // Where key and image name two engines, nothing tells which of them runs.
    let engine = by_key.or(by_image).filter(|engine| by_image.is_none_or(|other| other == *engine))?;
    let flags: Vec<String> = map.iter().flat_map(|(key, value)| flags(engine, map, key, value)).collect();
    if flags.is_empty() {
        return None;
    }
    let text = |keys: &[&str]| keys.iter().find_map(|k| map.get(*k)?.as_str()).filter(|t| !t.is_empty());
    let mut told =
        vec![format!("the launch is read from values of a chart, whose keys are taken as flags of {engine}")];
    if let (Some(model), Some(path)) = (text(&MODEL), text(&PATH)) {
        told.push(format!("the model is {model}; {path} is where the chart has it lie"));
    }
    let model = text(&MODEL).or_else(|| text(&PATH))?;
    let mut out: Vec<String> = vec!["docker".into(), "run".into()];
    out.extend(environment(map).into_iter().flat_map(|(k, v)| ["-e".to_owned(), format!("{k}={v}")]));
    out.push(image.unwrap_or_else(|| "none".to_owned()));
    out.extend(program_of(engine).iter().map(|w| (*w).to_owned()));
    out.push(model.to_owned());
    out.extend(flags);
    Some((out, told, replicas(map).unwrap_or(1)))
}

/// The flags that one key stands for: its own name in another spelling, or arguments that stand under it.
fn flags(engine: EngineKind, map: &Map<String, Value>, key: &str, value: &Value) -> Vec<String> {
    if key.to_lowercase().ends_with("args") {
        return match value {
            Value::Object(_) => yaml::words(engine, value).unwrap_or_default(),
            _ => list(map, key),
        };
    }
    let name = kebab(key).replace('_', "-");
    let known = switches::knows(engine, &name) || SIZES.contains(&name.as_str());
    let table = Value::Object(std::iter::once((name, value.clone())).collect());
    if known && scalar(value).is_some() {
        yaml::words(engine, &table).unwrap_or_default()
    } else {
        Vec::new()
    }
}

/// Values of the vLLM production stack's chart, and the resource of its operator, which has a part of them under `model`: the
/// keys of `vllmConfig` are flags in another spelling.
pub(super) fn production_stack(map: &Map<String, Value>, config: &Map<String, Value>) -> Option<Vec<String>> {
    let of_model = map.get("model").and_then(Value::as_object);
    let url = map.get("modelURL").or_else(|| of_model?.get("modelURL")).and_then(scalar)?;
    let mut out = vec!["vllm".into(), "serve".into(), url];
    let sizes = |(k, _): &(&String, &Value)| ["maxModelLen", "dtype", "maxNumSeqs"].contains(&k.as_str());
    let model = of_model.into_iter().flatten().filter(sizes);
    for (key, value) in model.chain(config).filter(|(k, _)| !["v0", "v1", "extraArgs"].contains(&k.as_str()))
    {
        let name = kebab(key);
        match value {
            Value::Bool(true) => out.push(format!("--{name}")),
            Value::Bool(false) if name.starts_with("enable") => out.push(format!("--no-{name}")),
            other => {
                out.extend(scalar(other).filter(|_| !other.is_boolean()).map(|v| format!("--{name}={v}")));
            }
        }
    }
    out.extend(list(config, "extraArgs"));
    Some(out)
}

fn kebab(camel: &str) -> String {
    let mut out = String::new();
    for c in camel.chars() {
        if c.is_uppercase() {
            out.push('-');
        }
        out.extend(c.to_lowercase());
    }
    out
}

#[cfg(test)]
mod tests {
    use crate::launch::{EngineKind, GpuLayout, Launch};

    #[test]
    fn values_of_a_chart() {
        let helm = "servingEngineSpec:\n  modelSpec:\n  - repository: vllm/vllm-openai\n    tag: v0.8.5\n    modelURL: m\n    replicaCount: 1\n    \
                    vllmConfig:\n      tensorParallelSize: 4\n      enablePrefixCaching: false\n      extraArgs: [\"--enforce-eager\"]\n";
        let l = Launch::parse(helm);
        assert_eq!(
            (l.engine, l.model.as_deref(), GpuLayout::of(&l).gpus()),
            (Some(EngineKind::Vllm), Some("m"), 4)
        );
        assert_eq!(
            (l.switch(&["enable-prefix-caching"]), l.switch(&["enforce-eager"])),
            (Some(false), Some(true))
        );
    }

    #[test]
    fn a_chart_with_keys_of_its_own() {
        let text = |engine: &str| {
            format!(
                "workload:\n  model: o/m\n  modelPath: /data/m\n  {engine}\n  tpSize: 4\n  port: 1\n  replicas: 2\n  serverArgs:\n    \
                 max-running-requests: 8\n    trust-remote-code: true\n  extraArgs: |\n    --mem-fraction-static 0.8 \\\n    --dcp-size 4\n"
            )
        };
        for engine in [
            "framework: sglang",
            "image: lmsysorg/sglang:latest",
            "image: {repository: lmsysorg/sglang, tag: x}",
        ] {
            let l = Launch::parse(&text(engine));
            assert_eq!((l.engine, l.model.as_deref()), (Some(EngineKind::Sglang), Some("o/m")), "{l:?}");
            assert_eq!(
                (GpuLayout::of(&l).gpus(), l.integer(&["max-running-requests"])),
                (4, Some(8)),
                "{l:?}"
            );
            assert_eq!(
                (l.text(&["mem-fraction-static"]), l.switch(&["trust-remote-code"])),
                (Some("0.8"), Some(true))
            );
            for told in ["values of a chart", "/data/m is where", "2 replicas"] {
                assert!(l.problems.iter().any(|p| p.contains(told)), "{told}: {:?}", l.problems);
            }
        }
        let l = Launch::parse(&text("framework: vllm\n  image: lmsysorg/sglang:latest"));
        assert_eq!(l.engine, None, "{l:?}");
        let l = Launch::parse("model: o/m\nengine: vllm\nconcurrency: 8\n");
        assert!(
            l.engine.is_none() && l.problems[0].contains("the document names vllm and has no command"),
            "{l:?}"
        );
        let l = Launch::parse(&text("image: x/y:1"));
        assert_eq!(l.engine, None, "{l:?}");
        assert!(
            l.problems.iter().any(|p| p.contains("does not say which engine it starts")),
            "{:?}",
            l.problems
        );
        assert!(!l.problems.iter().any(|p| p.contains("belongs to no flag")), "{:?}", l.problems);
    }
}
