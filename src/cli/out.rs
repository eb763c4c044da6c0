//! Standard output of a command. A reader that stops early (`| head`) is no failure.

use std::io::Write as _;

/// Writes one line (or several) and a line end.
pub(super) fn line(text: impl std::fmt::Display) {
    // A closed pipe means that the reader has what it wanted; there is nobody left to tell.
    let _ = writeln!(std::io::stdout(), "{text}");
}
