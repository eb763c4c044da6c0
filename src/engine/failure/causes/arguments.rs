//! Flags, values, combinations: what the command line or the configuration says and the engine refuses.

use super::EngineKind::{Sglang, Trtllm, Vllm};
use super::{Cause, Class, cause};

pub(super) const CAUSES: &[Cause] = &[
    cause(
        "bad-flag",
        Class::BadFlag,
        &[
            r"error: unrecognized arguments|[Nn]o such option|unrecognized option|error: unexpected argument '",
            r"error: ambiguous option|could match --",
            r"Extra inputs are not permitted|extra_forbidden|(?:Args|Config|ServerArgs)\.?(?:__init__)?\(\) got an unexpected keyword argument|^TypeError: __init__\(\) got an unexpected keyword",
            r"(?i)unknown (?:key|field|argument|option)s? .*(?:config|yaml|--)",
        ],
    ),
    cause(
        "bad-value",
        Class::BadValue,
        &[
            r"error: argument .*(?:invalid choice|invalid .* value|expected (?:one|at least one) argument|not allowed|cannot be converted)",
            r"[Ii]nvalid value for '?-|error: invalid value '.*' for '|is not one of '",
            r"error: the following arguments are required|Missing (?:argument|option)|requires an argument|required arguments were not provided",
            r"Input should be (?:greater|less|an? |')|^json\.decoder\.JSONDecodeError|is not a valid JSON|^yaml\.\w+\.\w+Error",
        ],
    ),
    cause(
        "wrong-type",
        Class::BadValue,
        &[r"json\.exception\.type_error\.\d+\] type must be (?:\w+), but is (?:number|string|object|boolean|array)"],
    )
    .trtllm("a value in the engine's config.json or in the model repository's config.pbtxt has another type than this version reads: build the engine with the backend's version, or correct the value")
    .next("a value in the configuration has another type than this version reads: correct it, or use the version that wrote it"),
    cause(
        "broken-json",
        Class::BadValue,
        &[r"(?:Expecting value|Expecting property name enclosed in double quotes|Expecting ',' delimiter|Unterminated string starting at|Extra data): line \d+ column \d+"],
    )
    .next("a JSON text is empty or broken: a file of the model (config.json, tokenizer files: an interrupted download or a git-lfs pointer; download it again), or a flag's JSON value (quote it for the shell)"),
    cause(
        "parser-name",
        Class::BadValue,
        &[r"(?i)invalid (?:tool[ _-]call|reasoning)[ _-]?parser|(?:tool call|reasoning) parser .*(?:not found|is not (?:valid|registered))|invalid tool call parser"],
    )
    .next("give a parser that the engine knows, or leave it out")
    .vllm("give a parser that this version knows (--tool-call-parser, --reasoning-parser; the message lists them), or leave it out"),
    cause(
        "lora-rank",
        Class::BadValue,
        &[
            r"(?i)LoRA rank \d+ is greater than max_lora_rank",
            r"(?i)lora.*rank.*(?:exceeds|greater than|larger than|within).*max[_-]lora[_-]rank",
            r"(?i)max_lora_rank.*(?:smaller|less) than",
        ],
    )
    .vllm("raise --max-lora-rank to the adapter's rank (r in adapter_config.json)")
    .sglang("raise --max-lora-rank to the adapter's rank (r in adapter_config.json)")
    .trtllm("raise max_lora_rank under lora_config in the YAML to the adapter's rank"),
    cause(
        "lora-targets",
        Class::BadValue,
        &[
            r"(?i)expected target modules in .*but received",
            r"(?i)lora.*target[_ -]modules?|target[_-]modules?.*lora",
            r"(?i)LoRA .*(?:incompatible with the current LoRA memory pool|is not supported for (?:module|layer))",
            r"unsupported LoRA weight",
        ],
    )
    .vllm("the adapter touches modules that vLLM cannot adapt for this model: use an adapter with the target modules that the message lists")
    .sglang("name the modules: --lora-target-modules with those of the adapter (or `all`), and --max-lora-rank with its rank")
    .trtllm("name the adapter's modules under lora_config.lora_target_modules in the YAML"),
    cause(
        "lora-disabled",
        Class::BadCombination,
        &[r"(?i)(?:lora.*is not enabled|requires? --enable-lora|without --enable-lora|does not support LoRA)"],
    )
    .vllm("add --enable-lora; where the model does not support LoRA, merge the adapter into the weights")
    .sglang("add --enable-lora; where the model does not support LoRA, merge the adapter into the weights"),
    cause(
        "draft-mismatch",
        Class::BadCombination,
        &[
            r"(?i)(?:draft|speculative|target)\b.{0,60}\b(?:vocab(?:ulary)?[ _]size|hidden[ _]size|tokenizer|num_attention_heads|architecture)s?\b.{0,80}(?:must|should|differ|match|same|not equal|mismatch)",
            r"(?i)(?:must|should) (?:have|use) the same vocab",
            r"(?i)(?:draft model|eagle3?|medusa|mtp|speculative).{0,80}(?:does not match|mismatch|is not compatible|incompatible|not supported for|must be)",
            r"(?i)num_speculative_tokens.*(?:must|should|was provided|divisible)",
        ],
    )
    .next("the draft model does not fit the target model or the speculative settings: use the draft that was made for this model, or serve without speculation")
    .vllm("the draft model does not fit the target model or the speculative settings: use the draft made for this model in --speculative-config, or leave speculation out")
    .sglang("the draft model does not fit the target model: use the draft made for this model in --speculative-draft-model-path, or leave --speculative-algorithm out")
    .trtllm("the draft model does not fit the target model: use the draft made for this model under speculative_config in the YAML, or leave it out; a built engine takes only the draft or lookahead setting of its build"),
    cause(
        "guided-speculation",
        Class::BadCombination,
        &[r"bitmask must have the same batch size as logits"],
    )
    .next("guided decoding and speculative decoding do not go together here: drop one of the two")
    .trtllm("guided decoding with speculative decoding and a draft-length schedule fails in this version: drop guided_decoding_backend, speculative_config or draft_len_schedule, or try another version"),
    cause(
        "world-size",
        Class::BadCombination,
        &[
            r"mpiSize == tp ?\* ?pp|MPI worldSize is expected to be equal to tp ?\* ?pp|world_size.{0,20}(?:!=|==).{0,20}tp",
            r"(?i)(?:world size|number of (?:MPI )?(?:ranks|processes)|nranks).{0,80}(?:does not match|is not equal|must (?:be equal|equal|match)|expected)",
        ],
    )
    .next("start as many ranks as the parallel sizes multiply to (mpirun -n = tensor x pipeline parallel size)")
    .trtllm("start as many ranks as the engine was built for: mpirun -n (or --world_size of launch_triton_server.py) = tp_size x pp_size"),
    cause(
        "batch-below-sequences",
        Class::BadCombination,
        &[
            r"max_num_batched_tokens.*(?:is smaller than|must be (?:greater|larger|at least)).*(?:max_num_seqs|max_model_len)",
            r"max_num_seqs.*must be .*(?:greater|less|at least)",
        ],
    )
    .next("change one of the flags named: the batched tokens must cover the sequences or the model length")
    .vllm("change one of the flags named: raise --max-num-batched-tokens, or lower --max-num-seqs or --max-model-len"),
    cause(
        "parallel-size",
        Class::BadCombination,
        &[
            r"(?:must|should) be divisible by|is not divisible by|cannot be evenly (?:divided|split)|not divisible",
            r"start \(\d+\) \+ length \(\d+\) exceeds dimension size|split_with_sizes expects split_sizes to sum|is not a multiple of .*(?:tp|tensor parallel|block|group)",
            r"not aligned with the quantized weight shape|caused by too large tensor parallel size",
            r"(?i)(?:reduc|lower|decreas)\w* (?:the )?tensor[_ ]parallel[_ ]size",
            r"(?i)\btp(?:_size)?\b.*(?:% ?\w+ ?[!=]= ?0|larger than|greater than|exceeds?).*(?:heads?|experts?|kv)",
            r"(?i)assert .*(?:num_(?:attention_|kv_|key_value_)?heads|hidden_size|intermediate_size|num_experts)\w* % \w+ == 0",
            r"(?i)assert .*% ?(?:self\.)?(?:tp_size|world_size|tensor_parallel\w*|attn_tp_size|ep_size) ?== ?0",
        ],
    )
    .next("change one of the flags: the parallel size does not cut the weights or heads evenly; take a smaller one that divides them")
    .vllm("change one of the flags: --tensor-parallel-size does not cut the weights or heads evenly; take a smaller one that divides them (with --pipeline-parallel-size for the rest)")
    .sglang("change one of the flags: --tp-size does not cut the weights or heads evenly; take a smaller one that divides them (or --moe-dense-tp-size / --ep-size for experts)")
    .trtllm("change one of the flags: --tp_size does not cut the weights or heads evenly; take a smaller one that divides them"),
    cause(
        "chat-template",
        Class::BadResponse,
        &[r"default chat template is no longer allowed|chat_template is not set|[Cc]annot use chat template|does not have a (?:default )?chat template"],
    )
    .next("the tokenizer has no chat template: give one (--chat-template FILE), or measure the completions endpoint"),
    cause(
        "version-too-new-flag",
        Class::BadFlag,
        &[r"(?i)unknown environment variable.*VLLM_|fail-on-environ-validation"],
    )
    .only(Vllm),
];

/// Settings that exclude each other: wider words, asked after what a part cannot do.
pub(super) const COMBINATIONS: &[Cause] = &[
    cause(
        "exclusive-flags",
        Class::BadCombination,
        &[
            r"(?:mutually exclusive|cannot be (?:used|set|specified|enabled|combined)).*(?:with|together|at the same time|both|when)|[Dd]on't set both",
            r"(?i)(?:is|are) (?:not|currently not|not yet|incompatible) ?(?:compatible|supported)? (?:with|when|together|in combination)\b.*(?:speculative|pipeline|chunked|prefix|cuda ?graph|torch\.?compile|lora|overlap|attention|quantiz|parallel|decoding|eager|async|disaggregat|radix|--)",
            r"(?i)(?:speculative|pipeline|chunked prefill|prefix cach|cuda ?graph|lora|overlap schedul|async schedul|data parallel|expert parallel|context parallel|disaggregat|radix)\w*.*(?:is|are) (?:not|currently not|not yet|incompatible) ?(?:compatible|supported)? (?:with|when|together|in combination)",
            r"VLLM_USE_V1=\d is not supported with",
            r"(?i)does not support (?:speculative|pipeline parallel|chunked prefill|async|prefix cach|data parallel|expert parallel|overlap)",
            r"(?i)(?:requires|only works with|can only be used with|please (?:also )?(?:set|disable|enable)) .{0,40}--[a-z][\w-]+",
            r"(?i)(?:incompatible with|cannot (?:use|enable|combine)) .{0,60}(?:--|together|at the same time)",
        ],
    ),
    cause(
        "other-kind-of-model",
        Class::BadCombination,
        &[r"(?i)(?:only|not) (?:supported|valid|available|allowed|applicable) (?:for|with|by) (?:multi-?modal|generative|text[- ]generation|pooling|embedding|encoder(?:-decoder|-only)?|decoder-only|vision|audio|reward|hybrid)\w* models?"],
    )
    .next("a setting is meant for another kind of model: leave out the flag named"),
    cause(
        "page-size",
        Class::BadCombination,
        &[r"(?i)page[_ ]size.*(?:must|only|should|is not supported|requires)", r"(?i)block[_ ]size.*(?:must be|is not supported|not in)"],
    )
    .vllm("choose a --block-size that the attention backend accepts, or leave it out")
    .sglang("change one of the flags: --page-size must fit the attention backend; leave it out to let the engine choose")
    .trtllm("choose a tokens_per_block that the backend accepts, or leave it out"),
    cause(
        "sglang-argument-check",
        Class::BadCombination,
        &[r"^AssertionError: assert .*(?:server_args|self)\.(?:tp_size|dp_size|ep_size|pp_size|page_size|chunked_prefill_size|attention_backend|speculative_\w+)\b"],
    )
    .only(Sglang)
    .sglang("the engine's own check of its arguments failed: go back to the default of the setting named in the asserted line"),
    cause(
        "lora",
        Class::BadValue,
        &[],
    )
    .next("the adapter does not go with this model or release: check its rank and target modules (adapter_config.json) against the base model, merge it into the weights, or serve without it")
    .vllm("the adapter does not go with this model or release: check its rank and target modules (adapter_config.json) against --max-lora-rank and the base model, merge it into the weights, or leave --enable-lora out")
    .sglang("the adapter does not go with this model or release: check --max-lora-rank and --lora-target-modules against adapter_config.json, merge it into the weights, or leave --enable-lora out"),
    cause(
        "reasoning-parser",
        Class::BadValue,
        &[r"think_(?:start|end)_token|could not locate think start/end tokens|(?i:reasoning[ _]parser) .*(?:not found|unknown|invalid)"],
    )
    .next("the reasoning parser does not go with this model's tokenizer: choose the parser made for the model, or leave the flag out")
    .vllm("the reasoning parser does not go with this model's tokenizer: choose the --reasoning-parser made for the model, or leave the flag out")
    .sglang("the reasoning parser does not go with this model's tokenizer: choose the --reasoning-parser made for the model, or leave the flag out"),
    cause(
        "kv-connector",
        Class::BadCombination,
        &[],
    )
    .next("the KV connector or offloading does not go with this model, layout or release: use the release that its package was made for, or serve without it")
    .vllm("the KV connector or offloading does not go with this model, KV layout or release: use the connector's package of this vLLM's time (LMCache, NIXL: see its version table), or leave --kv-transfer-config / --kv-offloading-size out; hybrid models need a connector that knows them")
    .sglang("the KV transfer or hierarchical cache does not go with this model or layout: both sides (prefill and decode) need the same --tp-size, --page-size and release; or leave --enable-hierarchical-cache / --disaggregation-mode out"),
    cause(
        "kv-layout",
        Class::BadCombination,
        &[],
    )
    .next("the engine cannot lay out the KV caches that these settings ask for: go back to the default block (page) size, cache type and speculative settings")
    .vllm("the engine cannot lay out the KV caches that these settings ask for (hybrid models and draft models have caches of several page sizes): leave --block-size, --kv-cache-dtype, --speculative-config or the KV connector at their defaults, or take another release")
    .sglang("the engine cannot lay out the KV caches that these settings ask for: leave --page-size, --kv-cache-dtype and the speculative settings at their defaults, or take another release"),
    cause("settings-together", Class::BadCombination, &[])
        .next("the engine's own check of its settings failed: go back to the default of one of those it names"),
    cause("setting", Class::BadValue, &[])
        .next("the engine's own check of its settings failed: correct what it names"),
    cause(
        "trtllm-build-limit",
        Class::BadValue,
        &[r"(?i)(?:max_batch_size|max_num_tokens|max_seq_len|max_beam_width|max_input_len)\b.*(?:exceeds?|larger than|greater than|must not|should not).*(?:engine|built|build|model)", r"does not satisfy any optimization profile|condition: satisfyProfile|max_context_len <= mMaxContextLength|<= mMax(?:BatchSize|InputLen|SequenceLen|BeamWidth)"],
    )
    .only(Trtllm)
    .trtllm("the engine was built for less: lower the value (or shorten the request) to the build's, or build the engine anew (trtllm-build --max_input_len, --max_seq_len, --max_batch_size)"),
];
