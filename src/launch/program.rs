//! The words by which an engine's program is known.

use super::EngineKind;

/// The last part of a path.
pub(super) fn base(w: &str) -> &str {
    w.rsplit('/').next().unwrap_or(w)
}

/// Whether a word belongs to the program and is no model.
pub(super) fn is_program_word(w: &str) -> bool {
    let base = w.rsplit('/').next().unwrap_or(w);
    base.starts_with("python")
        || [
            "vllm",
            "serve",
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
}

/// The engine whose program stands among these words.
pub(super) fn engine_of(positional: &[&str]) -> Option<EngineKind> {
    positional.iter().find_map(|w| {
        let base = w.rsplit('/').next().unwrap_or(w);
        if base.starts_with("trtllm-serve") {
            Some(EngineKind::Trtllm)
        } else if base.starts_with("sglang") || w.ends_with("sglang/launch_server.py") {
            Some(EngineKind::Sglang)
        } else if base == "dyno" {
            Some(EngineKind::Emulated)
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
    (0..words.len()).find(|&i| {
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
    w.starts_with("vllm.entrypoints") || w.starts_with("sglang.") || w == "sglang_router.launch_server"
}
