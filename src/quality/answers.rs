//! What one launch answered.

use serde::{Deserialize, Serialize};

/// One prompt's answer.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Answer {
    pub text: String,
    /// The generated tokens as the engine writes them.
    pub tokens: Vec<String>,
    /// The likeliest tokens at each place with their log probabilities, where the engine says them.
    pub top: Vec<Vec<(String, f64)>>,
    /// Log probability of each of the last tokens of a given text (prompt and reference answer).
    #[serde(default)]
    pub scored: Vec<f64>,
}

impl Answer {
    /// Log probability of a token at a place, where it is among the likeliest.
    pub(super) fn log_prob(&self, at: usize, token: &str) -> Option<f64> {
        self.top.get(at)?.iter().find(|(t, _)| t == token).map(|(_, p)| *p)
    }
}

/// The answers of one launch to all prompts, in their order.
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Answers {
    pub answers: Vec<Answer>,
    /// Of each question with a known answer, whether it was answered rightly; empty where none was put.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub right: Vec<bool>,
    /// Share of those questions that a guess answers rightly.
    #[serde(default, skip_serializing_if = "is_zero")]
    pub chance: f64,
    /// Why some or all of it is missing.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub missing: Option<String>,
}

#[expect(clippy::trivially_copy_pass_by_ref, reason = "serde calls it so")]
fn is_zero(x: &f64) -> bool {
    *x == 0.0
}
