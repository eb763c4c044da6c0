//! Memory of the GPU and of the host, and the pools that the engines lay out in it.

use super::Rank::{Echo, Symptom};
use super::{Cause, Class, EngineKind, cause};

pub(super) const CAUSES: &[Cause] = &[
    cause(
        "longer-than-cache",
        Class::TooLong,
        &[
            r"To serve at least one request with the model",
            r"estimated maximum model length is \d+",
            r"max seq len \(\d+\) is larger than the maximum number of tokens that can be stored in KV cache",
            r"max_seq_len.* (?:exceeds|larger than).*(?:KV cache)",
            r"exceeds the KV cache manager's maximum supported length",
        ],
    )
    .vllm("lower --max-model-len or raise --gpu-memory-utilization")
    .sglang("lower --context-length or raise --mem-fraction-static")
    .trtllm("lower --max_seq_len or raise --kv_cache_free_gpu_memory_fraction"),
    cause(
        "longer-than-model",
        Class::TooLong,
        &[
            r"User-specified (?:max_model_len|context_length) \(\d+\) is greater than the derived",
            r"max_seq_len.* (?:exceeds|larger than).*(?:max_position|model)",
        ],
    )
    .vllm("lower --max-model-len")
    .sglang("lower --context-length")
    .trtllm("lower --max_seq_len"),
    cause(
        "memory-held",
        Class::MemoryHeld,
        &[r"Free memory on device.*is less than desired GPU memory utilization"],
    )
    .next("another process holds GPU memory (see nvidia-smi): end it or wait until it is released, then try again")
    .vllm("another process holds GPU memory (see nvidia-smi): end it or wait until it is released, then try again; to share the GPU lower --gpu-memory-utilization"),
    cause(
        "memory-unbalanced",
        Class::MemoryHeld,
        &[r"memory capacity is unbalanced", r"Some GPUs may be occupied by other processes"],
    )
    .next("another process holds memory on some of the GPUs (compare them in nvidia-smi): end it, or choose free GPUs by CUDA_VISIBLE_DEVICES, then try again"),
    cause("memory-profiling", Class::MemoryProfiling, &[r"Error in memory profiling"])
        .next("another process changed GPU memory while the engine measured it: try again with the GPU to itself"),
    cause(
        "mamba-blocks",
        Class::NoKvRoom,
        &[r"exceeds available Mamba cache blocks", r"(?i)not enough mamba (?:cache )?(?:blocks|slots|state)", r"max_mamba_cache_size"],
    )
    .vllm("lower --max-num-seqs: each running sequence needs one Mamba state block")
    .sglang("lower --max-running-requests or raise --max-mamba-cache-size")
    .trtllm("lower --max_batch_size: each running sequence needs one state block"),
    cause(
        "request-slots",
        Class::OutOfMemory,
        &[r"alloc_req_slots runs out of memory", r"req_to_token_pool.*(?:full|exhausted|out of)", r"(?i)no (?:free|available) (?:request|sequence) slots?"],
    )
    .vllm("lower --max-num-seqs")
    .sglang("the request slots ran out, not GPU memory: set a smaller --max-running-requests")
    .trtllm("lower --max_batch_size"),
    cause(
        "kv-pool-exhausted",
        Class::OutOfMemory,
        &[r"(?:Prefill|Decode) out of memory", r"alloc_(?:token|paged_token|for)\w* .*out of memory", r"(?i)no free (?:kv )?(?:cache )?blocks?\b", r"KV cache pool .*exhausted"],
    )
    .vllm("the KV cache ran out under load, not GPU memory: lower --max-num-seqs, or raise --gpu-memory-utilization for a larger pool")
    .sglang("the KV token pool ran out under load, not GPU memory: lower --max-running-requests or --chunked-prefill-size, or raise --mem-fraction-static for a larger pool")
    .trtllm("the KV cache ran out under load: lower --max_batch_size or --max_num_tokens, or raise --kv_cache_free_gpu_memory_fraction"),
    cause(
        "workspace",
        Class::OutOfMemory,
        &[r"batch_prefill_tmp|workspace buffer .*(?:too small|overflow|exceed)"],
    )
    .next("a scratch buffer of the attention kernels is too small for this batch: enlarge it, or lower the batched tokens")
    .vllm("a scratch buffer of the attention kernels is too small for this batch: raise VLLM_FLASHINFER_WORKSPACE_BUFFER_SIZE (bytes; since 0.11.2), lower --max-num-batched-tokens or --max-num-seqs, or choose another attention backend")
    .sglang("a scratch buffer of the attention kernels is too small for this batch: raise SGLANG_FLASHINFER_WORKSPACE_SIZE (bytes), lower --chunked-prefill-size or --max-running-requests, or choose another --attention-backend"),
    cause(
        "executor-memory",
        Class::OutOfMemory,
        &[r"Executor creation failed due to insufficient GPU memory"],
    )
    .trtllm("what the line below names (KV cache, sampler, extra resources) does not fit beside the model: lower the memory fraction (--kv_cache_free_gpu_memory_fraction), --max_batch_size or --max_num_tokens, or use more GPUs (--tp_size)"),
    cause(
        "no-kv-room",
        Class::NoKvRoom,
        &[
            r"No available memory for the cache blocks",
            r"Not enough memory\. Please try",
            r"(?i)\bKV cache\b.*(?:is too small|not enough|insufficient)",
            r"(?i)(?:max_tokens|free_gpu_memory_fraction|free_gpu_mem_fraction).*(?:not enough|too small|insufficient).*(?:KV|block)",
            r"(?i)(?:max_total_num_tokens|max_total_tokens|num_gpu_blocks|maxNumBlocks|cache blocks).{0,40}(?:<= ?0|is (?:zero|negative|0\b)|must be (?:positive|greater))",
            r"(?i)not enough (?:GPU )?memory (?:for|to (?:allocate|create)) .*(?:KV|cache)",
        ],
    )
    .next("the weights leave no memory for the KV cache: raise the memory fraction, or use more GPUs or a smaller model")
    .vllm("the weights leave no memory for the KV cache: raise the memory fraction (--gpu-memory-utilization), lower --max-num-batched-tokens, or use more GPUs (--tensor-parallel-size) or a smaller model")
    .sglang("the weights leave no memory for the KV cache: raise the memory fraction (--mem-fraction-static), or use more GPUs (--tp-size) or a smaller model")
    .trtllm("the weights leave no memory for the KV cache: raise the memory fraction (--kv_cache_free_gpu_memory_fraction), or use more GPUs (--tp_size) or a smaller model"),
    // PyTorch's allocator, the driver's and the runtime's own words.
    cause(
        "sampler-warmup",
        Class::OutOfMemory,
        &[r"out of memory occurred when warming up sampler"],
    )
    .vllm("lower --max-num-seqs, or the memory fraction (--gpu-memory-utilization): the sampler's warm-up takes that many dummy requests")
    .sglang("lower --max-running-requests or --mem-fraction-static")
    .trtllm("lower --max_batch_size"),
    cause(
        "out-of-memory",
        Class::OutOfMemory,
        &[
            r"OutOfMemoryError: (?:CUDA|HIP|XPU|out)|torch\.(?:cuda\.)?OutOfMemoryError|(?:CUDA|HIP|XPU) out of memory|CUDA_ERROR_OUT_OF_MEMORY|cudaErrorMemoryAllocation",
            r"(?i)\b(?:CUDA|HIP)\b.*[:(] ?out of memory|Cuda Runtime \(out of memory\)",
            r"(?i)Cuda failure.{0,12}'out of memory'|NCCL.*'out of memory'",
            r"CUBLAS_STATUS_ALLOC_FAILED|CUDNN_STATUS_ALLOC_FAILED",
            r"(?i)insufficient (?:GPU|device) memory|Insufficient memory to allocate",
            r"(?i)(?:failed|unable|could not|cannot|can't) to? ?allocate (?:\d[\d.]* ?\w+ )?(?:of )?(?:GPU|device|CUDA) memory",
            r"(?i)Requested amount of GPU memory .* could not be allocated|OutOfMemory.*(?:GPU|device) memory",
        ],
    )
    .next("leave more memory: lower the memory fraction, the number of sequences or the batched tokens, or use a smaller or quantised model")
    .vllm("leave more memory: lower the memory fraction (--gpu-memory-utilization), --max-num-seqs or the batched tokens (--max-num-batched-tokens), or use a smaller or quantised model")
    .sglang("leave more memory: lower the memory fraction (--mem-fraction-static), --max-running-requests or the batched tokens (--chunked-prefill-size), or use more GPUs (--tp-size), a smaller or quantised model")
    .trtllm("leave more memory: lower the memory fraction (--kv_cache_free_gpu_memory_fraction), --max_batch_size or --max_num_tokens, or use more GPUs (--tp_size), a smaller or quantised model"),
    cause(
        "host-oom-killer",
        Class::KilledByKernel,
        &[
            r"oom[-_]kill|OOM Killed|Out of memory: Killed process|Memory cgroup out of memory|^srun: error: .*: Out Of Memory",
            r"OOMKilled|\bReason:\s+OOM|[Ee]xit(?:ed)? ?(?:with )?(?:[Cc]ode|status):? ?137\b",
            r"(?i)signal 9 \(SIGKILL\).*out of memory",
            r"ray\.exceptions\.OutOfMemoryError|killed due to the node running low on memory|Workers \(tasks / actors\) killed due to memory pressure",
            r"The node was low on resource: memory|exceeded (?:its )?memory limit|exceed memory limit",
        ],
    )
    .next("the kernel or the cluster ended the engine for want of host memory: raise the container's or the pod's memory limit, or lower what the engine takes of the host (swap, CPU offload, loading workers)")
    .vllm("the kernel or the cluster ended the engine for want of host memory: raise the container's or the pod's memory limit, or lower --cpu-offload-gb, --swap-space and --max-parallel-loading-workers"),
    cause(
        "killed",
        Class::KilledByKernel,
        &[
            r"^(?:\S+: line \d+:\s+\d+ )?Killed\b|[Ee]xit(?:ed)? ?(?:with )?(?:[Cc]ode|status)[:=]? ?(?:137|-9)\b|SIGKILL|signal 9 \(Killed\)|signal:? ?9\b|\bexitcode:? -9\b",
        ],
    )
    .rank(Echo)
    .next("a process was killed from outside, most often by the kernel for want of host memory (dmesg -T | grep -i oom): raise the memory limit of the container or pod, or lower what the engine takes of the host"),
    cause(
        "host-memory",
        Class::OutOfMemory,
        &[
            r"DefaultCPUAllocator: (?:can't|not enough) .*memory|std::bad_alloc|^MemoryError\b",
            r"Cannot allocate memory|\[Errno 12\]|os error 12\b|ENOMEM",
            r"(?i)unable to (?:mmap|allocate) .*(?:Cannot allocate|bytes)|Unable to allocate [\d.]+ [KMGT]iB",
            r"(?i)(?:cudaHostAlloc|cudaHostRegister|pin(?:ned)?[ _]memory).*(?:fail|out of memory|error)",
            r"(?i)(?:not enough|insufficient) (?:host|CPU|system) (?:memory|RAM)|(?:host|CPU|system) memory .{0,40}(?:not enough|insufficient|exceeds)",
            r"(?i)(?:can't|cannot) start new thread|pthread_create failed|fork: (?:retry: )?(?:Resource temporarily unavailable|Cannot allocate)",
        ],
    )
    .next("host memory ran out, not the GPU's: raise the container's memory (or ulimit -v / -u), or lower what the engine takes of the host (CPU offload, swap, host KV cache)")
    .vllm("host memory ran out, not the GPU's: raise the container's memory (or ulimit -v / -u), or lower --cpu-offload-gb, --swap-space and --max-num-seqs")
    .sglang("host memory ran out, not the GPU's: lower --hicache-size (or --hicache-ratio) and --cpu-offload-gb, or raise the container's memory (or ulimit -v / -u)")
    .common(),
    cause(
        "pool-check",
        Class::Unknown,
        &[r"(?:token_to_kv_pool|req_to_token_pool|mamba|tree_cache|pool)\w* memory leak detected|memory leak detected!"],
    )
    .only(EngineKind::Sglang)
    .rank(Symptom)
    .sglang("the scheduler's own bookkeeping check failed (an engine bug, not a lack of memory): try another version or --disable-radix-cache, and report it upstream"),
];
