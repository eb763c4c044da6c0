//! From a scenario to the [`EngineConfig`] of its launch: defaults by engine, release and hardware, then
//! flags, then the facts that the engine itself reported.
//!
//! Sources: `engine/arg_utils.py` and `config/*.py` of vLLM 0.10.2 to 0.33.0, `server_args.py` and
//! `arg_groups/` of SGLang 0.5.3 to 0.5.23, `llmapi/llm_args.py` of TensorRT-LLM 1.0 to 1.4.

mod sglang;
mod speculative;
mod trtllm;
mod vllm;

use super::EngineConfig;
use crate::error::{Error, Result};
use crate::hardware::{Hardware, Vendor};
use crate::launch::{EngineKind, GpuLayout, Launch, Version, assumed_version};
use crate::model::{Inputs, Model, Precision};
use crate::scenario::Record;
use crate::space::{Role, Space};
use crate::units::Bytes;
use serde_json::{Map, Value};
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// Device memory as the driver reports it. Vendors write "80 GB" for 80 GiB of HBM, of which CUDA sees 99 %;
/// inline ECC of GDDR server parts (A10, L4, L40S) takes another 5 %.
pub fn device_memory(hw: &Hardware) -> Bytes {
    if hw.vendor == Vendor::Cpu {
        return Bytes::from_gb(hw.memory_gb);
    }
    if let Some(mib) = hw.memory_mib {
        // Of the driver's total, CUDA shows about half a GiB less on parts from 24 to 180 GB.
        return Bytes::from_gib((f64::from(mib) / 1024.0 - 0.55).max(0.0));
    }
    let gddr_with_ecc = hw.bandwidth_gbps < 900.0;
    Bytes::from_gib(hw.memory_gb * if gddr_with_ecc { 0.94 } else { 0.99 })
}

/// The configuration of a record's launch. The engine comes from `engine`, else from the command.
pub fn resolve(record: &Record, hw: &Hardware, model: &Model) -> Result<EngineConfig> {
    let mut c = resolve_launch(&record.launch(), record.resolved.as_ref(), hw, model)?;
    if let Some(p) = record.precision.as_deref().and_then(precision_named) {
        // `fp4` of a model that ships in a 4-bit format means that format.
        let same_format =
            p == Precision::Fp4 && matches!(model.precision, Precision::Mxfp4 | Precision::Nvfp4);
        c.weights = (!same_format && p != model.precision).then_some(p);
    }
    if let Some(told) = &record.acceptance {
        c.speculative = c.speculative.map(|s| s.told(told));
    }
    Ok(c)
}

/// The configuration of a launch. Facts that the engine reported (`resolved`) win over everything else.
///
/// Errors: a launch whose engine is not known.
pub fn resolve_launch(
    command: &Launch,
    resolved: Option<&Map<String, Value>>,
    hw: &Hardware,
    model: &Model,
) -> Result<EngineConfig> {
    let engine = command.engine.ok_or_else(|| {
        Error::usage("the scenario names no engine").hint("set `engine`, or give a `serve_command` that starts with vllm serve, trtllm-serve or python3 -m sglang.launch_server")
    })?;
    let version = command.version.unwrap_or_else(|| assumed_version(engine));
    let num_gpus = command.num_gpus.unwrap_or(1);
    let mut c =
        EngineConfig { engine, version, max_model_len: model.max_position, ..EngineConfig::default() };
    let layout = GpuLayout::of(command);
    c.tensor_parallel = match resolved_u32(resolved, "tensor_parallel") {
        Some(n) if !layout.said => n.max(1),
        _ => layout.tensor,
    };
    c.pipeline_parallel = layout.pipeline;
    c.data_parallel = layout.data;
    c.attention_parallel = layout.attention;
    c.context_parallel = layout.context;
    if command.flags.is_empty() && num_gpus > 1 {
        c.tensor_parallel = num_gpus;
    }
    c.expert_parallel = command.switch(&["enable-expert-parallel"]).unwrap_or(false)
        || command
            .integer(&["ep-size", "ep", "expert-parallel-size", "moe-expert-parallel-size"])
            .unwrap_or(1)
            > 1;
    c.weights = command
        .text(&["quantization", "q", "quant-config.quant-algo"])
        .and_then(precision_named)
        .filter(|p| *p != model.precision && model.precision <= Precision::Fp16);
    c.text_only = text_only(command, engine, version, model);
    c.flashinfer_sampler = flashinfer_sampler(command, engine, version, hw);
    // Weights and cache in four bytes, where the checkpoint is not quantised.
    let single = matches!(command.text(&["dtype"]), Some("float32" | "float"));
    if single && c.weights.is_none() && model.precision <= Precision::Fp16 {
        c.weights = (model.precision != Precision::Fp32).then_some(Precision::Fp32);
        c.kv_elem_bytes = 4.0;
    }
    if let Some(t) =
        command.text(&["kv-cache-dtype", "kv-cache-config.dtype", "quant-config.kv-cache-quant-algo"])
    {
        c.kv_elem_bytes = kv_elem_bytes(t).unwrap_or(c.kv_elem_bytes);
    }
    c.stream_interval = command.integer(&["stream-interval"]).unwrap_or(1).max(1);
    c.frontends = command.integer(&["api-server-count", "asc", "tokenizer-worker-num"]).unwrap_or(1).max(1);
    match engine {
        EngineKind::Vllm | EngineKind::Emulated => vllm::apply(&mut c, command, hw, model),
        EngineKind::Sglang => sglang::apply(&mut c, command, hw, model),
        EngineKind::Trtllm => trtllm::apply(&mut c, command),
    }
    let unread = speculative::apply(&mut c, command, model);
    if let Some(facts) = resolved {
        apply_facts(&mut c, facts);
    }
    c.unmodelled = command
        .flags
        .iter()
        .map(|(n, _)| n)
        .filter(|n| role(engine, n) == Role::Told)
        .map(|n| format!("--{n}"))
        .chain(unread)
        .collect();
    Ok(c)
}

/// Whether vLLM leaves the towers out: asked for as such, or since 0.10.1 by a limit of zero for every kind of input that the
/// model takes. A kind that is not named has no limit: pictures alone at zero leave the tower to films.
fn text_only(command: &Launch, engine: EngineKind, version: Version, model: &Model) -> bool {
    if !matches!(engine, EngineKind::Vllm | EngineKind::Emulated) || version < Version(0, 10, 1) {
        return false;
    }
    let zero = |kind: &str| {
        // `{"image": 0, "video": 0}`, `image=0,video=0`, or `--limit-mm-per-prompt.image 0`.
        let listed = command.text(&["limit-mm-per-prompt"]).unwrap_or_default();
        let pairs = listed.trim_matches(['{', '}']).split(',').filter_map(|p| p.split_once([':', '=']));
        let named = |name: &str| name.trim().trim_matches(['"', '\'']) == kind;
        let own = pairs.filter(|(name, _)| named(name)).map(|(_, n)| n.trim()).next_back();
        let dotted = format!("limit-mm-per-prompt.{kind}");
        command.text(&[&dotted]).or(own) == Some("0")
    };
    let inputs = model.rest.inputs;
    let all = [("image", inputs.image), ("video", inputs.video), ("audio", inputs.audio)];
    command.switch(&["language-model-only"]) == Some(true)
        || inputs != Inputs::default() && all.iter().all(|(kind, taken)| !taken || zero(kind))
}

/// Whether vLLM samples by FlashInfer: on by default from 0.9 where it is installed, which the project's image has and the package
/// leaves out; off by default from 0.11.1 (the launches of 0.11.0 that are known have none of it), and of no weight since 0.17, whose
/// own kernels sort nothing either.
fn flashinfer_sampler(command: &Launch, engine: EngineKind, version: Version, hw: &Hardware) -> Option<bool> {
    let vllm = matches!(engine, EngineKind::Vllm | EngineKind::Emulated);
    if !vllm || hw.vendor != Vendor::Nvidia || version < Version(0, 9, 0) {
        return Some(false);
    }
    match command.env.get("VLLM_USE_FLASHINFER_SAMPLER").map(String::as_str) {
        Some("0") => Some(false),
        Some(_) => Some(true),
        None if version < Version(0, 11, 0) => None,
        None => Some(false),
    }
}

/// What the embedded tables say of every flag, by engine.
static ROLES: LazyLock<BTreeMap<EngineKind, BTreeMap<String, Role>>> = LazyLock::new(|| {
    let tables = Space::load_all(None).unwrap_or_default();
    tables.into_iter().map(|s| (s.engine, s.roles())).collect()
});

/// What a prediction makes of a flag, by its name with `-` inside; `no-` in front is forgiven. A flag that stands in no
/// table is told. What the embedded engine's table does not name is vLLM's.
pub fn role(engine: EngineKind, flag: &str) -> Role {
    // SGLang's argparse completes these.
    let flag = match (engine, flag) {
        (EngineKind::Sglang, "tp") => "tp-size",
        (EngineKind::Sglang, "pp") => "pp-size",
        (EngineKind::Sglang, "dp") => "dp-size",
        _ => flag,
    };
    let plain = flag.strip_prefix("no-").unwrap_or(flag);
    let of = |kind: EngineKind| ROLES.get(&kind).and_then(|r| r.get(flag).or_else(|| r.get(plain))).copied();
    let own = of(engine);
    match engine {
        EngineKind::Emulated => own.or_else(|| of(EngineKind::Vllm)),
        _ => own,
    }
    // A key of a table (`--speculative-config.method`) is what the table is.
    .or_else(|| Some(role(engine, flag.split_once('.')?.0)))
    .unwrap_or(Role::Told)
}

/// Facts read back from the engine (contract: `resolved`) win over everything else.
fn apply_facts(c: &mut EngineConfig, facts: &Map<String, Value>) {
    let some = Some(facts);
    let set = |field: &mut u32, name: &str| {
        if let Some(v) = resolved_u32(some, name) {
            *field = v;
        }
    };
    set(&mut c.block_size, "block_size");
    set(&mut c.max_num_seqs, "max_num_seqs");
    set(&mut c.max_num_batched_tokens, "max_num_batched_tokens");
    set(&mut c.max_model_len, "max_model_len");
    set(&mut c.chunk_tokens, "chunked_prefill_size");
    set(&mut c.max_graph_size, "max_graph_size");
    let flag = |name: &str| facts.get(name).and_then(Value::as_bool);
    c.overlap = flag("async_scheduling").or_else(|| flag("overlap")).unwrap_or(c.overlap);
    c.prefix_caching =
        flag("prefix_caching").or_else(|| flag("enable_prefix_caching")).unwrap_or(c.prefix_caching);
    c.chunked_prefill = flag("chunked_prefill").unwrap_or(c.chunked_prefill);
    if flag("enforce_eager") == Some(true) {
        c.max_graph_size = 0;
    }
    if let Some(t) = facts.get("kv_cache_dtype").and_then(Value::as_str) {
        c.kv_elem_bytes = kv_elem_bytes(t).unwrap_or(c.kv_elem_bytes);
    }
    let whole = |name: &str| facts.get(name).and_then(Value::as_f64).filter(|v| *v >= 1.0).map(|v| v as u64);
    if let Some(blocks) = whole("num_gpu_blocks").or_else(|| whole("num_kv_blocks")) {
        c.num_kv_blocks = Some(blocks);
    } else if let Some(tokens) = whole("num_kv_tokens") {
        c.num_kv_blocks = Some(tokens / u64::from(c.block_size.max(1)));
    }
}

fn resolved_u32(facts: Option<&Map<String, Value>>, name: &str) -> Option<u32> {
    facts?.get(name)?.as_f64().filter(|v| *v >= 0.0 && *v < 4e9).map(|v| v as u32)
}

fn kv_elem_bytes(name: &str) -> Option<f64> {
    match name.to_ascii_lowercase().as_str() {
        "auto" => None,
        n if n.starts_with("fp8") || n == "int8" => Some(1.0),
        n if n.starts_with("fp4") || n.starts_with("nvfp4") => Some(0.5625),
        "float32" | "fp32" => Some(4.0),
        _ => Some(2.0),
    }
}

/// Precision by the names that flags and records use.
pub fn precision_named(name: &str) -> Option<Precision> {
    let n = name.to_ascii_lowercase();
    Some(match n.as_str() {
        "bf16" | "bfloat16" => Precision::Bf16,
        "fp16" | "float16" | "half" => Precision::Fp16,
        "fp32" | "float32" => Precision::Fp32,
        "mxfp4" => Precision::Mxfp4,
        "nvfp4" | "modelopt_fp4" => Precision::Nvfp4,
        "fp4" => Precision::Fp4,
        "int8" | "w8a8_int8" | "bitsandbytes8" => Precision::Int8,
        _ if n.starts_with("fp8") || n == "modelopt" || n == "w8a8_fp8" => Precision::Fp8,
        _ if n.contains("awq") || n.contains("gptq") || n.contains("int4") || n == "bitsandbytes" => {
            Precision::Int4
        }
        _ => return None,
    })
}

#[cfg(test)]
mod tests;
