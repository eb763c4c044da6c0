//! Files of options alone, as an engine's `--config` takes them: the engine is known by an image beside them, or by options that no
//! other engine has. Two of them may be the halves of a pair of prefill and decode.

use super::program::{named, program_of};
use super::srt_slurm::{Half, halves};
use super::{EngineKind, GpuLayout, Launch, LaunchFile, runtime, switches, yaml};
use serde_json::Value;
use std::collections::BTreeMap;

/// Options of a table that have to be known ones before it counts as an engine's.
const LEAST: usize = 2;

/// A table of an engine's options.
struct Table<'v> {
    engine: EngineKind,
    value: &'v Value,
    /// Those that no other engine has.
    own: Vec<String>,
}

/// The words of the launch that options stand for, and what is to be told of it.
pub(super) fn launch(documents: &[Value]) -> Option<(Vec<String>, Vec<String>)> {
    let image = documents.iter().find_map(engine_of_image);
    let all: Vec<Table<'_>> = documents.iter().filter_map(|d| table(d, image.as_ref())).collect();
    let first = all.iter().find(|t| t.half() != Some("decode")).or_else(|| all.first())?;
    let mut told = vec![match &image {
        Some((image, engine)) => {
            format!("the launch is read from options alone, those of {engine} by the image {image}")
        }
        None => format!(
            "the launch is read from options alone; no program or image is named, and {} of them are those of {} alone: {}",
            first.own.len(),
            first.engine,
            first.own.join(", ")
        ),
    }];
    let words = first.words(&mut told)?;
    let other = all.iter().find(|t| t.half() == Some("decode")).filter(|_| first.half() == Some("prefill"));
    told.extend(match (first.half(), other) {
        (Some(_), Some(decode)) => {
            Some(halves(first.sized("prefill", documents)?, decode.sized("decode", documents)?))
        }
        (Some(half), None) => Some(format!(
            "one half of prefill and decode apart is read: a {half} worker; the other is not in the text"
        )),
        (None, _) => (all.len() > 1)
            .then(|| format!("{} tables of options stand in the text; the first is read", all.len())),
    });
    Some((words, told))
}

/// A document that is a table of one engine's options; None where the image beside it is another's.
fn table<'v>(document: &'v Value, image: Option<&(String, EngineKind)>) -> Option<Table<'v>> {
    document.as_object()?;
    let file = LaunchFile { path: "options".to_owned(), text: document.to_string() };
    let names: Vec<String> = yaml::flags(None, &file).0.into_iter().map(|(name, _)| name).collect();
    let (engine, own) = switches::engine_of(&names, LEAST)?;
    image.is_none_or(|(_, by_image)| *by_image == engine).then_some(Table { engine, value: document, own })
}

impl Table<'_> {
    fn text(&self, names: &[&str]) -> Option<&str> {
        names.iter().find_map(|n| self.value[*n].as_str()).filter(|t| !t.is_empty())
    }

    /// Which half of a pair the options are for.
    fn half(&self) -> Option<&str> {
        self.text(&["disaggregation-mode", "disaggregation_mode"])
            .filter(|mode| ["prefill", "decode"].contains(mode))
    }

    fn words(&self, told: &mut Vec<String>) -> Option<Vec<String>> {
        let served = self.text(&["served-model-name", "served_model_name"]).filter(|name| name.contains('/'));
        let model = self.text(&["model", "model-path", "model_path"]).or_else(|| {
            told.push(match served {
                Some(name) => format!("the model is {name}, the name under which it is served"),
                None => "the options name no model".to_owned(),
            });
            served
        });
        let mut words: Vec<String> = program_of(self.engine).iter().map(|w| (*w).to_owned()).collect();
        match model {
            Some(model) => words.push(model.to_owned()),
            None => words.retain(|w| w != "--model-path"),
        }
        words.extend(yaml::words(self.engine, self.value)?);
        Some(words)
    }

    /// The workers of this half by the documents beside it, and the GPUs of one by the engine's rules.
    fn sized(&self, half: &str, documents: &[Value]) -> Option<Half> {
        let launch = Launch::new(BTreeMap::new(), self.words(&mut Vec::new())?, Vec::new());
        let layout = GpuLayout::of(&launch);
        let workers = documents.iter().find_map(|d| workers(d, half));
        Some(Half { workers, gpus: layout.known.then(|| u64::from(layout.gpus())) })
    }
}

/// Replicas of a part whose name begins so: `prefillWorker: {replicas: 5}`.
fn workers(value: &Value, half: &str) -> Option<u64> {
    let map = value.as_object()?;
    let own = map.iter().filter(|(key, _)| key.to_lowercase().starts_with(half));
    own.into_iter()
        .find_map(|(_, part)| part.get("replicas")?.as_u64())
        .or_else(|| map.values().find_map(|v| workers(v, half)))
}

/// An image of an engine that a document names, and the engine.
pub(super) fn engine_of_image(value: &Value) -> Option<(String, EngineKind)> {
    match value {
        Value::Array(items) => items.iter().find_map(engine_of_image),
        Value::Object(map) => {
            let own = map.get("image").and_then(Value::as_str).filter(|image| runtime::names_engine(image));
            own.and_then(|image| Some((image.to_owned(), named(image)?)))
                .or_else(|| map.values().find_map(engine_of_image))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::launch::{EngineKind, GpuLayout, Launch};

    fn told(l: &Launch, words: &str) {
        assert!(l.problems.iter().any(|p| p.contains(words)), "{words}: {:?}", l.problems);
    }

    #[test]
    fn options_that_one_engine_alone_has_tell_it() {
        let l =
            Launch::parse("tp: 8\nenable-dp-attention: true\nattention-backend: fa3\ndp-size: 4\nport: 1\n");
        assert_eq!(
            (l.engine, l.model.as_deref(), GpuLayout::of(&l).gpus()),
            (Some(EngineKind::Sglang), None, 8),
            "{l:?}"
        );
        told(&l, "sglang alone: enable-dp-attention");
        told(&l, "the options name no model");
        let l = Launch::parse(
            "model: o/m\ngpu-memory-utilization: 0.9\nmax-num-seqs: 8\ntensor-parallel-size: 2\n",
        );
        assert_eq!(
            (l.engine, l.model.as_deref(), GpuLayout::of(&l).gpus()),
            (Some(EngineKind::Vllm), Some("o/m"), 2),
            "{l:?}"
        );
        let l = Launch::parse(
            "max_batch_size: 8\nkv_cache_config:\n  free_gpu_memory_fraction: 0.8\ntensor_parallel_size: 4\n",
        );
        assert_eq!((l.engine, GpuLayout::of(&l).gpus()), (Some(EngineKind::Trtllm), 4), "{l:?}");
        for (text, words) in [
            ("tensor-parallel-size: 2\ndtype: fp8\n", "does not say which engine it starts"),
            ("replicas: 2\ntimeout: 3\nimage: vllm/vllm-openai:v1\n", "names the image vllm/vllm-openai:v1"),
        ] {
            let l = Launch::parse(text);
            assert_eq!(l.engine, None, "{l:?}");
            told(&l, words);
        }
    }

    #[test]
    fn the_halves_of_a_pair_are_counted_by_the_workers_beside_them() {
        let half = |mode: &str, tp: u32| {
            format!(
                "---\nserved-model-name: o/m\ndisaggregation-mode: {mode}\ntp-size: \"{tp}\"\ndp-size: \"{tp}\"\nenable-dp-attention: true\n"
            )
        };
        let pair = format!("{}{}", half("decode", 32), half("prefill", 8));
        let chart = "dynamo:\n  frontend:\n    image: nvcr.io/nvidia/ai-dynamo/sglang-runtime:0.7.0\n  decodeWorker: {replicas: 1}\n  prefillWorker: {replicas: 5}\n";
        let l = Launch::parse(&format!("{chart}{pair}"));
        assert_eq!(
            (l.engine, l.version, l.model.as_deref()),
            (Some(EngineKind::Sglang), None, Some("o/m")),
            "{l:?}"
        );
        assert_eq!((GpuLayout::of(&l).gpus(), GpuLayout::of(&l).attention), (8, 8));
        told(&l, "5 prefill workers of 8 GPUs and 1 decode worker of 32 GPUs, 72 GPUs in all");
        told(&Launch::parse(&pair), "does not say how many GPUs both take");
        told(&Launch::parse(&half("decode", 4)), "a decode worker; the other is not in the text");
    }
}
