//! Search strategies over an [`Evaluator`]. Nothing here knows an engine, a process or HTTP: a candidate
//! goes in, scores come out, and in the tests an honest fake with seeded noise stands behind the trait.
//!
//! A score is the natural logarithm of the objective, turned so that larger is better (the negated
//! logarithm of a latency). The difference of two scores is then the log of a ratio, whatever the
//! objective.

pub mod additive;
mod beliefs;
mod beside;
pub mod choose;
mod command;
pub mod confirm;
pub mod culprits;
pub mod estimates;
pub mod evaluator;
pub mod forecasts;
pub mod guided;
pub mod ledger;
pub mod nodes;
pub mod objective;
pub mod one_factor;
pub mod settings;
pub mod space;
mod starts;
pub mod task;

#[cfg(test)]
pub(crate) mod fake;

pub use confirm::{Believed, Comparison, confirm};
pub use estimates::{Estimate, Estimates};
pub use evaluator::{Answer, Ask, Evaluator, FailedLaunch, Runs, Sample, Scope, Stage, Stop};
pub use forecasts::{Coverage, Forecaster, NoForecast, Screening};
pub use guided::{Ending, ForecastedLaunch, SpaceOutcome};
pub use ledger::{Effect, Ledger, Noise};
pub use nodes::{NodeSpeed, NodeStanding, Nodes};
pub use objective::{Objective, Slo};
pub use settings::Settings;
pub use space::{Knob, Space, cross_product, singles};
pub use task::Search;
