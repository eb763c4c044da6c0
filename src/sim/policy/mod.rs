//! One file an engine: how its scheduler composes a step.

mod balance;
mod batch;
pub mod sglang;
pub mod trtllm;
pub mod vllm;

use super::kv::KvLayout;
use super::scheduler::Scheduler;
use crate::engine::EngineConfig;
use crate::launch::EngineKind;

/// The scheduler of a launch. `window` is the one to which the step-time model's `*_ctx_window` sums are
/// clipped ([`StepTime::window`](crate::sim::step::StepTime::window)).
pub fn build(config: &EngineConfig, layout: &KvLayout, window: Option<u32>) -> Box<dyn Scheduler> {
    match config.engine {
        EngineKind::Vllm | EngineKind::Emulated => Box::new(vllm::VllmScheduler::new(config, layout, window)),
        EngineKind::Sglang => Box::new(sglang::SglangScheduler::new(config, layout, window)),
        EngineKind::Trtllm => Box::new(trtllm::TrtllmScheduler::new(config, layout, window)),
    }
}

#[cfg(test)]
mod tests;
