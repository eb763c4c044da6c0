//! Search strategies over an [`Evaluator`]. Nothing here knows an engine, a process or HTTP: a candidate
//! goes in, scores come out, and in the tests an honest fake with seeded noise stands behind the trait.
//!
//! A score is the natural logarithm of the objective, turned so that larger is better (the negated
//! logarithm of a latency). The difference of two scores is then the log of a ratio, whatever the
//! objective.

pub mod confirm;
pub mod evaluator;
pub mod guided;
pub mod ledger;
pub mod objective;
pub mod one_factor;
pub mod settings;
pub mod space;
pub mod surrogate;
pub mod sweep;

#[cfg(test)]
pub(crate) mod fake;

pub use confirm::{Comparison, confirm};
pub use evaluator::{Answer, Ask, Evaluator, FailedLaunch, Runs, Sample, Scope, Stage, Stop};
pub use guided::{Foreseen, Swept, guided};
pub use ledger::{Effect, Ledger};
pub use objective::{Objective, Slo};
pub use one_factor::one_factor;
pub use settings::Settings;
pub use space::{Knob, Space, cross_product, singles};
pub use sweep::{Covered, Forecaster, Screening};
