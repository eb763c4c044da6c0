//! What to do next, as text: by cause, by engine, with the engine's own number and words where it gave some.

use super::Class;
use super::causes::{self, Cause, Rank};
use super::found::Found;
use super::place::Subject;
use super::remedy;
use super::text::{Level, Line, Part};
use crate::launch::EngineKind;
use regex::Regex;
use std::sync::LazyLock;

/// Lines below a cause that may hold the engine's advice.
const BELOW: usize = 20;

/// The lines below the root cause that belong to its message.
pub(super) fn after(lines: &[Line], found: &Found) -> Vec<String> {
    let who = &lines[found.at].who;
    lines[found.at + 1..]
        .iter()
        .filter(|l| l.who == *who || l.who.is_empty())
        .take(BELOW)
        .take_while(|l| !matches!(l.part, Part::Head | Part::Exception) && l.level != Level::Quiet)
        .filter(|l| l.part == Part::Text && !l.text.is_empty())
        .take_while(|l| causes::first(&l.text, None).is_none_or(|c| c.rank < Rank::Opener))
        .map(|l| l.text.clone())
        .collect()
}

/// The next step of a finding.
pub(super) fn next(found: &Found, after: &[String], engine: Option<EngineKind>) -> String {
    let next = of(found.class, found.cause, &found.text, after, engine);
    let unknown = found.class == Class::Unknown && found.cause.is_none();
    if unknown && !found.place.is_empty() {
        next.replacen(Class::Unknown.advice(), &unexplained(found, engine), 1)
    } else {
        next
    }
}

/// What is left to do about an exception that nobody knows: it is the engine's own check, and its place says which part of the
/// engine can be gone round.
fn unexplained(found: &Found, engine: Option<EngineKind>) -> String {
    let own = |vllm: &'static str, sglang: &'static str, trtllm: &'static str| match engine {
        Some(EngineKind::Sglang) => sglang,
        Some(EngineKind::Trtllm) => trtllm,
        _ => vllm,
    };
    let round = match found.subject {
        None => own("--enforce-eager", "--disable-cuda-graph", "cuda_graph_config: null in the YAML"),
        Some(Subject::Lora) => own("no --enable-lora", "no --enable-lora", "no lora_config"),
        Some(Subject::Speculation) => {
            own("no --speculative-config", "no --speculative-algorithm", "no speculative_config")
        }
        Some(Subject::Compilation) => {
            own("--enforce-eager", "--disable-cuda-graph", "cuda_graph_config: null in the YAML")
        }
        Some(Subject::KvTransfer) => own(
            "no --kv-transfer-config or --kv-offloading-size",
            "no --enable-hierarchical-cache, another --disaggregation-transfer-backend",
            "another cache_transceiver_config",
        ),
        Some(Subject::KvCache) => {
            own("--no-enable-prefix-caching", "--disable-radix-cache", "enable_block_reuse: false")
        }
        Some(Subject::Quantisation) => own("other weights", "other weights", "other weights"),
        Some(Subject::Experts) => {
            own("another --moe-backend", "another --moe-runner-backend", "another moe_config.backend")
        }
        Some(Subject::Attention) => {
            own("another --attention-backend", "another --attention-backend", "another attn_backend")
        }
        Some(Subject::Weights) => "other files of the model",
        Some(Subject::Parallel) => own(
            "--disable-custom-all-reduce, another --tensor-parallel-size",
            "--disable-custom-all-reduce, another --tp-size",
            "allreduce_strategy: NCCL, another --tp_size",
        ),
        Some(Subject::Multimodal) => {
            own("--limit-mm-per-prompt", "no --enable-multimodal", "text prompts only")
        }
        Some(Subject::Structured) => own(
            "another structured outputs backend",
            "another --grammar-backend",
            "another guided_decoding_backend",
        ),
    };
    format!(
        "the engine's own check failed in {}: no setting is named, so try what goes round that part ({round}) or another version; read the log around this line and report it upstream",
        found.place
    )
}

pub(super) fn of(
    class: Class,
    cause: Option<&'static Cause>,
    text: &str,
    after: &[String],
    engine: Option<EngineKind>,
) -> String {
    let own = cause.map_or("", |c| c.advice(engine));
    let mut next = if own.is_empty() { class.advice().to_owned() } else { own.to_owned() };
    match class {
        Class::TooLong => {
            if let Some(n) = remedy::suggested_length(text) {
                next = format!("{next}: to {n} or less, the longest that the engine says will fit");
            }
        }
        Class::BadCombination | Class::BadValue if next.ends_with("named") || next.ends_with("names") => {
            let flags = named_flags(text);
            if !flags.is_empty() {
                next = format!("{next} ({})", flags.join(", "));
            }
        }
        Class::MissingKernel | Class::MissingLibrary => {
            if let Some(library) =
                std::iter::once(text).chain(after.iter().map(String::as_str)).find_map(missing_object)
            {
                next = format!(
                    "{next}; {library} is what the loader does not find: install the package of the system that brings it (or put its directory on LD_LIBRARY_PATH)"
                );
            }
        }
        Class::BadCombination if own.is_empty() => {
            let flags = named_flags(text);
            if !flags.is_empty() {
                next =
                    format!("change one of the flags named ({}): they exclude each other", flags.join(", "));
            }
        }
        _ => {}
    }
    if let Some(n) = remedy::at_most(text) {
        next = format!("{next}: at most {n}, says the engine");
    }
    let quotes = cause.is_none_or(|c| c.quotes);
    match own_words(text, after).filter(|_| quotes) {
        Some(words) => format!("{next}; the engine says: {words}"),
        None => next,
    }
}

/// The shared object that the loader did not find.
fn missing_object(text: &str) -> Option<&str> {
    static OBJECT: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(lib[\w+.-]+\.so[.\d]*): cannot open shared object file").expect("constant")
    });
    Some(OBJECT.captures(text)?.get(1)?.as_str())
}

/// Flags, settings and environment variables that a message names.
fn named_flags(text: &str) -> Vec<String> {
    static FLAG: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"--[a-z][a-z0-9]+(?:[-_][a-z0-9]+)*|\b[a-z]+(?:_[a-z0-9]+){1,5}\b|\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b|\b[a-z]+(?:[A-Z][a-z0-9]+){2,5}\b")
            .expect("constant")
    });
    static NO_SETTING: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"https?://\S+|^.*Assertion failed: |\(?(?:/[\w.+-]+)+(?::\d+)?\)?|\[type=\w+, input_value=.*|pydantic_core\S*").expect("constant")
    });
    let text = NO_SETTING.replace_all(text, "");
    let mut flags: Vec<String> = Vec::new();
    for found in FLAG.find_iter(&text) {
        let flag = found.as_str().to_owned();
        if !flags.contains(&flag) && flags.len() < 4 {
            flags.push(flag);
        }
    }
    flags
}

/// The engine's own remedy: sentences of the message, or lines below it, that tell what to do.
fn own_words(text: &str, after: &[String]) -> Option<String> {
    static ADVISES: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"(?xi)^(?:\d+[.)]\ |[-*]\ )?(?:please|try|consider|set|use|using|increase|decrease|lower|reduc\w+|adjust|raise|ensure|make\ sure|install|reinstall|upgrade|you\ can|you\ may|to\ (?:fix|avoid|increase|allow|enable|use|resolve)|either|disable|enable|pass|check|run|export|add|this\ (?:can\ be|is\ often)|supported|valid|available|allowed|options|possible\ solutions|choose|see\ `)\b
            | \binstead\b | \bmust\ be\ one\ of | \bchoose\ from | \buse\ '\w+' | \b(?:supported|valid|available|allowed)\b[^.]*\b(?:are|is|:) | \bat\ most\ \d | \benvironment\ variable\b",
        )
        .expect("constant")
    });
    static SENTENCE: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"[.!?;] +").expect("constant"));
    let mut words: Vec<&str> = Vec::new();
    let message =
        text.split_once(": ").map_or(text, |(name, rest)| if name.contains(' ') { text } else { rest });
    for part in std::iter::once(message).chain(after.iter().map(String::as_str)) {
        for sentence in SENTENCE.split(part) {
            let sentence = sentence.trim().trim_end_matches(['.', ',']);
            let lists = sentence.to_lowercase();
            let list = ["available", "supported", "valid", "allowed"].iter().any(|w| lists.starts_with(w));
            if list && !sentence.contains(['[', '\'', ',', '`']) {
                continue;
            }
            let generic = [
                "Try to allocate",
                "--help' for more",
                "heck the log",
                "tack trace",
                "check if there are relevant logs",
                "issue on GitHub",
                "For debugging consider passing",
                "Compile with `TORCH_USE_CUDA_DSA`",
                "For further information",
            ];
            if ADVISES.is_match(sentence) && !generic.iter().any(|g| sentence.contains(g)) {
                words.push(sentence);
            }
        }
    }
    words.dedup();
    let all = words
        .into_iter()
        .take(4)
        .map(|w| format!("\u{201c}{}\u{201d}", cut(w, 220)))
        .collect::<Vec<_>>()
        .join(", ");
    (!all.is_empty()).then_some(all)
}

fn cut(text: &str, most: usize) -> String {
    match text.char_indices().nth(most) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}
