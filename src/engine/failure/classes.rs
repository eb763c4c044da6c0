//! The classes of failures: what records and reports carry, and what each means for a search.

use serde::{Deserialize, Deserializer, Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

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
            pub(super) fn advice(self) -> &'static str {
                match self { $(Class::$variant => $next,)* }
            }
        }
    };
}

classes! {
    OutOfMemory "out-of-memory" "leave more memory: lower the memory fraction, the number of sequences or the batched tokens, or use a smaller or quantised model",
    NoKvRoom "no-kv-room" "the weights leave no memory for the KV cache: raise the memory fraction, or use more GPUs or a smaller model",
    MemoryHeld "memory-held" "another process holds GPU memory (see nvidia-smi): end it or wait until it is released, then try again",
    MemoryProfiling "memory-profiling" "another process changed GPU memory while the engine measured it: try again with the GPU to itself",
    TooLong "too-long" "lower the model length",
    BadFlag "bad-flag" "this version does not know the flag: see its --help for the spelling it has",
    BadValue "bad-value" "correct the flag's value: the engine names what it accepts",
    BadCombination "bad-combination" "two settings exclude each other: go back to the defaults of one of them",
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
    CompileFailed "compile-failed" "compilation failed: clear the compile caches, check the C compiler, or run without compiled graphs",
    EngineCoreDeath "engine-core-death" "the engine core died: its own error stands above in the log; if there is none, look for the kernel's out-of-memory killer",
    WorkerDeath "worker-death" "a worker process died: its own error stands above in the log; if there is none, it was killed from outside, mostly by the kernel's out-of-memory killer (dmesg -T)",
    Watchdog "watchdog" "a step took longer than the engine's watchdog allows: lower the batch, or raise the limit",
    RequestTooLong "request-too-long" "prompt and output do not fit in the model length: raise the model length or shorten the workload",
    KilledByKernel "killed-by-kernel" "the process was killed from outside, most often by the kernel for want of host memory (see dmesg)",
    IllegalInstruction "illegal-instruction" "the program was built for another CPU: install a build for this one",
    Crash "crash" "the engine crashed in native code: try other flags or another version, and report it upstream",
    Terminated "terminated" "the engine was asked to stop",
    Outpaced "outpaced" "not measured to the end: it cannot reach the best candidate",
    Interrupted "interrupted" "the record is safe: go on with --resume",
    NotReady "not-ready" "the log ends before the engine was ready: give the start more time, or look at what it waits for",
    HangAtStart "hang-at-start" "the engine did not become ready in time: look at the end of its log, or raise the time allowed",
    HangInRun "hang-in-run" "the engine stopped answering: look at the end of its log",
    BadResponse "bad-response" "the server does not answer as an OpenAI-compatible one: check the model name and the chat template",
    NotInstalled "not-installed" "install the engine or name its program with --engine-command",
    FlagNotInVersion "flag-not-in-version" "not tried: the installed version does not have it",
    FlagConflict "flag-conflict" "drop the flag from one of the two places",
    Unwritable "unwritable" "choose a directory that can be written",
    NoValidRun "no-valid-run" "leave the machine to the engine and to dyno, then try again",
    QualityLoss "quality-loss" "allow a larger --max-quality-loss, or leave it out",
    Unknown "unknown" "no known failure: read the log around this line",
}

impl Class {
    /// Whether the engine ran out of device memory, so that what asks for less of it may start.
    pub fn out_of_memory(self) -> bool {
        matches!(self, Class::OutOfMemory | Class::NoKvRoom)
    }

    /// Whether another flag of the candidate may cure it.
    ///
    /// Memory that somebody else holds, `/dev/shm`, drivers and files are outside of the candidate: no flag helps.
    pub fn mendable(self) -> bool {
        use Class as C;
        matches!(
            self,
            C::OutOfMemory
                | C::NoKvRoom
                | C::TooLong
                | C::BadCombination
                | C::UnsupportedDtype
                | C::UnsupportedBackend
                | C::UnsupportedSinks
                | C::CompileFailed
                | C::CudaError
                | C::Crash
                | C::Watchdog
        )
    }

    /// Whether every candidate of the campaign will meet it: nothing is gained by launching another.
    pub fn fatal(self) -> bool {
        use Class as C;
        matches!(
            self,
            C::UnsupportedArchitecture
                | C::ModelNotFound
                | C::HubAccess
                | C::RemoteCode
                | C::MissingLibrary
                | C::NoDevice
                | C::DriverTooOld
                | C::DiskFull
                | C::TooManyFiles
                | C::SharedMemory
                | C::IllegalInstruction
                | C::NotInstalled
                | C::Unwritable
        )
    }

    /// Whether the machine is at fault, not what was launched: once an engine has run there, it has changed since.
    pub fn of_machine(self) -> bool {
        use Class as C;
        matches!(
            self,
            C::DiskFull | C::TooManyFiles | C::SharedMemory | C::NoDevice | C::DriverTooOld | C::Unwritable
        )
    }

    /// Whether the cause lies outside of the candidate and may pass: the same launch deserves a second try.
    pub fn transient(self) -> bool {
        use Class as C;
        matches!(
            self,
            C::MemoryHeld
                | C::MemoryProfiling
                | C::PortInUse
                | C::Communication
                | C::KilledByKernel
                | C::Terminated
                | C::NotReady
                | C::HangAtStart
                | C::HangInRun
                | C::NoValidRun
                | C::EngineCoreDeath
                | C::WorkerDeath
        )
    }
}

impl fmt::Display for Class {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(self.id())
    }
}

impl FromStr for Class {
    type Err = std::convert::Infallible;

    /// An id that this version does not know is [`Class::Unknown`]: records of other versions still read.
    fn from_str(id: &str) -> Result<Self, Self::Err> {
        Ok(Class::ALL.iter().copied().find(|c| c.id() == id).unwrap_or(Class::Unknown))
    }
}

#[cfg(feature = "schemas")]
impl schemars::JsonSchema for Class {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Class".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl Serialize for Class {
    fn serialize<S: Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.serialize_str(self.id())
    }
}

impl<'de> Deserialize<'de> for Class {
    fn deserialize<D: Deserializer<'de>>(d: D) -> Result<Self, D::Error> {
        let id = String::deserialize(d)?;
        Ok(id.parse().unwrap_or(Class::Unknown))
    }
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
    fn every_class_reads_back_and_an_unknown_id_is_unknown() {
        for class in Class::ALL {
            let text = serde_json::to_string(class).unwrap();
            assert_eq!(serde_json::from_str::<Class>(&text).unwrap(), *class);
        }
        assert_eq!(serde_json::from_str::<Class>("\"out-of-memory-kv\"").unwrap(), Class::Unknown);
    }

    #[test]
    fn what_stands_outside_of_the_candidate_is_cured_by_no_flag() {
        for class in [Class::MemoryHeld, Class::MemoryProfiling, Class::SharedMemory, Class::HubAccess] {
            assert!(!class.mendable(), "{class}");
        }
        for class in Class::ALL {
            assert!(!class.fatal() || !(class.mendable() || class.transient()), "{class}");
        }
    }
}
