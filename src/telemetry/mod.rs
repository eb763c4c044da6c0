//! What the engine and the machine say of themselves: readiness, version, metrics, memory.

pub mod client;
mod detect;
mod http;
pub mod log;
pub mod nvml;
mod rocm;
pub mod sampler;

pub use client::{EngineClient, Probe, ServedModel};
pub use detect::detect;
pub use http::{Http, brief};
pub use log::LogTail;
pub use nvml::{Detected, Gpu, GpuProcess};
pub use sampler::{Peaks, Sampler};
