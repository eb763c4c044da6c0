//! Commands in documents written for people: fenced blocks, commands between backquotes, templates, and releases told in sentences.

use super::copied::releases;
use super::{EngineKind, Version, runtime};
use std::borrow::Cow;

/// The parts of a text that may be a command, in their order: fenced blocks, and what begins with a backquote. The last may lack
/// its end; it then goes to the next blank line.
pub(super) fn parts(text: &str) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut rest = String::new();
    let mut fence: Option<String> = None;
    for line in text.lines() {
        // Three backquotes around words of one line are no fence; behind a fence's stands one word at most.
        let bar = line.trim_start().strip_prefix("```").is_some_and(|rest| !rest.trim().contains([' ', '`']));
        match (&mut fence, bar) {
            (None, true) => fence = Some(String::new()),
            (Some(_), true) => out.extend(fence.take()),
            (Some(body), false) => {
                body.push_str(line);
                body.push('\n');
            }
            (None, false) => {
                rest.push_str(line);
                rest.push('\n');
            }
        }
    }
    // A fence that never closes holds what may be quoted in it.
    let open = fence.unwrap_or_default();
    out.extend(quoted(&rest));
    out.extend(quoted(&open));
    out.push(open);
    out.retain(|p| !p.trim().is_empty());
    for part in &mut out {
        if let Some(words) = listed(part) {
            *part = words;
        }
    }
    out
}

/// Strings of a program that hold a command: `os.system("vllm serve m")`.
pub(super) fn strings(text: &str) -> Vec<&str> {
    const PROGRAMS: [&str; 5] =
        ["vllm serve ", "sglang serve ", "sglang.launch_server ", "trtllm-serve ", "vllm.entrypoints."];
    let quoted = |quote: char| text.split(quote).skip(1).step_by(2);
    let all = quoted('"').chain(quoted('\''));
    all.filter(|s| !s.contains('\n') && PROGRAMS.iter().any(|p| s.contains(p))).collect()
}

/// Whether fences divide a text.
pub(super) fn is_fenced(text: &str) -> bool {
    text.lines().filter(|l| l.trim_start().starts_with("```")).count() > 1
}

/// The words of a list of arguments without a key (`- trtllm-serve`, `- '--port'`), in one line.
fn listed(text: &str) -> Option<String> {
    let lines: Vec<&str> = text.lines().map(str::trim).filter(|l| !l.is_empty()).collect();
    let words: Option<Vec<&str>> = lines.iter().map(|l| l.strip_prefix("- ").map(str::trim)).collect();
    words.filter(|w| w.len() > 2).map(|w| w.join(" "))
}

/// What stands between backquotes.
fn quoted(text: &str) -> Vec<String> {
    let mut out = Vec::new();
    let mut rest = text;
    while let Some(at) = rest.find('`') {
        let body = rest[at..].trim_start_matches('`');
        let end = body.find('`').unwrap_or(body.len());
        let end = body.find("\n\n").map_or(end, |blank| end.min(blank));
        out.push(body[..end].to_owned());
        rest = body[end..].trim_start_matches('`');
    }
    out
}

/// A template's text with its expressions as variables (`{{ name }}`, `{{ .Values.model }}`) and without its statements
/// (`{% if x %}`). An expression that is a choice between texts is left out.
pub(super) fn without_templates(text: &str) -> Cow<'_, str> {
    if !(text.contains("{{ ") || text.contains("{{-")) || !text.contains("}}") {
        return Cow::Borrowed(text);
    }
    let kept = text.lines().filter(|l| !l.trim_start().starts_with("{%")).collect::<Vec<_>>().join("\n");
    let mut out = String::with_capacity(kept.len());
    let mut rest = kept.as_str();
    while let Some(at) = rest.find("{{") {
        let Some(end) = rest[at..].find("}}") else { break };
        let inner = rest[at + 2..at + end].trim().trim_matches(['-', ' ', '.']);
        let name: String = inner.chars().map(|c| if c.is_ascii_alphanumeric() { c } else { '_' }).collect();
        let choice =
            inner.is_empty() || inner.starts_with(['\'', '"']) || inner.contains('{') || inner.len() > 80;
        out.push_str(&rest[..at]);
        if !choice {
            out.push('$');
            out.push_str(name.trim_matches('_'));
        }
        rest = &rest[at + end + 2..];
    }
    out.push_str(rest);
    Cow::Owned(out)
}

/// The release of an engine that the whole text tells in its own words or by an image; none where it tells several.
pub(super) fn release(text: &str, engine: EngineKind) -> Option<Version> {
    let words: Vec<String> = text
        .split_whitespace()
        .map(|w| w.trim_matches(|c: char| "`(),;:.\"'*".contains(c)).to_owned())
        .collect();
    let told = releases(&words).into_iter().filter(|(e, _)| *e == engine).map(|(_, v)| v);
    let name = match engine {
        EngineKind::Trtllm => "tensorrt-llm",
        other => other.id(),
    };
    let images = words.iter().filter(|w| w.contains(name) && w.contains(':') && w.contains('/'));
    let mut all: Vec<Version> = told.chain(images.filter_map(|w| runtime::release(w))).collect();
    all.sort_unstable();
    all.dedup();
    if all.len() == 1 { all.pop() } else { None }
}

#[cfg(test)]
mod tests {
    use crate::launch::{EngineKind, GpuLayout, Launch};

    #[test]
    fn commands_between_backquotes_and_in_fences() {
        for text in [
            "We ran\n`python3 -m sglang.launch_server \\\n  --model-path m \\\n  --tp-size 4 --port 30000`\n\nand it failed.",
            "```text\n1. first\n\n`sudo docker run x \\\n  lmsysorg/sglang python3 -m sglang.launch_server \\\n  --model-path m --tp 4\n\n2. it fails\n`\n",
            "1. Model\n\n```bash\n# a.yml\nservices:\n  a:\n    image: lmsysorg/sglang:v0.5.4\n    command: python3 -m sglang.launch_server --model-path m --tp 4\n```\n",
        ] {
            let l = Launch::parse(text);
            assert_eq!(
                (l.engine, l.model.as_deref(), GpuLayout::of(&l).gpus()),
                (Some(EngineKind::Sglang), Some("m"), 4),
                "{text}"
            );
        }
    }

    #[test]
    fn a_list_of_arguments_and_words_between_three_backquotes() {
        let l = Launch::parse(
            "TensorRT-LLM 1.2.0rc3\nStart it:\n```\n  - trtllm-serve\n  - serve\n  - m\n  - '--tp_size'\n  - '8'\n```\n",
        );
        assert_eq!(
            (l.engine, l.model.as_deref(), GpuLayout::of(&l).gpus()),
            (Some(EngineKind::Trtllm), Some("m"), 8)
        );
        let l = Launch::parse(
            "I run\n\n```uv run python -m sglang.launch_server --model-path m --tp-size 4 --port 1``\n\nand it dies.\n",
        );
        assert_eq!(
            (l.engine, l.text(&["port"]), GpuLayout::of(&l).gpus()),
            (Some(EngineKind::Sglang), Some("1"), 4)
        );
        let l = Launch::parse("A:\n```\nvllm serve a -tp 2\n```\nB:\n```\nvllm serve b\n```\n");
        assert_eq!((l.model.as_deref(), GpuLayout::of(&l).gpus()), (Some("a"), 2));
        assert!(
            l.problems.iter().any(|p| p.contains("2 parts of the text start an engine")),
            "{:?}",
            l.problems
        );
    }

    #[test]
    fn a_template_and_a_release_in_words() {
        let l = Launch::parse(
            "{% block x %}\napptainer run {{ '--nv' if g else '' }} {{ profile.dir }}/vllm-openai_v0.8.3.sif \\\n  --model /data/{{ c['revision'] }} --port 1\n",
        );
        assert_eq!(
            (l.engine, l.version.map(|v| v.to_string()).as_deref()),
            (Some(EngineKind::Vllm), Some("0.8.3"))
        );
        assert!(
            l.model.is_none() && l.problems.iter().any(|p| p.contains("the model is /data/$c")),
            "{:?}",
            l.problems
        );
        let l = Launch::parse("vllm serve m\nINFO api_server.py:712] vLLM API server version 0.6.6.post1\n");
        assert_eq!(l.version.map(|v| v.to_string()).as_deref(), Some("0.6.6"));
        let l = Launch::parse(
            "image:\nnvcr.io/nvidia/tensorrt-llm/release:1.1.0rc4\n```\ntrtllm-serve m --max_batch_size 8\n```\n",
        );
        assert_eq!(l.version.map(|v| v.to_string()).as_deref(), Some("1.1.0"));
    }
}
