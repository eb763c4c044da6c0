//! Standard output and standard error of a command. Neither ever ends it: a reader may stop early (`| head`), a
//! terminal may be closed, the disk behind a redirection may be full.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// Whether anything but results and errors is said, and whether more than usual is.
static QUIET: AtomicBool = AtomicBool::new(false);
static VERBOSE: AtomicBool = AtomicBool::new(false);

/// The result could not be written where it was asked for.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes one line (or several) and a line end to standard output.
pub(super) fn line(text: impl std::fmt::Display) {
    let mut out = std::io::stdout();
    let written = writeln!(out, "{}", shown(&text.to_string())).and_then(|()| out.flush());
    // A closed pipe means that the reader has what it wanted; anything else is told by the exit code.
    if written.is_err_and(|e| e.kind() != std::io::ErrorKind::BrokenPipe) {
        LOST.store(true, Ordering::Relaxed);
    }
}

/// Whether something that belonged on standard output is not there.
pub(super) fn lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Sets what `--quiet` and `--verbose` ask for.
pub(super) fn speak(quiet: bool, verbose: bool) {
    QUIET.store(quiet, Ordering::Relaxed);
    VERBOSE.store(verbose, Ordering::Relaxed);
}

pub(super) fn quiet() -> bool {
    QUIET.load(Ordering::Relaxed)
}

pub(super) fn verbose() -> bool {
    VERBOSE.load(Ordering::Relaxed)
}

/// Writes one line to standard error, unless the user wants to hear results alone.
pub(super) fn note(text: impl std::fmt::Display) {
    if !quiet() {
        fault(text);
    }
}

/// Writes one line to standard error. Nobody may be listening any more: that is no reason to stop.
pub(super) fn fault(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{}", shown(&text.to_string()));
}

/// The text as a terminal may have it: names and log lines come from files, engines and other people, and must not
/// move the cursor, set a title or hide a line. Control characters are shown as their escapes; line ends and tabs stay.
pub(super) fn shown(text: &str) -> std::borrow::Cow<'_, str> {
    let harmful = |c: char| (c.is_control() && !matches!(c, '\n' | '\t')) || redirects(c);
    if !text.contains(harmful) {
        return text.into();
    }
    let escaped = |c: char| if harmful(c) { c.escape_unicode().to_string() } else { c.to_string() };
    text.chars().map(escaped).collect::<String>().into()
}

/// Characters that turn the direction of what follows.
fn redirects(c: char) -> bool {
    matches!(c, '\u{202a}'..='\u{202e}' | '\u{2066}'..='\u{2069}')
}

#[cfg(test)]
mod tests {
    use super::shown;

    #[test]
    fn nothing_that_is_printed_commands_the_terminal() {
        assert_eq!(shown("a\tb\nµ 漢"), "a\tb\nµ 漢");
        assert_eq!(shown("\u{1b}[31mred\u{7}\r"), "\\u{1b}[31mred\\u{7}\\u{d}");
        assert_eq!(shown("\u{202e}txt.exe\u{9b}"), "\\u{202e}txt.exe\\u{9b}");
    }
}
