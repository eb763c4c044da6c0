//! Speculative decoding: what proposes tokens, how many, and how many of them hold.

use crate::scenario::AcceptanceInput;
use serde::{Deserialize, Serialize};

/// What proposes tokens.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "snake_case")]
pub enum Drafter {
    /// Looks for the latest tokens earlier in the same request.
    Ngram,
    /// As n-gram, in a tree of the suffixes of earlier requests too.
    Suffix,
    /// Layers for multi-token prediction that the checkpoint carries.
    Mtp,
    /// A head of one layer trained on the model's hidden states.
    Eagle,
    Eagle3,
    /// A smaller model.
    DraftModel,
}

/// (Chance that the first token holds, that a further one holds given those before), the share of rows with proposals,
/// and the bounds of the first two.
struct Assumed {
    mean: (f64, f64),
    proposed: f64,
    low: (f64, f64),
    high: (f64, f64),
}

impl Drafter {
    pub fn name(self) -> &'static str {
        match self {
            Drafter::Ngram => "ngram",
            Drafter::Suffix => "suffix",
            Drafter::Mtp => "mtp",
            Drafter::Eagle => "eagle",
            Drafter::Eagle3 => "eagle3",
            Drafter::DraftModel => "draft_model",
        }
    }

    /// It proposes by looking up text on the host: nothing runs on the device.
    pub fn looks_up(self) -> bool {
        matches!(self, Drafter::Ngram | Drafter::Suffix)
    }

    /// What is assumed of a text workload when nobody says.
    ///
    /// MTP: 85 to 90 % for the second token (DeepSeek-V3 technical report, section 5.4.3); further ones reuse the layer
    /// on its own outputs. EAGLE and EAGLE-3: average accepted lengths of 3.2 to 3.9 and 4.5 to 6.6 with trees, and acceptance by
    /// position 0-α 0.7 to 0.8 of chains (EAGLE, arXiv 2401.15077, table 1 and section 4; EAGLE-3, arXiv 2503.01840). Draft
    /// models: α of 0.5 to 0.9 by model pair (Leviathan et al., arXiv 2211.17192, table 3). N-gram and suffix: from
    /// nothing on chat to several tokens a step on summaries and code edits (vLLM's blog of October 2024; SuffixDecoding,
    /// arXiv 2411.04975): hence the widest bounds. Trees propose more than chains; what they gain is within the bounds.
    fn assumed(self) -> Assumed {
        let of = |mean, proposed, low, high| Assumed { mean, proposed, low, high };
        match self {
            Drafter::Ngram => of((0.45, 0.65), 0.5, (0.1, 0.3), (0.85, 0.95)),
            Drafter::Suffix => of((0.55, 0.7), 0.7, (0.2, 0.4), (0.9, 0.95)),
            Drafter::Mtp => of((0.82, 0.72), 1.0, (0.6, 0.45), (0.92, 0.88)),
            Drafter::Eagle => of((0.68, 0.65), 1.0, (0.45, 0.4), (0.82, 0.8)),
            Drafter::Eagle3 => of((0.74, 0.72), 1.0, (0.5, 0.45), (0.88, 0.87)),
            Drafter::DraftModel => of((0.7, 0.7), 1.0, (0.4, 0.4), (0.9, 0.9)),
        }
    }
}

/// Acceptance by position with bounds; each list holds, by position, the share of proposals accepted that far.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Acceptance {
    pub by_position: Vec<f64>,
    pub low: Vec<f64>,
    pub high: Vec<f64>,
    /// Share of the decode rows for which something is proposed.
    pub proposed: f64,
    /// Nobody said it: the method's usual one.
    pub assumed: bool,
}

fn geometric(first: f64, further: f64, positions: u32) -> Vec<f64> {
    (0..positions).map(|i| first * further.powi(i as i32)).collect()
}

impl Acceptance {
    pub fn assumed(method: Drafter, positions: u32) -> Acceptance {
        let Assumed { mean, proposed, low, high } = method.assumed();
        Acceptance {
            by_position: geometric(mean.0, mean.1, positions),
            low: geometric(low.0, low.1, positions),
            high: geometric(high.0, high.1, positions),
            proposed,
            assumed: true,
        }
    }

    /// As told; what a measurement on other text leaves open is a tenth of the rate either way (unverified).
    pub fn told(input: &AcceptanceInput, positions: u32, method: Drafter) -> Acceptance {
        let by_position = match input {
            AcceptanceInput::Rate(r) => geometric(*r, *r, positions),
            AcceptanceInput::ByPosition(shares) => {
                let mut all = shares.clone();
                while all.len() < positions as usize {
                    let last = all.last().copied().unwrap_or(0.0);
                    let before = all.len().checked_sub(2).map_or(1.0, |i| all[i]);
                    all.push(if before > 0.0 { last * last / before } else { 0.0 });
                }
                all.truncate(positions as usize);
                all
            }
        };
        let scaled = |f: f64| {
            by_position.iter().enumerate().map(|(i, a)| (a * f.powi(i as i32 + 1)).min(1.0)).collect()
        };
        let proposed = method.assumed().proposed;
        Acceptance { low: scaled(0.9), high: scaled(1.1), by_position, proposed, assumed: false }
    }

    /// Mean tokens that a decode row brings in one step.
    pub fn tokens_per_step(&self) -> f64 {
        1.0 + self.proposed * self.by_position.iter().sum::<f64>()
    }
}

/// The speculation of one launch.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Speculation {
    pub method: Drafter,
    /// Tokens proposed one after the other: how many can be accepted in one step.
    pub num_speculative_tokens: u32,
    /// Tokens that a decode row verifies beside its newest one; more than the above where proposals form a tree.
    pub verified: u32,
    /// The drafter's checkpoint where it is one of its own.
    #[serde(default)]
    pub draft_model: Option<String>,
    /// What is known of that checkpoint's size.
    #[serde(default)]
    pub draft_size: Option<DraftSize>,
    /// Without it the host would work ahead of the device.
    #[serde(default)]
    pub held_up_host: bool,
    pub acceptance: Acceptance,
}

/// A draft model's size: of all its layers, without the head, and the head.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct DraftSize {
    pub layers: f64,
    pub params: f64,
    pub bytes: f64,
    pub head_params: f64,
    pub head_bytes: f64,
    /// KV bytes a token of context over all layers.
    pub kv_bytes: f64,
}

impl Speculation {
    pub fn new(method: Drafter, tokens: u32) -> Speculation {
        let tokens = tokens.clamp(1, MOST_TOKENS);
        Speculation {
            method,
            num_speculative_tokens: tokens,
            verified: tokens,
            draft_model: None,
            draft_size: None,
            held_up_host: false,
            acceptance: Acceptance::assumed(method, tokens),
        }
    }

    /// With the acceptance that a scenario tells.
    #[must_use]
    pub fn told(mut self, input: &AcceptanceInput) -> Speculation {
        self.acceptance = Acceptance::told(input, self.num_speculative_tokens, self.method);
        self
    }

    /// With the acceptance at one of its bounds.
    #[must_use]
    pub fn bound(&self, high: bool) -> Speculation {
        let mut s = self.clone();
        s.acceptance.by_position = if high { s.acceptance.high.clone() } else { s.acceptance.low.clone() };
        s
    }

    /// KV slots beyond those of the verified tokens that the engine keeps free for the drafter's own steps.
    pub fn lookahead(&self) -> u32 {
        if self.method.looks_up() { 0 } else { self.num_speculative_tokens }
    }
}

/// No engine proposes more in one step.
const MOST_TOKENS: u32 = 64;

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn acceptance_is_read_checked_and_continued() {
        assert_eq!("0.7".parse(), Ok(AcceptanceInput::Rate(0.7)));
        assert!("1.2".parse::<AcceptanceInput>().is_err() && "0.5,0.6".parse::<AcceptanceInput>().is_err());
        let told: AcceptanceInput = "0.8,0.6".parse().unwrap();
        let s = Speculation::new(Drafter::Eagle3, 3).told(&told);
        assert!((s.acceptance.by_position[2] - 0.45).abs() < 1e-12, "0.6 x 0.6 / 0.8");
        assert!((s.acceptance.tokens_per_step() - 2.85).abs() < 1e-12);
        assert!(
            s.bound(false).acceptance.tokens_per_step() < 2.85
                && s.bound(true).acceptance.tokens_per_step() > 2.85
        );
    }
}
