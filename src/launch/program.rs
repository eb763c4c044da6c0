//! The words by which an engine's program is known.

use super::EngineKind;
use super::shell::assignment;

/// Modules of Dynamo that run an engine; they take its options (docs/components of ai-dynamo/dynamo, 0.4 to 1.1).
const DYNAMO: [(&str, EngineKind); 3] = [
    ("dynamo.vllm", EngineKind::Vllm),
    ("dynamo.sglang", EngineKind::Sglang),
    ("dynamo.trtllm", EngineKind::Trtllm),
];

/// The last part of a path.
pub(super) fn base(w: &str) -> &str {
    w.rsplit('/').next().unwrap_or(w)
}

/// The words that start an engine, behind which its model stands.
pub(super) fn program_of(engine: EngineKind) -> &'static [&'static str] {
    match engine {
        EngineKind::Vllm => &["vllm", "serve"],
        EngineKind::Sglang => &["python3", "-m", "sglang.launch_server", "--model-path"],
        EngineKind::Trtllm => &["trtllm-serve"],
        EngineKind::Emulated => &["dyno", "emulate", "--model"],
    }
}

/// The engine that a name speaks of (`framework: sglang`, an image); None where it speaks of none or of several.
pub(super) fn named(name: &str) -> Option<EngineKind> {
    let name = name.to_lowercase();
    let has = |words: &[&str]| words.iter().any(|w| name.contains(w));
    let all = [
        (EngineKind::Vllm, has(&["vllm"])),
        (EngineKind::Sglang, has(&["sglang"])),
        (EngineKind::Trtllm, has(&["trtllm", "trt-llm", "tensorrt-llm", "tensorrt_llm"])),
    ];
    let mut found = all.into_iter().filter(|(_, said)| *said).map(|(engine, _)| engine);
    found.next().filter(|_| found.next().is_none())
}

/// Whether a word at the front of a container's own words is a program that is no engine's: its image's own program does not run.
pub(super) fn is_other_program(word: &str) -> bool {
    let name = base(word);
    ["sh", "bash", "zsh", "ray", "sleep", "tail"].contains(&name) || name.starts_with("python")
}

/// Whether a word belongs to the program and is no model.
pub(super) fn is_program_word(w: &str) -> bool {
    let base = w.rsplit('/').next().unwrap_or(w);
    base.starts_with("python")
        || [
            "vllm",
            "serve",
            "bench",
            "latency",
            "throughput",
            "trtllm-serve",
            "sglang",
            "env",
            "dyno",
            "emulate",
            "mpirun",
            "trtllm-llmapi-launch",
        ]
        .contains(&base)
        || w.starts_with("vllm.entrypoints")
        || w.contains("vllm/entrypoints/")
        || w.ends_with("sglang/launch_server.py")
        || w.starts_with("sglang.")
        || w.starts_with("sglang_router.")
        || w.starts_with("dynamo.")
}

/// The engine whose program stands among these words.
pub(super) fn engine_of(positional: &[&str]) -> Option<EngineKind> {
    positional.iter().filter(|w| assignment(w).is_none()).find_map(|w| {
        let base = w.rsplit('/').next().unwrap_or(w);
        if base.starts_with("trtllm-serve") {
            Some(EngineKind::Trtllm)
        } else if base.starts_with("sglang") || w.ends_with("sglang/launch_server.py") {
            Some(EngineKind::Sglang)
        } else if base == "dyno" {
            Some(EngineKind::Emulated)
        } else if let Some((_, engine)) = DYNAMO.iter().find(|(module, _)| *w == *module) {
            Some(*engine)
        } else if base == "vllm" || base.starts_with("vllm.entrypoints") || w.contains("vllm/entrypoints/") {
            Some(EngineKind::Vllm)
        } else {
            None
        }
    })
}

/// The engine's program where a variable holds its path (`$VLLM serve m`).
pub(super) fn by_variable(word: &str) -> Option<&'static str> {
    let name = word.strip_prefix('$')?.trim_matches(['{', '}']).to_lowercase();
    ["vllm", "sglang"].into_iter().find(|e| name.contains(e))
}

/// Where an engine's program stands.
pub(super) fn program(words: &[String]) -> Option<usize> {
    let next = |i: usize, n: usize| words.get(i + n).map_or("", String::as_str);
    // A setting whose value is a path to one (`BIN=/opt/bin/vllm`) is none.
    (0..words.len()).filter(|&i| assignment(&words[i]).is_none()).find(|&i| {
        let w = base(&words[i]);
        match w {
            "vllm" => next(i, 1) == "serve" || next(i, 1) == "bench",
            "sglang" => next(i, 1) == "serve",
            "trtllm-serve" => true,
            // The server as a file of the engine's sources: `torchrun vllm/entrypoints/api_server.py`.
            "api_server.py" => words[i].contains("vllm/entrypoints/"),
            "launch_server.py" => words[i].contains("sglang/"),
            "dyno" => next(i, 1) == "emulate",
            w if w.starts_with("python") => {
                // Options of Python itself: `python3 -u -X faulthandler -m module`.
                let rest = words[i + 1..].iter().take_while(|w| !is_module(w)).take(5);
                rest.clone().last().is_some_and(|w| w == "-m") && rest.count() < 5
            }
            "-m" => is_module(next(i, 1)),
            w if by_variable(w).is_some() => next(i, 1) == "serve",
            _ => false,
        }
    })
}

/// The module of Python that is an engine's server.
fn is_module(w: &str) -> bool {
    w.starts_with("vllm.entrypoints")
        || w.starts_with("sglang.")
        || w == "sglang_router.launch_server"
        || DYNAMO.iter().any(|(module, _)| w == *module)
}

#[cfg(test)]
mod tests {
    use crate::launch::Launch;

    #[test]
    fn a_setting_is_no_program() {
        let l = Launch::parse("BIN=/opt/sglang/launch_server.py TP=2");
        assert_eq!((l.engine, l.model.as_deref()), (None, None), "{l:?}");
        let l = Launch::parse("BIN=/opt/bin/vllm vllm serve m -tp 2");
        assert_eq!((l.model.as_deref(), l.env["BIN"].as_str()), (Some("m"), "/opt/bin/vllm"), "{l:?}");
    }
}
