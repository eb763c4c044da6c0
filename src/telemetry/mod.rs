//! What the engine and the machine say of themselves: readiness, version, metrics, memory.

pub mod client;
pub mod log;
pub mod sampler;

pub use client::{EngineClient, Probe, ServedModel};
pub use log::LogTail;
pub use sampler::{Peaks, Sampler};
