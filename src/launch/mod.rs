//! What is started, as a value: the engine, its release, its flags, files and environment.
//!
//! A launch is made from a candidate (by an engine's adapter), from a line of text, or from words and the files beside
//! them. It is printed in one place, [`Launch::to_text`], quoted for a shell, and read back in one place,
//! [`Launch::parse`]. Everything that resolves, forecasts, launches, records or recommends takes this value.

mod argv;
mod arithmetic;
mod arrays;
mod branches;
mod called;
mod candidate;
mod command;
mod compose;
mod container;
mod copied;
mod defaults;
mod dockerfile;
mod dstack;
mod engine;
mod file;
mod gpus;
mod heredoc;
mod kserve;
mod listed;
mod loops;
mod manifest;
mod nim;
mod options;
mod parse;
mod part;
mod pm2;
mod program;
mod prose;
mod python;
mod ray;
mod recipe;
mod request;
mod router;
mod runtime;
mod script;
mod several;
mod shell;
mod srt_slurm;
mod switches;
#[cfg(test)]
mod testing;
mod typography;
mod values;
mod version;
mod words;
mod wrapper;
mod yaml;

pub use argv::{canonical_flag, conflicts, fixed_candidate, fixed_value, flag_args, sets_any};
pub use candidate::{Candidate, FlagValue, REPLICAS, TOGETHER, VARIANT, is_variable};
pub use command::Launch;
pub use container::{
    CONTAINER_LABEL, Container, ContainerGpus, ContainerNetwork, ContainerRun, ContainerRuntime, Mount,
};
pub use engine::{EngineKind, assumed_version};
pub use file::LaunchFile;
pub use gpus::GpuLayout;
pub(crate) use python::tables as python_tables;
pub use recipe::{is_recipe, recipe_commands};
pub use request::{LaunchPlan, LaunchRequest};
pub use router::router_words;
pub(crate) use shell::{assignment, expanded};
pub use version::Version;
pub use words::{quote, split};
