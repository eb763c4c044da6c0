//! One file an engine: how its scheduler composes a step.

pub mod vllm;

use super::kv::KvLayout;
use super::scheduler::Scheduler;
use crate::engine::EngineConfig;

/// The scheduler of a launch. `window` is the one to which the step-time model's `*_ctx_window` sums are
/// clipped ([`StepTime::window`](crate::cost::StepTime::window)).
pub fn build(config: &EngineConfig, layout: &KvLayout, window: Option<u32>) -> Box<dyn Scheduler> {
    Box::new(vllm::VllmScheduler::new(config, layout, window))
}
