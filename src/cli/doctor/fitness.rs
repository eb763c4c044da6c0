//! What will work for one model on one part: per engine, whether it runs there at all, whether the weights
//! fit, and how much context is left.

use super::engines::Installed;
use super::{Finding, Level};
use crate::cost::Refusal;
use crate::cost::memory::{MemoryEstimate, estimate};
use crate::engine::resolve_launch;
use crate::error::Result;
use crate::hardware::Hardware;
use crate::launch::{EngineKind, Launch};
use crate::model::Model;
use crate::space::{Context, Space};
use crate::units::Bytes;
use std::path::Path;

pub(super) fn findings(
    model: &Model,
    hardware: &Hardware,
    installed: &[Installed],
    num_gpus: u32,
    max_model_len: Option<u32>,
    data_dir: Option<&Path>,
) -> Result<Vec<Finding>> {
    let mut out = vec![Finding::new(
        "model",
        Level::Good,
        format!(
            "{}: {:.1} G parameters ({:.1} G active), {} weights {}, on {} x {}",
            model.id,
            model.params().total() as f64 / 1e9,
            model.params_active() as f64 / 1e9,
            model.precision,
            Bytes(model.weight_bytes()),
            num_gpus.max(1),
            hardware.id
        ),
    )];
    let notes = model.caveats.iter().chain(&model.quantisation.notes);
    out.extend(notes.map(|c| Finding::new("model", Level::Note, c.clone())));
    for kind in [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm] {
        let space = Space::load(kind, data_dir)?;
        let version = installed.iter().find(|i| i.engine == kind).map(|i| i.version.clone());
        let ctx = Context {
            version: version.as_deref().and_then(|v| v.parse().ok()),
            num_gpus,
            ..Context::new(hardware, model)
        };
        let broken = space.limits_broken(&ctx);
        if broken.is_empty() {
            out.push(room(kind, version.as_deref(), model, hardware, num_gpus, max_model_len));
        }
        out.extend(
            broken.into_iter().map(|c| Finding::new("model", Level::Bad, format!("{kind}: {}", c.why))),
        );
    }
    Ok(out)
}

fn room(
    kind: EngineKind,
    version: Option<&str>,
    model: &Model,
    hardware: &Hardware,
    num_gpus: u32,
    max_model_len: Option<u32>,
) -> Finding {
    if !hardware.is_gpu() {
        return Finding::new("model", Level::Note, format!("{kind}: memory is the host's; not estimated"));
    }
    let at = |tp: u32| estimate(&config(kind, version, model, hardware, tp, max_model_len), hardware, model);
    let e = at(num_gpus.max(1));
    if e.refusals.is_empty() {
        let tokens = e.kv_tokens;
        let length = max_model_len.unwrap_or(model.max_position);
        let text = format!(
            "{kind}: fits (estimate): {} for KV on each GPU, {tokens} tokens of context, {:.1} requests of {length}{}",
            e.kv,
            e.max_concurrency(length),
            match kind {
                EngineKind::Vllm => "; its log calls these \"GPU KV cache size\" and \"Maximum concurrency\"",
                EngineKind::Sglang => "; its log calls the tokens \"max_total_num_tokens\"",
                EngineKind::Trtllm => "; its log calls the tokens \"max tokens in paged KV cache\"",
                EngineKind::Emulated => "",
            }
        );
        return Finding::new("model", Level::Good, text);
    }
    let fatal = e.refusals.iter().any(Refusal::fatal);
    let (verdict, level) =
        if fatal { ("will not start", Level::Bad) } else { ("may not start", Level::Note) };
    let why: Vec<String> = e.refusals.iter().map(Refusal::to_string).collect();
    let text = format!("{kind}: {verdict} as it is (estimate): {}", why.join("; "));
    Finding::new("model", level, text).hint(way_out(&e, model, num_gpus, at))
}

/// Fewer tokens of context, or the smallest number of GPUs on which it starts.
fn way_out(e: &MemoryEstimate, model: &Model, num_gpus: u32, at: impl Fn(u32) -> MemoryEstimate) -> String {
    let mut ways = Vec::new();
    let splits = |r: &Refusal| matches!(r, Refusal::HeadsDoNotSplit { .. } | Refusal::DoesNotDivide { .. });
    if e.refusals.iter().any(splits) {
        let starts = |n: &u32| *n < num_gpus && at(*n).refusals.is_empty();
        let fewer =
            [64, 32, 16, 8, 4, 2, 1].into_iter().find(starts).or_else(|| (1..num_gpus).rev().find(starts));
        return fewer.map_or_else(
            || "a layout over which it divides: pipeline or expert parallelism".to_owned(),
            |n| format!("tensor parallelism of {n}; more GPUs as data or pipeline parallelism"),
        );
    }
    if e.kv_tokens >= 1024 {
        ways.push(format!("--max-model-len up to about {}", e.kv_tokens / 1024 * 1024));
    }
    let more = [2, 4, 8, 16].into_iter().filter(|n| *n > num_gpus && model.q_heads.is_multiple_of(*n));
    if let Some(n) = more.into_iter().find(|n| at(*n).refusals.is_empty()) {
        ways.push(format!("{n} GPUs with tensor parallelism"));
    }
    if model.precision.bytes() > 1.0 {
        ways.push("a quantised variant of the model (-FP8, -AWQ)".to_owned());
    }
    if ways.is_empty() { "a larger GPU or a smaller model".to_owned() } else { ways.join("; or ") }
}

fn config(
    kind: EngineKind,
    version: Option<&str>,
    model: &Model,
    hardware: &Hardware,
    tp: u32,
    max_model_len: Option<u32>,
) -> crate::engine::EngineConfig {
    let version = version.and_then(|v| v.parse().ok());
    let launch = Launch { engine: Some(kind), version, ..Launch::default() };
    let mut c = resolve_launch(&launch, None, hardware, model).expect("the engine is named");
    c.tensor_parallel = tp;
    c.max_model_len = max_model_len.unwrap_or(c.max_model_len);
    c
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::{hardware, model};

    fn said(name: &str, part: &str, gpus: u32, len: Option<u32>) -> Vec<Finding> {
        let model = model::Catalog::load(None).unwrap().with_hub_cache(None).find(name).unwrap();
        let parts = hardware::Catalog::load(None).unwrap();
        findings(&model, parts.find(part).unwrap(), &[], gpus, len, None).unwrap()
    }

    fn of<'f>(all: &'f [Finding], engine: &str) -> &'f Finding {
        all.iter().find(|f| f.text.starts_with(engine)).unwrap_or_else(|| panic!("{engine} in {all:?}"))
    }

    #[test]
    fn gpt_oss_on_an_a100_works_but_for_tensorrt_llm() {
        let all = said("openai/gpt-oss-20b", "a100-sxm-80gb", 1, None);
        assert_eq!(of(&all, "vllm").level, Level::Good);
        assert_eq!(of(&all, "sglang").level, Level::Good);
        assert_eq!(of(&all, "trtllm").level, Level::Bad);
    }

    #[test]
    fn a_model_too_large_is_told_with_a_way_out() {
        let all = said("meta-llama/Llama-3.1-70B-Instruct", "a100-sxm-80gb", 1, Some(8192));
        let f = of(&all, "vllm");
        assert_eq!(f.level, Level::Bad);
        let hint = f.hint.as_deref().unwrap();
        assert!(hint.contains("GPUs with tensor parallelism") && hint.contains("-FP8"), "{hint}");
        let all = said("meta-llama/Llama-3.1-8B-Instruct", "rtx-4090-24gb", 1, None);
        let f = of(&all, "vllm");
        assert!(f.level == Level::Bad && f.hint.as_deref().unwrap().contains("--max-model-len"), "{f:?}");
        let all = said("meta-llama/Llama-3.1-8B-Instruct", "rtx-4090-24gb", 1, Some(4096));
        assert_eq!(of(&all, "vllm").level, Level::Good);
    }
}
