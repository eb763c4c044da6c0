//! The campaign: baselines, engine choice, flag search, confirmation, verdict.

mod asked;
mod before_after;
pub mod campaign;
pub mod cancel;
mod conclude;
pub mod events;
mod findings;
pub mod fixed_args;
pub mod forecaster;
mod gate;
pub mod launcher;
mod level;
mod nodes;
pub mod observed;
mod odd;
pub mod outcomes;
mod places;
mod preset;
mod prior;
mod problems;
mod queue;
mod race;
mod remedies;
mod remote;
pub mod request;
mod rescue;
mod resumed;
pub mod runner;
mod same_engine;
mod side_by_side;
pub mod spaces;
mod starts;
mod tries;

#[cfg(test)]
mod tests;

pub use campaign::{Campaign, Ended, Outcome};
pub use cancel::Cancel;
pub use events::{Event, Progress, Silent, Watcher};
pub use fixed_args::spelling;
pub use launcher::TrialLauncher;
pub use queue::Queue;
pub use remote::RemoteLauncher;
pub use request::TuneRequest;
pub use resumed::{Standing, standing};
pub use runner::{Launcher, Runner};
pub use spaces::{PlannedSpaces, Spaces};
