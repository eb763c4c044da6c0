//! What is known of the engines: argv, defaults, readiness, metric names, log patterns, failure classes.
//! Pure: no process and no socket here.

pub mod config;

pub use config::EngineConfig;
