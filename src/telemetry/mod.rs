//! What the engine and the machine say of themselves: readiness, version, metrics, memory.

pub mod client;
pub mod log;
pub mod nvml;
pub mod sampler;

pub use client::{EngineClient, Probe, ServedModel};
pub use log::LogTail;
pub use nvml::{Detected, Gpu, GpuProcess, detect};
pub use sampler::{Peaks, Sampler};
