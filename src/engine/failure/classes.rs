//! The classes and what to do about each.

use regex::Regex;
use serde::{Serialize, Serializer};
use std::fmt;
use std::sync::LazyLock;

macro_rules! classes {
    ($($variant:ident $id:literal $next:literal,)*) => {
        /// Class of a failure; the id is what records and reports carry.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Class { $($variant,)* }
        impl Class {
            pub const ALL: &[Class] = &[$(Class::$variant,)*];
            pub fn id(self) -> &'static str {
                match self { $(Class::$variant => $id,)* }
            }
            /// What to do, as far as the class alone says.
            fn advice(self) -> &'static str {
                match self { $(Class::$variant => $next,)* }
            }
        }
    };
}

classes! {
    OutOfMemory "out-of-memory" "leave more memory: lower the memory fraction, --max-num-seqs or the batched tokens, or use a smaller or quantised model",
    NoKvRoom "no-kv-room" "the weights leave no memory for the KV cache: raise the memory fraction, or use more GPUs or a smaller model",
    MemoryHeld "memory-held" "another process holds GPU memory (see nvidia-smi): end it or wait until it is released, then try again",
    MemoryProfiling "memory-profiling" "another process changed GPU memory while the engine measured it: try again with the GPU to itself",
    TooLong "too-long" "lower --max-model-len",
    BadFlag "bad-flag" "this version does not know the flag: see its --help for the spelling it has",
    BadValue "bad-value" "correct the flag's value: the engine names what it accepts",
    BadCombination "bad-combination" "change one of the flags named: they exclude each other",
    UnsupportedDtype "unsupported-dtype" "choose another --dtype or KV cache dtype for this GPU",
    UnsupportedArchitecture "unsupported-architecture" "this engine version does not know the model's architecture: upgrade it or choose another engine",
    UnsupportedQuantization "unsupported-quantization" "the GPU or the engine cannot run this quantisation: choose other weights (bf16, AWQ) or another engine",
    UnsupportedBackend "unsupported-backend" "choose another attention or MoE backend, or leave it to the engine",
    UnsupportedSinks "unsupported-sinks" "the model's attention sinks need a backend that supports them on this GPU (Triton attention on Ampere)",
    UnsupportedGpu "unsupported-gpu" "this GPU lacks what the engine needs: use another GPU, engine or weights",
    PortInUse "port-in-use" "end the server that holds the port, or choose another",
    ModelNotFound "model-not-found" "give the hub name or directory of a model that is there, or allow access to the hub",
    HubAccess "hub-access" "give access to the hub: accept the model's licence, set HF_TOKEN, check the network",
    RemoteCode "remote-code" "the model brings code of its own: read it, then allow it with --trust-remote-code",
    MissingKernel "missing-kernel" "a compiled part is missing or does not fit: reinstall the engine for this CUDA and PyTorch",
    MissingLibrary "missing-library" "install the library named, or repair the engine's environment",
    NoDevice "no-device" "no usable GPU is visible: check the driver and CUDA_VISIBLE_DEVICES",
    DriverTooOld "driver-too-old" "update the GPU driver, or install an engine built for an older CUDA",
    DiskFull "disk-full" "free disk space (hub and compile caches), or move the caches",
    TooManyFiles "too-many-files" "raise the limit on open files (ulimit -n)",
    SharedMemory "shared-memory" "give the container more /dev/shm (--ipc=host or --shm-size)",
    Communication "communication" "the GPUs could not talk to each other: check NCCL settings, topology and the number of devices",
    CudaError "cuda-error" "the device reported an error: run with CUDA_LAUNCH_BLOCKING=1 to locate it; other flags or another backend may avoid it",
    CompileFailed "compile-failed" "compilation failed: clear the compile caches, check the C compiler, or run with --enforce-eager",
    EngineCoreDeath "engine-core-death" "the engine core died: its own error stands above in the log; if there is none, look for the kernel's out-of-memory killer",
    WorkerDeath "worker-death" "a worker process died: its own error stands above in the log",
    Watchdog "watchdog" "a step took longer than the engine's watchdog allows: lower the batch, or raise the limit",
    RequestTooLong "request-too-long" "prompt and output do not fit in the model length: raise --max-model-len or shorten the workload",
    KilledByKernel "killed-by-kernel" "the process was killed from outside, most often by the kernel for want of host memory (see dmesg)",
    IllegalInstruction "illegal-instruction" "the program was built for another CPU: install a build for this one",
    Crash "crash" "the engine crashed in native code: try other flags or another version, and report it upstream",
    Terminated "terminated" "the engine was asked to stop",
    Outpaced "outpaced" "not measured to the end: it cannot reach the best candidate",
    Interrupted "interrupted" "the record is safe: go on with --resume",
    HangAtStart "hang-at-start" "the engine did not become ready in time: look at the end of its log, or raise the time allowed",
    HangInRun "hang-in-run" "the engine stopped answering: look at the end of its log",
    BadResponse "bad-response" "the server does not answer as an OpenAI-compatible one: check the model name and the chat template",
    NotInstalled "not-installed" "install the engine or name its program with --engine-command",
    FlagNotInVersion "flag-not-in-version" "not tried: the installed version does not have it",
    FlagConflict "flag-conflict" "drop the flag from one of the two places",
    Unwritable "unwritable" "choose a directory that can be written",
    Unknown "unknown" "read the log around this line",
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.id())
    }
}

/// The next step, with the engine's own number in it where it gave one.
#[derive(Debug)]
pub struct Next;

static MAX_LEN: LazyLock<Regex> = LazyLock::new(|| {
    Regex::new(r"estimated maximum model length is (\d+)|maximum number of tokens that can be stored in KV cache \((\d+)\)|max_total_num_tokens[ =:]+(\d+)|derived max_model_len \(max_position_embeddings=(\d+)|max_position_embeddings=(\d+)")
        .expect("constant")
});
static CHOICES: LazyLock<Regex> = LazyLock::new(|| Regex::new(r"\(choose from ([^)]*)\)").expect("constant"));

impl Next {
    pub fn of(class: Class, cause: &str) -> String {
        let advice = class.advice();
        match class {
            Class::TooLong => suggested_length(cause).map_or(advice.to_owned(), |n| {
                format!("{advice} to {n} or less: the longest that the engine says will fit")
            }),
            Class::BadValue => match CHOICES.captures(cause) {
                Some(c) => format!("{advice}: {}", &c[1]),
                None => advice.to_owned(),
            },
            _ => advice.to_owned(),
        }
    }
}

/// The longest model length that the engine itself named.
pub(crate) fn suggested_length(cause: &str) -> Option<u64> {
    let found = MAX_LEN.captures(cause)?;
    found.iter().skip(1).flatten().next().and_then(|m| m.as_str().parse().ok())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_are_unique_kebab_case() {
        for (i, a) in Class::ALL.iter().enumerate() {
            assert!(a.id().chars().all(|c| c.is_ascii_lowercase() || c == '-'), "{a}");
            assert!(Class::ALL[i + 1..].iter().all(|b| a.id() != b.id()), "{a}");
        }
    }

    #[test]
    fn the_engines_own_number_is_the_next_try() {
        let cause = "ValueError: To serve at least one request with the models's max seq len (32768), (4.50 GiB KV cache is needed, which is larger than the available KV cache memory (1.20 GiB). Based on the available memory, the estimated maximum model length is 8736.";
        assert!(Next::of(Class::TooLong, cause).contains("8736"));
    }
}
