//! `llm-dyno`: the engine dynamometer for LLM serving.
//!
//! Which room does what, and which room may import which, stands in `ARCHITECTURE.md`; `tests/architecture.rs` holds the
//! code to that table.

pub mod error;
pub mod units;

pub mod data;
pub mod launch;

pub mod stats;

pub mod hardware;
pub mod host;
pub mod model;

pub mod space;
pub mod workload;

pub mod scenario;

pub mod engine;

pub mod cost;
pub mod sim;

pub mod quality;

pub mod process;

pub mod load;
pub mod telemetry;

pub mod executor;
pub mod trial;

pub mod search;
pub mod store;
pub mod tune;

pub mod capacity;
pub mod report;

pub mod emulate;

pub mod cli;
