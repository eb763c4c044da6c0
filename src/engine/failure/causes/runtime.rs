//! What goes wrong in an engine that runs or is about to: limits of time, dead processes, requests.

use super::EngineKind::{Sglang, Trtllm};
use super::Rank::{Closer, Echo, Opener, Symptom};
use super::{Cause, Class, cause};

pub(super) const CAUSES: &[Cause] = &[
    cause(
        "start-limit",
        Class::HangAtStart,
        &[
            r"Timed out waiting for engine core processes to start|VLLM_ENGINE_READY_TIMEOUT_S|Did not receive response from front-end process within",
            r"RPC server failed to start|(?i:engine|server|worker|executor|model)[\w ]* (?:did not|failed to) (?:become ready|start|initialize|respond) (?:within|in time|before|after) ",
            r"(?i)(?:weight|model) load\w* timed? ?out|Timeout .*(?:waiting for|while) .*(?:load|start|init|ready)|TimeoutError: .*(?:start|load|init|ready)",
        ],
    )
    .rank(Echo)
    .next("the start takes longer than the engine itself allows: load from a faster disk, or raise the limit")
    .vllm("the start takes longer than the engine itself allows: raise VLLM_ENGINE_READY_TIMEOUT_S (600 s by default since 0.14), load from a local disk or --load-format runai_streamer, and keep the compile cache")
    .sglang("the start takes longer than the engine itself allows: raise --watchdog-timeout and --dist-timeout, load from a local disk")
    .trtllm("the start takes longer than the engine itself allows: load from a local disk, or raise the launcher's timeout"),
    cause(
        "load-barrier",
        Class::HangAtStart,
        &[r"could finish the model loading, but there are other ranks that didn't finish|could not finish the model loading before timeout"],
    )
    .next("one rank loads more slowly than the engine's own barrier allows (or died: its own lines say so): read the weights from a local disk on every node, or raise the limit")
    .sglang("one rank loads more slowly than the engine's own barrier allows (or died: its own lines say so): read the weights from a local disk on every node, start again with a warm page cache, or raise the limit (SGLANG_MODEL_LOADING_TIMEOUT_S in recent releases; --dist-timeout)"),
    cause(
        "own-request",
        Class::BadResponse,
        &[r"assert res\.status_code == 200|^AssertionError: res=<Response \[\d+\]>"],
    )
    .next("something else answered the server's own first request: a proxy (set NO_PROXY=localhost,127.0.0.1,0.0.0.0 and unset http_proxy), another server on the port, or an engine that is not there"),
    cause(
        "coordinator-limit",
        Class::HangAtStart,
        &[r"(?i)coordinator process failed|failed to report \w+ addresses|process .*(?:did not|failed to) .* during start-?up"],
    )
    .next("one of the engine's own processes was not up within the engine's own limit: the host was too busy or its disk too slow; start again with less beside it, from a local disk"),
    cause(
        "probe",
        Class::HangAtStart,
        &[r"(?i)(?:liveness|startup|readiness) probe failed|failed (?:liveness|startup) probe|container .* is unhealthy"],
    )
    .rank(Echo)
    .common()
    .next("the cluster's probe gave up before the engine was ready: raise the startup probe's failureThreshold x periodSeconds (or start_period of the health check) above the load time"),
    cause(
        "spawn-guard",
        Class::Unknown,
        &[r"before the current process has finished its bootstrapping phase"],
    )
    .rank(Symptom)
    .next("a script starts the engine at import: put it under `if __name__ == '__main__':`, or start the server by its command"),
    cause(
        "detokenizer",
        Class::Watchdog,
        &[r"Server couldn't get a response from detokenizer"],
    )
    .only(Sglang)
    .sglang("the scheduler or detokenizer stopped answering: lower the batch (--max-running-requests, --chunked-prefill-size), raise --watchdog-timeout, and look for a GPU that hangs (nvidia-smi)"),
    cause(
        "watchdog",
        Class::Watchdog,
        &[r"Watchdog [Tt]imeout|watchdog timeout|Hang detected on rank|watchdog.*(?:exceeded|expired)"],
    )
    .rank(Symptom)
    .next("a step took longer than the engine's watchdog allows: lower the batch, or raise the limit")
    .sglang("a step took longer than the engine's watchdog allows: lower the batch (--max-running-requests, --chunked-prefill-size), or raise the limit (--watchdog-timeout)")
    .trtllm("a step took longer than the engine's watchdog allows: lower the batch (--max_batch_size, --max_num_tokens), or raise the limit (hang_detection_timeout)"),
    cause(
        "iteration-timeout",
        Class::Watchdog,
        &[r"Engine iteration timed out"],
    )
    .rank(Symptom)
    .vllm("a step took longer than the engine allows for an iteration: where the GPUs hang in a collective try --disable-custom-all-reduce or NCCL_P2P_DISABLE=1 (NCCL_DEBUG=INFO shows the transport); for long but honest steps raise VLLM_ENGINE_ITERATION_TIMEOUT_S or lower the batch"),
    cause(
        "step-timeout",
        Class::Watchdog,
        &[r"RPC call to \w+ timed out|TimeoutError: .*execute_model|sample_tokens timed out"],
    )
    .rank(Symptom)
    .next("a step did not come back within the executor's limit: the GPUs may hang in a collective")
    .vllm("a step did not come back within the executor's limit: where the GPUs hang in a collective (P2P, IOMMU) try --disable-custom-all-reduce, NCCL_P2P_DISABLE=1 and check the NCCL transport (NCCL_DEBUG=INFO); for long but honest steps raise the limit (VLLM_EXECUTE_MODEL_TIMEOUT_SECONDS) or lower the batch"),
    cause(
        "request-too-long",
        Class::RequestTooLong,
        &[r"(?i)(?:prompt|input|sequence|request)(?: token)? (?:length|size|tokens?) \(?\d+\)? (?:exceeds|is (?:longer|larger|greater) than)", r"maximum context length is|longer than the maximum model length|exceeds? (?:the )?(?:max_model_len|maximum (?:allowed )?(?:length|context)|max_seq_len|context length)|should not exceed max_(?:num_tokens|seq_len|input_len)|longer than the model's context length"],
    )
    .next("prompt and output do not fit in the model length: raise the model length or shorten the workload")
    .vllm("prompt and output do not fit in the model length: raise --max-model-len or shorten the workload")
    .sglang("prompt and output do not fit in the model length: raise --context-length or shorten the workload")
    .trtllm("prompt and output do not fit in the model length: raise --max_num_tokens and --max_seq_len or shorten the workload"),
    cause("illegal-instruction", Class::IllegalInstruction, &[r"Illegal instruction|SIGILL"])
        .next("the program was built for another CPU: install a build for this one (vLLM's CPU build needs AVX-512 or AVX2)"),
    cause(
        "crash",
        Class::Crash,
        &[r"Segmentation fault|SIGSEGV|SIGABRT|core dumped|!!!!!!! Segfault|^Aborted\b|\(exit code: -(?:11|6)\)|double free or corruption|free\(\): invalid|munmap_chunk|stack smashing|^Fatal Python error: (?:Aborted|Segmentation fault|Bus error)|unexpectedly failed with an exit code -(?:6|7|11)\b"],
    )
    .rank(Symptom)
    .common()
    .next("the engine crashed in native code: try other flags (another attention backend, no compiled graphs) or another version, and report it upstream"),
    cause(
        "trtllm-assertion",
        Class::Unknown,
        &[r"\[TensorRT-LLM\]\[ERROR\] (?:\S+Exception: )?(?:\[TensorRT-LLM\]\[ERROR\] )?Assertion failed: "],
    )
    .only(Trtllm)
    .rank(Echo)
    .trtllm("an internal check of the engine failed: the asserted condition names the setting or the shape; go back to its default, or try another version"),
    cause("mpi-job-ended", Class::WorkerDeath, &[r"Primary job\s+terminated normally, but"]).rank(Closer),
    // Asked to stop: counts only where no other death stands above it.
    cause(
        "terminated",
        Class::Terminated,
        &[r"SystemExit: SIGTERM|^KeyboardInterrupt|^RuntimeError: cancelled|CancelledError"],
    )
    .rank(Closer),
    // The reason stands below.
    cause(
        "core-fails",
        Class::EngineCoreDeath,
        &[r"EngineCore (?:failed to start|encountered a fatal error|hit an exception)|Engine core proc\S* (?:hit|encountered)"],
    )
    .rank(Opener),
    cause(
        "worker-fails",
        Class::WorkerDeath,
        &[
            r"[Ll]oading lora .* failed\W*$|because of an error raised in its creation task|WorkerProc (?:failed to start|hit an exception)|hit an exception: ?(?:Traceback|$)|initialization error: ?(?:Traceback|$)|warmup error|Failed to initialize executor|[Ee]rror executing method|Exception in worker|Worker failed with error|Error in inspecting model architecture|Error raised in subprocess|Capture cuda graph failed|failed to load '[\w-]+' version|Failed to create instance",
        ],
    )
    .rank(Opener),
    // The reason stands above.
    cause(
        "core-dead",
        Class::EngineCoreDeath,
        &[
            r"EngineDeadError|Engine core initialization failed|[Ee]ngine core (?:proc )?\S* ?(?:died|exited) unexpectedly|EngineCore encountered an issue|Engine process failed to start|[Ee]ngine loop (?:is not running|has died)|Background loop (?:has errored|is not running|is stopped)|RPC server process died",
        ],
    )
    .rank(Closer),
    cause(
        "worker-dead",
        Class::WorkerDeath,
        &[
            r"WorkerProc initialization failed|Worker (?:proc|\S+ pid) .*died|Executor worker (?:died|returned error)|Received sigquit from a child process|SIGQUIT received|[Ss]cheduler (?:is dead|died)|Initialization failed\. Please see|Rank \d+ .*(?:dead|died)|worker died|Failed core proc|Internal - failed to load all models|A worker process .*(?:died|was terminated)|ActorDiedError|RayActorError|The actor died|[Cc]hild process .*(?:died|exited|terminated)",
        ],
    )
    .rank(Closer),
];
