//! Who wrote a log: the engine, and whether the lines themselves show that it was an engine at all.

use crate::launch::EngineKind;

/// The engine of a log, as far as it is known.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(in super::super) struct Speaker {
    pub(in super::super) engine: Option<EngineKind>,
    /// An engine wrote this, told by the caller or by lines that only a running engine writes. The name alone
    /// is no proof: `pip install vllm` names it too.
    pub(in super::super) certain: bool,
}

/// Words that only one engine's running program writes.
const PROOF: &[(&str, EngineKind)] = &[
    ("dyno emulate", EngineKind::Emulated),
    ("(emulated ", EngineKind::Emulated),
    ("[TRT-LLM]", EngineKind::Trtllm),
    ("[TensorRT-LLM]", EngineKind::Trtllm),
    ("tensorrt_llm/", EngineKind::Trtllm),
    ("tensorrt_llm.", EngineKind::Trtllm),
    ("tensorrt_llm::", EngineKind::Trtllm),
    ("trtllm-serve", EngineKind::Trtllm),
    ("TorchLlmArgs", EngineKind::Trtllm),
    ("TRTLLM_", EngineKind::Trtllm),
    ("libtriton_tensorrtllm", EngineKind::Trtllm),
    ("load 'tensorrt_llm'", EngineKind::Trtllm),
    ("loaded 'tensorrt_llm'", EngineKind::Trtllm),
    ("sglang/", EngineKind::Sglang),
    ("sglang.launch_server", EngineKind::Sglang),
    ("sglang.srt", EngineKind::Sglang),
    ("sglang::", EngineKind::Sglang),
    ("sgl_kernel", EngineKind::Sglang),
    ("--mem-fraction-static", EngineKind::Sglang),
    ("mem_fraction_static", EngineKind::Sglang),
    ("server_args=ServerArgs", EngineKind::Sglang),
    ("Received sigquit from a child process", EngineKind::Sglang),
    ("SIGQUIT received. signum=", EngineKind::Sglang),
    ("Load weight begin", EngineKind::Sglang),
    ("The server is fired up and ready to roll", EngineKind::Sglang),
    ("Scheduler hit an exception", EngineKind::Sglang),
    ("max_total_num_tokens=", EngineKind::Sglang),
    ("launch_server.py", EngineKind::Sglang),
    ("Decode batch", EngineKind::Sglang),
    ("Prefill batch", EngineKind::Sglang),
    ("avail mem=", EngineKind::Sglang),
    ("vllm/", EngineKind::Vllm),
    ("vllm.v1", EngineKind::Vllm),
    ("vllm.engine", EngineKind::Vllm),
    ("vllm.entrypoints", EngineKind::Vllm),
    ("vllm serve", EngineKind::Vllm),
    ("vllm: error", EngineKind::Vllm),
    ("vLLM API server version", EngineKind::Vllm),
    ("vLLM is using", EngineKind::Vllm),
    ("VLLM_", EngineKind::Vllm),
    ("VllmWorker", EngineKind::Vllm),
    ("(EngineCore", EngineKind::Vllm),
    ("Process EngineCore", EngineKind::Vllm),
    ("Engine core init", EngineKind::Vllm),
    ("Engine process failed", EngineKind::Vllm),
    ("Initializing a V", EngineKind::Vllm),
    ("llm_engine.py", EngineKind::Vllm),
    ("Automatically detected platform", EngineKind::Vllm),
    ("(APIServer", EngineKind::Vllm),
    ("(Worker_", EngineKind::Vllm),
    ("(Worker pid", EngineKind::Vllm),
    ("multiproc_executor.py", EngineKind::Vllm),
    ("gpu_model_runner.py", EngineKind::Vllm),
    ("kv_cache_utils.py", EngineKind::Vllm),
];

/// Names that other programs' logs hold too.
const NAMES: &[(&str, EngineKind)] = &[
    ("TensorRT-LLM", EngineKind::Trtllm),
    ("TensorRT LLM", EngineKind::Trtllm),
    ("tensorrt_llm", EngineKind::Trtllm),
    ("TRT-LLM", EngineKind::Trtllm),
    ("sglang", EngineKind::Sglang),
    ("SGLang", EngineKind::Sglang),
    ("vllm", EngineKind::Vllm),
    ("vLLM", EngineKind::Vllm),
];

/// Lines of installers, which name engines and end in errors of their own.
const INSTALLERS: &[&str] = &[
    "Collecting ",
    "Successfully installed ",
    "Requirement already satisfied",
    "pip's dependency resolver",
    "Building wheel",
];

impl Speaker {
    /// The engine as told, else recognised: the earliest word decides, since engines import and name one
    /// another further down.
    pub(in super::super) fn of(told: Option<EngineKind>, log: &str) -> Speaker {
        let installer = INSTALLERS.iter().any(|w| log.contains(w));
        let earliest = |words: &[(&str, EngineKind)]| {
            let found = words.iter().filter(|(w, _)| !installer || w.contains([' ', '(', '[', '=']));
            found
                .filter_map(|(w, e)| log.find(w).map(|at| (at, *e)))
                .min_by_key(|(at, _)| *at)
                .map(|(_, e)| e)
        };
        let proof = earliest(PROOF);
        Speaker {
            engine: told.or(proof).or_else(|| earliest(NAMES)),
            certain: told.is_some() || proof.is_some(),
        }
    }

    /// This one where it knows the engine, else the other.
    pub(in super::super) fn or(self, other: Speaker) -> Speaker {
        if self.certain || other.engine.is_none() { self } else { other }
    }
}
