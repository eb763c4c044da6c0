//! What tests of documents ask of a launch.

use super::{EngineKind, GpuLayout, Launch};

/// Engine, model, GPUs.
pub(super) fn read(text: &str) -> (Option<EngineKind>, String, u32) {
    let l = Launch::parse(text);
    (l.engine, l.model.clone().unwrap_or_default(), GpuLayout::of(&l).gpus())
}
