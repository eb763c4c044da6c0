//! Taking an engine's log apart: lines, who wrote them, at which level, and what is only a traceback's code.

use crate::scenario::EngineKind;
use regex::Regex;
use std::collections::HashSet;
use std::sync::LazyLock;

/// Level of a line, as far as it says one.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Level {
    /// Debug, information or warning: never a failure, whatever words it holds.
    Quiet,
    Error,
    /// The line names no level.
    None,
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// The line as it stands, without colours.
    pub(super) raw: String,
    pub(super) level: Level,
    /// Text after process, level, time and source file, trimmed.
    pub(super) text: String,
    /// A frame of a traceback or the source code under it: it quotes messages that were not raised.
    pub(super) frame: bool,
}

impl Line {
    /// Whether the line may say what went wrong.
    pub(super) fn speaks(&self) -> bool {
        !self.frame && self.level != Level::Quiet && !self.text.is_empty()
    }

    /// `SomeError: text`, as the last line of a traceback has it.
    pub(super) fn is_exception(&self) -> bool {
        static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(
                r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure)(?::|$)|^Exception(?::|$)",
            )
            .expect("constant")
        });
        self.speaks() && EXCEPTION.is_match(&self.text)
    }

    /// The line reports an error by its level or its first words.
    pub(super) fn is_error(&self) -> bool {
        static WORDS: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"^(?:Traceback |Segmentation fault|Aborted)|\b[Ee]rror: |core dumped|: not found$")
                .expect("constant")
        });
        self.speaks() && (self.level == Level::Error || self.is_exception() || WORDS.is_match(&self.raw))
    }
}

/// Lines of a log; a carriage return (progress bars) also ends one, colours are taken out.
pub(super) fn lines(log: &str) -> Vec<Line> {
    static COLOUR: LazyLock<Regex> = LazyLock::new(|| Regex::new("\x1b\\[[0-9;]*m").expect("constant"));
    // Processes whose last line was part of a traceback's frames: their lines interleave.
    let mut in_frames: HashSet<String> = HashSet::new();
    log.split(['\n', '\r'])
        .map(|raw| {
            let raw = COLOUR.replace_all(raw, "").trim_end().to_owned();
            let parts = split(&raw);
            let indented = parts.body.starts_with("    ");
            let frame = is_frame(parts.body) || (indented && in_frames.contains(parts.who));
            if frame || parts.body.trim_start().starts_with("Traceback (most recent call last)") {
                in_frames.insert(parts.who.to_owned());
            } else {
                in_frames.remove(parts.who);
            }
            let text = shorten(parts.body);
            let level =
                if parts.level == Level::None && sounds_quiet(&text) { Level::Quiet } else { parts.level };
            Line { raw, level, text, frame }
        })
        .collect()
}

/// `File "x.py", line 3, in f`.
fn is_frame(body: &str) -> bool {
    static FRAME: LazyLock<Regex> =
        LazyLock::new(|| Regex::new(r#"^\s+File ".*", line \d+"#).expect("constant"));
    FRAME.is_match(body)
}

struct Parts<'a> {
    who: &'a str,
    level: Level,
    /// With its indentation.
    body: &'a str,
}

/// Prefixes in the order in which they can stand; each may be absent. A group holds the level.
static PREFIXES: LazyLock<Vec<Regex>> = LazyLock::new(|| {
    [
        // Collectors of logs put a time before everything.
        r"^\d{4}-\d\d-\d\dT[\d:.]+(?:Z|[+-][\d:]+)? (?:std(?:out|err) [FP] )?",
        // vLLM's and Ray's processes.
        r"^\s*\([^()]*pid=\d+[^()]*\) ?",
        r"^\[rank\d+\]:? ?",
        r"^\[([WIEF])\d{4} [\d:.]+ [^\]]*\] ?",
        // vLLM's logger; uvicorn.
        r"^(ERROR|CRITICAL|FATAL|WARNING|INFO|DEBUG):?\s+\d\d-\d\d \d\d:\d\d(?::\d\d)?(?:\.\d+)? ?(?:\[[^\]]*\]|\S+\.py:\d+\])? ?",
        // SGLang's.
        r"^\[\d{4}-\d\d-\d\d[ T]\d\d:\d\d:\d\d[^\]]*\] ?",
        r"^(ERROR|CRITICAL|FATAL|WARNING|INFO|DEBUG)(?::\s+| \S+\.py:\d+: )",
        // TensorRT-LLM's.
        r"^\[\d\d/\d\d/\d{4}-\d\d:\d\d:\d\d\] ?",
        r"^\[(?:TRT-LLM|TensorRT-LLM)\] ?(?:\[RANK \d+\] ?)?\[([A-Z]+)\] ?",
        r"^[│|] ?",
    ]
    .into_iter()
    .map(|r| Regex::new(r).expect("constant"))
    .collect()
});

fn split(raw: &str) -> Parts<'_> {
    let mut parts = Parts { who: "", level: Level::None, body: raw };
    for (i, prefix) in PREFIXES.iter().enumerate() {
        let Some(found) = prefix.captures(parts.body) else { continue };
        let whole = found.get(0).map_or(0, |m| m.end());
        if let Some(level) = found.get(1) {
            parts.level = match level.as_str().as_bytes().first() {
                Some(b'E' | b'C' | b'F') => Level::Error,
                _ => Level::Quiet,
            };
        }
        if (1..3).contains(&i) {
            parts.who = &raw[..raw.len() - parts.body.len() + whole];
        }
        parts.body = &parts.body[whole..];
    }
    parts
}

/// Lines without a level that are none the less no errors.
fn sounds_quiet(text: &str) -> bool {
    static QUIET: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"^Warning: |^\S+:\d+: \w*Warning: |^warnings\.warn|^Ignore import error|^server_args=ServerArgs\(|^sys:1: ")
            .expect("constant")
    });
    QUIET.is_match(text)
}

/// The engine that wrote this, from words only it uses.
pub(super) fn recognise(log: &str) -> Option<EngineKind> {
    const WORDS: &[(&str, EngineKind)] = &[
        ("dyno emulate", EngineKind::Emulated),
        ("(emulated ", EngineKind::Emulated),
        ("TensorRT-LLM", EngineKind::Trtllm),
        ("TensorRT LLM", EngineKind::Trtllm),
        ("tensorrt_llm", EngineKind::Trtllm),
        ("TRT-LLM", EngineKind::Trtllm),
        ("trtllm-serve", EngineKind::Trtllm),
        ("TorchLlmArgs", EngineKind::Trtllm),
        ("sglang", EngineKind::Sglang),
        ("--mem-fraction-static", EngineKind::Sglang),
        ("mem_fraction_static", EngineKind::Sglang),
        ("server_args=ServerArgs", EngineKind::Sglang),
        ("Received sigquit from a child process", EngineKind::Sglang),
        ("Load weight begin", EngineKind::Sglang),
        ("The server is fired up and ready to roll", EngineKind::Sglang),
        ("Scheduler hit an exception", EngineKind::Sglang),
        ("max_total_num_tokens=", EngineKind::Sglang),
        ("launch_server.py", EngineKind::Sglang),
        ("vllm", EngineKind::Vllm),
        ("vLLM", EngineKind::Vllm),
        ("(EngineCore", EngineKind::Vllm),
        ("(APIServer", EngineKind::Vllm),
        ("(Worker_", EngineKind::Vllm),
    ];
    let first = |w: &str| log.find(w);
    // The earliest word decides: engines import and name one another further down.
    WORDS.iter().filter_map(|(w, e)| first(w).map(|at| (at, *e))).min_by_key(|(at, _)| *at).map(|(_, e)| e)
}

/// One line of a report, not a page; click's `Error:` says nothing.
fn shorten(body: &str) -> String {
    let text = body.trim();
    let text = text.strip_prefix("Error: ").unwrap_or(text);
    if text.chars().count() > 600 {
        text.chars().take(600).collect::<String>() + " …"
    } else {
        text.to_owned()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn one(raw: &str) -> Line {
        lines(raw).remove(0)
    }

    #[test]
    fn prefixes_of_the_engines_are_dropped() {
        for line in [
            "(EngineCore pid=9) ERROR 11-22 01:18:08 [core.py:906] ValueError: x",
            "(VllmWorker rank=1 pid=2445156) ValueError: x",
            "ERROR 06-26 23:10:17 [async_llm.py:420] ValueError: x",
            "[2025-11-02 10:00:00 TP0] ValueError: x",
            "[11/02/2025-10:00:00] [TRT-LLM] [E] ValueError: x",
            "[11/02/2025-10:00:00] [TRT-LLM] [RANK 3] [E] ValueError: x",
            "[TensorRT-LLM][ERROR] ValueError: x",
            "[rank0]: ValueError: x",
            "2026-06-09T14:01:54.604Z (APIServer pid=4) ValueError: x",
            "ValueError: x",
        ] {
            assert_eq!(one(line).text, "ValueError: x", "{line}");
            assert!(one(line).is_exception() && one(line).is_error(), "{line}");
        }
    }

    #[test]
    fn a_warning_that_mentions_an_error_is_none() {
        for line in [
            "(APIServer pid=1) WARNING 11-22 01:17:28 [u.py:2] errors like `OSError: [Errno 24] Too many open files`",
            "[2025-11-02 10:00:01] WARNING server_args.py:1104: RuntimeError: not raised",
            "[10/28/2025-14:01:13] [TRT-LLM] [W] CUDA out of memory may follow",
            "[TensorRT-LLM][WARNING] RuntimeError: x",
            "[rank0]:[W1012 09:14:36.204117208 ProcessGroupNCCL.cpp:1538] Warning: RuntimeError: x",
            "/usr/lib/python3.12/multiprocessing/resource_tracker.py:254: UserWarning: RuntimeError: x",
            "INFO:     127.0.0.1:52711 - \"GET /RuntimeError: HTTP/1.1\" 404 Not Found",
        ] {
            assert!(!one(line).speaks(), "{line}");
        }
    }

    #[test]
    fn a_level_named_inside_a_message_does_not_silence_it() {
        let line =
            one("RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)");
        assert!(line.is_exception());
    }

    #[test]
    fn code_of_a_traceback_is_not_its_message_even_when_processes_interleave() {
        let log = "\
(A pid=1)   File \"x.py\", line 3, in f
(B pid=2) fine
(A pid=1)     raise ValueError(\"No available memory\"
(A pid=1)                      \"for the cache blocks\")
(A pid=1) ValueError: y";
        let frames: Vec<bool> = lines(log).iter().map(|l| l.frame).collect();
        assert_eq!(frames, [true, false, true, true, false]);
    }
}
