//! Where in the life of the engine a line of its log stands.

use super::Class;
use super::text::Line;
use serde::Serialize;

/// Part of the engine's life, from the milestones in its log.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Phase {
    /// Arguments, configuration, devices.
    Start,
    /// Reading the weights.
    Load,
    /// Measuring memory and laying out the KV cache.
    KvCache,
    /// Compiling, capturing graphs, warming up.
    Warmup,
    /// Serving.
    Run,
    Stop,
}

impl Phase {
    pub fn id(self) -> &'static str {
        match self {
            Phase::Start => "start",
            Phase::Load => "load",
            Phase::KvCache => "kv-cache",
            Phase::Warmup => "warmup",
            Phase::Run => "run",
            Phase::Stop => "stop",
        }
    }
}

/// Text that opens a phase, over the engines and releases.
const MILESTONES: &[(&str, Phase)] = &[
    ("Starting to load model", Phase::Load),
    ("Loading safetensors", Phase::Load),
    ("Loading weights", Phase::Load),
    ("Load weight begin", Phase::Load),
    ("Loading checkpoint shards", Phase::Load),
    ("Prefetching ", Phase::Load),
    ("init weights", Phase::Load),
    ("Model loading took", Phase::KvCache),
    ("Loading weights took", Phase::KvCache),
    ("Load weight end", Phase::KvCache),
    ("Available KV cache memory", Phase::KvCache),
    // TensorRT-LLM allocates a small cache first to measure with, so this is not yet the end of it.
    ("for max tokens in paged KV cache", Phase::KvCache),
    ("KV cache size:", Phase::Warmup),
    ("Memory pool end", Phase::Warmup),
    ("KV Cache is allocated", Phase::Warmup),
    ("Capture cuda graph begin", Phase::Warmup),
    ("CUDA graph begin", Phase::Warmup),
    ("Capturing CUDA graph", Phase::Warmup),
    ("Autotuning process", Phase::Warmup),
    ("Creating CUDA graph", Phase::Warmup),
    ("max_total_num_tokens=", Phase::Warmup),
    ("Application startup complete", Phase::Run),
    ("The server is fired up and ready to roll", Phase::Run),
];

/// Phase at line `at`; some classes can only be of one phase.
pub(super) fn of(lines: &[Line], at: usize, class: Class, cause: &str) -> Phase {
    match class {
        Class::BadFlag | Class::BadValue | Class::ModelNotFound | Class::HubAccess | Class::PortInUse => {
            return Phase::Start;
        }
        // Longer than the model allows is refused at once, longer than the cache holds only when it is known.
        Class::TooLong if cause.contains("derived") => return Phase::Start,
        Class::NoKvRoom | Class::TooLong | Class::MemoryProfiling => return Phase::KvCache,
        _ => {}
    }
    let mut phase = Phase::Start;
    for line in &lines[..at] {
        for (text, opens) in MILESTONES {
            if *opens > phase && line.text.contains(text) {
                phase = *opens;
            }
        }
    }
    phase
}
