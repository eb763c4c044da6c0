//! What dyno knows of an architecture: all, only by the sizes it names, or that it cannot be answered.

use super::classes::CLASSES;
use super::facts::Facts;
use crate::error::Problem;
use serde_json::Value;

/// Architectures with code of their own on the hub that are built of known parts only, under known keys.
const PLAIN_REMOTE: &[&str] = &[
    "internlm",
    "internlm2",
    "internlm3",
    "baichuan",
    "minicpm",
    "orion",
    "solar",
    "telechat2",
    "telechat3",
    "xverse",
    "aquila",
    "mimo",
    "bailing_moe",
    "deepseek",
    "phimoe",
    "chatglm",
    "iquestcoder",
    "teleflm",
    "kimi_k2",
    "nemotron-nas",
    "kimi_k25",
    "deepseek_v2",
    "minimax_m1",
    "minimax_text_01",
    "phi-msft",
    "phi3small",
    "qwen",
    "exaone",
    "pangu_embedded",
    "sarvam_moe",
    "hcx_seed",
];

/// Parts of keys that name a structure. An unknown architecture with such a key is refused: it has parts that
/// nothing here reads.
const STRUCTURE: &[&str] = &[
    "ssm",
    "mamba",
    "linear_attn",
    "recurr",
    "rwkv",
    "compress",
    "hyena",
    "block_config",
    "retention",
    "gla_",
    "delta",
    "lightning",
    "kv_shared",
    "shared_kv",
    "hash_layer",
    "hc_mult",
    "engram",
    "loop",
];

/// Why a model cannot be answered at all.
pub(super) fn refusal(f: &Facts<'_>) -> Option<Problem> {
    let own = |v: &Value| v.get("model_type").and_then(Value::as_str).map(str::to_lowercase);
    let kinds: Vec<String> = [own(f.root), own(f.text), Some(f.kind.clone())].into_iter().flatten().collect();
    let a = f.architecture.as_str();
    let name = if a.is_empty() { f.kind.as_str() } else { a };
    let one_of = |list: &[String]| kinds.iter().any(|k| list.contains(k));
    let generates =
        a.ends_with("ForCausalLM") || a.ends_with("LMHeadModel") || a.ends_with("ForConditionalGeneration");
    let say = |key: &str, what: String| {
        Some(Problem::new(f.file, key, what).hint("dyno answers decoder-only models that generate text"))
    };
    if one_of(&CLASSES.encoder_decoders) || f.root.get("is_encoder_decoder") == Some(&Value::Bool(true)) {
        return say("model_type", format!("`{name}` is an encoder-decoder model, which is not supported"));
    }
    let dual = [
        "clip",
        "siglip",
        "siglip2",
        "chinese_clip",
        "altclip",
        "align",
        "clap",
        "metaclip_2",
        "owlvit",
        "owlv2",
    ];
    if kinds.iter().any(|k| dual.contains(&k.as_str())) && !generates {
        return say(
            "model_type",
            format!("`{name}` embeds text beside pictures or sounds: it generates nothing"),
        );
    }
    let has_text_part = !std::ptr::eq(f.root, f.text);
    if !has_text_part && one_of(&CLASSES.encoders) && !generates {
        return say("model_type", format!("`{name}` is an encoder: it has no decode step and no KV cache"));
    }
    let pooling = [
        "ForSequenceClassification",
        "ForTokenClassification",
        "ForMaskedLM",
        "RewardModel",
        "ForReward",
        "ForMultipleChoice",
        "ForQuestionAnswering",
    ];
    if pooling.iter().any(|p| a.contains(p)) {
        return say("architectures", format!("`{a}` scores or classifies: it does not generate"));
    }
    if a.contains("Diffusion") || a.contains("Transformer2D") || f.root.get("_class_name").is_some() {
        return say("architectures", format!("`{name}` generates by diffusion, which is not supported"));
    }
    unreadable(f, name)
}

/// An unknown architecture with keys that name parts which are not known.
fn unreadable(f: &Facts<'_>, name: &str) -> Option<Problem> {
    if is_known(f) || (f.kind.is_empty() && f.architecture.is_empty()) {
        return None;
    }
    let keys = f.text.as_object()?.keys();
    let odd: Vec<&str> =
        keys.map(String::as_str).filter(|k| STRUCTURE.iter().any(|s| k.contains(s))).collect();
    if odd.is_empty() {
        return None;
    }
    let message = format!("unknown architecture `{name}`, with parts that are not known: {}", odd.join(", "));
    Some(
        Problem::new(f.file, "architectures", message)
            .hint("describe the model in a models/*.toml with --data-dir"),
    )
}

fn is_known(f: &Facts<'_>) -> bool {
    f.known() || PLAIN_REMOTE.contains(&f.kind.to_lowercase().as_str())
}

/// What has to be said beside the figures.
pub(super) fn caveats(f: &Facts<'_>) -> Vec<String> {
    let mut out = Vec::new();
    let name = if f.architecture.is_empty() { &f.kind } else { &f.architecture };
    if !is_known(f) && !name.is_empty() {
        out.push(format!(
            "unknown architecture `{name}`: counted by the sizes that it names, as attention and feed-forward layers of \
             the usual form; not checked against its code"
        ));
    }
    if f.starts(&["deepseek_v4"]) {
        out.push(
            "the window of recent tokens beside each compressed cache is not counted, and how engines cut its cache into \
             pages is not known: vLLM 0.20 printed a hundredth of the tokens that are estimated"
                .to_owned(),
        );
    }
    if f.starts(&["gemma3n"]) {
        out.push("the alternating updates of Gemma-3n cost time that is not modelled".to_owned());
    }
    out
}
