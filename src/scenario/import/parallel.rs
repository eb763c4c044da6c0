//! A launch as far as a table of results tells it: engine, model and how many GPUs share the work.

use crate::launch::{EngineKind, quote};

/// The program with its model.
pub(super) fn program(engine: EngineKind, model: &str) -> String {
    let model = quote(model);
    match engine {
        EngineKind::Vllm => format!("vllm serve {model}"),
        EngineKind::Sglang => format!("python3 -m sglang.launch_server --model-path {model}"),
        EngineKind::Trtllm => format!("trtllm-serve {model}"),
        EngineKind::Emulated => format!("dyno emulate --model {model}"),
    }
}

/// How the GPUs share the work.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default)]
pub(super) struct Shares {
    pub(super) tensor: Option<u32>,
    pub(super) pipeline: Option<u32>,
    pub(super) expert: Option<u32>,
    pub(super) data: Option<u32>,
    /// Attention runs data-parallel over the GPUs of the tensor-parallel group, in as many ranks as `data` says, else in as many as
    /// there are GPUs.
    pub(super) attention: bool,
}

/// The command that such a row stands for; nothing is added that the row does not say.
pub(super) fn command(engine: EngineKind, model: &str, s: Shares) -> String {
    let mut words = vec![program(engine, model)];
    let mut size = |name: &str, n: Option<u32>| {
        if let Some(n) = n.filter(|n| *n > 1) {
            words.push(format!("{name} {n}"));
        }
    };
    match engine {
        EngineKind::Sglang => {
            size("--tp-size", s.tensor);
            size("--pp-size", s.pipeline);
            size("--ep-size", s.expert);
            if s.attention {
                size("--dp-size", s.data.or(s.tensor));
                words.push("--enable-dp-attention".into());
            } else {
                size("--dp-size", s.data);
            }
        }
        EngineKind::Trtllm => {
            size("--tp_size", s.tensor);
            size("--pp_size", s.pipeline);
            size("--ep_size", s.expert);
        }
        EngineKind::Vllm | EngineKind::Emulated => {
            // vLLM's name for attention that runs data-parallel is data parallelism with expert parallelism.
            let (tensor, data) = if s.attention { (None, s.tensor) } else { (s.tensor, s.data) };
            size("--tensor-parallel-size", tensor);
            size("--pipeline-parallel-size", s.pipeline);
            size("--data-parallel-size", data);
            if s.expert.is_some_and(|n| n > 1) {
                words.push("--enable-expert-parallel".into());
            }
        }
    }
    words.join(" ")
}

/// The engine that a tool's word for it means: `sglang`, `vllm`, `trt`, `TRT-LLM`, `tensorrt_llm`.
pub(super) fn engine_named(name: &str) -> Option<EngineKind> {
    let n = name.to_lowercase().replace(['-', '_', ' '], "");
    match n {
        n if n.contains("sglang") || n == "sgl" => Some(EngineKind::Sglang),
        n if n.contains("vllm") => Some(EngineKind::Vllm),
        n if n.starts_with("trt") || n.contains("tensorrtllm") => Some(EngineKind::Trtllm),
        n if n == "emulated" => Some(EngineKind::Emulated),
        _ => None,
    }
}
