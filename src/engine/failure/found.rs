//! What was found in a log: the line that says why, and what is known of it.

use super::Class;
use super::causes::Cause;
use super::place::Subject;

/// The line that says why, and what is known of it.
#[derive(Debug, Clone)]
pub(super) struct Found {
    pub(super) at: usize,
    pub(super) class: Class,
    pub(super) cause: Option<&'static Cause>,
    /// The message, with what stands beside it where it says nothing alone.
    pub(super) text: String,
    /// Only the end of a process is told, not why.
    pub(super) weak: bool,
    /// Where it was raised, as `engine/file.py, function`; empty where the log does not say.
    pub(super) place: String,
    /// What the code that raised it is about.
    pub(super) subject: Option<Subject>,
}
