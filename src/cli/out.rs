//! Standard output and standard error of a command. Neither ever ends it: a reader may stop early (`| head`), a
//! terminal may be closed, the disk behind a redirection may be full.

use std::io::Write as _;
use std::sync::atomic::{AtomicBool, Ordering};

/// The result could not be written where it was asked for.
static LOST: AtomicBool = AtomicBool::new(false);

/// Writes one line (or several) and a line end to standard output.
pub(super) fn line(text: impl std::fmt::Display) {
    let mut out = std::io::stdout();
    let written = writeln!(out, "{text}").and_then(|()| out.flush());
    // A closed pipe means that the reader has what it wanted; anything else is told by the exit code.
    if written.is_err_and(|e| e.kind() != std::io::ErrorKind::BrokenPipe) {
        LOST.store(true, Ordering::Relaxed);
    }
}

/// Whether something that belonged on standard output is not there.
pub(super) fn lost() -> bool {
    LOST.load(Ordering::Relaxed)
}

/// Writes one line to standard error. Nobody may be listening any more: that is no reason to stop.
pub(super) fn note(text: impl std::fmt::Display) {
    let _ = writeln!(std::io::stderr(), "{text}");
}
