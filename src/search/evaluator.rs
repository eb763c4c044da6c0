//! The dangerous thing behind a small trait: something that launches a candidate and scores it.

use super::forecasts::Coverage;
use crate::error::Error;
use crate::launch::Candidate;
use serde::{Deserialize, Serialize};
use std::fmt;

/// Where in a campaign a launch belongs.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Stage {
    /// An engine with its defaults, launched twice to learn the noise.
    Baseline,
    /// Designed probes for the cost model's fit.
    Calibrate,
    /// One launch a candidate.
    Search,
    /// Promising candidates, measured again.
    Recheck,
    /// The best flags together, and stepwise subsets.
    Combine,
    /// Candidates one flag away from the incumbent.
    Neighbours,
    /// Winner and baseline in turns, fresh launches, every workload.
    Confirm,
}

impl Stage {
    pub fn name(self) -> &'static str {
        match self {
            Stage::Baseline => "baseline",
            Stage::Calibrate => "calibrate",
            Stage::Search => "search",
            Stage::Recheck => "recheck",
            Stage::Combine => "combine",
            Stage::Neighbours => "neighbours",
            Stage::Confirm => "confirm",
        }
    }
}

impl fmt::Display for Stage {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.name())
    }
}

/// Which workloads a launch measures.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "kebab-case")]
pub enum Scope {
    /// The first, which the search is about.
    Primary,
    /// Every workload of the plan.
    All,
    /// Short designed runs for the cost model; they give no score.
    Probes,
    /// The first workload, then the probes once: the launch that a calibration would cost is saved.
    PrimaryAndProbes,
}

/// What is measured in one launch.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Runs {
    /// Index of the first repeat; a repeat's index fixes its seed, so equal indices serve equal requests.
    pub first_repeat: u32,
    pub repeats: u32,
    pub scope: Scope,
}

impl Runs {
    pub fn primary(first_repeat: u32, repeats: u32) -> Runs {
        Runs { first_repeat, repeats, scope: Scope::Primary }
    }
    pub fn primary_and_probes(first_repeat: u32, repeats: u32) -> Runs {
        Runs { first_repeat, repeats, scope: Scope::PrimaryAndProbes }
    }
    pub fn probes() -> Runs {
        Runs { first_repeat: 0, repeats: 1, scope: Scope::Probes }
    }
    pub fn all(first_repeat: u32, repeats: u32) -> Runs {
        Runs { first_repeat, repeats, scope: Scope::All }
    }
}

/// One launch asked for. `(stage, candidate, launch)` identifies it over the whole campaign: an
/// interrupted campaign that asks again is answered from the record.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    pub stage: Stage,
    pub candidate: Candidate,
    /// Number of this launch among those of the same candidate in the same stage.
    pub launch: u32,
    pub runs: Runs,
}

/// Score of one measured run of the first workload.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sample {
    pub repeat: u32,
    pub score: f64,
}

/// Why a launch gave no score.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct FailedLaunch {
    pub class: String,
    pub root_cause: String,
    pub hint: String,
    /// The engine ran out of memory: what asks for less of it may start.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub memory: bool,
}

#[derive(Debug, Clone, PartialEq, Default)]
pub struct Answer {
    /// Valid runs only, in the order of their repeats.
    pub samples: Vec<Sample>,
    pub failure: Option<FailedLaunch>,
}

/// Why a search ends before its end.
#[derive(Debug)]
pub enum Stop {
    /// The user said so; the record is safe.
    Interrupted,
    /// The evaluator itself cannot go on (disk full, engine will not stop…).
    Error(Error),
}

impl From<Error> for Stop {
    fn from(e: Error) -> Stop {
        Stop::Error(e)
    }
}

/// Launches candidates and scores them.
pub trait Evaluator {
    fn evaluate(&mut self, ask: &Ask) -> Result<Answer, Stop>;

    /// Launches that may run side by side.
    fn in_flight(&self) -> usize {
        1
    }

    /// Runs launches, as many of them at a time as may be in flight; the answers are in the order of the asks.
    fn evaluate_all(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, Stop> {
        asks.iter().map(|ask| self.evaluate(ask)).collect()
    }

    /// Whether it is known already that launches side by side do not disturb each other: each has a machine to itself, or somebody
    /// has looked.
    fn neighbours_known(&self) -> bool {
        false
    }

    /// What came of the first launches side by side: the defaults among them gave so much more or less (log gain) than alone, or
    /// nothing. Where that is too much these launches count no more, and from now on launches run one at a time.
    fn neighbours(&mut self, _asks: &[Ask], _by: Option<f64>, _disturbed: bool) {}

    /// True while one more optional launch leaves enough of the budget for the confirmation.
    fn affordable(&self) -> bool;

    /// Optional launches that the budget still holds, where it is known.
    fn launches_left(&self) -> Option<usize> {
        None
    }

    /// Pairs that the confirmation is expected to need: the budget keeps launches for them, as far as it has them. None while the
    /// confirmation itself runs.
    fn reserve(&mut self, _pairs: u32) {}

    /// A stage begins that will take about this many launches: for progress and the ETA.
    fn expect(&mut self, _stage: Stage, _launches: usize) {}

    /// The space is forecast: how many candidates it holds, and how many of them were simulated.
    fn covered(&mut self, _considered: usize, _coverage: &Coverage) {}

    /// The best candidate so far and its log gain over the baseline.
    fn incumbent(&mut self, _candidate: &Candidate, _gain: f64) {}
}
