//! Text of failures. Order matters: the first pattern that fits a line names its class.

use super::Class;
use crate::scenario::EngineKind;
use regex::RegexSet;
use std::sync::LazyLock;

/// What a line says about a failure.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Rank {
    /// Why.
    Cause,
    /// That something went wrong, with the reason below it.
    Opener,
    /// That something went wrong, with the reason above it; what follows is of no account.
    Closer,
}

/// Class and rank of a line, from the first pattern that fits it.
pub(super) fn first(text: &str, engine: Option<EngineKind>) -> Option<(Class, Rank)> {
    // The embedded engine speaks as vLLM does.
    let engine = engine.map(|e| if e == EngineKind::Emulated { EngineKind::Vllm } else { e });
    let fits = |only: Option<EngineKind>| only.is_none() || engine.is_none() || only == engine;
    SET.matches(text).iter().map(|i| &ROWS[i]).find(|row| fits(row.2)).map(|row| (row.0, row.1))
}

static SET: LazyLock<RegexSet> =
    LazyLock::new(|| RegexSet::new(ROWS.iter().map(|row| row.3)).expect("constant"));

use Class as C;
use EngineKind::{Sglang, Trtllm, Vllm};
use Rank::{Cause, Closer, Opener};

type Row = (Class, Rank, Option<EngineKind>, &'static str);

/// Sources: the releases' own texts (vLLM 0.11 to 0.33, SGLang 0.5.4 to 0.5.23, TensorRT-LLM 1.0 to 1.3),
/// reports of their users, and logs of real failures of vLLM 0.32 on a CPU.
#[rustfmt::skip]
const ROWS: &[Row] = &[
    // Memory. "estimated maximum model length" carries the number to try next.
    (C::TooLong, Cause, None, r"To serve at least one request with the model"),
    (C::TooLong, Cause, None, r"estimated maximum model length is \d+"),
    (C::TooLong, Cause, Some(Vllm), r"max seq len \(\d+\) is larger than the maximum number of tokens that can be stored in KV cache"),
    (C::TooLong, Cause, None, r"User-specified (?:max_model_len|context_length) \(\d+\) is greater than the derived"),
    (C::TooLong, Cause, Some(Trtllm), r"max_seq_len.* (?:exceeds|larger than).*(?:KV cache|max_position|model)"),
    (C::MemoryHeld, Cause, None, r"Free memory on device.*is less than desired GPU memory utilization"),
    (C::MemoryProfiling, Cause, None, r"Error in memory profiling"),
    (C::NoKvRoom, Cause, None, r"No available memory for the cache blocks"),
    (C::NoKvRoom, Cause, None, r"Not enough memory\. Please try to increase --mem-fraction-static"),
    (C::NoKvRoom, Cause, None, r"(?i)\bKV cache\b.*(?:is too small|not enough|insufficient)"),
    (C::NoKvRoom, Cause, Some(Trtllm), r"(?:max_tokens|free_gpu_memory_fraction).*(?:not enough|too small|insufficient).*(?:KV|block)"),
    (C::OutOfMemory, Cause, None, r"OutOfMemoryError|(?:CUDA|HIP) out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation"),
    (C::OutOfMemory, Cause, None, r"(?i)\b(?:CUDA|HIP)\b.*: out of memory|Cuda Runtime \(out of memory\)"),
    (C::OutOfMemory, Cause, None, r"Executor creation failed due to insufficient GPU memory"),
    (C::OutOfMemory, Cause, None, r"DefaultCPUAllocator: (?:can't|not enough) .*memory|Cannot allocate memory|std::bad_alloc|^MemoryError\b"),
    (C::KilledByKernel, Cause, None, r"oom-kill|Out of memory: Killed process|signal 9 \(SIGKILL\).*out of memory"),
    // Arguments.
    (C::BadFlag, Cause, None, r"error: unrecognized arguments|No such option|unrecognized option|error: unexpected argument '"),
    (C::BadFlag, Cause, None, r"error: ambiguous option|could match --"),
    (C::BadFlag, Cause, None, r"Extra inputs are not permitted|extra_forbidden|__init__\(\) got an unexpected keyword argument"),
    (C::BadValue, Cause, None, r"error: argument .*(?:invalid choice|invalid .* value|expected (?:one|at least one) argument|not allowed|cannot be converted)"),
    (C::BadValue, Cause, None, r"Invalid value for '?-|error: invalid value '.*' for '|is not one of '"),
    (C::BadValue, Cause, None, r"error: the following arguments are required|Missing argument|requires an argument|required arguments were not provided"),
    (C::BadValue, Cause, None, r"Input should be (?:greater|less|an? |')|^json\.decoder\.JSONDecodeError|is not a valid JSON"),
    // What the part cannot do; before the combinations, whose wording is wider.
    (C::UnsupportedSinks, Cause, None, r"(?i)attention sinks? .*(?:only supported|not supported|requires?|unsupported)|sinks? (?:is|are) (?:only|not) supported"),
    (C::UnsupportedSinks, Cause, None, r"(?:Selected backend|attention backend) .*sink setting not supported"),
    (C::UnsupportedSinks, Cause, Some(Sglang), r"GptOssForCausalLM requires one of"),
    (C::UnsupportedQuantization, Cause, None, r"MoE is unsupported on SM|supported by FP4 block scale MOE|Arch unsupported for .*FP4"),
    (C::UnsupportedQuantization, Cause, None, r"(?i)quantization method .* is not supported|unknown quantization method|(?:mxfp4|nvfp4|fp8|awq|gptq|marlin)[^:]*(?:is|are) not (?:currently )?supported (?:on|by|for)"),
    (C::UnsupportedQuantization, Cause, None, r"does not match the quantization method specified"),
    (C::UnsupportedBackend, Cause, None, r"No valid attention backend|attention backend .*(?:not supported|is not (?:valid|available))|Selected backend .* is not valid|Invalid attention backend"),
    (C::UnsupportedBackend, Cause, None, r"(?i)\bbackend (?:is only supported on|does not support|is not supported)|MoE backend .*(?:not supported|unsupported)|not supported (?:by|in) .*backend"),
    (C::UnsupportedDtype, Cause, None, r"Bfloat16 is only supported on GPUs|type fp8\w+ not supported in this architecture|torch_dtype .* is not supported"),
    (C::UnsupportedDtype, Cause, None, r"(?i)\bdtype .*(?:is not supported|not supported for)|kv.cache.dtype.*not supported|does not support.*(?:kv_cache_dtype|fp8 KV|kv cache dtype)"),
    (C::UnsupportedArchitecture, Cause, None, r"Model architectures .* (?:are not supported|failed to be inspected)|does not recognize this architecture|Unsupported architecture|Unknown (?:model )?architecture"),
    (C::UnsupportedGpu, Cause, None, r"no kernel image is available for execution on the device|is not compatible with the current PyTorch installation"),
    (C::UnsupportedGpu, Cause, None, r"(?:requires|only supports?|only supported on) (?:compute capability|SM ?\d|sm_?\d|Hopper|Blackwell)|Minimum capability"),
    (C::DriverTooOld, Cause, None, r"NVIDIA driver on your system is too old|CUDA driver version is insufficient|unsupported display driver"),
    (C::NoDevice, Cause, None, r"World size \(\d+\) is larger than the number of available GPUs|invalid device ordinal|not enough GPUs|No GPU devices found on the node"),
    (C::NoDevice, Cause, None, r"Failed to infer device type|No CUDA GPUs are available|no CUDA-capable device|Found no NVIDIA driver|Can't initialize NVML|NVML Shared Library Not Found"),
    (C::BadCombination, Cause, None, r"max_num_batched_tokens.*(?:is smaller than|must be (?:greater|larger|at least)).*(?:max_num_seqs|max_model_len)"),
    (C::BadCombination, Cause, None, r"max_num_seqs.*must be .*(?:greater|less|at least)"),
    (C::BadCombination, Cause, None, r"(?:is|are) (?:not|currently not|incompatible) (?:compatible|supported) (?:with|when|together|in combination)"),
    (C::BadCombination, Cause, None, r"(?:incompatible|mutually exclusive|cannot be (?:used|set|specified|enabled|combined)).*(?:with|together|at the same time|both|when)|[Dd]on't set both"),
    (C::BadCombination, Cause, None, r"(?:must|should) be divisible by|is not divisible by"),
    (C::BadCombination, Cause, None, r"does not support (?:speculative|pipeline parallel|chunked prefill|async|prefix cach)"),
    // Files, network, libraries.
    (C::PortInUse, Cause, None, r"[Aa]ddress already in use|\[Errno 98\]|Failed to bind socket to|port \d+ is (?:already )?(?:in use|not available|taken)"),
    (C::RemoteCode, Cause, None, r"contains custom code which must be executed|trust_remote_code=True"),
    (C::HubAccess, Cause, None, r"GatedRepoError|gated repo|40[13] Client Error|Access to model .* is restricted|Invalid (?:user )?token"),
    (C::HubAccess, Cause, None, r"ConnectionError.*huggingface|Max retries exceeded with url|couldn't connect to|LocalEntryNotFoundError|Cannot find an appropriate cached snapshot|offline mode is enabled"),
    (C::ModelNotFound, Cause, None, r"RepositoryNotFoundError|is not a local folder and is not a valid model identifier|404 Client Error|HFValidationError|Repo id must|Invalid repository ID"),
    (C::ModelNotFound, Cause, None, r"does not appear to have a file named|can't find.*config\.json|No such file or directory: '.*config\.json|not found in (?:data|models)|unknown model"),
    (C::ModelNotFound, Cause, None, r"Cannot find any model weights|No safetensors|Can't load tokenizer|Can't load the configuration"),
    (C::SharedMemory, Cause, None, r"insufficient shared memory|Error while creating shared memory|No space left on device: '/dev/shm|shm_open"),
    (C::DiskFull, Cause, None, r"No space left on device|\[Errno 28\]|Disk quota exceeded"),
    (C::TooManyFiles, Cause, None, r"Too many open files|\[Errno 24\]"),
    (C::CompileFailed, Cause, None, r"InductorError|^torch\._dynamo\.exc|BackendCompilerFailed|CppCompileError|Failed to find C compiler|Ninja build failed|nvcc fatal|ptxas (?:fatal|error)|LLVM ERROR"),
    (C::CompileFailed, Opener, None, r"CompilationError: at"),
    (C::MissingKernel, Cause, None, r"undefined symbol|has no attribute '_C|No module named '[\w.]*_C(?:_\w+)?'|cannot open shared object file.*(?:cuda|torch|flash|sgl|nccl|cudart)|lib(?:cuda|torch|flash|sgl|nccl)\w*\.so[.\d]*: cannot open"),
    (C::MissingKernel, Cause, None, r"[Oo]perator .* does not exist|flash.?attn.* is not (?:installed|available)|Ninja is required|is less than the minimum required version"),
    (C::MissingLibrary, Cause, None, r"ModuleNotFoundError|ImportError|PackageNotFoundError|cannot open shared object file|GLIBC(?:XX)?_[\d.]+' not found"),
    (C::Communication, Cause, None, r"NCCL error|ncclSystemError|ncclInternalError|ncclUnhandledCudaError|DistBackendError|DistNetworkError|Gloo connectFullMesh failed|MPI_ABORT|MPI_Init"),
    (C::CudaError, Cause, None, r"an illegal memory access|device-side assert|CUDA error:|CUBLAS_STATUS|CUDNN_STATUS|cudaErrorLaunchFailure|misaligned address|unspecified launch failure|\bXid \("),
    (C::Watchdog, Cause, None, r"Watchdog (?:timeout|caught)|watchdog timeout|RPC call to \w+ timed out|TimeoutError: .*execute_model|Server couldn't get a response from detokenizer|Hang detected on rank"),
    (C::RequestTooLong, Cause, None, r"maximum context length is|longer than the maximum model length|exceeds? (?:the )?(?:max_model_len|maximum (?:allowed )?(?:length|context)|max_seq_len|context length)|should not exceed max_num_tokens"),
    (C::IllegalInstruction, Cause, None, r"Illegal instruction|SIGILL"),
    (C::Crash, Cause, None, r"Segmentation fault|SIGSEGV|SIGABRT|core dumped|!!!!!!! Segfault"),
    (C::Unwritable, Cause, None, r"Permission denied|Read-only file system|\[Errno 13\]|\[Errno 30\]"),
    (C::NotInstalled, Cause, None, r"command not found|No module named (?:vllm|sglang|tensorrt_llm)$|: not found$"),
    // Asked to stop: counts only where no other death stands above it.
    (C::Terminated, Closer, None, r"SystemExit: SIGTERM|^KeyboardInterrupt|^RuntimeError: cancelled|CancelledError"),
    // The reason stands below.
    (C::EngineCoreDeath, Opener, None, r"EngineCore (?:failed to start|encountered a fatal error|hit an exception)"),
    (C::WorkerDeath, Opener, None, r"WorkerProc failed to start|hit an exception: Traceback|initialization error: Traceback|warmup error|Failed to initialize executor"),
    // The reason stands above.
    (C::EngineCoreDeath, Closer, None, r"EngineDeadError|Engine core initialization failed|[Ee]ngine core (?:proc )?\S* ?(?:died|exited) unexpectedly|EngineCore encountered an issue"),
    (C::WorkerDeath, Closer, None, r"WorkerProc initialization failed|Worker proc .* died unexpectedly|Executor worker (?:died|returned error)|Received sigquit from a child process|scheduler (?:is dead|died)|Initialization failed\. Please see|Rank \d+ .*(?:dead|died)|worker died"),
];
