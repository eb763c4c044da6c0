//! The shared nouns: Scenario, Observation, Prediction, and the result keys (contract).

mod check;
mod files;
mod import;
pub mod metrics;
pub mod record;

pub use crate::launch::EngineKind;
pub use check::engine_of;
pub use files::{parse_records, read_records, read_scenarios, write_records, write_whole};
pub use import::to_vllm_json;
pub use metrics::{Key, Metrics};
pub use record::{Record, RequestRow};
