//! The shared nouns: Scenario, Observation, Prediction, and the result keys (contract).

mod acceptance;
mod beside;
mod check;
pub mod client_report;
mod files;
mod import;
pub mod key;
pub mod metrics;
pub mod record;
mod sources;

pub use acceptance::AcceptanceInput;
pub use beside::{files_named_by, read_beside};
pub use check::engine_of;
pub use client_report::ClientReport;
pub use files::{
    Loaded, load, load_text, parse_records, read_records, read_scenarios, write_private, write_records,
    write_whole,
};
pub use import::to_vllm_json;
pub use key::Key;
pub use metrics::Metrics;
pub use record::{Record, RequestRow};
pub use sources::expand as expand_sources;
