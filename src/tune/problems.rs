//! The problems of a request, gathered so that all are told at once.

use crate::error::{Error, Problem};
use crate::search::{Objective, Slo};
use crate::space::OutputChange;

/// The problems found so far.
#[derive(Default)]
pub(super) struct Problems(pub(super) Vec<Problem>);

impl Problems {
    pub(super) fn add(&mut self, option: &str, message: &str, hint: &str) {
        let problem = Problem::new(option, "", message);
        self.0.push(if hint.is_empty() { problem } else { problem.hint(hint) });
    }

    /// The problems of an error, or the error itself as one.
    pub(super) fn error(&mut self, option: &str, e: &Error) {
        if e.problems.is_empty() {
            self.add(option, &e.what, e.hint.as_deref().unwrap_or_default());
        } else {
            self.0.extend(e.problems.iter().cloned());
        }
    }

    pub(super) fn take<T: Fallback>(&mut self, option: &str, parsed: std::result::Result<T, String>) -> T {
        parsed.unwrap_or_else(|e| {
            self.add(option, &e, "");
            T::fallback()
        })
    }

    pub(super) fn duration(&mut self, option: &str, text: &str) -> f64 {
        match humantime::parse_duration(text) {
            Ok(d) if !d.is_zero() => d.as_secs_f64(),
            Ok(_) => {
                self.add(option, "must be longer than nothing", "");
                1.0
            }
            Err(e) => {
                self.add(option, &format!("`{text}`: {e}"), "such as 90s, 30m or 2h");
                1.0
            }
        }
    }
}

/// A value to go on checking with after a problem was noted.
pub(super) trait Fallback {
    fn fallback() -> Self;
}

impl Fallback for Objective {
    fn fallback() -> Objective {
        Objective::Metric(crate::scenario::Key::TotalTokenThroughput)
    }
}

impl Fallback for OutputChange {
    fn fallback() -> OutputChange {
        OutputChange::Lossless
    }
}

impl Fallback for Slo {
    fn fallback() -> Slo {
        Slo::default()
    }
}
