//! How many kernels a layer launches where its modules run one by one, without a graph and without a compiler's fusion.

use super::Format;
use crate::model::{Layer, Model};

/// Two norms, with their residuals.
const NORMS: f64 = 2.0;
/// Two products, rotary embedding, the write to the cache, and attention.
const ATTENTION: f64 = 5.0;
/// Down-projections, their norms, up-projections taken into queries and answers, rotary embedding, concatenations, the write to the
/// cache, and attention.
const LATENT: f64 = 12.0;
/// Its projections, norm, rotary embedding, quantising, scores and choice.
const INDEXER: f64 = 8.0;
/// Projections, convolution, gates, recurrence, and norm.
const STATE: f64 = 7.0;
/// Two products and the activation function.
const FEED_FORWARD: f64 = 3.0;
/// Router, choice, sorting and counting, two grouped products with an activation between, scaling, and the sum over the chosen.
const EXPERTS: f64 = 11.0;
/// The feed-forward part that every token passes, and adding it.
const SHARED: f64 = 4.0;

/// Kernels of the mean layer over those of a dense layer of 16 bits. The counts are those of the modules as SGLang 0.5 and
/// TensorRT-LLM 1.x write them, not of a profile: unverified, to a factor.
pub fn launches(model: &Model, format: Format) -> f64 {
    // The input of each product of few bits is quantised by a kernel of its own.
    let product = if matches!(format, Format::Eight | Format::Four) { 1.0 } else { 0.0 };
    let layers = f64::from(model.layers.max(1));
    let sum: f64 = model.runs().map(|(n, l)| f64::from(n) * of_layer(l, product)).sum();
    sum / layers / (NORMS + ATTENTION + FEED_FORWARD)
}

/// Kernels of one layer; `product` more by product.
fn of_layer(layer: &Layer, product: f64) -> f64 {
    let attention = layer.attention.as_ref().map_or(0.0, |a| match (&a.latent, &a.indexer) {
        (None, _) => ATTENTION + 2.0 * product,
        (Some(_), None) => LATENT + 4.0 * product,
        (Some(_), Some(_)) => LATENT + INDEXER + 6.0 * product,
    });
    let state = layer.state.map_or(0.0, |_| STATE + 2.0 * product);
    let dense = layer.dense.map_or(0.0, |_| FEED_FORWARD + 2.0 * product);
    let experts = layer.experts.map_or(0.0, |e| {
        let shared = if e.shared_width > 0 { SHARED + 2.0 * product } else { 0.0 };
        EXPERTS + 2.0 * product + shared
    });
    NORMS + attention + state + dense + experts
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;

    #[test]
    fn a_dense_layer_is_the_measure_and_experts_launch_more() {
        assert!((launches(&testing::llama_8b(), Format::Sixteen) - 1.0).abs() < 1e-12);
        assert!((launches(&testing::llama_8b(), Format::Eight) - 1.4).abs() < 1e-12);
        let experts = launches(&testing::gpt_oss_20b(), Format::FourWeights);
        assert!((experts - 1.8).abs() < 1e-12, "{experts}");
    }

    #[test]
    fn latent_attention_with_an_index_launches_most() {
        let catalog = crate::model::Catalog::load(None).unwrap();
        let of = |name: &str| launches(&catalog.find(name).unwrap(), Format::Eight);
        let (plain, indexed) = (of("deepseek-ai/DeepSeek-R1"), of("deepseek-ai/DeepSeek-V3.2"));
        assert!(plain > 3.0 && indexed > plain + 0.9, "{plain} {indexed}");
    }
}
