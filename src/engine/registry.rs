//! Which adapter is whose.

use super::Adapter;
use crate::launch::EngineKind;

/// The adapter of an engine.
pub fn adapter(kind: EngineKind) -> &'static dyn Adapter {
    match kind {
        EngineKind::Vllm => &super::vllm::Vllm,
        EngineKind::Emulated => &super::emulated::Emulated,
        EngineKind::Sglang => &super::sglang::Sglang,
        EngineKind::Trtllm => &super::trtllm::Trtllm,
    }
}
