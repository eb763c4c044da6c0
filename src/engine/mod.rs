//! What is known of the engines: argv, defaults, readiness, metric names, log patterns, failure classes.
//! Pure: no process and no socket here. Differences between engines live in one file an engine.

pub mod adapter;
pub mod config;
pub mod failure;
pub mod help;
pub mod metrics;
pub mod redact;
pub mod registry;
pub mod resolve;
pub mod speculation;
pub mod steps;
mod told;

mod emulated;
mod sglang;
mod trtllm;
mod vllm;
mod vllm_like;

pub use adapter::{Adapter, Endpoints};
pub use config::{AttentionBalance, EngineConfig};
pub use failure::{Class, Remedy, Verdict, diagnose};
pub use help::HelpFlags;
pub use metrics::{MetricNames, Samples, config_facts};
pub use registry::adapter;
pub use resolve::{resolve, resolve_launch};
pub use speculation::{Drafter, Speculation};
pub use steps::{Span, StepRow};
pub use told::{half_of_a_service, misspelt, told, wrong_values};
