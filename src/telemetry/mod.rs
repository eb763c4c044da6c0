//! NVML, /proc and the engine's metrics, sampled.
