//! What a model, a GPU, a backend or a version cannot do.

use super::EngineKind::{Sglang, Trtllm};
use super::Rank::{Echo, Symptom};
use super::{Cause, Class, cause};

pub(super) const CAUSES: &[Cause] = &[
    cause(
        "sinks",
        Class::UnsupportedSinks,
        &[
            r"(?i)attention sinks? .*(?:only supported|not supported|requires?|unsupported)|sinks? (?:is|are) (?:only|not) supported",
            r"(?:Selected backend|attention backend) .*sink setting not supported",
            r"GptOssForCausalLM requires one of",
        ],
    ),
    cause(
        "quantisation",
        Class::UnsupportedQuantization,
        &[
            r"MoE is unsupported on SM|supported by FP4 block scale MOE|Arch unsupported for .*FP4",
            r"(?i)quantization method .* is not supported|unknown quantization method|(?:mxfp4|nvfp4|fp8|awq|gptq|marlin|compressed-tensors|bitsandbytes)[^:]*(?:is|are) not (?:currently )?supported (?:on|by|for)",
            r"does not match the quantization method specified",
            r"(?i)Unable to find matching target for|no (?:kernel|scheme) .*(?:found|available|supports?).*(?:quant|w\d+a\d+|fp8|fp4|int[48])|Unsupported (?:FP8|FP4|INT8|INT4) scheme",
            r"(?i)(?:unsupported|invalid) quant(?:ization)?[_ ](?:method|algo|config|scheme|type|mode)",
            r"(?i)(?:Error occurred when running GEMM|No (?:valid|suitable) (?:cutlass|gemm|kernel).*(?:fp8|fp4|gemm|config)|Failed to initialize cutlass .*(?:fp4|fp8|gemm))",
            r"(?i)(?:fp4|fp8|w4a16|w4a8|w8a8|nvfp4|mxfp4)\b.{0,60}\b(?:requires|needs|only (?:supports?|works|available)|not supported|unsupported)\b",
            r"(?i)cannot find (?:the )?config file for (?:awq|gptq|fp8|\w+)|quantization config .*(?:not found|missing)",
        ],
    )
    .next("the GPU or the engine cannot run this quantisation: choose other weights (bf16, AWQ) or another engine")
    .vllm("the GPU or this version cannot run this quantisation: choose other weights (bf16, AWQ), or another kernel (--moe-backend, --quantization)")
    .trtllm("the GPU or this version cannot run this quantisation's kernel: choose other weights (bf16, FP8), or another moe_config.backend in the YAML (CUTLASS, TRTLLM, TRITON)"),
    cause(
        "flashinfer-arch",
        Class::UnsupportedGpu,
        &[r"FlashInfer requires GPUs with sm"],
    )
    .next("FlashInfer found no architecture that its CUDA toolkit can build for (the message blames the GPU): set FLASHINFER_CUDA_ARCH_LIST, use a newer CUDA toolkit, or turn FlashInfer off")
    .vllm("FlashInfer found no architecture that its CUDA toolkit can build for (the message blames the GPU): set FLASHINFER_CUDA_ARCH_LIST to the GPU's, use a newer CUDA toolkit, or VLLM_USE_FLASHINFER_SAMPLER=0")
    .sglang("FlashInfer found no architecture that its CUDA toolkit can build for (the message blames the GPU): set FLASHINFER_CUDA_ARCH_LIST, use a newer CUDA toolkit, or --sampling-backend pytorch and --attention-backend triton"),
    cause(
        "backend",
        Class::UnsupportedBackend,
        &[
            r"(?i)failed to dispatch (?:head[_ ]?dim|group[_ ]?size|dtype|\w+ mode)|unsupported head[_ ]?(?:dim|size)|assert \(?(?:Lk|Lq|head_(?:dim|size))\b.*\bin\b",
            r"No valid attention backend|attention backend .*(?:not supported|is not (?:valid|available))|Selected backend .* is not valid|Invalid attention backend",
            r"(?i)\bbackend (?:is only supported on|does not support|is not supported)|MoE backend .*(?:not supported|unsupported)|not supported (?:by|in) .*backend",
            r"(?i)(?:head[_ ]?(?:size|dim)) \(?\d+\)? (?:is )?not supported|not supported by (?:PagedAttention|FlashAttention|flashinfer)",
            r"(?i)(?:FlashAttention|FA[234]|flash_attn|FlashMLA|flashinfer|trtllm_mha|cutlass_mla)[^.]{0,60}(?:only supports?|requires?|needs|is only (?:supported|available)|not supported) ",
        ],
    )
    .vllm("choose another attention or MoE backend (--attention-backend since 0.13, VLLM_ATTENTION_BACKEND before; --moe-backend), or leave it to the engine")
    .sglang("choose another attention or MoE backend (--attention-backend flashinfer, triton or fa3; --moe-runner-backend), or leave it to the engine")
    .trtllm("choose another attention or MoE backend (attn_backend, moe_config.backend in the YAML), or leave it to the engine"),
    cause(
        "dtype",
        Class::UnsupportedDtype,
        &[
            r"Bfloat16 is only supported on GPUs|type fp8\w+ not supported in this architecture|torch_dtype .* is not supported",
            r"(?i)\bdtype .*(?:is not supported|not supported for)|kv.cache.dtype.*not supported|does not support.*(?:kv_cache_dtype|fp8 KV|kv cache dtype)",
            r"(?i)is not supported for quantization method \w+\. Supported dtypes",
            r"(?i)expected (?:m1 and m2|scalar type|query, key,? and value|mat1 and mat2) .*(?:same dtype|but found|but got)",
        ],
    )
    .next("choose another --dtype or KV cache dtype for this GPU"),
    cause(
        "shared-memory-on-chip",
        Class::UnsupportedGpu,
        &[
            r"(?i)out of resources?: ?(?:shared memory|registers|tensor memory)",
            r"OutOfResources\b",
            r"(?i)(?:Required|requested).{0,40}Hardware limit",
            r"(?i)too many resources requested for launch|uses too much shared data",
        ],
    )
    .next("a kernel needs more on-chip memory than this GPU has (nothing to do with /dev/shm): use another GPU, attention backend or block sizes")
    .vllm("a kernel needs more on-chip memory than this GPU has (nothing to do with /dev/shm): choose another attention backend (--attention-backend since 0.13, VLLM_ATTENTION_BACKEND before), a smaller --block-size, or another GPU")
    .sglang("a kernel needs more on-chip memory than this GPU has (nothing to do with /dev/shm): choose another --attention-backend, or another GPU"),
    cause(
        "gpu",
        Class::UnsupportedGpu,
        &[
            r"no kernel image is available for execution on the device|is not compatible with the current PyTorch installation",
            r"(?i)(?:requires?|only supports?|only supported on|needs?|available on|supported only on|only available (?:on|for)) (?:compute capability|GPUs? with|SM ?\d|sm_?\d|Hopper|Blackwell|Ampere|Ada|H\d00|B\d00)|Minimum capability",
            r"(?i)\bonly (?:SM|sm_|compute capabilit(?:y|ies)|CUDA arch\w*)[ _]?\d|(?:SM|compute capability)[ _]?\d[\d.x]*(?:,| and| or| to)? .{0,30}\b(?:is|are) supported",
            r"(?i)(?:SM|compute capability)[ _]?(?:>=|<=|=|of|version)? ?\d[\d.]*\+? (?:is |are )?(?:required|or (?:higher|newer|above))|requires? (?:SM|CUDA arch)",
            r"(?i)unsupported (?:SM|arch(?:itecture)?|compute capability|GPU|device)\b.*(?:\d|gpu|sm)|(?:not (?:supported|available|implemented)|unsupported) (?:on|for) (?:this|the|your|current) (?:GPU|device|hardware|platform|arch\w*|compute)",
            r"(?i)assert .*(?:is_sm\d+_supported|is_hopper|is_blackwell|device_capability|get_device_sm|compute_capability|sm_version|major (?:==|>=|in))|arch_major|_arch in \[",
            r"(?i)device kernel image is invalid",
            r"(?i)(?:requires?|needs|only supports?) (?:gfx\d|sm[_ ]?\d|compute capability|CDNA ?\d|Hopper|Blackwell|Ampere|Ada)\b?.*\b(?:got|found|detected|but|is)\b|\bgfx\d\w+ .{0,30}(?:not supported|unsupported)",
        ],
    )
    .next("this GPU lacks what the engine's kernel needs: choose a backend or weights for this GPU, a build made for it, or another GPU")
    .vllm("this GPU lacks what the kernel needs (another GPU would do): choose another attention or MoE backend (--attention-backend, --moe-backend) or weights made for this GPU, or a build for it")
    .sglang("this GPU lacks what the kernel needs (another GPU would do): choose another --attention-backend (triton, flashinfer) or --moe-runner-backend, or a build for this GPU")
    .trtllm("this GPU lacks what the kernel needs (another GPU would do): choose another attn_backend or moe_config.backend in the YAML, other weights, or a build for this GPU"),
    cause(
        "trt-engine-built-elsewhere",
        Class::UnsupportedGpu,
        &[
            r"engine plan file is (?:generated on an incompatible device|not compatible with this version)",
            r"(?i)expecting compute \d[\d.]* got compute",
            r"Input tensor '\w+' not found; expected|(?i:engine .*does not (?:have|contain) .*tensor)",
            r"json\.exception\.out_of_range\.403\] key '\w+' not found",
            r"(?i)Version tag does not match|expecting library version|stdVersionRead == (?:kSERIALIZATION|serialization)Version",
            r"(?i)Failed to deserialize cuda engine|deserializeCudaEngine.*(?:fail|error)",
        ],
    )
    .next("the TensorRT engine was built for another GPU or by another TensorRT: build it anew on this machine (trtllm-build), or serve the Hugging Face weights with --backend pytorch"),
    cause(
        "model-type",
        Class::UnsupportedArchitecture,
        &[
            r"Unrecognized model in .*model_type|Should have a `model_type` key",
        ],
    )
    .next("the directory is no Hugging Face model (its config.json has no model_type): give the Hugging Face directory, or the flag of the converted format")
    .trtllm("the directory is no Hugging Face model (its config.json has no model_type; a converted checkpoint or engine?): give the Hugging Face directory, or --backend trt for a built engine"),
    cause(
        "architecture",
        Class::UnsupportedArchitecture,
        &[
            r"(?i)unknown (?:gguf )?model[_ ]type|with architecture \S+ is not (?:yet )?supported",
            r"Model architectures .* are not supported|does not recognize this architecture|[Uu]nsupported (?:model )?architecture|[Uu]nknown (?:model )?architecture",
            r"(?i)(?:model|architecture)s? ['\x22\[]?\w+(?:ForCausalLM|ForConditionalGeneration|Model)['\x22\]]* (?:is|are) not (?:yet )?supported",
            r"(?i)unsupported HF architecture|HF architecture .* (?:is )?not supported|(?:model type|model_type) ['\x22`]?[\w-]+['\x22`]? .*(?:not (?:supported|recogni[sz]ed)|unknown)",
            r"^KeyError: '[A-Z]\w+(?:ForCausalLM|ForConditionalGeneration|Model)'",
            r"(?i)(?:cannot|could not|can't|unable to|failed to) (?:determine|infer|detect|resolve|find) (?:the )?(?:model(?:'s)? )?(?:architecture|model class|model type|model_type)",
            r"(?i)architecture \w+(?:ForCausalLM|ForConditionalGeneration|Model) .*(?:not|un)(?: yet)? ?supported|Unrecognized configuration class",
            r"(?i)no (?:model )?implementation (?:found )?for|has no (?:vLLM|SGLang|TensorRT-LLM) implementation",
        ],
    )
    .next("this engine version does not know the model's architecture: upgrade it or choose another engine")
    .vllm("this engine version does not know the model's architecture: upgrade it (and transformers), try --model-impl transformers, or choose another engine")
    .sglang("this engine version does not know the model's architecture: upgrade it (and transformers), try --model-impl transformers, or choose another engine"),
    cause(
        "architecture-key",
        Class::UnsupportedArchitecture,
        &[r"^(?:KeyError|ValueError): '?[a-z0-9_]+_(?:moe|vl|text|omni|next)'?$"],
    )
    .rank(Symptom)
    .next("the transformers package does not know the model's type: upgrade transformers (and the engine)"),
    cause(
        "inspect-failed",
        Class::Unknown,
        &[r"Model architectures .* failed to be inspected"],
    )
    .rank(Echo)
    .unquoted()
    .next("the model's module could not be imported, and the reason is not in this excerpt: look above in the full log for `Error in inspecting model architecture`; the architecture itself is supported, so reinstall what that error names"),
    cause(
        "model-config-attribute",
        Class::UnsupportedArchitecture,
        &[r"(?:AttributeError: )?'\w+Config' object has no attribute '"],
    )
    .next("this engine version does not read this model's configuration: upgrade the engine to one that supports the model, or use the transformers version that the engine asks for"),
    cause(
        "sglang-gpt-oss",
        Class::UnsupportedBackend,
        &[r"(?i)fa4 .*(?:sm ?10|blackwell)|trtllm_mha .*(?:sm ?10|blackwell)"],
    )
    .only(Sglang)
    .sglang("choose another attention backend (--attention-backend triton or flashinfer) for this GPU"),
    cause(
        "trtllm-assert-support",
        Class::UnsupportedGpu,
        &[r"(?i)Assertion failed: .*(?:SM\d\d|sm version|smVersion|arch)\b"],
    )
    .only(Trtllm)
    .trtllm("this GPU lacks what the kernel needs: choose another attn_backend or moe_config.backend in the YAML, or other weights"),
];
