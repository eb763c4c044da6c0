//! Speculation as the engines' flags say it.
//!
//! Sources: `vllm/config/speculative.py` and `config/vllm.py` (0.11 to 0.33), `sglang/srt/server_args.py` and
//! `auto_choose_speculative_params` (0.5.3 to 0.5.23), `DecodingBaseConfig` and its kinds in `llmapi/llm_args.py` of
//! TensorRT-LLM (1.0 to 1.4).

use super::EngineConfig;
use crate::engine::{Drafter, Speculation};
use crate::launch::{EngineKind, Launch};
use crate::model::Model;
use serde_json::{Map, Value};

/// Sets the speculation of a launch and what follows from it; returns what cannot be modelled, in words.
pub(super) fn apply(c: &mut EngineConfig, command: &Launch, model: &Model) -> Option<String> {
    let said = match c.engine {
        EngineKind::Vllm | EngineKind::Emulated => vllm(command),
        EngineKind::Sglang => sglang(command, model),
        EngineKind::Trtllm => trtllm(command),
    };
    match said? {
        Ok(mut s) => {
            s.held_up_host = c.overlap && !overlaps(c, &s);
            c.overlap = c.overlap && !s.held_up_host;
            if c.engine == EngineKind::Sglang {
                c.mixed_chunk = false;
                if command.integer(&["max-running-requests"]).is_none() {
                    c.max_num_seqs = c.max_num_seqs.min(SGLANG_RUNNING);
                }
            }
            c.speculative = Some(s);
            None
        }
        Err(why) => Some(why),
    }
}

/// SGLang's `max_running_requests` under speculation when nobody sets it.
const SGLANG_RUNNING: u32 = 48;

/// Whether scheduling stays ahead of the device. vLLM: EAGLE, MTP since 0.14 and draft models since 0.15 or so; lookups
/// never. SGLang: its second worker alone, the default of recent releases, and never for lookups. TensorRT-LLM: not with
/// drafters outside of the model's own engine.
fn overlaps(c: &EngineConfig, s: &Speculation) -> bool {
    match c.engine {
        EngineKind::Vllm | EngineKind::Emulated => !s.method.looks_up() && c.version >= (0, 14, 0),
        EngineKind::Sglang => !s.method.looks_up() && c.version >= (0, 5, 9),
        EngineKind::Trtllm => matches!(s.method, Drafter::Mtp | Drafter::Eagle | Drafter::Eagle3),
    }
}

/// vLLM's JSON, its dotted form (`--speculative-config.method`) and the short flags of recent releases.
fn vllm(command: &Launch) -> Option<Result<Speculation, String>> {
    let json = command.text(&["speculative-config", "sc"]).filter(|t| *t != "none" && *t != "null");
    let object: Map<String, Value> = match json.map(serde_json::from_str::<Value>) {
        Some(Ok(Value::Object(o))) => o,
        Some(_) => return Some(Err("--speculative-config (no JSON object)".to_owned())),
        None => Map::new(),
    };
    let text = |key: &str, flags: &[&str]| {
        let own = object.get(key).and_then(Value::as_str);
        own.or_else(|| command.text(flags)).map(str::to_owned)
    };
    let method = text("method", &["speculative-config.method", "spec-method"]);
    let model = text("model", &["speculative-config.model", "spec-model"]);
    if method.is_none() && model.is_none() {
        return json.map(|_| Err("--speculative-config (neither method nor model)".to_owned()));
    }
    let tokens = object.get("num_speculative_tokens").and_then(Value::as_u64).map(|n| n as u32);
    let tokens = tokens
        .or_else(|| command.integer(&["speculative-config.num-speculative-tokens", "spec-tokens"]))
        .unwrap_or(1);
    let name = method.clone().unwrap_or_else(|| inferred(model.as_deref().unwrap_or_default()).to_owned());
    let drafter = match name.as_str() {
        "ngram" | "[ngram]" | "ngram_gpu" => Drafter::Ngram,
        "suffix" => Drafter::Suffix,
        "eagle" => Drafter::Eagle,
        "eagle3" => Drafter::Eagle3,
        "draft_model" => Drafter::DraftModel,
        n if n == "mtp" || n.ends_with("_mtp") => Drafter::Mtp,
        other => return Some(Err(format!("--speculative-config (method {other})"))),
    };
    let draft_model = model.filter(|m| m != "ngram" && m != "[ngram]");
    Some(Ok(Speculation { draft_model, ..Speculation::new(drafter, tokens) }))
}

/// The method that vLLM infers from the drafter's name.
fn inferred(model: &str) -> &'static str {
    let name = model.to_ascii_lowercase();
    match name.as_str() {
        "ngram" | "[ngram]" => "ngram",
        n if n.contains("eagle3") => "eagle3",
        n if n.contains("eagle") => "eagle",
        n if n.contains("mtp") => "mtp",
        _ => "draft_model",
    }
}

fn sglang(command: &Launch, model: &Model) -> Option<Result<Speculation, String>> {
    let name = command.text(&["speculative-algorithm"])?.to_ascii_uppercase();
    let drafter = match name.as_str() {
        "NONE" => return None,
        "EAGLE" => Drafter::Eagle,
        "EAGLE3" => Drafter::Eagle3,
        "NEXTN" => Drafter::Mtp,
        "STANDALONE" => Drafter::DraftModel,
        "NGRAM" => Drafter::Ngram,
        _ => return Some(Err(format!("--speculative-algorithm {name}"))),
    };
    let draft_model =
        command.text(&["speculative-draft-model-path", "speculative-draft-model"]).map(str::to_owned);
    // EAGLE on a checkpoint with such layers of its own is what NEXTN says.
    let own = drafter == Drafter::Eagle && draft_model.is_none() && model.mtp_params() > 0;
    let drafter = if own { Drafter::Mtp } else { drafter };
    let (steps, verified) = match drafter {
        Drafter::Ngram => (NGRAM_TOKENS - 1, NGRAM_TOKENS),
        Drafter::Mtp => (3, 4),
        _ => (5, 8),
    };
    let given = command.integer(&["speculative-num-steps"]);
    let wide = command.integer(&["speculative-eagle-topk"]).unwrap_or(if given.is_some() { 1 } else { 4 });
    let told = command.integer(&["speculative-num-draft-tokens"]);
    let steps =
        given.or(told.filter(|_| drafter == Drafter::Ngram).map(|n| n - n.min(1))).unwrap_or(steps).max(1);
    // A chain verifies one token more than it has steps.
    let verified = told.unwrap_or(if given.is_some() { steps + 1 } else { verified });
    let verified = if wide <= 1 { steps + 1 } else { verified.max(2) };
    Some(Ok(Speculation { verified: verified - 1, draft_model, ..Speculation::new(drafter, steps) }))
}

/// SGLang's `speculative_num_draft_tokens` for n-gram lookups.
const NGRAM_TOKENS: u32 = 12;

fn trtllm(command: &Launch) -> Option<Result<Speculation, String>> {
    let name = command.text(&["speculative-config.decoding-type"])?.to_ascii_lowercase();
    let drafter = match name.as_str() {
        "mtp" => Drafter::Mtp,
        // The PyTorch backend's Eagle is its Eagle3.
        "eagle" | "eagle3" => Drafter::Eagle3,
        "ngram" => Drafter::Ngram,
        "draft_target" | "drafttarget" => Drafter::DraftModel,
        other => return Some(Err(format!("speculative_config.decoding_type {other}"))),
    };
    let length = command.integer(&["speculative-config.max-draft-len"]);
    let layers = command.integer(&["speculative-config.num-nextn-predict-layers"]);
    let tokens = if drafter == Drafter::Mtp { layers.or(length) } else { length };
    let draft_model = command
        .text(&["speculative-config.speculative-model-dir", "speculative-config.speculative-model"])
        .map(str::to_owned);
    Some(Ok(Speculation { draft_model, ..Speculation::new(drafter, tokens.unwrap_or(1)) }))
}
