//! Serving commands as they stand in documents: compose files, Kubernetes manifests, helm values, Dockerfiles and systemd
//! units. A document becomes the words of the container that it starts, which are then read as any other command.

use super::LaunchFile;
use super::dockerfile::{dockerfile, unit};
use super::part::{environment, image_of, is_one_line, list, replicas, scalar};
use super::program::base;
use super::{compose, dstack, kserve, options, pm2, ray, script, srt_slurm, values};
use serde_json::{Map, Value};

/// The words of a document's command, and what is to be told of the document.
#[derive(Debug, PartialEq)]
pub(super) struct Found {
    pub(super) words: Vec<String>,
    pub(super) problems: Vec<String>,
    /// Copies of it that the document starts.
    pub(super) replicas: u64,
    /// Files that the document's ConfigMaps hold and the command names.
    pub(super) files: Vec<LaunchFile>,
    /// Commands of the document's other containers that start an engine, with their replicas.
    pub(super) beside: Vec<(Vec<String>, u64)>,
}

impl Found {
    /// A command that a document starts once, and nothing else.
    fn alone(words: Vec<String>, problems: Vec<String>) -> Found {
        Found { words, problems, replicas: 1, files: Vec::new(), beside: Vec::new() }
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
struct Around<'v> {
    replicas: u64,
    /// The template of pods that run one launch together (LeaderWorkerSet), and how many they are.
    group: Option<(&'v Value, u64)>,
    /// The service of dstack that it belongs to.
    service: Option<&'v Map<String, Value>>,
}

impl Around<'_> {
    /// Whether two containers stand in pods of one group.
    fn together(&self, other: &Around<'_>) -> bool {
        self.group.zip(other.group).is_some_and(|(own, other)| std::ptr::eq(own.0, other.0))
    }
}

struct Container<'v> {
    map: &'v Map<String, Value>,
    around: Around<'v>,
}

fn yaml(text: &str, starts: Starts) -> Option<Found> {
    let mut problems = Vec::new();
    let documents = parsed(text, &mut problems);
    if let Some((words, told)) = documents.iter().find_map(srt_slurm::launch).filter(|(w, _)| starts(w)) {
        problems.extend(told);
        return Some(Found::alone(words, problems));
    }
    let mut all = Vec::new();
    for document in &documents {
        containers(document, Around { replicas: 1, group: None, service: None }, &mut all);
    }
    // Arguments without an image run in one that another document names.
    let image = ["vllm", "sglang"].into_iter().find(|e| text.contains(e)).unwrap_or("none");
    let mut engines = all.iter().filter_map(|c| Some((c, words_of(c, image, starts)?)));
    let Some((container, (words, told))) = engines.next() else {
        let options = || options::launch(&documents).map(|(words, told)| Found::alone(words, told));
        let service = || kserve::launch(&documents).map(|(words, told)| Found::alone(words, told));
        let mut found =
            of_charts(&documents).or_else(service).or_else(options).filter(|f| starts(&f.words))?;
        found.problems.splice(0..0, problems);
        return Some(found);
    };
    // The pods of a group run one launch: the engine of another one is a part of it.
    let beside = engines.filter(|(c, _)| !c.around.together(&container.around));
    let beside = beside.map(|(c, (words, _))| (words, c.around.replicas)).collect();
    problems.extend(told);
    let Around { replicas, group, .. } = container.around;
    problems.extend(replicated(replicas));
    if let Some((_, size)) = group.filter(|(_, size)| *size > 1) {
        problems.push(format!(
            "{size} pods of a LeaderWorkerSet run one launch together; its first is read: {GROUP_SIZE} is {size}, {WORKER_INDEX} 0"
        ));
    }
    if ["command", "entrypoint"].iter().any(|k| container.map.get(*k).is_some_and(is_one_line)) {
        problems.push(
            "the command is a list of one word with blanks in it, which is taken for a program of that name where it runs; it is \
             read as a shell would"
                .to_owned(),
        );
    }
    let files = mounted(&documents, &words);
    Some(Found { words, problems, replicas, files, beside })
}

/// The files of ConfigMaps, each under the path by which a word names it.
fn mounted(documents: &[Value], words: &[String]) -> Vec<LaunchFile> {
    let maps = documents.iter().filter(|d| d.get("kind").and_then(Value::as_str) == Some("ConfigMap"));
    let data = maps.filter_map(|d| d.get("data")?.as_object()).flatten();
    let named = |key: &str| words.iter().find(|w| base(w) == key && w.contains('/'));
    data.filter_map(|(key, text)| {
        Some(LaunchFile { path: named(key)?.clone(), text: text.as_str()?.to_owned() })
    })
    .collect()
}

/// The launches of a chart's values: the first with what is to be told of it, the others beside it.
fn of_charts(documents: &[Value]) -> Option<Found> {
    let mut all = values::charts(documents).into_iter();
    let (words, mut problems, replicas) = all.next()?;
    problems.extend(replicated(replicas));
    let beside = all.map(|(words, _, copies)| (words, copies)).collect();
    Some(Found { words, problems, replicas, files: Vec::new(), beside })
}

/// What is to be told of copies of a launch.
fn replicated(replicas: u64) -> Option<String> {
    (replicas > 1).then(|| format!("the document starts {replicas} replicas; one of them is read"))
}

/// The parts of a text that are YAML, and what is to be told of names that they lack.
fn parsed(text: &str, problems: &mut Vec<String>) -> Vec<Value> {
    let mut value = |d: &String| {
        serde_saphyr::from_str(d).ok().or_else(|| {
            let (plain, told) = without_anchors(d)?;
            problems.push(told);
            serde_saphyr::from_str(&plain).ok()
        })
    };
    documents(text).iter().filter_map(&mut value).collect()
}

/// Why a document gives no launch; None where the text is none. A script is no table of YAML.
pub(super) fn unread(text: &str) -> Option<String> {
    let all = parsed(text, &mut Vec::new());
    let tables = all.iter().all(|d| d.as_object().is_some_and(|map| !map.is_empty()));
    if all.is_empty() || !tables || all.len() != documents(text).len() {
        return None;
    }
    let image =
        || all.iter().find_map(options::engine_of_image).map(|(image, _)| format!("the image {image}"));
    let key = || all.iter().find_map(values::engine_of_key).map(|engine| engine.to_string());
    Some(match image().or_else(key) {
        Some(name) => format!(
            "the document names {name} and has no command, arguments or options that are known: give the command that its container runs"
        ),
        None => "the document does not say which engine it starts: no command, image or framework of vLLM, SGLang or TensorRT-LLM \
                 is named in it, nor options of one of them alone; give the engine's own command"
            .to_owned(),
    })
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
fn containers<'v>(value: &'v Value, around: Around<'v>, out: &mut Vec<Container<'v>>) {
    match value {
        Value::Array(items) => items.iter().for_each(|v| containers(v, around, out)),
        Value::Object(map) => {
            let group = || {
                let template = map.get("leaderWorkerTemplate")?;
                Some((template, template.get("size")?.as_u64()?))
            };
            let replicas = replicas(map).unwrap_or(around.replicas);
            let service = Some(map).filter(|m| dstack::is_one(m)).or(around.service);
            let own = Around { replicas, group: group().or(around.group), service };
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

/// A container's entrypoint, command and arguments. What a shell is given as one string is its script.
fn command_of(map: &Map<String, Value>) -> Vec<String> {
    let mut own: Vec<String> = Vec::new();
    for key in ["entrypoint", "command", "args"] {
        match map.get(key) {
            Some(Value::String(script)) if script::awaits_script(&own) => own.push(script.clone()),
            // The one word of a list is the script as well.
            Some(Value::Array(items)) if items.len() == 1 && script::awaits_script(&own) => {
                own.extend(items.iter().filter_map(scalar));
            }
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
    // The image may be a variable with a default as well.
    env.push((String::new(), image_of(map).unwrap_or_default()));
    let told = compose::take_defaults(&mut env);
    let own_image = env.pop().map(|(_, image)| image).filter(|image| !image.is_empty());
    env.extend(dstack::variables(map, container.around.service));
    if let Some((_, size)) = container.around.group {
        env.push((GROUP_SIZE.to_owned(), size.to_string()));
        env.push((WORKER_INDEX.to_owned(), "0".to_owned()));
    }
    let mut own = match map.get("commands") {
        // Lines of a shell.
        Some(Value::Array(lines)) => {
            let lines: Vec<String> = lines.iter().filter_map(scalar).collect();
            vec!["sh".into(), "-c".into(), lines.join("\n")]
        }
        _ => match map.get("vllmConfig") {
            Some(Value::Object(config)) => values::production_stack(map, config)?,
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
    out.push(own_image.unwrap_or_else(|| if flags { image } else { "none" }.to_owned()));
    out.append(&mut own);
    starts(&out).then_some((out, told))
}

#[cfg(test)]
mod tests {
    use crate::launch::testing::read;
    use crate::launch::{EngineKind, Launch};

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
