//! The words of a container runtime's `run`: its options, the image, and what runs in it.

use super::Version;
use super::shell::expanded;
use std::collections::BTreeMap;
use std::str::FromStr;

/// A container that is started.
#[derive(Debug, PartialEq)]
pub(super) struct Run {
    pub(super) image: String,
    /// The release of an engine in the image's tag.
    pub(super) version: Option<Version>,
    /// Environment given to it, `NAME=value`.
    pub(super) env: Vec<String>,
    pub(super) entrypoint: Option<String>,
    /// The words behind the image.
    pub(super) words: Vec<String>,
}

/// Options of `docker run` and `apptainer run` that take no value; every other one does.
const PLAIN: &[&str] = &[
    "nv",
    "rocm",
    "cleanenv",
    "containall",
    "no-home",
    "fakeroot",
    "writable-tmpfs",
    "rm",
    "detach",
    "interactive",
    "tty",
    "privileged",
    "init",
    "publish-all",
    "read-only",
    "no-healthcheck",
    "oom-kill-disable",
    "sig-proxy",
    "quiet",
    "replace",
];

/// Names in images of engines. The tag of another image (`nvidia/cuda:12.4.1-devel`) is the release of something else.
const ENGINES: [&str; 6] = ["vllm", "sglang", "tensorrt", "trtllm", "trt-llm", "nim/"];

/// Whether the name of an image is one of an engine's.
pub(super) fn names_engine(image: &str) -> bool {
    ENGINES.iter().any(|e| image.to_lowercase().contains(e))
}

/// The words behind `docker run`; `env` holds what the script has set.
pub(super) fn run(words: &[String], env: &BTreeMap<String, String>) -> Option<Run> {
    let (mut i, mut entrypoint, mut own) = (0, None, Vec::new());
    let option = |w: &&String| w.starts_with('-') && w.len() > 1 || w.starts_with("${") && w.contains("[@]");
    while let Some(w) = words.get(i).filter(option) {
        let name = w.trim_start_matches('-');
        let (name, mut value) = name.split_once('=').map_or((name, None), |(n, v)| (n, Some(v.to_owned())));
        let flags = !w.starts_with("--") && name.chars().all(|c| "ditP".contains(c));
        if value.is_none() && !flags && !w.starts_with('$') && !PLAIN.contains(&name) {
            i += 1;
            value = words.get(i).cloned();
        }
        match (name, value) {
            ("e" | "env", Some(v)) => own.push(v),
            ("entrypoint", Some(v)) => entrypoint = Some(v),
            _ => {}
        }
        i += 1;
    }
    let image = expanded(words.get(i)?, env);
    let version = release(&image);
    Some(Run { image, version, env: own, entrypoint, words: words[i + 1..].to_vec() })
}

/// The release of an engine in an image's tag.
pub(super) fn release(image: &str) -> Option<Version> {
    let tagged = image.split('@').next().unwrap_or(image);
    let base = tagged.rsplit('/').next().unwrap_or(tagged);
    // Apptainer keeps images as files: `vllm-openai_v0.10.2.sif`.
    let file = base.strip_suffix(".sif").and_then(|f| f.rsplit_once('_'));
    let tag = file.or_else(|| base.rsplit_once(':')).map_or("", |t| t.1);
    // NVIDIA's builds of other people's engines are named by year and month (`nvcr.io/nvidia/vllm:26.07-py3`).
    if tag.ends_with("-py3") {
        return None;
    }
    // Dynamo's images of engines have Dynamo's own release.
    if tagged.contains("ai-dynamo/") {
        return None;
    }
    let release = tag.trim_start_matches('v').split(['-', '_']).next().unwrap_or_default();
    Version::from_str(release).ok().filter(|_| names_engine(image))
}
