//! Text of failures. Order matters: the first pattern that fits a line names its class.

use super::Class;
use super::text::is_quiet;
use crate::scenario::EngineKind;
use regex::Regex;
use std::sync::LazyLock;

/// Whether a line says why, or only that something else went wrong.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    Cause,
    Consequence,
}

#[derive(Debug)]
pub(super) struct Pattern {
    pub(super) class: Class,
    pub(super) rank: Rank,
    only: Option<EngineKind>,
    text: Regex,
}

impl Pattern {
    pub(super) fn matches(&self, line: &str, engine: Option<EngineKind>) -> bool {
        // The embedded engine speaks as vLLM does.
        let engine = engine.map(|e| if e == EngineKind::Emulated { EngineKind::Vllm } else { e });
        let engine_fits = self.only.is_none() || engine.is_none() || self.only == engine;
        engine_fits && self.text.is_match(line) && !is_quiet(line)
    }
}

use Class as C;
use EngineKind::{Sglang, Trtllm, Vllm};
use Rank::{Cause, Consequence};

type Row = (Class, Rank, Option<EngineKind>, &'static str);

/// Sources: the releases' own texts (vLLM 0.11 to 0.33, SGLang 0.5.4 to 0.5.23, TensorRT-LLM 1.0 to 1.3),
/// and logs of real failures of vLLM 0.32 on a CPU.
const ROWS: &[Row] = &[
    // Memory. "estimated maximum model length" carries the number to try next.
    (C::TooLong, Cause, None, r"To serve at least one request with the model"),
    (C::TooLong, Cause, None, r"estimated maximum model length is \d+"),
    (
        C::TooLong,
        Cause,
        Some(Vllm),
        r"max seq len \(\d+\) is larger than the maximum number of tokens that can be stored in KV cache",
    ),
    (
        C::TooLong,
        Cause,
        Some(Vllm),
        r"User-specified max_model_len \(\d+\) is greater than the derived max_model_len",
    ),
    (C::TooLong, Cause, Some(Sglang), r"context_length.* (?:greater|longer) than the (?:derived|model)"),
    (
        C::TooLong,
        Cause,
        Some(Trtllm),
        r"max_seq_len.* (?:exceeds|larger than).*(?:KV cache|max_position|model)",
    ),
    (C::MemoryHeld, Cause, None, r"Free memory on device.*is less than desired GPU memory utilization"),
    (C::MemoryProfiling, Cause, None, r"Error in memory profiling"),
    (C::NoKvRoom, Cause, None, r"No available memory for the cache blocks"),
    (C::NoKvRoom, Cause, None, r"Not enough memory\. Please try to increase --mem-fraction-static"),
    (C::NoKvRoom, Cause, None, r"(?:KV cache|kv cache).*(?:is too small|not enough|insufficient)"),
    (
        C::NoKvRoom,
        Cause,
        Some(Trtllm),
        r"(?:max_tokens|free_gpu_memory_fraction).*(?:not enough|too small|insufficient).*(?:KV|block)",
    ),
    (
        C::OutOfMemory,
        Cause,
        None,
        r"OutOfMemoryError|CUDA out of memory|HIP out of memory|CUDA error: out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation",
    ),
    (C::OutOfMemory, Cause, None, r"Executor creation failed due to insufficient GPU memory"),
    (
        C::OutOfMemory,
        Cause,
        None,
        r"DefaultCPUAllocator: (?:can't|not enough) .*memory|Cannot allocate memory|std::bad_alloc|\bMemoryError\b",
    ),
    (
        C::KilledByKernel,
        Cause,
        None,
        r"oom-kill|Out of memory: Killed process|signal 9 \(SIGKILL\).*out of memory",
    ),
    // Arguments.
    (
        C::BadFlag,
        Cause,
        None,
        r"error: unrecognized arguments|No such option|unrecognized option|unexpected argument '",
    ),
    (C::BadFlag, Cause, None, r"error: ambiguous option|could match --"),
    (
        C::BadFlag,
        Cause,
        None,
        r"Extra inputs are not permitted|extra_forbidden|got an unexpected keyword argument",
    ),
    (
        C::BadValue,
        Cause,
        None,
        r"error: argument .*(?:invalid choice|invalid .* value|expected (?:one|at least one) argument|not allowed)",
    ),
    (C::BadValue, Cause, None, r"Invalid value for '?-|invalid value '.*' for '|is not one of '"),
    (
        C::BadValue,
        Cause,
        None,
        r"error: the following arguments are required|Missing argument|required arguments were not provided",
    ),
    (
        C::BadValue,
        Cause,
        None,
        r"Input should be (?:greater|less|a valid|')|json\.decoder\.JSONDecodeError|Value .* cannot be converted|is not a valid JSON",
    ),
    (
        C::BadCombination,
        Cause,
        None,
        r"max_num_batched_tokens.*must be (?:greater|larger|at least).*max_num_seqs",
    ),
    (
        C::BadCombination,
        Cause,
        None,
        r"max_num_batched_tokens.*(?:is smaller than|must be (?:greater|larger|at least)).*max_model_len",
    ),
    (C::BadCombination, Cause, None, r"max_num_seqs.*must be .*(?:greater|less|at least)"),
    (
        C::BadCombination,
        Cause,
        None,
        r"(?:is|are) (?:not|currently not|incompatible) (?:compatible|supported) (?:with|when|together|in combination)",
    ),
    (
        C::BadCombination,
        Cause,
        None,
        r"(?:incompatible|mutually exclusive|cannot be (?:used|set|specified|enabled|combined)).*(?:with|together|at the same time|both|when)",
    ),
    (C::BadCombination, Cause, None, r"must be divisible by|is not divisible by|should be divisible by"),
    (
        C::BadCombination,
        Cause,
        None,
        r"(?:Number of attention heads|num_attention_heads|Total number of attention heads).*divisible",
    ),
    (
        C::BadCombination,
        Cause,
        None,
        r"does not support (?:speculative|pipeline parallel|chunked prefill|async|prefix cach)",
    ),
    (
        C::BadCombination,
        Cause,
        Some(Sglang),
        r"AssertionError: .*(?:requires|must be|should be|only works|need)",
    ),
    (
        C::NoDevice,
        Cause,
        None,
        r"World size \(\d+\) is larger than the number of available GPUs|invalid device ordinal|not enough GPUs|No GPU devices found on the node",
    ),
    (
        C::NoDevice,
        Cause,
        None,
        r"Failed to infer device type|No CUDA GPUs are available|no CUDA-capable device|Found no NVIDIA driver|Can't initialize NVML|NVML Shared Library Not Found",
    ),
    // What the part cannot do.
    (
        C::UnsupportedSinks,
        Cause,
        None,
        r"(?i)attention sinks?.*(?:only supported|not supported|requires?|unsupported)|sinks? (?:is|are) (?:only|not) supported|Sinks are only supported",
    ),
    (C::UnsupportedSinks, Cause, Some(Sglang), r"GptOssForCausalLM requires one of"),
    (
        C::UnsupportedQuantization,
        Cause,
        None,
        r"MoE is unsupported on SM|supported by FP4 block scale MOE|W4A16 MoE is unsupported",
    ),
    (
        C::UnsupportedQuantization,
        Cause,
        None,
        r"(?i)quantization method .* is not supported|The quantization method|unknown quantization method|(?:mxfp4|nvfp4|fp8|awq|gptq|marlin)[^:]*(?:is|are) not (?:currently )?supported (?:on|by|for)",
    ),
    (C::UnsupportedQuantization, Cause, None, r"does not match the quantization method specified"),
    (
        C::UnsupportedDtype,
        Cause,
        None,
        r"Bfloat16 is only supported on GPUs|dtype .*(?:is not supported|not supported for)|kv.cache.dtype.*not supported|does not support.*(?:kv_cache_dtype|fp8 KV|kv cache dtype)|torch_dtype .* is not supported",
    ),
    (
        C::UnsupportedArchitecture,
        Cause,
        None,
        r"Model architectures .* (?:are not supported|failed to be inspected)|does not recognize this architecture|Unsupported architecture|Unknown model architecture|model type `\w+` but Transformers",
    ),
    (
        C::UnsupportedBackend,
        Cause,
        None,
        r"No valid attention backend|attention backend .*(?:not supported|is not (?:valid|available))|Selected backend .* is not valid|not supported (?:by|in) .*backend|Invalid attention backend|MoE backend .*(?:not supported|unsupported)|backend .* does not support",
    ),
    (
        C::UnsupportedGpu,
        Cause,
        None,
        r"no kernel image is available for execution on the device|is not compatible with the current PyTorch installation|(?:requires|only supports?|only supported on) (?:compute capability|SM ?\d|sm_?\d|Hopper|Blackwell)|Minimum capability|compute capability \d",
    ),
    (
        C::DriverTooOld,
        Cause,
        None,
        r"NVIDIA driver on your system is too old|CUDA driver version is insufficient|unsupported display driver",
    ),
    // Files, network, libraries.
    (
        C::PortInUse,
        Cause,
        None,
        r"[Aa]ddress already in use|\[Errno 98\]|Failed to bind socket to|port \d+ is (?:already )?(?:in use|not available|taken)",
    ),
    (
        C::HubAccess,
        Cause,
        None,
        r"GatedRepoError|gated repo|401 Client Error|403 Client Error|Access to model .* is restricted|Invalid (?:user )?token|ConnectionError.*huggingface|Max retries exceeded with url|couldn't connect to|LocalEntryNotFoundError|Cannot find an appropriate cached snapshot|offline mode is enabled",
    ),
    (
        C::ModelNotFound,
        Cause,
        None,
        r"RepositoryNotFoundError|is not a local folder and is not a valid model identifier|404 Client Error|HFValidationError|Repo id must|does not appear to have a file named|Invalid repository ID|can't find.*config\.json|No such file or directory: '.*config\.json|is not a valid model|not found in (?:data|models)|unknown model",
    ),
    (
        C::ModelNotFound,
        Cause,
        None,
        r"Cannot find any model weights|No safetensors|Can't load tokenizer|Can't load the configuration",
    ),
    (C::DiskFull, Cause, None, r"No space left on device|\[Errno 28\]|Disk quota exceeded"),
    (C::TooManyFiles, Cause, None, r"Too many open files|\[Errno 24\]"),
    (
        C::SharedMemory,
        Cause,
        None,
        r"/dev/shm|insufficient shared memory|Error while creating shared memory|shm_open",
    ),
    (
        C::MissingKernel,
        Cause,
        None,
        r"undefined symbol|has no attribute '_C|No module named '[\w.]*_C(?:_\w+)?'|cannot open shared object file.*(?:cuda|torch|flash|sgl|trt|nccl|cudart)|operator .* does not exist|flash.?attn.* is not (?:installed|available)|Ninja is required|sgl.kernel.* (?:not|too old)",
    ),
    (
        C::MissingLibrary,
        Cause,
        None,
        r"ModuleNotFoundError|ImportError|PackageNotFoundError|cannot open shared object file|GLIBC(?:XX)?_[\d.]+' not found",
    ),
    (
        C::Communication,
        Cause,
        None,
        r"NCCL (?:error|WARN)|ncclSystemError|ncclInternalError|ncclUnhandledCudaError|DistBackendError|DistNetworkError|Gloo connectFullMesh failed|MPI_ABORT|MPI_Init",
    ),
    (
        C::CompileFailed,
        Cause,
        None,
        r"InductorError|torch\._dynamo\.exc|BackendCompilerFailed|CppCompileError|C compiler|Failed to find C compiler|CompilationError|nvcc fatal|ptxas (?:fatal|error)|LLVM ERROR",
    ),
    (
        C::CudaError,
        Cause,
        None,
        r"an illegal memory access|device-side assert|CUDA error:|CUBLAS_STATUS|CUDNN_STATUS|cudaErrorLaunchFailure|misaligned address|unspecified launch failure|Xid",
    ),
    (
        C::Watchdog,
        Cause,
        None,
        r"Watchdog (?:timeout|caught)|watchdog timeout|RPC call to \w+ timed out|Timed out waiting for|TimeoutError: .*execute_model|DetokenizerManager.*timed out|Server couldn't get a response from detokenizer",
    ),
    (
        C::RequestTooLong,
        Cause,
        None,
        r"maximum context length is|longer than the maximum model length|exceeds? (?:the )?(?:max_model_len|maximum (?:allowed )?(?:length|context)|max_seq_len|context length)|should not exceed max_num_tokens",
    ),
    (C::IllegalInstruction, Cause, None, r"Illegal instruction|SIGILL"),
    (C::Crash, Cause, None, r"Segmentation fault|SIGSEGV|SIGABRT|core dumped|!!!!!!! Segfault"),
    (C::Unwritable, Cause, None, r"Permission denied|Read-only file system|\[Errno 13\]|\[Errno 30\]"),
    (
        C::NotInstalled,
        Cause,
        None,
        r"command not found|No module named (?:vllm|sglang|tensorrt_llm)$|: not found$",
    ),
    (C::Terminated, Cause, None, r"SystemExit: SIGTERM|KeyboardInterrupt|RuntimeError: cancelled"),
    // Consequences: something above should say why.
    (
        C::EngineCoreDeath,
        Consequence,
        None,
        r"EngineDeadError|Engine core initialization failed|[Ee]ngine core (?:proc )?\S* ?(?:died|exited) unexpectedly|EngineCore (?:failed to start|encountered)|Engine core proc .* died",
    ),
    (
        C::WorkerDeath,
        Consequence,
        None,
        r"WorkerProc initialization failed|Worker proc .* died unexpectedly|Executor worker (?:initialization error|died|returned error)|Received sigquit from a child process|scheduler (?:is dead|died)|Scheduler hit an exception|Initialization failed\. (?:warmup error|Please see)|Rank \d+ .*(?:dead|died)|worker died",
    ),
];

pub(super) static PATTERNS: LazyLock<Vec<Pattern>> = LazyLock::new(|| {
    ROWS.iter()
        .map(|(class, rank, only, text)| Pattern {
            class: *class,
            rank: *rank,
            only: *only,
            text: Regex::new(text).expect("constant"),
        })
        .collect()
});
