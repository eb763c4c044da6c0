//! SGLang's pools for compressed attention (DeepSeek-V4): everything is counted by token of the context.
//!
//! A token of the context takes, on a device (`DSV4PoolConfigurator` of SGLang's `pool_configurator.py`):
//!
//! ```text
//! r × entry × layers                      the window's own pool, a share r of the tokens
//! + Σ entry / ratio                       compressed entries of the layers that have them
//! + index entry / 4                       by layer with an index
//! + r × ring / window × state             of the compressors, and of the indexes'
//! ```
//!
//! and under speculation a layer's share more for the drafter. Checked by the coefficients that servers print: 9,259.9 bytes for
//! DeepSeek-V4-Flash under speculation (August 2026), 23,749.8 for DeepSeek-V4-Pro in 0.5.12.

use crate::engine::EngineConfig;
use crate::launch::Version;
use crate::model::{Attention, Model, Span};

/// From this release the compressor's state of layers that compress by 128 belongs to a request and no longer to a token.
/// Unverified: it did in 0.5.12, and not in the source of August 2026.
const STATE_BY_REQUEST: Version = Version(0, 5, 13);

/// Bytes that a token of the context takes over all layers; None for models without compressed attention.
pub(super) fn token_bytes(model: &Model, config: &EngineConfig) -> Option<f64> {
    let layers: Vec<(f64, &Attention)> = model.attentions().map(|(n, a)| (f64::from(n), a)).collect();
    if !layers.iter().any(|(_, a)| a.tokens_per_entry > 1 && a.entry_bytes.is_some()) {
        return None;
    }
    let ring = if config.speculative.is_some() { 2.0 } else { 1.0 };
    let window = layers.iter().find_map(|(_, a)| if let Span::Window(w) = a.span { Some(w) } else { None });
    let slots = config.local_pool_ratio / f64::from(window.unwrap_or(128).max(1));
    let old = config.version < STATE_BY_REQUEST;
    let each = |a: &Attention| of_layer(a, config.local_pool_ratio, slots * ring, old);
    let mut bytes: f64 = layers.iter().map(|(n, a)| n * each(a)).sum();
    if old {
        // The layer for multi-token prediction was counted with a window's pool of its own.
        bytes += config.local_pool_ratio * layers.iter().find_map(|(_, a)| a.entry_bytes).unwrap_or(0.0);
    }
    let count: f64 = layers.iter().map(|(n, _)| n).sum();
    Some(if config.speculative.is_some() { bytes * (count + 1.0) / count } else { bytes })
}

/// As [`token_bytes`], of one layer; `slots` rings of states stand for a token.
fn of_layer(a: &Attention, window_share: f64, slots: f64, states_by_token: bool) -> f64 {
    let entry = a.entry_bytes.unwrap_or(0.0);
    let own = window_share * entry;
    if a.tokens_per_entry <= 1 {
        return own;
    }
    let ratio = f64::from(a.tokens_per_entry);
    // Keys and scores in four bytes each, for two overlapping windows where a few tokens are compressed into one.
    let width = |dim: u32| 2.0 * 4.0 * f64::from(dim);
    let (ring, overlapping) = if a.indexer.is_some() { (8.0, 2.0) } else { (ratio, 1.0) };
    let index = a.indexer.map_or(0.0, |i| {
        let key = f64::from(i.head_dim) + 4.0 * f64::from(i.head_dim / 128);
        key / ratio + slots * ring * overlapping * width(i.head_dim)
    });
    let states = if a.indexer.is_some() || states_by_token {
        slots * ring * overlapping * width(a.head_dim)
    } else {
        0.0
    };
    own + entry / ratio + index + states
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;
    use crate::engine::resolve_launch;
    use crate::launch::Launch;

    fn printed(name: &str, version: &str, flags: &str) -> f64 {
        let model = crate::model::Catalog::load(None).unwrap().find(name).unwrap();
        let words = format!("python -m sglang.launch_server --model-path {name} --tp 8 {flags}");
        let launch = Launch { version: version.parse().ok(), ..Launch::parse(&words) };
        let config = resolve_launch(&launch, None, &testing::a100(), &model).unwrap();
        token_bytes(&model, &config).unwrap()
    }

    #[test]
    fn a_token_takes_what_the_server_prints() {
        let flash = printed("deepseek-ai/DeepSeek-V4-Flash", "0.5.14", "--speculative-algorithm EAGLE");
        assert!((flash / 9259.9 - 1.0).abs() < 0.002, "{flash}");
        let pro = printed("deepseek-ai/DeepSeek-V4-Pro", "0.5.12", "");
        assert!((pro / 23_749.84 - 1.0).abs() < 0.005, "{pro}");
    }
}
