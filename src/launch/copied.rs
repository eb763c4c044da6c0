//! What a command brings along that was copied from a terminal or a document: its prompt, and the release that was installed above it.

use super::shell::Variables;
use super::{EngineKind, Version};
use std::borrow::Cow;

/// Takes a prompt off that was copied with its command: `$python -m …`, `(venv) user@host:~$ vllm serve …`.
pub(super) fn without_prompt(words: &mut Vec<String>, script: &Variables) {
    let prompt = |w: &str| {
        (w.contains('@') && w.ends_with(['$', '#', '%', ':']) || matches!(w, "$" | ">" | "%" | "❯"))
            || (w.starts_with('(') && w.ends_with(')') && !w[1..w.len() - 1].contains(['(', ')', ' ', '$']))
    };
    // A pair of brackets alone is a group of commands; a prompt's has a command behind it.
    let signs = words.iter().take_while(|w| prompt(w)).count();
    words.drain(..signs.min(words.len().saturating_sub(1)));
    let Some(first) = words.first_mut() else { return };
    let bare = first.strip_prefix('$').filter(|name| !script.values.contains_key(*name));
    if let Some(name) = bare.filter(|n| PROGRAMS.contains(n)) {
        *first = name.to_owned();
    }
}

/// The text with lines joined whose backslash has blanks behind it (or a second backslash), and whether there was one.
pub(super) fn joined(text: &str) -> (Cow<'_, str>, bool) {
    let broken = |line: &str| {
        let bare = line.trim_end_matches([' ', '\t', '\r']);
        (bare.len() < line.len() && bare.ends_with('\\')) || bare.ends_with("\\ \\")
    };
    // PowerShell goes on behind a backquote.
    let shell = |line: &str| line.trim_end().ends_with(" `");
    if text.lines().filter(|l| shell(l)).count() > 1 {
        let lines = text.lines().map(|l| match l.trim_end().strip_suffix('`').filter(|_| shell(l)) {
            Some(kept) => format!("{kept}\\"),
            None => l.to_owned(),
        });
        return (Cow::Owned(lines.collect::<Vec<_>>().join("\n")), false);
    }
    if !text.lines().any(broken) {
        return (Cow::Borrowed(text), false);
    }
    let mut out = String::with_capacity(text.len());
    for line in text.lines() {
        if broken(line) {
            out.push_str(line.trim_end_matches([' ', '\t', '\r', '\\']));
            out.push_str(" \\");
        } else {
            out.push_str(line);
        }
        out.push('\n');
    }
    (Cow::Owned(out), true)
}

/// A word without the backquote that quotes the whole command and is copied with its first or last word.
pub(super) fn without_backquote(word: &str) -> &str {
    if word.matches('`').count() == 1 { word.trim_matches('`') } else { word }
}

/// Programs that begin a launch; a variable of such a name, set nowhere, is a prompt's sign and the program.
const PROGRAMS: [&str; 8] =
    ["python", "python3", "vllm", "sglang", "trtllm-serve", "docker", "podman", "mpirun"];

/// Engines as sentences name them.
const SPOKEN: [(&str, EngineKind); 5] = [
    ("vllm", EngineKind::Vllm),
    ("sglang", EngineKind::Sglang),
    ("tensorrt-llm", EngineKind::Trtllm),
    ("tensorrt_llm", EngineKind::Trtllm),
    ("trt-llm", EngineKind::Trtllm),
];

/// The releases that words name: pins, and sentences about the engine (`the recent vllm v0.11.0 container`).
pub(super) fn releases(words: &[String]) -> Vec<(EngineKind, Version)> {
    let spoken = |pair: &[String]| {
        let name = pair[0].trim_end_matches([':', ',']);
        let (_, engine) = SPOKEN.iter().find(|(n, _)| name.eq_ignore_ascii_case(n))?;
        // `Version:v1.0.0` in one word.
        let last = pair[pair.len() - 1].rsplit(':').next().unwrap_or_default();
        let release = last.trim_start_matches('v').trim_end_matches([',', '.', ')', ';']);
        let whole = release.matches('.').count() >= 2
            && release.starts_with(|c: char| c.is_ascii_digit())
            // `v0.20.2+` means that release and those behind it.
            && release.chars().all(|c| c.is_ascii_alphanumeric() || ".+-".contains(c))
            && !release.ends_with('+');
        Some((*engine, release.parse().ok().filter(|_| whole)?))
    };
    // `vLLM version: 0.6.6`, `vLLM API server version 0.6.6`.
    let far = |group: &[String]| {
        let said = group[1..group.len() - 1].iter().any(|w| w.to_lowercase().starts_with("version"));
        said.then(|| spoken(group)).flatten()
    };
    // vLLM's own line: `Initializing a V1 LLM engine (v0.24.0) with config: …`.
    let logged = words.windows(3).filter(|w| w[0] == "LLM" && w[1] == "engine").filter_map(|w| {
        let release = w[2].strip_prefix('v').filter(|r| r.starts_with(|c: char| c.is_ascii_digit()))?;
        Some((EngineKind::Vllm, release.parse().ok()?))
    });
    let near = words.windows(2).filter_map(spoken).chain(logged);
    let further = words.windows(3).filter_map(far).chain(words.windows(5).filter_map(far));
    words.iter().filter_map(|w| pinned(w)).chain(near).chain(further).collect()
}

/// `vllm==0.9.2`, as requirements and `pip install` have it.
pub(super) fn pinned(word: &str) -> Option<(EngineKind, Version)> {
    // `vllm-0.15.2rc1-cp312-cp312-linux_x86_64.whl`.
    if let Some(wheel) = word.strip_prefix("vllm-").filter(|w| w.contains("-cp")) {
        return Some((EngineKind::Vllm, wheel.split(['-', '+']).next()?.parse().ok()?));
    }
    let (name, release) = word.split_once("==")?;
    let engine = match name.split('[').next()? {
        "vllm" => EngineKind::Vllm,
        "sglang" => EngineKind::Sglang,
        "tensorrt-llm" | "tensorrt_llm" => EngineKind::Trtllm,
        _ => return None,
    };
    Some((engine, release.parse().ok()?))
}

#[cfg(test)]
mod tests {
    use crate::launch::{EngineKind, Launch};

    #[test]
    fn prompts_and_pins_are_no_words_of_the_command() {
        for text in [
            "vllm==0.9.2\n\nexport A=1\n$python -m vllm.entrypoints.openai.api_server --model m",
            "pip install 'vllm==0.9.2' x==1\n(venv) me@box:~/x$ vllm serve m",
            "I use the recent vllm v0.9.2 docker container.\nvllm serve command:\n```\n  vllm serve m\n```",
            "pip install sglang[all]==0.5.4\npip install vllm==0.9.2\nroot@a1b2:/w# vllm serve m",
        ] {
            let l = Launch::parse(text);
            assert_eq!(
                (l.engine, l.model.as_deref(), l.version.map(|v| v.to_string()).as_deref()),
                (Some(EngineKind::Vllm), Some("m"), Some("0.9.2")),
                "{text}"
            );
        }
        // Signs without end take no time.
        assert_eq!(
            Launch::parse(&format!("{}vllm serve m", "$ ".repeat(200_000))).model.as_deref(),
            Some("m")
        );
        // A script's own variable of that name is one.
        let l =
            Launch::parse("python=/x/bin/python3\n$python -m vllm.entrypoints.openai.api_server --model m");
        assert_eq!((l.engine, l.argv[0].as_str()), (Some(EngineKind::Vllm), "/x/bin/python3"));
    }
}
