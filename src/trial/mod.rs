//! One candidate on its workloads: process + load + telemetry -> [`TrialResult`]. A trial is a value:
//! `dyno trial SPEC.json` runs one in its own process.
//!
//! A launch or a run that fails is a result, not an error: [`run_trial`] always returns, and when it does
//! nothing of the launch is left running.

pub mod types;

mod answers;
mod container;
mod engine_help;
mod failing;
mod gpu_memory;
mod launch;
mod measure;
mod nodes;
mod observer;
mod pace;
mod rank;
mod ready;
mod replicas;
mod run;
mod secrets;
mod session;
mod silence;
mod start;
mod watch;

pub use crate::engine::failure::SpeedWarning;
pub use answers::{ANSWERS, read_answers, read_questions};
pub use container::{installed_in, look, prepare};
pub use engine_help::{Installed, installed};
pub use launch::Commanded;
pub use measure::vocabulary;
pub use observer::{Event, Observer, Silent};
pub use run::run_trial;
pub use secrets::{HIDDEN, without_secrets};
pub use session::{Session, Stopped, as_error};
pub use types::{
    AskQuality, Failure, ImageFacts, LaunchFacts, LostAttempt, Measured, Outcome, Placement, TrialResult,
    TrialSpec,
};
pub use watch::{CLEAN_HIT_RATIO, RunPlan, WatchedRun};
