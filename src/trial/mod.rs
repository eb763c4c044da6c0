//! One candidate on its workloads: process + load + telemetry -> [`TrialResult`]. A trial is a value:
//! `dyno trial SPEC.json` runs one in its own process.

pub mod types;

pub use types::{Failure, LaunchFacts, Measured, Outcome, TrialResult, TrialSpec};
