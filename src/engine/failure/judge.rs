//! Which line is the root cause: causes before symptoms, symptoms before what other processes saw of them.

use super::Class;
use super::causes::{self, Cause, Rank};
use super::concept;
use super::found::Found;
use super::life;
use super::text::{Line, Part, Speaker};
use regex::Regex;
use std::ops::Range;
use std::sync::LazyLock;

/// The failure of one start, if it had one that it did not outlive.
pub(super) fn judge(lines: &[Line], start: &Range<usize>, speaker: Speaker) -> Option<Found> {
    let found = outlasting(lines, start, speaker)?;
    let serves = life::ready(&lines[start.clone()], speaker).is_some_and(|r| start.start + r < found.at);
    Some(concept::understood(lines, found, serves))
}

/// The message that tells most of a failure's remedy: an exception raised from the root cause, of the same class.
pub(super) fn retold(lines: &[Line], found: &Found, speaker: Speaker) -> Option<Found> {
    let own =
        || lines.iter().enumerate().skip(found.at + 1).take(60).filter(|(_, l)| l.who == lines[found.at].who);
    let (link, _) = own().find(|(_, l)| l.text.starts_with("The above exception was the direct cause"))?;
    let (at, _) = own().find(|(i, l)| *i > link && l.is_exception())?;
    let text = full_text(lines, at);
    let cause =
        causes::first(&text, speaker.engine).filter(|c| c.class == found.class && c.rank <= Rank::Symptom)?;
    Some(Found { at, cause: Some(cause), text, ..found.clone() })
}

fn outlasting(lines: &[Line], start: &Range<usize>, speaker: Speaker) -> Option<Found> {
    let window = &lines[start.clone()];
    let Some(ready) = life::ready(window, speaker) else {
        return pick(lines, start.clone(), speaker, &|_| true);
    };
    let from = start.start + ready + 1;
    // What a server says while it is stopped on purpose is no failure.
    let stop = |l: &Line| life::stops(l) || l.speaks() && deadly(l, speaker);
    let stopped = (from..start.end).find(|i| stop(&lines[*i])).filter(|i| life::stops(&lines[*i]));
    let after = from..stopped.unwrap_or(start.end);
    let fatal = lines[after.clone()].iter().any(|l| l.speaks() && deadly(l, speaker));
    let last_served = after.clone().rev().find(|i| life::serves(&lines[*i]));
    let outlived = |i: usize| {
        let refused =
            || lines[i..after.end].iter().find(|l| life::refuses(l) || life::serves(l) || life::fails(l));
        !fatal && (last_served.is_some_and(|served| served > i) || refused().is_some_and(life::refuses))
    };
    let counts = |i: usize| !outlived(i) && (fatal || !only_an_error(&lines[i], speaker));
    let found =
        pick(lines, after.clone(), speaker, &counts).filter(|f| fatal || f.class != Class::Terminated);
    let silent = last_served.is_none();
    let fails = || lines[after.clone()].iter().any(life::fails);
    match found {
        Some(found) if !found.weak || !silent => Some(found),
        // The web server came up after its engine had failed: the reason stands above.
        None if !(silent && fails()) => None,
        weak => pick(lines, start.start..after.start, speaker, &|_| true).or(weak),
    }
}

/// The line tells the end of a process.
fn deadly(line: &Line, speaker: Speaker) -> bool {
    causes::first(&line.text, speaker.engine).is_some_and(|c| {
        matches!(c.rank, Rank::Opener | Rank::Closer) && c.class != Class::Terminated
            || matches!(c.class, Class::KilledByKernel | Class::Crash | Class::Watchdog)
                // A late health check kills nobody.
                && c.id != "detokenizer"
            || matches!(c.id, "nccl-heartbeat" | "hardware-fault" | "gpu-access-fault" | "iteration-timeout")
    })
}

/// A line at error level that names neither an exception nor a known cause.
fn only_an_error(line: &Line, speaker: Speaker) -> bool {
    !line.is_exception() && causes::first(&line.text, speaker.engine).is_none()
}

/// What was seen in a range; each is the first of its kind.
#[derive(Default)]
struct Signs {
    cause: Option<Found>,
    symptom: Option<Found>,
    echo: Option<Found>,
    /// An exception that no pattern knows: the honest excerpt, and no class.
    exception: Option<Found>,
    /// An exception that only wraps another process's end.
    wrapper: Option<Found>,
    closer: Option<Found>,
    opener: Option<Found>,
    error: Option<Found>,
}

/// The best of a range of lines, of those that count.
fn pick(
    lines: &[Line],
    range: Range<usize>,
    speaker: Speaker,
    counts: &dyn Fn(usize) -> bool,
) -> Option<Found> {
    let mut signs = Signs::default();
    // After a closing message exceptions are those of a front end falling over its dead engine, until a
    // process reports its own.
    let mut closed = false;
    for i in range.filter(|i| lines[*i].speaks()).filter(|i| counts(*i)) {
        let line = &lines[i];
        if announces(lines, i) {
            continue;
        }
        let text = full_text(lines, i);
        let known = causes::first(&text, speaker.engine).filter(|c| counts_here(c, line, speaker));
        let found = |class, cause, weak| Found {
            at: i,
            class,
            cause,
            text: text.clone(),
            weak,
            place: String::new(),
            subject: None,
        };
        match known.map(|c| (c, c.rank)) {
            Some((c, Rank::Cause)) => {
                signs.cause.get_or_insert(found(c.class, known, false));
                // Nothing can say more.
                break;
            }
            Some((c, Rank::Symptom)) => _ = signs.symptom.get_or_insert(found(c.class, known, false)),
            Some((c, Rank::Echo)) => _ = signs.echo.get_or_insert(found(c.class, known, false)),
            Some((c, Rank::Opener)) => {
                closed = false;
                if let Some(carried) = carried(&text) {
                    let found = Found { text: carried, ..found(Class::Unknown, None, false) };
                    signs.exception.get_or_insert(found);
                }
                signs.opener.get_or_insert(found(c.class, known, true));
            }
            Some((c, Rank::Closer)) => {
                // An engine that was asked to stop may still say why it had to be.
                closed |= c.class != Class::Terminated;
                signs.closer.get_or_insert(found(c.class, known, true));
            }
            None if line.is_exception() && is_wrapper(&text) => {
                signs.wrapper.get_or_insert(found(Class::Unknown, None, false));
            }
            None if line.is_exception() && !closed => {
                let class = if text.starts_with("what():") { Class::Crash } else { Class::Unknown };
                signs.exception.get_or_insert(found(class, None, false));
            }
            None if line.is_error() && speaker.certain => {
                signs.error.get_or_insert(found(Class::Unknown, None, false));
            }
            None => {}
        }
    }
    signs.best()
}

impl Signs {
    fn best(self) -> Option<Found> {
        let known = self.cause.or(self.symptom);
        let before = |a: &Option<Found>, b: &Option<Found>| match (a, b) {
            (Some(a), Some(b)) => a.at < b.at,
            (Some(_), None) => true,
            _ => false,
        };
        let exception_first = before(&self.exception, &self.echo);
        let (first, second) =
            if exception_first { (self.exception, self.echo) } else { (self.echo, self.exception) };
        known.or(first).or(second).or(self.closer).or(self.wrapper).or(self.opener).or(self.error)
    }
}

/// Whether a known text counts: in an engine's log always; elsewhere in Python's tracebacks, or where no other
/// program has the words.
fn counts_here(cause: &Cause, line: &Line, speaker: Speaker) -> bool {
    let own = cause.rank == Rank::Cause && !cause.common || cause.class == Class::CudaError;
    speaker.certain || line.part == Part::Exception || own
}

/// An exception that ends in a colon announces the one below it.
pub(super) fn announces(lines: &[Line], at: usize) -> bool {
    let line = &lines[at];
    let open = line.is_exception() && line.text.contains(' ') && line.text.ends_with(':');
    let next = || lines[at + 1..].iter().find(|l| l.who == line.who && !l.text.is_empty());
    open && next().is_some_and(Line::is_exception)
}

/// An exception that says only that something else failed.
fn is_wrapper(text: &str) -> bool {
    static WRAPPER: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"CalledProcessError|ChildFailedError|ProcessRaisedException|ExceptionGroup|^EOFError$|^Exception: <|^SystemExit|RayTaskError|^(?:\w+\.)*(?:ValidationError|RuntimeError): (?:\d+ validation errors? for|Worker failed)")
            .expect("constant")
    });
    WRAPPER.is_match(text)
}

/// The cause that a line about another process's end carries in itself.
fn carried(text: &str) -> Option<String> {
    static CARRIED: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(r"(?x)
            Failed\ to\ initialize\ executor(?:\ on\ rank\ \d+)?:\ (.+)
            | (?:Worker\ failed\ with\ error|Error\ in\ worker)\ ['\x22](.+)
            | Capture\ cuda\ graph\ failed:\ (.+)
            | (?:failed\ to\ load\ '[^']+'\ version\ \d+|Failed\ to\ create\ instance):\ (?:Internal:\ )?(?:unexpected\ error\ when\ creating\ modelInstanceState:\ )?(.+)
            | hit\ an\ exception:\ (.+)
            | EngineCore\ (?:failed\ to\ start|encountered\ a\ fatal\ error):\ (.+)")
            .expect("constant")
    });
    let found = CARRIED.captures(text)?;
    let inner = found.iter().skip(1).flatten().next()?.as_str().trim();
    (!inner.is_empty() && !inner.starts_with("Traceback")).then(|| inner.to_owned())
}

/// The message of a line; where it says nothing alone, with the line beside it that does.
fn full_text(lines: &[Line], at: usize) -> String {
    let line = &lines[at];
    let bare = line.is_exception() && !line.text.trim_end_matches(':').contains([':', ' ']);
    if bare {
        let name = line.text.trim_end_matches(':');
        if let Some(beside) = asserted(lines, at).or_else(|| below(lines, at)) {
            return format!("{name}: {beside}");
        }
    }
    with_key(lines, at)
}

/// The code under the last frame above a bare `AssertionError`.
fn asserted(lines: &[Line], at: usize) -> Option<String> {
    let frames: Vec<&str> = lines[..at]
        .iter()
        .rev()
        .take(12)
        .filter(|l| l.who == lines[at].who)
        .take_while(|l| l.part == Part::Frame)
        .map(|l| l.text.as_str())
        .take_while(|t| !t.starts_with("File \""))
        .collect();
    let code: Vec<&str> =
        frames.into_iter().rev().filter(|t| !t.trim_matches(['^', '~', ' ']).is_empty()).collect();
    code.first().is_some_and(|c| c.starts_with("assert")).then(|| code.join(" "))
}

/// The line below a bare exception, where it goes on there.
fn below(lines: &[Line], at: usize) -> Option<String> {
    let next = lines[at + 1..].iter().filter(|l| l.who == lines[at].who).find(|l| !l.text.is_empty())?;
    let own = next.part == Part::Text
        && next.level != super::text::Level::Quiet
        && !next.is_exception()
        && !next.text.starts_with("The above exception")
        && !next.text.starts_with("During handling")
        && causes::first(&next.text, None).is_none_or(|c| c.rank < Rank::Opener);
    own.then(|| next.text.clone())
}

/// A validation error stands on two lines: the key, and below it what is wrong with it.
fn with_key(lines: &[Line], at: usize) -> String {
    let text = &lines[at].text;
    let detail = ["Extra inputs are not permitted", "Input should be", "Field required"];
    let is_key = |t: &str| !t.is_empty() && t.chars().all(|c| c.is_alphanumeric() || "_.-".contains(c));
    match at.checked_sub(1).map(|before| &lines[before].text) {
        Some(key) if detail.iter().any(|d| text.starts_with(d)) && is_key(key) => format!("{key}: {text}"),
        _ => text.clone(),
    }
}
