//! Parameters of vision and audio towers, by the sizes that their configs name: weights in memory, to a few percent.

use super::facts::Facts;
use crate::model::{Inputs, Vision};
use serde_json::Value;

/// All towers and their projectors.
pub(super) fn params(f: &Facts<'_>, hidden: u32) -> u64 {
    let own = ["vision_config", "visual"].iter().any(|k| f.root.get(*k).is_some_and(Value::is_object));
    if std::ptr::eq(f.root, f.text) && !own {
        return 0;
    }
    let parts = [f.root, f.root.get("thinker_config").unwrap_or(&Value::Null)];
    let keys = [
        "vision_config",
        "visual",
        "audio_config",
        "vision_tower_config",
        "vit_config",
        "audio_encoder_config",
    ];
    let configs = parts.iter().flat_map(|p| keys.iter().filter_map(|k| p.get(*k)));
    configs.filter(|c| c.is_object()).map(|c| tower(c) + projector(f, c, hidden)).sum()
}

/// The tower of pictures. One with a merge of patches and no fixed picture takes them as large as 16,384 tokens (the processors
/// of Qwen2-VL to Qwen3.5: 12.8 and 16.8 million pixels).
pub(super) fn vision(f: &Facts<'_>) -> Option<Vision> {
    let thinker = f.root.get("thinker_config").and_then(|t| t.get("vision_config"));
    let c = f.root.get("vision_config").or(thinker).filter(|c| c.is_object())?;
    let small = |n: u64| u32::try_from(n).unwrap_or(0);
    let (hidden, ffn) = (small(width(c)), small(feed_forward(c)));
    let merge = size(c, &["spatial_merge_size"]).filter(|m| *m <= 16);
    let fixed = size(c, &["image_size"]);
    let per_image = f.root.get("mm_tokens_per_image").and_then(Value::as_u64).filter(|n| *n > 0);
    let patch = size(c, &["patch_size", "spatial_patch_size"]).filter(|p| *p > 0)?;
    let patches = match (merge, fixed, per_image) {
        (Some(m), ..) => m * m,
        (None, Some(side), Some(tokens)) => (side / patch).pow(2) / tokens,
        _ => 4,
    };
    let largest = if merge.is_some() && fixed.is_none() { 16_384 } else { 0 };
    let layers = size(c, &["num_hidden_layers", "vt_num_hidden_layers"]).unwrap_or(24);
    let wide = size(c, &["hidden_size", "vt_hidden_size"]).unwrap_or(1024);
    let named = (small(layers), small(wide));
    (hidden > 0).then(|| Vision { hidden, ffn, patches: small(patches).clamp(1, 256), largest, named })
}

/// What the model takes besides text: the towers that its config describes, and the tokens that it keeps a place for.
pub(super) fn inputs(f: &Facts<'_>) -> Inputs {
    let parts = [f.root, f.root.get("thinker_config").unwrap_or(&Value::Null)];
    let has = |keys: &[&str]| {
        parts.iter().any(|p| keys.iter().any(|k| p.get(*k).is_some_and(|v| v.is_object() || v.is_u64())))
    };
    if params(f, 0) == 0 {
        return Inputs::default();
    }
    let image = has(&["vision_config", "vision_tower_config", "vit_config"]);
    Inputs {
        image,
        video: image && has(&["video_token_id", "video_token_index"]),
        audio: has(&["audio_config", "audio_encoder_config"]),
    }
}

fn size(c: &Value, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|k| c.get(*k)?.as_u64()).filter(|n| *n < 1_000_000)
}

fn width(c: &Value) -> u64 {
    size(c, &["embed_dim", "hidden_size", "d_model", "width", "vt_hidden_size", "dim"]).unwrap_or(0)
}

fn tower(c: &Value) -> u64 {
    let w = width(c);
    // Llama-3.2-Vision: further layers over all tiles, and a place in the picture by tile and its shape.
    let global = size(c, &["num_global_layers"]).unwrap_or(0);
    let tiles = size(c, &["max_num_tiles"]).unwrap_or(0).min(64) * (shapes(c) + 1) * patches(c) * w;
    let layers = size(c, &["depth", "num_hidden_layers", "layers", "encoder_layers", "vt_num_hidden_layers"])
        .unwrap_or(0);
    let ffn = feed_forward(c);
    let gemma4 = c.get("model_type").and_then(Value::as_str).is_some_and(|k| k.starts_with("gemma4_vision"));
    let pixtral = c.get("model_type").and_then(Value::as_str) == Some("pixtral");
    let gated = gemma4 || pixtral || c.get("hidden_act").and_then(Value::as_str).is_some_and(|a| a == "silu");
    // A place by column and one by row.
    let places =
        if gemma4 { 2 * size(c, &["position_embedding_size"]).unwrap_or(0).min(1 << 20) * w } else { 0 };
    let patch = size(c, &["patch_size", "spatial_patch_size"]).unwrap_or(14).min(1024);
    let frames = size(c, &["temporal_patch_size"]).unwrap_or(1).min(16);
    (layers + global).min(1000) * (4 * w * w + if gated { 3 } else { 2 } * w * ffn)
        + 3 * frames * patch * patch * w
        + tiles
        + places
}

fn feed_forward(c: &Value) -> u64 {
    let ffn = size(c, &["intermediate_size", "mlp_hidden_dim", "encoder_ffn_dim", "vt_intermediate_size"]);
    let ratio = c.get("mlp_ratio").and_then(Value::as_f64).unwrap_or(4.0);
    ffn.unwrap_or((width(c) as f64 * ratio) as u64)
}

/// Shapes of pictures that are cut into tiles.
fn shapes(c: &Value) -> u64 {
    c.get("supported_aspect_ratios").and_then(Value::as_array).map_or(0, |l| l.len().min(64) as u64)
}

/// Patches of one tile, and its class.
fn patches(c: &Value) -> u64 {
    let patch = size(c, &["patch_size"]).unwrap_or(14).max(1);
    let side = size(c, &["image_size"]).unwrap_or(0).min(1 << 14) / patch;
    (side * side + 1).min(1 << 16)
}

/// Two layers from the merged patches to the language model's width. Qwen's first keeps the merged width; Llama-3.2-Vision has one
/// layer, from the last and some earlier outputs of the tower.
fn projector(f: &Facts<'_>, c: &Value, hidden: u32) -> u64 {
    let hidden = u64::from(hidden);
    if let Some(outputs) = c.get("intermediate_layers_indices").and_then(Value::as_array) {
        return width(c) * (outputs.len().min(64) as u64 + 1) * hidden;
    }
    let merge = size(c, &["spatial_merge_size"])
        .or_else(|| size(f.root, &["downsample_factor"]))
        .unwrap_or(1)
        .min(16);
    let from = width(c) * merge * merge;
    if let Some(own) = size(f.root, &["projector_hidden_size"]) {
        return from * own + own * hidden;
    }
    let between = if f.starts(&["qwen"]) && merge > 1 { from } else { from.min(hidden) };
    from * between + from * hidden
}
