//! Taking an engine's log apart: lines, who wrote them, at which level, and what is only a traceback's code.

mod prefix;
mod speaker;

pub(super) use speaker::Speaker;

use prefix::Common;
use regex::Regex;
use std::collections::HashMap;
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

impl Level {
    fn of(name: &str) -> Level {
        match name.as_bytes().first() {
            Some(b'E' | b'C' | b'F') => Level::Error,
            _ => Level::Quiet,
        }
    }
}

/// One line of a log.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) struct Line {
    /// Number in the file, from 1; progress bars put several pieces on one.
    pub(super) number: usize,
    /// The process or rank that wrote it, as far as the line says.
    pub(super) who: String,
    pub(super) level: Level,
    /// Text after process, level, time and source file, trimmed.
    pub(super) text: String,
    pub(super) part: Part,
}

/// What a line is in a traceback.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Part {
    /// Outside of any, or the text of an exception.
    Text,
    /// `Traceback (most recent call last)`.
    Head,
    /// A frame or the source code under it: it quotes messages that were not raised.
    Frame,
    /// The first line after the frames: the exception, whatever its name ends in.
    Exception,
}

impl Line {
    /// Whether the line may say what went wrong.
    pub(super) fn speaks(&self) -> bool {
        !matches!(self.part, Part::Frame | Part::Head) && self.level != Level::Quiet && !self.text.is_empty()
    }

    /// `SomeError: text`, as the last line of a traceback has it.
    pub(super) fn is_exception(&self) -> bool {
        static EXCEPTION: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(
                r"^(?:[\w.]+\.)?[A-Z]\w*(?:Error|Exception|Interrupt|Exit|Failure)(?::|$)|^Exception(?::|$)|^\s*what\(\):|^(?:Value error|Assertion failed), ",
            )
            .expect("constant")
        });
        self.speaks() && (self.part == Part::Exception || EXCEPTION.is_match(&self.text))
    }

    /// The line reports an error by its level or its first words.
    pub(super) fn is_error(&self) -> bool {
        static WORDS: LazyLock<Regex> = LazyLock::new(|| {
            Regex::new(r"^(?:Segmentation fault|Aborted|Bus error|terminate called|[Ff]atal error|[\w.-]+: error:|error: )|\b[Ee]rror: |core dumped")
                .expect("constant")
        });
        self.speaks() && (self.level == Level::Error || self.is_exception() || WORDS.is_match(&self.text))
    }
}

/// Longest text of one line that is kept, in bytes: the beginning and the end of a longer one.
const LONGEST: usize = 8 << 10;
const LONGEST_END: usize = 1 << 10;

/// A longer line without its middle. Cuts at characters.
pub(super) fn bounded(line: &str) -> std::borrow::Cow<'_, str> {
    if line.len() <= LONGEST {
        return line.into();
    }
    let boundary = |from: usize| (0..=from).rev().find(|i| line.is_char_boundary(*i)).unwrap_or(0);
    let (head, tail) = (boundary(LONGEST - LONGEST_END), boundary(line.len() - LONGEST_END));
    format!("{} … {}", &line[..head], &line[tail..]).into()
}

/// The text of a line that a collector wrote as JSON: `{"log": "…"}` (docker), `{"level": …, "message": …}`.
fn unpacked(line: &str) -> Option<String> {
    let object: serde_json::Map<String, serde_json::Value> = serde_json::from_str(line).ok()?;
    let text = ["log", "message", "msg"].iter().find_map(|k| object.get(*k)?.as_str())?.trim_end();
    let level = ["level", "levelname", "severity"].iter().find_map(|k| object.get(*k)?.as_str());
    Some(match level {
        Some(level) if !text.contains(&level.to_ascii_uppercase()) => {
            format!("{}: {text}", level.to_ascii_uppercase())
        }
        _ => text.to_owned(),
    })
}

/// Without colours and other control sequences.
fn plain(raw: &str) -> String {
    static CONTROL: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new("\x1b\\[[0-9;?]*[A-Za-z]|\x1b\\][^\x07\x1b]*(?:\x07|\x1b\\\\)?|[\x00-\x08\x0b-\x1f\x7f]")
            .expect("constant")
    });
    CONTROL.replace_all(raw, "").trim_end().to_owned()
}

/// Lines of a log, numbered from `first`; a carriage return (progress bars) also ends one.
pub(super) fn lines(log: &str, first: usize) -> Vec<Line> {
    let pieces = || {
        log.split('\n').enumerate().flat_map(move |(i, l)| l.split('\r').map(move |piece| (first + i, piece)))
    };
    let texts: Vec<(usize, String)> = pieces()
        .map(|(number, piece)| {
            let text = plain(&bounded(piece));
            let text = if text.starts_with('{') { unpacked(&text).unwrap_or(text) } else { text };
            (number, text)
        })
        .collect();
    let common = Common::of(texts.iter().map(|(_, t)| t.as_str()));
    // Tracebacks of several processes interleave: each goes its own way.
    let mut states: HashMap<String, Tracing> = HashMap::new();
    texts
        .iter()
        .map(|(number, raw)| {
            let split = common.split(raw);
            let state = states.get(&split.who).copied().unwrap_or_default();
            let (part, next) = state.of(split.body);
            let next = Tracing { quiet: state.quiet_after(part, &split), at: next };
            if next.at == State::Headed && !split.who.is_empty() {
                // SGLang's and TensorRT-LLM's frames carry no prefix of their own.
                states.insert(String::new(), next);
            }
            states.insert(split.who.clone(), next);
            let text = shorten(split.body);
            let quiet = split.level == Level::None
                && (part == Part::Text && sounds_quiet(&text) || part == Part::Exception && state.quiet);
            let level = if quiet { Level::Quiet } else { split.level };
            Line { number: *number, who: split.who, level, text, part }
        })
        .collect()
}

/// Where one process stands in a traceback.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
enum State {
    #[default]
    Outside,
    /// After the head: a frame must follow.
    Headed,
    /// After `File "x.py", line 3, in f`: its code follows, indented or, in a pasted log, not.
    InFrame,
    InCode,
}

/// A traceback of one process.
#[derive(Debug, Clone, Copy, Default)]
struct Tracing {
    at: State,
    /// It is told as a warning, or as an exception that was ignored.
    quiet: bool,
}

impl Tracing {
    fn of(self, body: &str) -> (Part, State) {
        self.at.of(body)
    }

    fn quiet_after(self, part: Part, split: &prefix::Split) -> bool {
        if split.body.trim_start().starts_with("Exception ignored in") {
            return true;
        }
        match part {
            Part::Head | Part::Frame => self.quiet || split.level == Level::Quiet,
            Part::Text if split.body.contains("Traceback (most recent call last)") => {
                split.level == Level::Quiet
            }
            Part::Text if split.body.trim().is_empty() => self.quiet,
            _ => false,
        }
    }
}

impl State {
    fn of(self, body: &str) -> (Part, State) {
        static FRAME: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r#"^\s*(?:\|\s+)?File ".*", line \d+"#).expect("constant"));
        // The last line of a traceback: a dotted name, then nothing or a colon.
        static RAISED: LazyLock<Regex> =
            LazyLock::new(|| Regex::new(r"^(?:[A-Za-z_]\w*\.)*[A-Z]\w*(?:: .*|:?)$").expect("constant"));
        if body.trim_start().contains("Traceback (most recent call last)") {
            // SGLang writes its own words before the head; they open the block.
            let own = body.trim_start().starts_with("Traceback") || body.trim_start().starts_with('+');
            return (if own { Part::Head } else { Part::Text }, State::Headed);
        }
        if FRAME.is_match(body) {
            return (Part::Frame, State::InFrame);
        }
        let indented = body.starts_with("    ");
        let raised = RAISED.is_match(body.trim_start());
        match self {
            State::Outside => (Part::Text, State::Outside),
            _ if body.trim().is_empty() => (Part::Text, self),
            _ if indented => (Part::Frame, if self == State::InFrame { State::InCode } else { self }),
            State::InFrame if !raised => (Part::Frame, State::InCode),
            State::InFrame | State::InCode | State::Headed if raised => (Part::Exception, State::Outside),
            _ => (Part::Text, State::Outside),
        }
    }
}

/// Lines without a level that are none the less no errors.
fn sounds_quiet(text: &str) -> bool {
    static QUIET: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r#"(?x)^(?:Warning:\ |WARNING[:\ ]|\S+:\d+:\ \w*Warning:\ |warnings\.warn|Ignore\ import\ error|server_args=ServerArgs\(
            |sys:1:\ |non-default\ args:|usage:\ |Namespace\(|W\d{4}\ |I\d{4}\ |npm\ warn|DEPRECATION:|\[notice\]
            |.*\"(?:GET|POST|HEAD|PUT|DELETE|OPTIONS)\ \S+\ HTTP/[\d.]+\")"#,
        )
        .expect("constant")
    });
    QUIET.is_match(text)
}

/// One line of a report, not a page; click's `Error:` says nothing.
fn shorten(body: &str) -> String {
    let text = body.trim();
    let text = text.strip_prefix("Error: ").unwrap_or(text);
    match text.char_indices().nth(1500) {
        Some((end, _)) => format!("{} …", &text[..end]),
        None => text.to_owned(),
    }
}

#[cfg(test)]
mod tests;
