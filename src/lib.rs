//! `llm-dyno`: the engine dynamometer for LLM serving.
//!
//! Rooms import only rooms above them in `ARCHITECTURE.md`; `tests/architecture.rs` reads the `use` lines
//! and fails on any other. `cli` is the only room that prints or exits; tokio appears only in `load`,
//! `telemetry`, `trial`, `emulate`, `tune` and `cli`; `sim`, `cost`, `space`, `search` and `report` do no
//! I/O and read no clock.

pub mod error;
pub mod units;

pub mod data;
pub mod launch;

pub mod stats;

pub mod hardware;
pub mod model;

pub mod space;
pub mod workload;

pub mod scenario;

pub mod engine;

pub mod cost;
pub mod sim;

pub mod process;

pub mod load;
pub mod telemetry;

pub mod trial;

pub mod search;
pub mod store;
pub mod tune;

pub mod capacity;
pub mod report;

pub mod emulate;

pub mod cli;
