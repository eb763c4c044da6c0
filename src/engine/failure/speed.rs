//! Warnings of a log that cost speed, with what they cost: a server that runs may run at half its pace.

use super::excerpt::Excerpt;
use super::text::Part;
use regex::Regex;
use serde::{Deserialize, Serialize};
use std::sync::LazyLock;

macro_rules! slowdowns {
    ($($variant:ident $id:literal $cost:literal $helps:literal $pattern:literal,)*) => {
        /// What slows an engine down without stopping it.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        #[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
        pub enum Slowdown { $(#[serde(rename = $id)] $variant,)* }
        impl Slowdown {
            pub const ALL: &[Slowdown] = &[$(Slowdown::$variant,)*];
            pub fn id(self) -> &'static str {
                match self { $(Slowdown::$variant => $id,)* }
            }
            /// What it costs.
            pub fn cost(self) -> &'static str {
                match self { $(Slowdown::$variant => $cost,)* }
            }
            /// What helps.
            pub fn helps(self) -> &'static str {
                match self { $(Slowdown::$variant => $helps,)* }
            }
            fn pattern(self) -> &'static str {
                match self { $(Slowdown::$variant => $pattern,)* }
            }
        }
    };
}

slowdowns! {
    MoeConfig "default-moe-config"
        "the fused MoE kernel runs with block sizes that were not tuned for this GPU and shape"
        "tune the kernel for this GPU (benchmark_moe.py of the engine) and name the file, or choose another MoE backend"
        r"(?i)Using default MoE (?:kernel )?config|default MoE kernel config.*sub-?optimal|MoE config file not found",
    Fp8Config "default-fp8-gemm-config"
        "the FP8 block GEMM runs with block sizes that were not tuned for this GPU and shape"
        "tune the kernel for this GPU (benchmark_w8a8_block_fp8.py), or use DeepGEMM or CUTLASS"
        r"(?i)Using default W8A8 Block FP8 kernel config",
    Eager "eager-mode"
        "no compiled graphs: each step pays the host's launch of every kernel, most at small batches"
        "leave --enforce-eager (or --disable-cuda-graph) out"
        r"(?i)enforce[_-]eager.*(?:set|True|is enabled).*(?:disabl|fallback)|Cudagraph is disabled under eager mode|Enforce eager set, overriding|falling back to eager|fallback to eager|CUDA graphs? (?:is|are|will be) disabled|cuda graph is disabled|Disable cuda graph because|Skipping CUDA graph capture|Disabl\w+ (?:CUDA|cuda) ?graphs?",
    FewerGraphs "fewer-graphs"
        "batches above the captured sizes run without graphs"
        "leave more memory for graphs (a lower memory fraction), or lower the largest batch"
        r"(?i)capturing fewer batch sizes|(?:cudagraph|cuda graph).*(?:capture sizes?.*(?:reduced|truncated|limited|skipp)|mode.*(?:downgrad|overrid|not supported))|cudagraph_mode .* is not supported .*setting",
    NoPrefixCache "prefix-cache-off"
        "each request computes its whole prompt, shared beginnings included"
        "turn the prefix cache on where prompts share a beginning"
        r"(?i)(?:prefix cach\w*|radix cache|KV cache reuse|block reuse) (?:is |are |has been |will be )?(?:disabled|off|not supported)|disabl\w+ (?:the )?(?:prefix cach|radix cache|KV cache reuse)",
    NoChunkedPrefill "chunked-prefill-off"
        "a long prompt holds up every running answer"
        "turn chunked prefill on where the model allows it"
        r"(?i)chunked prefill (?:is |has been |will be )?(?:disabled|not supported)|disabl\w+ chunked prefill",
    NoOverlap "overlap-off"
        "the GPU waits for the host's scheduling between steps"
        "drop the setting that excludes the overlapped (async) scheduling"
        r"(?i)(?:overlap schedul\w*|async(?:hronous)? schedul\w*) (?:is |has been |will be )?(?:disabled|off|not (?:yet )?supported)|disabl\w+ (?:the )?(?:overlap|async) schedul",
    SlowAllReduce "custom-all-reduce-off"
        "the ranks add up their parts by NCCL: slower for the small messages of decoding"
        "GPUs with P2P between them (NVLink, or one PCIe switch) for one server"
        r"(?i)custom ?all[ _-]?reduce is disabled|Custom allreduce is disabled",
    NoPeerAccess "no-peer-access"
        "GPU to GPU copies go through the host"
        "check nvidia-smi topo -p2p r, the IOMMU and ACS"
        r"(?i)does not support (?:GPU )?P2P|lacks GPU P2P capability|P2P (?:test failed|is disabled)",
    Preemption "preemption"
        "requests are thrown out of the KV cache and computed again"
        "fewer running sequences, a larger KV cache, or shorter requests"
        r"(?i)is preempted by .*mode because|KV cache pool is full\. Retract|Retract requests|retracted_reqs|preempt(?:ed|ing) (?:request|sequence)|not enough KV cache space.*(?:preempt|recomput)",
    WeightOnly "weight-only-fallback"
        "the GPU has no unit for this format: weights are expanded before each product"
        "weights in a format that the GPU computes in (FP8 from Ada and Hopper, FP4 from Blackwell)"
        r"(?i)does not have native support for FP[48] computation|Weight-only FP[48] compression will be used",
    FallbackKernel "fallback-kernel"
        "a slower kernel stands in for one that is missing"
        "install the package named, or choose the backend by its flag"
        r"(?i)(?:FlashInfer|flash[_-]?attn|FlashAttention|DeepGEMM|deep_gemm|CUTLASS)[^.]{0,80}(?:is not (?:available|installed)|not available|unavailable|disabled|cannot be used)[^.]*(?:fall(?:ing)? ?back|using|for the best performance)|falling back to (?:the )?(?:PyTorch|Triton|TORCH_SDPA|naive|torch|slow|XFormers)|(?:performance|speed) may be (?:degraded|sub-?optimal|reduced)|might lead to sub-?optimal",
    OffloadsWeights "cpu-offload"
        "weights are read over PCIe in each step"
        "a smaller or quantised model, or more GPUs"
        r"(?i)(?:cpu[_-]offload(?:_gb)?[ =:]+(?:[1-9]|0\.[1-9])|offloading (?:weights|model|layers) to (?:the )?(?:CPU|host))",
    JitInService "compiled-during-service"
        "requests waited while a kernel was compiled"
        "warm the shapes up before the measurement"
        r"(?i)JIT[- ]compil\w+ .*(?:during|while).*(?:traffic|inference|serving)|kernel was JIT-compiled",
    SlowTokenizer "slow-tokenizer"
        "the tokenizer written in Python takes milliseconds a request"
        "a model directory with tokenizer.json"
        r"(?i)using a slow tokenizer",
    FewThreads "threads-reduced"
        "the host's part (tokenising, sampling on the CPU) has one thread"
        "set OMP_NUM_THREADS where the host is the limit"
        r"Reducing Torch (?:parallelism|threads) from \d+ (?:threads )?to 1",
    Throttled "gpu-throttled"
        "the GPU runs below its clocks"
        "cooling, the power limit (nvidia-smi -q -d PERFORMANCE)"
        r"(?i)(?:thermal|power)[ _](?:slowdown|throttl\w+)|clocks? throttl",
}

/// One kind of warning in a log.
#[derive(Debug, Clone, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct SpeedWarning {
    pub kind: Slowdown,
    /// The first such line, without what stands before its message.
    pub text: String,
    /// Its number in the log, from 1.
    pub line: usize,
    /// How many lines say it.
    pub count: usize,
}

/// The warnings of a log that matter for speed, one a kind, in the order of their first lines.
pub fn speed_warnings(log: &Excerpt) -> Vec<SpeedWarning> {
    static SET: LazyLock<regex::RegexSet> =
        LazyLock::new(|| regex::RegexSet::new(Slowdown::ALL.iter().map(|s| s.pattern())).expect("constant"));
    // The dump of all arguments holds every flag's name.
    static DUMP: LazyLock<Regex> = LazyLock::new(|| {
        Regex::new(
            r"server_args=ServerArgs\(|non-default args|Initializing a V\d LLM engine|LLM Args|Namespace\(",
        )
        .expect("constant")
    });
    let mut all: Vec<SpeedWarning> = Vec::new();
    for line in log.lines().iter().filter(|l| l.part == Part::Text && !DUMP.is_match(&l.text)) {
        for kind in SET.matches(&line.text).iter().map(|i| Slowdown::ALL[i]) {
            match all.iter_mut().find(|w| w.kind == kind) {
                Some(seen) => seen.count += 1,
                None => all.push(SpeedWarning { kind, text: line.text.clone(), line: line.number, count: 1 }),
            }
        }
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn warnings_that_cost_speed_are_told_with_their_count() {
        let log = "\
(EngineCore pid=9) WARNING 10-12 07:02:44 [fused_moe.py:886] Using default MoE config. Performance might be sub-optimal! Config file not found at /x/E=128,N=768.json
(APIServer pid=1) INFO 10-12 07:02:40 [utils.py:233] non-default args: {'model': 'm', 'enforce_eager': True}
[2025-11-02 10:02:10] KV cache pool is full. Retract requests. #retracted_reqs: 1, #new_token_ratio: 0.6 -> 0.9
[2025-11-02 10:02:12] KV cache pool is full. Retract requests. #retracted_reqs: 2, #new_token_ratio: 0.6 -> 0.9
INFO:     Application startup complete.
";
        let seen: Vec<(Slowdown, usize, usize)> =
            speed_warnings(&Excerpt::whole(log)).into_iter().map(|w| (w.kind, w.line, w.count)).collect();
        assert_eq!(seen, [(Slowdown::MoeConfig, 1, 1), (Slowdown::Preemption, 3, 2)]);
    }

    #[test]
    fn a_healthy_start_has_none() {
        let log = "INFO 11-22 01:17:29 [model.py:1587] Using max model len 512\nINFO:     Application startup complete.\n";
        assert!(speed_warnings(&Excerpt::whole(log)).is_empty());
    }
}
