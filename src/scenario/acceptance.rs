//! How many speculated tokens hold, as a scenario says it.

use serde::{Deserialize, Serialize};
use std::str::FromStr;

/// How many proposed tokens hold, as an input of a scenario: a rate a token, or by position as the engine's counters tell it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(untagged)]
pub enum AcceptanceInput {
    /// The chance that a proposed token holds, given those before it.
    Rate(f64),
    /// Of the proposals, the share of which the token at this position was accepted (vLLM:
    /// `vllm:spec_decode_num_accepted_tokens_per_pos` over `vllm:spec_decode_num_drafts`).
    ByPosition(Vec<f64>),
}

impl FromStr for AcceptanceInput {
    type Err = String;

    /// `0.7` or `0.8,0.6,0.4`.
    ///
    /// Errors: a number outside of 0..=1, or shares that grow.
    fn from_str(text: &str) -> Result<AcceptanceInput, String> {
        let numbers: Result<Vec<f64>, _> = text.split(',').map(|n| n.trim().parse::<f64>()).collect();
        let numbers = numbers
            .map_err(|_| format!("{text}: a rate such as 0.7, or shares by position such as 0.8,0.6,0.4"))?;
        let input = if let [rate] = numbers[..] {
            AcceptanceInput::Rate(rate)
        } else {
            AcceptanceInput::ByPosition(numbers)
        };
        match input.problem() {
            Some(problem) => Err(problem),
            None => Ok(input),
        }
    }
}

impl AcceptanceInput {
    /// What is wrong with it.
    pub fn problem(&self) -> Option<String> {
        let unit = |n: &f64| (0.0..=1.0).contains(n);
        match self {
            AcceptanceInput::Rate(r) if unit(r) => None,
            AcceptanceInput::Rate(r) => Some(format!("an acceptance of {r}: it is a share, 0 to 1")),
            AcceptanceInput::ByPosition(all) if all.is_empty() || !all.iter().all(unit) => {
                Some("acceptance by position: shares from 0 to 1, one a position".to_owned())
            }
            AcceptanceInput::ByPosition(all) if all.windows(2).any(|w| w[1] > w[0]) => Some(
                "acceptance by position grows: a token counts as accepted only with all before it (accepted at the \
                 position over the number of proposals)"
                    .to_owned(),
            ),
            AcceptanceInput::ByPosition(_) => None,
        }
    }
}
