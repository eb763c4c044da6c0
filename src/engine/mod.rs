//! What is known of the engines: argv, defaults, readiness, metric names, log patterns, failure classes.
//! Pure: no process and no socket here.

pub mod command;
pub mod config;
pub mod resolve;

pub use command::ServeCommand;
pub use config::EngineConfig;
pub use resolve::{resolve, resolve_argv, resolve_command};
