//! What to do next, as text: by cause, by engine, with the engine's own number and words where it gave some.

use super::Class;
use super::causes::{self, Cause, Rank};
use super::judge::Found;
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
    of(found.class, found.cause, &found.text, after, engine)
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
        Class::Unknown if own.is_empty() => {
            if let Some(flag) = named_flags(text).first() {
                next = format!("{next}; it names {flag}: go back to that setting's default");
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
        Regex::new(r"--[a-z][a-z0-9]+(?:[-_][a-z0-9]+)*|\b[a-z]+(?:_[a-z0-9]+){1,5}\b|\b[A-Z][A-Z0-9]+(?:_[A-Z0-9]+)+\b")
            .expect("constant")
    });
    static NO_SETTING: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"https?://\S+|\[type=\w+, input_value=.*|pydantic_core\S*").expect("constant")
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
            r"(?xi)^(?:\d+[.)]\ |[-*]\ )?(?:please|try|consider|set|use|using|increase|decrease|lower|reduc\w+|make\ sure|install|reinstall|upgrade|you\ can|you\ may|to\ (?:fix|avoid|increase|allow|enable|use|resolve)|either|disable|enable|pass|check|run|export|add|this\ (?:can\ be|is\ often)|supported|valid|available|allowed|options|possible\ solutions|choose|see\ `)\b
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
