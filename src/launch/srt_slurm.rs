//! Recipes of srt-slurm, as InferenceX publishes them: an engine on a cluster, most with prefill and decode on GPUs of their own.
//!
//! The first form has `resources` (`prefill_workers`, `gpus_per_prefill`) and `backend` (`sglang_config: prefill: …`), the second the
//! same under `roles` (`prefill: {workers, gpus, env, args}`). Of prefill and decode the first half is read, and the other is told.

use super::program::program_of;
use super::{EngineKind, yaml};
use serde_json::Value;

/// What one kind of worker runs.
struct Role<'v> {
    args: &'v Value,
    env: &'v Value,
    workers: Option<u64>,
    /// GPUs of one worker.
    gpus: Option<u64>,
}

/// The words of a recipe's launch, and what is to be told of it; None where the document is none.
pub(super) fn launch(document: &Value) -> Option<(Vec<String>, Vec<String>)> {
    let kind = document["backend"]["type"].as_str()?;
    let engine = match kind {
        "sglang" => EngineKind::Sglang,
        "trtllm" => EngineKind::Trtllm,
        "vllm" => EngineKind::Vllm,
        _ => return None,
    };
    let [prefill, decode, whole] = [("prefill", "prefill"), ("decode", "decode"), ("aggregated", "agg")]
        .map(|n| role(document, kind, n));
    let mut told = Vec::new();
    let role = match (prefill, decode, whole) {
        (Some(prefill), Some(decode), _) => {
            told.push(halves(prefill.half(), decode.half()));
            prefill
        }
        (None, None, Some(whole)) => {
            let several = whole.workers.filter(|n| *n > 1);
            told.extend(several.map(|n| format!("the recipe starts {n} workers; one of them is read")));
            whole
        }
        _ => return None,
    };
    let mut words: Vec<String> = vec!["docker".into(), "run".into()];
    for (name, value) in role.env.as_object().into_iter().flatten() {
        words.extend(["-e".to_owned(), format!("{name}={}", scalar(value))]);
    }
    words.push(image(document));
    words.extend(program_of(engine).iter().map(|w| (*w).to_owned()));
    words.push(model(document, &role, &mut told)?);
    words.extend(yaml::words(engine, role.args)?);
    Some((words, told))
}

/// A kind of worker by its names in `backend` and in `resources`.
fn role<'v>(document: &'v Value, kind: &str, (name, short): (&str, &str)) -> Option<Role<'v>> {
    let own = &document["roles"][short];
    if own["args"].is_object() {
        let (workers, gpus) = (own["workers"].as_u64(), own["gpus"].as_u64());
        return Some(Role { args: &own["args"], env: &own["env"], workers, gpus });
    }
    let (backend, resources) = (&document["backend"], &document["resources"]);
    let args = &backend[format!("{kind}_config")][name];
    let workers = resources[format!("{short}_workers")].as_u64();
    let spread = || {
        let nodes = resources[format!("{short}_nodes")].as_u64()?;
        Some(nodes.checked_mul(resources["gpus_per_node"].as_u64()?)? / workers.filter(|n| *n > 0)?)
    };
    let gpus = resources[format!("gpus_per_{short}")].as_u64().or_else(spread);
    let env = &backend[format!("{name}_environment")];
    (args.is_object() && workers != Some(0)).then_some(Role { args, env, workers, gpus })
}

impl Role<'_> {
    fn half(&self) -> Half {
        Half { workers: self.workers, gpus: self.gpus }
    }
}

/// The workers of one half of prefill and decode apart, and the GPUs of one, as far as they are told.
pub(super) struct Half {
    pub(super) workers: Option<u64>,
    pub(super) gpus: Option<u64>,
}

/// What is to be told of a launch that is one half.
pub(super) fn halves(prefill: Half, decode: Half) -> String {
    let size = |half: Half| Some((half.workers?, half.gpus?));
    let Some(((p, each_p), (d, each_d))) = size(prefill).zip(size(decode)) else {
        return "one half of prefill and decode apart is read: a prefill worker; the document does not say how many GPUs both take"
            .to_owned();
    };
    let plural = |n: u64, noun: &str| if n == 1 { format!("1 {noun}") } else { format!("{n} {noun}s") };
    let workers = |n, each, noun: &str| format!("{} of {}", plural(n, noun), plural(each, "GPU"));
    format!(
        "one half of prefill and decode apart is read: a prefill worker. The recipe starts {} and {}, {} in all",
        workers(p, each_p, "prefill worker"),
        workers(d, each_d, "decode worker"),
        plural(p.saturating_mul(each_p).saturating_add(d.saturating_mul(each_d)), "GPU")
    )
}

/// The model by its public name where the recipe tells it: its path is a name that holds on one cluster.
fn model(document: &Value, role: &Role<'_>, told: &mut Vec<String>) -> Option<String> {
    let text = |v: &Value| v.as_str().filter(|t| !t.is_empty()).map(str::to_owned);
    if let Some(name) = text(&document["identity"]["model"]["repo"]) {
        return Some(name);
    }
    let path = text(&role.args["model-path"]).or_else(|| text(&document["model"]["path"]));
    let served = text(&role.args["served-model-name"]).filter(|name| name.contains('/'));
    if let (Some(served), Some(path)) = (&served, &path) {
        told.push(format!(
            "the model is {served}, the name under which it is served; {path} is the cluster's own"
        ));
    }
    served.or(path)
}

/// The image, whose tag may be the engine's release; `none` where the recipe names it by a word of its own.
fn image(document: &Value) -> String {
    let named = [&document["identity"]["container"]["image"], &document["model"]["container"]];
    let image = named.into_iter().filter_map(Value::as_str).find(|i| i.contains(':'));
    image.unwrap_or("none").to_owned()
}

fn scalar(value: &Value) -> String {
    value.as_str().map_or_else(|| value.to_string(), str::to_owned)
}

#[cfg(test)]
mod tests {
    use crate::launch::{EngineKind, GpuLayout, Launch};

    #[test]
    fn the_second_form_and_a_recipe_of_one_kind_of_worker() {
        let roles = "name: x\nmodel: {path: m, container: c}\nbackend: {type: vllm}\nroles:\n  prefill: {workers: 2, gpus: 4, env: {A: b}, \
                     args: {tensor-parallel-size: 4, enforce-eager: true}}\n  decode: {workers: 1, gpus: 8, args: {data-parallel-size: 8}}\n";
        let l = Launch::parse(roles);
        assert_eq!(
            (l.engine, l.model.as_deref(), l.env["A"].as_str()),
            (Some(EngineKind::Vllm), Some("m"), "b"),
            "{l:?}"
        );
        assert_eq!((GpuLayout::of(&l).gpus(), l.switch(&["enforce-eager"])), (4, Some(true)));
        assert!(l.problems.iter().any(|p| p.contains("16 GPUs in all")), "{:?}", l.problems);
        let whole = "name: x\nmodel: {path: o/m}\nresources: {agg_workers: 2, agg_nodes: 2, gpus_per_node: 8}\nbackend:\n  type: sglang\n  \
                     sglang_config:\n    aggregated: {tp-size: 8}\n";
        let l = Launch::parse(whole);
        assert_eq!(
            (l.engine, l.model.as_deref(), GpuLayout::of(&l).gpus()),
            (Some(EngineKind::Sglang), Some("o/m"), 8)
        );
        assert!(l.problems.iter().any(|p| p.contains("2 workers; one of them")), "{:?}", l.problems);
    }

    #[test]
    fn gpus_of_a_worker_by_its_nodes_and_a_recipe_that_does_not_say() {
        let text = |resources: &str| {
            let config = "{prefill: {tp-size: 8, served-model-name: o/m}, decode: {tp-size: 16}}";
            format!(
                "name: x\nmodel: {{path: alias}}\nresources: {resources}\nbackend:\n  type: sglang\n  sglang_config: {config}\n"
            )
        };
        let l = Launch::parse(&text(
            "{gpus_per_node: 4, prefill_nodes: 4, prefill_workers: 2, decode_nodes: 4, decode_workers: 1}",
        ));
        assert_eq!((l.model.as_deref(), GpuLayout::of(&l).gpus()), (Some("o/m"), 8), "{l:?}");
        for told in ["2 prefill workers of 8 GPUs", "32 GPUs in all", "alias is the cluster's own"] {
            assert!(l.problems.iter().any(|p| p.contains(told)), "{told}: {:?}", l.problems);
        }
        let l = Launch::parse(&text("{gpus_per_node: 4}"));
        assert!(l.problems.iter().any(|p| p.contains("does not say how many GPUs")), "{:?}", l.problems);
    }
}
