//! Step costs: what one engine step takes, from what is in the batch.

pub mod binding;
pub mod calibration;
pub mod case;
pub mod coefficients;
pub mod conditions;
pub mod discrepancy;
mod drafting;
pub mod fit;
pub mod footprint;
pub mod habits;
mod interval;
pub mod kernels;
mod kv_room;
pub mod law;
pub mod levenberg;
pub mod memory;
mod misfit;
pub mod model_kind;
pub mod noise;
mod notes;
mod payoff;
pub mod physical;
pub mod pool;
pub mod pooling;
pub mod predict;
pub mod prior;
pub mod profile;
pub mod refusal;
mod releases;
mod reserves;
pub mod seen;
pub mod setup;
pub mod solve;
pub mod standing;
pub mod steps;
#[cfg(test)]
pub(crate) mod testing;

pub use coefficients::Coefficients;
pub use footprint::Footprint;
pub use interval::Interval;
pub use kv_room::KvRoom;
pub use model_kind::ModelKind;
pub use payoff::Payoff;
pub use physical::{Breakdown, Physical};
pub use predict::{Prediction, Predictor};
pub use profile::Profile;
pub use refusal::Refusal;
pub use setup::{Catalogs, Setup};
pub use standing::Standing;

pub use crate::sim::step::{StepCost, StepShape, StepTime};
