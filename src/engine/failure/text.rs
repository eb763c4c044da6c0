//! Taking an engine's log apart: lines, levels, prefixes.

use crate::scenario::EngineKind;
use regex::Regex;
use std::sync::LazyLock;

/// Lines of a log; a carriage return (progress bars) also ends one, colours are taken out.
pub(super) fn lines(log: &str) -> Vec<String> {
    static COLOUR: LazyLock<Regex> = LazyLock::new(|| Regex::new("\x1b\\[[0-9;]*m").expect("constant"));
    log.split(['\n', '\r']).map(|l| COLOUR.replace_all(l, "").trim_end().to_owned()).collect()
}

/// The engine that wrote this, from words only it uses.
pub(super) fn recognise(log: &str) -> Option<EngineKind> {
    const WORDS: &[(&str, EngineKind)] = &[
        ("dyno emulate", EngineKind::Emulated),
        ("(emulated ", EngineKind::Emulated),
        ("TensorRT-LLM", EngineKind::Trtllm),
        ("tensorrt_llm", EngineKind::Trtllm),
        ("TRT-LLM", EngineKind::Trtllm),
        ("trtllm-serve", EngineKind::Trtllm),
        ("trtllm", EngineKind::Trtllm),
        ("sglang", EngineKind::Sglang),
        ("--mem-fraction-static", EngineKind::Sglang),
        ("mem_fraction_static", EngineKind::Sglang),
        ("Received sigquit from a child process", EngineKind::Sglang),
        ("Load weight begin", EngineKind::Sglang),
        ("Scheduler hit an exception", EngineKind::Sglang),
        ("launch_server.py", EngineKind::Sglang),
        ("vllm", EngineKind::Vllm),
        ("(EngineCore", EngineKind::Vllm),
        ("(APIServer", EngineKind::Vllm),
    ];
    let first = |w: &str| log.find(w);
    // The earliest word decides: engines import and name one another further down.
    WORDS.iter().filter_map(|(w, e)| first(w).map(|at| (at, *e))).min_by_key(|(at, _)| *at).map(|(_, e)| e)
}

/// A line that reports an error (not a warning that mentions one).
pub(super) fn is_error(line: &str) -> bool {
    static ERROR: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"\bERROR\b|\bCRITICAL\b|\bFATAL\b|\[E\]|\b[A-Z]\w*(?:Error|Exception)\b(?::|$)|\berror: |^Traceback |Segmentation fault|Aborted|core dumped|^\w+: command not found|: not found$|No such file or directory")
            .expect("constant")
    });
    !is_quiet(line) && ERROR.is_match(line)
}

/// Levels below error.
pub(super) fn is_quiet(line: &str) -> bool {
    static QUIET: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"\b(?:WARNING|INFO|DEBUG)\b|\[[WIDV]\]|Warning: |UserWarning|FutureWarning|DeprecationWarning",
        )
        .expect("constant")
    });
    QUIET.is_match(line) && !line.contains(" ERROR ")
}

/// Whether an exception (with or without its traceback) begins at or near this line.
pub(super) fn is_exception(lines: &[String], at: usize) -> bool {
    lines[at..lines.len().min(at + 200)]
        .iter()
        .any(|l| l.contains("Traceback (most recent call last)") || exception().is_match(&clean(l)))
}

/// `SomeError: text` at the beginning of a cleaned line.
fn exception() -> &'static Regex {
    static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure)(?::|$)")
            .expect("constant")
    });
    &EXCEPTION
}

/// The line that names the exception of the traceback that begins at `at`, searched before `end`.
pub(super) fn exception_line(lines: &[String], at: usize, end: usize) -> usize {
    let end = end.min(lines.len());
    (at..end).find(|&i| exception().is_match(&clean(&lines[i]))).unwrap_or(at)
}

/// A line of source code that a traceback quotes: it may name an error that it only raises or catches.
pub(super) fn is_quoted_source(line: &str) -> bool {
    static PREFIX: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^(?:\([\w\-. ]*pid=\d+\) ?)?(?:[A-Z]+ \d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)? ?(?:\[[^\]]*\])? ?)?(?:\[rank\d+\]: ?)?")
            .expect("constant")
    });
    let body = PREFIX.replace(line, "");
    body.starts_with("    ") || body.starts_with("  File \"")
}

/// The message alone: process, level, time and source file before it are dropped.
pub(super) fn clean(line: &str) -> String {
    static PREFIX: LazyLock<Vec<Regex>> = LazyLock::new(|| {
        [
            r"^\s*\([\w\-. ]*pid=\d+\)\s*",
            r"^\s*(?:ERROR|CRITICAL|FATAL|WARNING|INFO):?\s+\d\d-\d\d \d\d:\d\d:\d\d(?:\.\d+)?\s*(?:\[[^\]]*\])?\s*",
            r"^\s*\[\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d(?:[.,]\d+)?(?: [A-Z]+\d+)*\]\s*",
            r"^\s*\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\]\s*(?:\[TRT-LLM\]|\[TensorRT-LLM\])?\s*(?:\[[A-Z]+\])?\s*",
            r"^\s*\[(?:TRT-LLM|TensorRT-LLM)\]\s*\[[A-Z]+\]\s*",
            r"^\s*(?:\[rank\d+\]:?|\[RANK \d+\]|rank\d+:|ERROR:|Error:|E)\s+",
            r"^\s*[│|]\s*",
        ]
        .into_iter()
        .map(|r| Regex::new(r).expect("constant"))
        .collect()
    });
    let mut text = line.to_owned();
    for re in PREFIX.iter() {
        text = re.replace(&text, "").into_owned();
    }
    let text = text.trim();
    let text = if text.is_empty() { line.trim() } else { text };
    // One line of a report, not a page.
    if text.chars().count() > 600 {
        text.chars().take(600).collect::<String>() + " …"
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn prefixes_of_the_engines_are_dropped() {
        for line in [
            "(EngineCore pid=9) ERROR 11-22 01:18:08 [core.py:906] ValueError: x",
            "[2025-11-02 10:00:00 TP0] ValueError: x",
            "[11/02/2025-10:00:00] [TRT-LLM] [E] ValueError: x",
            "[rank0]: ValueError: x",
            "ValueError: x",
        ] {
            assert_eq!(clean(line), "ValueError: x", "{line}");
        }
    }

    #[test]
    fn quoted_source_is_told_from_messages() {
        assert!(is_quoted_source("(APIServer pid=1)     raise LocalEntryNotFoundError("));
        assert!(is_quoted_source(
            "(EngineCore pid=1) ERROR 11-22 01:18:08 [core.py:906]     raise ValueError("
        ));
        assert!(is_quoted_source("    raise ValueError("));
        assert!(!is_quoted_source("(APIServer pid=1)   Value error, max_num_batched_tokens (32) must be"));
        assert!(!is_quoted_source("(EngineCore pid=1) ERROR 11-22 01:18:08 [core.py:906] ValueError: x"));
    }

    #[test]
    fn a_warning_that_mentions_an_error_is_none() {
        assert!(!is_error(
            "(APIServer pid=1) WARNING 11-22 01:17:28 [u.py:2] errors like `OSError: [Errno 24] Too many open files`"
        ));
        assert!(is_error("(APIServer pid=1) ERROR 11-22 01:17:28 [u.py:2] boom"));
    }
}
