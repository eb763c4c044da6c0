//! One flag of an engine: a self-describing record, a row of `search-spaces/*.toml`.

use super::expr::{Expr, Kind};
use crate::launch::FlagValue;
use crate::launch::Version;
use serde::{Deserialize, Serialize};

/// Type of a flag's value.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum FlagType {
    Bool,
    Int,
    Float,
    /// Free text, or one of the values when the row lists any.
    Text,
    /// Whole numbers separated by spaces or commas.
    Ints,
    Json,
}

impl FlagType {
    pub(super) fn kind(self) -> Kind {
        match self {
            FlagType::Bool => Kind::Bool,
            FlagType::Int | FlagType::Float => Kind::Number,
            FlagType::Text | FlagType::Ints | FlagType::Json => Kind::Text,
        }
    }

    pub(super) fn accepts(self, value: &FlagValue) -> bool {
        matches!(
            (self, value),
            (FlagType::Bool, FlagValue::Bool(_))
                | (FlagType::Int, FlagValue::Int(_))
                | (FlagType::Float, FlagValue::Float(_) | FlagValue::Int(_))
                | (FlagType::Text | FlagType::Json, FlagValue::Text(_))
                | (FlagType::Ints, FlagValue::Text(_) | FlagValue::Int(_))
        )
    }
}

/// What a prediction makes of a flag.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Role {
    /// The simulator and the cost model know its effect: it stands in the resolved configuration.
    Modelled,
    /// It has no effect on speed and memory.
    Neutral,
    /// It may matter and is not modelled: every prediction says so.
    Told,
}

/// What of the engine's work a flag acts on.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Phase {
    Prefill,
    Decode,
    Memory,
    Start,
    Host,
}

/// Releases in which something exists: from `since` up to but without `removed`.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, Serialize)]
pub struct Span {
    pub since: Option<Version>,
    pub removed: Option<Version>,
}

impl Span {
    pub fn holds(&self, v: Version) -> bool {
        self.since.is_none_or(|s| v >= s) && self.removed.is_none_or(|r| v < r)
    }
}

/// Another name of a flag, or the environment variable that did its work.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct OtherName {
    pub name: String,
    #[serde(flatten)]
    pub span: Span,
}

/// One allowed value of a closed list.
#[derive(Debug, Clone, PartialEq, Eq, Serialize)]
pub struct Choice {
    pub value: String,
    #[serde(flatten)]
    pub span: Span,
}

/// A default: the last row whose span and condition hold is the one.
#[derive(Debug, Clone, PartialEq)]
pub struct DefaultRule {
    pub value: FlagValue,
    pub since: Option<Version>,
    pub when: Option<Expr>,
}

/// A condition that a candidate must satisfy, and why.
#[derive(Debug, Clone, PartialEq)]
pub struct Constraint {
    pub need: Expr,
    pub why: String,
}

/// What a value other than the default may do to the model's answers.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum OutputChange {
    /// Equal but for the order of floating-point sums.
    None,
    /// Other tokens may be drawn, from the same distribution (speculative decoding).
    #[default]
    Lossless,
    /// Another distribution: weights or KV cache in fewer bits.
    Approximate,
}

impl std::fmt::Display for OutputChange {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.write_str(match self {
            OutputChange::None => "none",
            OutputChange::Lossless => "lossless",
            OutputChange::Approximate => "approximate",
        })
    }
}

impl std::str::FromStr for OutputChange {
    type Err = String;
    fn from_str(s: &str) -> Result<OutputChange, String> {
        [OutputChange::None, OutputChange::Lossless, OutputChange::Approximate]
            .into_iter()
            .find(|c| c.to_string() == s)
            .ok_or_else(|| format!("`{s}` is none of none, lossless, approximate"))
    }
}

/// Values worth trying: the first rule whose condition holds is used.
#[derive(Debug, Clone, PartialEq)]
pub struct TuneRule {
    pub when: Option<Expr>,
    pub values: Vec<FlagValue>,
    /// Multiples of the default, for a flag whose default is a known number.
    pub times: Vec<f64>,
    /// Trying it changes what the model answers.
    pub changes_output: bool,
    /// How, where that is not told by `changes_output` alone.
    pub output: Option<OutputChange>,
    /// The values are added to those of the first rule that applies.
    pub also: bool,
}

/// One flag of an engine.
#[derive(Debug, Clone, PartialEq)]
pub struct Flag {
    /// Canonical name without dashes, as in the newest release that has it.
    pub name: String,
    pub kind: FlagType,
    pub choices: Vec<Choice>,
    pub min: Option<f64>,
    pub max: Option<f64>,
    /// A switch that also has a `--no-…` form; a plain switch can only be turned on.
    pub negatable: bool,
    /// The default in words: value and how it is computed.
    pub default: String,
    pub defaults: Vec<DefaultRule>,
    pub span: Span,
    pub aliases: Vec<OtherName>,
    pub env: Vec<OtherName>,
    pub role: Role,
    pub phase: Vec<Phase>,
    /// Other values than the default may change what the model answers.
    pub changes_output: bool,
    pub doc: String,
    /// Why it may help: what a report quotes.
    pub mechanism: String,
    pub source: String,
    pub constraints: Vec<Constraint>,
    pub tune: Vec<TuneRule>,
    /// A value is worth trying only where this holds (a limit above the load changes nothing).
    pub useful: Option<Expr>,
}

impl Flag {
    /// What is wrong with a value for this flag in a release; `None` when it may be given.
    pub fn objection(&self, value: &FlagValue, version: Version) -> Option<String> {
        if !self.kind.accepts(value) {
            return Some(format!("`{value}` is not {}", self.wants()));
        }
        if matches!(value, FlagValue::Bool(false)) && !self.negatable {
            return Some("is a switch that can only be turned on".into());
        }
        let number = match value {
            FlagValue::Int(i) => Some(*i as f64),
            FlagValue::Float(x) => Some(*x),
            _ => None,
        };
        if number.is_some_and(|x| self.min.is_some_and(|m| x < m) || self.max.is_some_and(|m| x > m)) {
            return Some(format!("{value} is not {}", self.wants()));
        }
        let FlagValue::Text(text) = value else { return None };
        if self.choices.is_empty() {
            return None;
        }
        match self.choices.iter().find(|c| c.value == *text) {
            Some(c) if c.span.holds(version) => None,
            Some(_) => Some(format!("`{text}` is not in release {version}")),
            None => Some(format!("`{text}` is not {}", self.wants())),
        }
    }

    /// The allowed values in words.
    pub fn wants(&self) -> String {
        let range = match (self.min, self.max) {
            (Some(a), Some(b)) => format!(" from {a} to {b}"),
            (Some(a), None) => format!(" from {a} up"),
            (None, Some(b)) => format!(" up to {b}"),
            (None, None) => String::new(),
        };
        match self.kind {
            FlagType::Bool => "true or false".into(),
            FlagType::Int => format!("a whole number{range}"),
            FlagType::Float => format!("a number{range}"),
            FlagType::Ints => "whole numbers".into(),
            FlagType::Json => "a JSON text".into(),
            FlagType::Text if self.choices.is_empty() => "a text".into(),
            FlagType::Text => {
                let all: Vec<&str> = self.choices.iter().map(|c| c.value.as_str()).collect();
                format!("one of {}", all.join(", "))
            }
        }
    }
}
