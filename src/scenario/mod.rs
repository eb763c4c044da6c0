//! The shared nouns: Scenario, Observation, Prediction, and the result keys (contract).

pub mod metrics;
pub mod record;

pub use metrics::{Key, Metrics};
pub use record::{EngineKind, Record, RequestRow};
