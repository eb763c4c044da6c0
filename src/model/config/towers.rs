//! Parameters of vision and audio towers, by the sizes that their configs name: weights in memory, to a few percent.

use super::facts::Facts;
use serde_json::Value;

/// All towers and their projectors.
pub(super) fn params(f: &Facts<'_>, hidden: u32) -> u64 {
    if std::ptr::eq(f.root, f.text) && f.root.get("vision_config").is_none() {
        return 0;
    }
    let parts = [f.root, f.root.get("thinker_config").unwrap_or(&Value::Null)];
    let keys = ["vision_config", "audio_config", "vision_tower_config", "vit_config", "audio_encoder_config"];
    let configs = parts.iter().flat_map(|p| keys.iter().filter_map(|k| p.get(*k)));
    configs.filter(|c| c.is_object()).map(|c| tower(c) + projector(c, hidden)).sum()
}

fn size(c: &Value, keys: &[&str]) -> Option<u64> {
    keys.iter().find_map(|k| c.get(*k)?.as_u64()).filter(|n| *n < 1_000_000)
}

fn width(c: &Value) -> u64 {
    size(c, &["embed_dim", "hidden_size", "d_model", "width", "vt_hidden_size", "dim"]).unwrap_or(0)
}

fn tower(c: &Value) -> u64 {
    let w = width(c);
    let layers = size(c, &["depth", "num_hidden_layers", "layers", "encoder_layers", "vt_num_hidden_layers"])
        .unwrap_or(0);
    let ffn = size(c, &["intermediate_size", "mlp_hidden_dim", "encoder_ffn_dim", "vt_intermediate_size"]);
    let ratio = c.get("mlp_ratio").and_then(Value::as_f64).unwrap_or(4.0);
    let ffn = ffn.unwrap_or((w as f64 * ratio) as u64);
    let gated = c.get("hidden_act").and_then(Value::as_str).is_some_and(|a| a == "silu");
    let patch = size(c, &["patch_size", "spatial_patch_size"]).unwrap_or(14).min(1024);
    layers.min(1000) * (4 * w * w + if gated { 3 } else { 2 } * w * ffn) + 3 * patch * patch * w
}

/// Two layers from the merged patches to the language model's width.
fn projector(c: &Value, hidden: u32) -> u64 {
    let merge = size(c, &["spatial_merge_size"]).unwrap_or(1).min(16);
    let from = width(c) * merge * merge;
    from * from.min(u64::from(hidden)) + from * u64::from(hidden)
}
