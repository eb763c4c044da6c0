//! The embedded engine: an OpenAI-compatible server whose clock is the simulator's.
//!
//! `dyno emulate` takes vLLM's flags, answers on vLLM's endpoints and refuses what vLLM refuses, but computes
//! no token: the simulator's scheduler decides which requests share a step, a step-time model says how long
//! the step takes, and the tokens leave when that time has passed. What it tells is therefore *emulated*,
//! never measured, and every line of its log says so.
//!
//! [`plan()`] turns arguments into a launch, [`refuse`] says whether a real engine would start, [`run`] serves.
//! Inside, [`clockwork`] is the engine in time that is an argument, [`driver`] runs it on the real clock,
//! [`server`] speaks HTTP.

mod body;
mod book;
pub mod clockwork;
mod coefficients;
pub mod driver;
pub mod fault;
mod flag_table;
pub mod flags;
pub mod log;
pub mod noise;
pub mod plan;
mod ranks;
pub mod refuse;
pub mod reply;
pub mod request;
pub mod run;
pub mod server;
pub mod stats;
pub mod stream;
pub mod text;

pub use log::Log;
pub use plan::{Asked, Plan, plan};
pub use ranks::Ranks;
pub use run::serve;
