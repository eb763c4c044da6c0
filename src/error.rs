//! One error type: what happened, where, and what to do about it.
//!
//! Rendering and exit codes happen at the edge (`cli`); a library room only builds the value.
//! Input files are checked whole: every problem is collected as a [`Problem`], and
//! [`Error::problems`] turns them into one error that names them all.

use std::fmt;

pub type Result<T, E = Error> = std::result::Result<T, E>;

/// What kind of failure, and so which exit code the process ends with.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Kind {
    /// Failed while running: exit 1.
    Failed,
    /// Bad arguments or a bad input file: exit 2.
    Usage,
    /// Every candidate failed, nothing is feasible: exit 3.
    Infeasible,
    /// The question was answered, and the answer is no (a log's failure is not known, a machine is not ready): exit 4.
    Negative,
    /// Interrupted by the user; the record is safe: exit 130.
    Interrupted,
}

impl Kind {
    pub fn exit_code(self) -> u8 {
        match self {
            Kind::Failed => 1,
            Kind::Usage => 2,
            Kind::Infeasible => 3,
            Kind::Negative => 4,
            Kind::Interrupted => 130,
        }
    }
}

/// One thing wrong in an input file or an argument.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Problem {
    /// File (or `--flag`) it stands in.
    pub file: String,
    /// Path of the key inside the file, such as `observations[3].workload.seed`; empty for the whole file.
    pub key: String,
    pub message: String,
    pub hint: Option<String>,
}

impl Problem {
    pub fn new(file: impl Into<String>, key: impl Into<String>, message: impl Into<String>) -> Problem {
        Problem { file: file.into(), key: key.into(), message: message.into(), hint: None }
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Problem {
        self.hint = Some(hint.into());
        self
    }
}

impl fmt::Display for Problem {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}: ", self.file)?;
        if !self.key.is_empty() {
            write!(f, "{}: ", self.key)?;
        }
        write!(f, "{}", self.message)?;
        if let Some(h) = &self.hint {
            write!(f, " (hint: {h})")?;
        }
        Ok(())
    }
}

#[derive(Debug, thiserror::Error)]
pub struct Error {
    pub kind: Kind,
    /// What happened.
    pub what: String,
    /// Where: a file, a URL, a trial's directory.
    pub place: Option<String>,
    /// What to do about it.
    pub hint: Option<String>,
    pub problems: Vec<Problem>,
    #[source]
    pub source: Option<Box<dyn std::error::Error + Send + Sync>>,
}

impl Error {
    pub fn new(kind: Kind, what: impl Into<String>) -> Error {
        Error { kind, what: what.into(), place: None, hint: None, problems: Vec::new(), source: None }
    }
    pub fn failed(what: impl Into<String>) -> Error {
        Error::new(Kind::Failed, what)
    }
    pub fn usage(what: impl Into<String>) -> Error {
        Error::new(Kind::Usage, what)
    }
    pub fn infeasible(what: impl Into<String>) -> Error {
        Error::new(Kind::Infeasible, what)
    }
    pub fn negative(what: impl Into<String>) -> Error {
        Error::new(Kind::Negative, what)
    }
    /// An input error listing every problem found.
    pub fn problems(what: impl Into<String>, problems: Vec<Problem>) -> Error {
        Error { problems, ..Error::new(Kind::Usage, what) }
    }
    pub fn at(mut self, place: impl fmt::Display) -> Error {
        self.place = Some(place.to_string());
        self
    }
    pub fn hint(mut self, hint: impl Into<String>) -> Error {
        self.hint = Some(hint.into());
        self
    }
    pub fn source(mut self, source: impl Into<Box<dyn std::error::Error + Send + Sync>>) -> Error {
        self.source = Some(source.into());
        self
    }
}

impl fmt::Display for Error {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}", self.what)?;
        if let Some(p) = &self.place {
            write!(f, "\n  at: {p}")?;
        }
        if let Some(s) = &self.source {
            write!(f, "\n  cause: {s}")?;
        }
        for p in &self.problems {
            write!(f, "\n  - {p}")?;
        }
        if let Some(h) = &self.hint {
            write!(f, "\n  hint: {h}")?;
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_error_shows_what_where_and_what_to_do() {
        let e = Error::problems(
            "the file has 2 problems",
            vec![
                Problem::new("a.toml", "memory_gb", "must be positive").hint("vendor GB, such as 80"),
                Problem::new("a.toml", "", "not read"),
            ],
        )
        .hint("run `dyno check a.toml` again");
        let text = e.to_string();
        assert!(text.contains("a.toml: memory_gb: must be positive (hint: vendor GB, such as 80)"));
        assert!(text.contains("hint: run `dyno check a.toml` again"));
        assert_eq!(e.kind.exit_code(), 2);
    }
}
