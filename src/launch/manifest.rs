//! Serving commands as they stand in documents: compose files, Kubernetes manifests, helm values, Dockerfiles and systemd
//! units. A document becomes the words of the container that it starts, which are then read as any other command.

use super::dockerfile::{dockerfile, unit};
use super::{compose, pm2, ray, script, srt_slurm, words};
use serde_json::{Map, Value};

/// The words of a document's command, and what is to be told of the document.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) words: Vec<String>,
    pub(super) problems: Vec<String>,
    /// Copies of it that the document starts.
    pub(super) replicas: u64,
    /// Commands of the document's other containers that start an engine, with their replicas.
    pub(super) beside: Vec<(Vec<String>, u64)>,
}

impl Found {
    /// A command that a document starts once, and nothing else.
    fn alone(words: Vec<String>, problems: Vec<String>) -> Found {
        Found { words, problems, replicas: 1, beside: Vec::new() }
    }
}

/// Whether words start an engine.
type Starts = fn(&[String]) -> bool;

/// The command of a document; None where the text is none, or starts no engine.
pub(super) fn command(text: &str, starts: Starts) -> Option<Found> {
    if text.contains("LLMConfig(")
        && let Some((words, problems)) = ray::program(text)
    {
        return Some(Found::alone(words, problems));
    }
    if let Some(words) = pm2::words(text).filter(|w| starts(w)) {
        return Some(Found::alone(words, Vec::new()));
    }
    let mut lines =
        text.lines().map(str::trim).filter(|l| !l.is_empty() && !l.starts_with('#') && *l != "---");
    let first = lines.next()?;
    if first.starts_with("FROM ") || first.starts_with("ARG ") {
        return dockerfile(text, starts).map(|words| Found::alone(words, Vec::new()));
    }
    if first.starts_with('[') {
        return unit(text, starts).map(|words| Found::alone(words, Vec::new()));
    }
    let key = first.trim_start_matches("- ").split(':').next()?;
    let named = first.contains(':')
        && !key.is_empty()
        && key.chars().all(|c| c.is_alphanumeric() || "_-./\"'".contains(c));
    // One line alone is a document where its key says so.
    let whole = text.trim().contains('\n') || ["entrypoint", "command", "args"].contains(&key.trim());
    (named && whole).then(|| yaml(text, starts)).flatten()
}

/// What stands around a container of a document.
#[derive(Debug, Clone, Copy)]
struct Around {
    replicas: u64,
    /// Pods of one group that run one launch together (LeaderWorkerSet); 0 where there is no group.
    group: u64,
}

struct Container<'v> {
    map: &'v Map<String, Value>,
    around: Around,
}

fn yaml(text: &str, starts: Starts) -> Option<Found> {
    let mut problems = Vec::new();
    let mut value = |d: &String| {
        serde_saphyr::from_str(d).ok().or_else(|| {
            let (plain, told) = without_anchors(d)?;
            problems.push(told);
            serde_saphyr::from_str(&plain).ok()
        })
    };
    let documents: Vec<Value> = documents(text).iter().filter_map(&mut value).collect();
    if let Some((words, told)) = documents.iter().find_map(srt_slurm::launch).filter(|(w, _)| starts(w)) {
        problems.extend(told);
        return Some(Found::alone(words, problems));
    }
    let mut all = Vec::new();
    for document in &documents {
        containers(document, Around { replicas: 1, group: 0 }, &mut all);
    }
    // Arguments without an image run in one that another document names.
    let image = if text.contains("sglang") && !text.contains("vllm") { "sglang" } else { "vllm" };
    let mut engines = all.iter().filter_map(|c| Some((c, words_of(c, image, starts)?)));
    let (container, (words, told)) = engines.next()?;
    let beside = engines.map(|(c, (words, _))| (words, c.around.replicas)).collect();
    problems.extend(told);
    let Around { replicas, group } = container.around;
    if replicas > 1 {
        problems.push(format!("the document starts {replicas} replicas; one of them is read"));
    }
    if group > 1 {
        problems.push(format!(
            "{group} pods of a LeaderWorkerSet run one launch together; its first is read: {GROUP_SIZE} is {group}, {WORKER_INDEX} 0"
        ));
    }
    if ["command", "entrypoint"].iter().any(|k| container.map.get(*k).is_some_and(is_one_line)) {
        problems.push(
            "the command is a list of one word with blanks in it, which is taken for a program of that name where it runs; it is \
             read as a shell would"
                .to_owned(),
        );
    }
    Some(Found { words, problems, replicas, beside })
}

/// A part of a document without the names that stand in another part of it, and what is to be told of them.
fn without_anchors(text: &str) -> Option<(String, String)> {
    let foreign = |word: &str| {
        let name = word.trim().strip_prefix('*')?;
        let plain = !name.is_empty() && name.chars().all(|c| c.is_alphanumeric() || "-_".contains(c));
        (plain && !text.contains(&format!("&{name}"))).then(|| name.to_owned())
    };
    let mut names: Vec<String> = Vec::new();
    let mut out = String::new();
    for line in text.lines() {
        let named = line.split_once(": ").and_then(|(key, value)| Some((key, foreign(value)?)));
        let Some((key, name)) = named else {
            out.push_str(line);
            out.push('\n');
            continue;
        };
        names.push(format!("*{name}"));
        // What is merged in has no key of its own.
        if key.trim() != "<<" {
            out.push_str(key);
            out.push_str(":\n");
        }
    }
    let told =
        format!("{} stands in another part of the document: what it sets is not read", names.join(", "));
    (!names.is_empty()).then_some((out, told))
}

fn documents(text: &str) -> Vec<String> {
    let mut out = vec![String::new()];
    for line in text.lines() {
        if line.trim_end() == "---" {
            out.push(String::new());
        } else if let Some(last) = out.last_mut() {
            last.push_str(line);
            last.push('\n');
        }
    }
    out.retain(|d| !d.trim().is_empty());
    out
}

/// Variables that a LeaderWorkerSet gives to every container: the pods of a group, and which of them this is.
const GROUP_SIZE: &str = "LWS_GROUP_SIZE";
const WORKER_INDEX: &str = "LWS_WORKER_INDEX";

/// Every mapping that starts something, in the order of the document's lists and the keys' names.
fn containers<'v>(value: &'v Value, around: Around, out: &mut Vec<Container<'v>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| containers(v, around, out)),
        Value::Object(map) => {
            let own = ["replicas", "replicaCount", "minReplicas"].iter().find_map(|k| map.get(*k)?.as_u64());
            let under = |key: &str| map.get(key)?.get("replicas")?.as_u64();
            let own = own
                .or_else(|| under("deploy"))
                .or_else(|| under("deploymentConfig"))
                .or_else(|| ray::replicas(map));
            let group = || map.get("leaderWorkerTemplate")?.get("size")?.as_u64();
            let own =
                Around { replicas: own.unwrap_or(around.replicas), group: group().unwrap_or(around.group) };
            if ["command", "args", "entrypoint", "commands", "vllmConfig", "model_loading_config"]
                .iter()
                .any(|k| map.contains_key(*k))
            {
                out.push(Container { map, around: own });
            }
            map.values().for_each(|v| containers(v, own, out));
        }
        _ => {}
    }
}

fn scalar(value: &Value) -> Option<String> {
    match value {
        Value::String(s) => Some(s.clone()),
        Value::Number(_) | Value::Bool(_) => Some(value.to_string()),
        _ => None,
    }
}

/// Whether a list is one word with blanks in it: a program of that name, which nobody means.
fn is_one_line(value: &Value) -> bool {
    matches!(value.as_array().map(Vec::as_slice), Some([Value::String(line)]) if line.trim().contains(' '))
}

/// A command as one string for a shell, or as its words.
fn list(map: &Map<String, Value>, key: &str) -> Vec<String> {
    match map.get(key) {
        Some(Value::String(line)) => words::split(line).0,
        Some(list @ Value::Array(items)) if key != "args" && is_one_line(list) => {
            items.iter().filter_map(scalar).flat_map(|line| words::split(&line).0).collect()
        }
        Some(Value::Array(items)) => items.iter().filter_map(scalar).collect(),
        _ => Vec::new(),
    }
}

/// `K: V`, `- K=V` and `- name: K`, `value: V`.
fn environment(map: &Map<String, Value>) -> Vec<(String, String)> {
    let pair = |text: &str| text.split_once('=').map(|(k, v)| (k.to_owned(), v.to_owned()));
    let of = |value: &Value| match value {
        Value::String(text) => pair(text),
        Value::Object(one) => Some((scalar(one.get("name")?)?, scalar(one.get("value")?)?)),
        _ => None,
    };
    match map.get("env").or_else(|| map.get("environment")) {
        Some(Value::Array(items)) => items.iter().filter_map(of).collect(),
        Some(Value::Object(own)) => own.iter().filter_map(|(k, v)| Some((k.clone(), scalar(v)?))).collect(),
        _ => Vec::new(),
    }
}

/// `image: x:tag`, or repository and tag apart.
fn image_of(map: &Map<String, Value>) -> Option<String> {
    let tagged = |of: &Map<String, Value>| {
        let repository = scalar(of.get("repository")?)?;
        Some(
            of.get("tag")
                .and_then(scalar)
                .map_or_else(|| repository.clone(), |t| format!("{repository}:{t}")),
        )
    };
    let deployed = || scalar(map.get("deploymentConfig")?.get("image")?.get("name")?);
    match map.get("image") {
        Some(Value::String(image)) => Some(image.clone()),
        Some(Value::Object(parts)) => tagged(parts),
        _ => tagged(map).or_else(deployed),
    }
}

/// A container's entrypoint, command and arguments. What a shell is given as one string is its script.
fn command_of(map: &Map<String, Value>) -> Vec<String> {
    let mut own: Vec<String> = Vec::new();
    for key in ["entrypoint", "command", "args"] {
        match map.get(key) {
            Some(Value::String(script)) if script::awaits_script(&own) => own.push(script.clone()),
            _ => own.extend(list(map, key)),
        }
    }
    own
}

/// `docker run -e K=V IMAGE words`, and what is to be told of them; None where no engine is started.
fn words_of(container: &Container<'_>, image: &str, starts: Starts) -> Option<(Vec<String>, Option<String>)> {
    let map = container.map;
    if let Some(words) = ray::command(map) {
        return starts(&words).then_some((words, None));
    }
    let mut env = environment(map);
    let told = compose::take_defaults(&mut env);
    if container.around.group > 0 {
        env.push((GROUP_SIZE.to_owned(), container.around.group.to_string()));
        env.push((WORKER_INDEX.to_owned(), "0".to_owned()));
    }
    let mut own = match map.get("commands") {
        // Lines of a shell.
        Some(Value::Array(lines)) => {
            let lines: Vec<String> = lines.iter().filter_map(scalar).collect();
            vec!["sh".into(), "-c".into(), lines.join("\n")]
        }
        _ => match map.get("vllmConfig") {
            Some(Value::Object(config)) => helm(map, config)?,
            _ => command_of(map),
        },
    };
    if !map.contains_key("env") {
        own = own.iter().map(|w| compose::unescaped(w)).collect();
    }
    // Kubernetes puts the container's own variables in place of `$(NAME)`.
    for (name, value) in &env {
        for word in &mut own {
            *word = word.replace(&format!("$({name})"), value);
        }
    }
    let mut out: Vec<String> = vec!["docker".into(), "run".into()];
    out.extend(env.into_iter().flat_map(|(k, v)| ["-e".to_owned(), format!("{k}={v}")]));
    // Flags alone run in the image that another document names.
    let flags = own.first().is_some_and(|w| w.starts_with('-'));
    out.push(image_of(map).unwrap_or_else(|| if flags { image } else { "none" }.to_owned()));
    out.append(&mut own);
    starts(&out).then_some((out, told))
}

/// Values of the vLLM production stack's chart, and the resource of its operator, which has a part of them under `model`: the
/// keys of `vllmConfig` are flags in another spelling.
fn helm(map: &Map<String, Value>, config: &Map<String, Value>) -> Option<Vec<String>> {
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

    /// Engine, model, GPUs.
    fn read(text: &str) -> (Option<EngineKind>, String, u32) {
        let l = Launch::parse(text);
        (l.engine, l.model.clone().unwrap_or_default(), GpuLayout::of(&l).gpus())
    }

    #[test]
    fn compose_and_kubernetes_start_what_their_containers_start() {
        let compose = "services:\n  db:\n    image: redis\n    command: redis-server\n  llm:\n    image: vllm/vllm-openai:v0.6.3\n    \
                       environment: {A: b}\n    command: [\"--model\", \"m\",\n      \"--tensor-parallel-size\", \"2\",]\n    deploy:\n      replicas: 3\n";
        assert_eq!(read(compose), (Some(EngineKind::Vllm), "m".into(), 2));
        let l = Launch::parse(compose);
        assert_eq!((l.env["A"].as_str(), l.version.map(|v| v.to_string()).as_deref()), ("b", Some("0.6.3")));
        assert!(l.problems.iter().any(|p| p.contains("3 replicas")), "{:?}", l.problems);
        let pod = "kind: Pod\nspec:\n  containers:\n  - name: x\n    image: lmsysorg/sglang:latest\n    env:\n    - {name: TP, value: \"8\"}\n    \
                   command: [python3, -m, sglang.launch_server]\n    args:\n    - --model-path\n    - m\n    - --tp\n    - $(TP)\n";
        assert_eq!(read(pod), (Some(EngineKind::Sglang), "m".into(), 8));
        let one = "kind: Pod\nspec:\n  containers:\n  - image: vllm/vllm-openai:0.4.1\n    command:\n    - \"python3 -m vllm.entrypoints.openai.api_server --model m -tp 2\"\n";
        assert_eq!(read(one), (Some(EngineKind::Vllm), "m".into(), 2));
        let l = Launch::parse(one);
        assert!(l.problems.iter().any(|p| p.contains("a list of one word with blanks")), "{:?}", l.problems);
        let shell = "containers:\n- image: x\n  command: [\"/bin/sh\", \"-c\"]\n  args: [\"vllm serve m --tensor-parallel-size 4\"]\n";
        assert_eq!(read(shell), (Some(EngineKind::Vllm), "m".into(), 4));
    }

    #[test]
    fn values_of_a_chart() {
        let helm = "servingEngineSpec:\n  modelSpec:\n  - repository: vllm/vllm-openai\n    tag: v0.8.5\n    modelURL: m\n    replicaCount: 1\n    \
                    vllmConfig:\n      tensorParallelSize: 4\n      enablePrefixCaching: false\n      extraArgs: [\"--enforce-eager\"]\n";
        assert_eq!(read(helm), (Some(EngineKind::Vllm), "m".into(), 4));
        let l = Launch::parse(helm);
        assert_eq!(
            (l.switch(&["enable-prefix-caching"]), l.switch(&["enforce-eager"])),
            (Some(false), Some(true))
        );
    }

    #[test]
    fn a_document_that_starts_no_engine_is_read_as_before() {
        assert_eq!(read("a: b\nc: d\n").0, None);
        let other = "services:\n  a:\n    command: uvicorn app:app --host x\n  b:\n    image: lmsysorg/sglang\n    command: python -m \
                     sglang.launch_server --model m --tp 2\n";
        assert_eq!(read(other), (Some(EngineKind::Sglang), "m".into(), 2));
        assert_eq!(read(&other.replace("lmsysorg/sglang", "x # not vllm")).1, "m");
        assert_eq!(read("A=1\nvllm serve m -tp 2"), (Some(EngineKind::Vllm), "m".into(), 2));
    }

    #[test]
    fn a_part_of_a_document_and_an_image_with_flags_alone() {
        let part = "  llm:\n    <<: *common\n    image: lmsysorg/sglang\n    environment:\n      - M=${M:-org/m}\n    entrypoint: [\"/bin/sh\", \"-c\"]\n    \
                    command:\n      - >\n        python -m sglang.launch_server\n        --model-path \"$M\" --tp 2\n";
        assert_eq!(read(part), (Some(EngineKind::Sglang), "org/m".into(), 2));
        let l = Launch::parse(part);
        assert!(l.problems.iter().any(|p| p.contains("*common")), "{:?}", l.problems);
        let set = "spec:\n  replicas: 3\n  template:\n    spec:\n      containers:\n      - image: lmsysorg/sglang:v0.5.4\n        args: [--model-path=m]\n";
        assert_eq!(read(set), (Some(EngineKind::Sglang), "m".into(), 1));
        let l = Launch::parse(set);
        assert!(
            ["3 replicas", "no server by itself"].iter().all(|t| l.problems.iter().any(|p| p.contains(t))),
            "{:?}",
            l.problems
        );
    }
}
