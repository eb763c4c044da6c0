//! Time of a layer that no byte and no FLOP explains, kernel by kernel, as replayed from a CUDA graph.

use super::{ExpertKernel, Format, Generation, ProductKernel};
use crate::hardware::Hardware;
use crate::launch::EngineKind;
use crate::model::{Attention, Layer, Model};

/// us a layer, mean over the layers, and us a mixture-of-experts layer beside it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct LayerFloors {
    pub layer: f64,
    pub experts: f64,
}

/// Two norms with their residuals, about 2 us each. Unverified.
const NORMS: f64 = 4.0;
/// Rotary embedding and the write to the cache, about 2 us each. Unverified.
const ROPE_AND_CACHE: f64 = 4.0;
/// The activation function between two products. Unverified.
const ACTIVATION: f64 = 2.0;
/// Choosing the experts from the router's scores. Unverified.
const TOP_K: f64 = 3.0;
/// The convolution and the recurrence of a gated delta rule at one row (1.9 and 4.4 us in the tables).
const RECURRENCE: f64 = 6.3;
/// What an index of sparse attention adds to a layer: SGLang's tables of GLM-5 (66 to 83 us) and of GLM-5.2's layers that reuse an
/// index (41 to 56).
const INDEXER: f64 = 26.0;

impl LayerFloors {
    /// `None` where no table shows the part's kernels.
    pub fn of(hw: &Hardware, model: &Model, format: Format, engine: EngineKind) -> Option<LayerFloors> {
        let dense = ProductKernel::of(hw, format, engine)?;
        let plain = ProductKernel::of(hw, Format::Sixteen, engine)?;
        let kernels = Kernels { hw, engine, product: dense.floor };
        let layers = f64::from(model.layers.max(1));
        let sum: f64 = model.runs().map(|(n, l)| f64::from(n) * kernels.layer(l)).sum();
        let shared = model.expert_layers().next().is_some_and(|(_, e)| e.shared_width > 0);
        let shared = if shared { 2.0 * dense.floor + ACTIVATION } else { 0.0 };
        Some(LayerFloors {
            layer: sum / layers,
            experts: ExpertKernel::of(hw, format, engine).floor + plain.floor + TOP_K + shared,
        })
    }
}

struct Kernels<'a> {
    hw: &'a Hardware,
    engine: EngineKind,
    /// us of one dense product.
    product: f64,
}

impl Kernels<'_> {
    fn layer(&self, layer: &Layer) -> f64 {
        let attention = layer.attention.as_ref().map_or(0.0, |a| self.attention(a));
        let state = layer.state.map_or(0.0, |_| 2.0 * self.product + RECURRENCE);
        let dense = layer.dense.map_or(0.0, |_| 2.0 * self.product + ACTIVATION);
        NORMS + attention + state + dense
    }

    fn attention(&self, a: &Attention) -> f64 {
        if a.latent.is_some() {
            let index = if a.indexer.is_some() { INDEXER } else { 0.0 };
            return self.latent() + index;
        }
        2.0 * self.product + self.decode() + ROPE_AND_CACHE
    }

    /// Decode attention of few bytes.
    fn decode(&self) -> f64 {
        match (Generation::of(self.hw), self.engine) {
            (Generation::Ampere, EngineKind::Vllm | EngineKind::Emulated) => 19.0,
            (Generation::Ampere, _) => 16.5,
            (Generation::Hopper, EngineKind::Vllm | EngineKind::Emulated) => 12.9,
            (Generation::Hopper, _) => 10.8,
            (Generation::Ada, _) => 8.2,
            (Generation::BlackwellConsumer, _) => 9.0,
            _ => 10.3,
        }
    }

    /// The whole attention half of a layer with latent attention, projections included, less its weights: modules of
    /// TensorRT-LLM on H100 and H200 (47 to 54 us with 8 to 16 heads on a rank at one row), of vLLM on B200 (40 to 49). vLLM's on H200
    /// says 81 to 89; how much of that a graph saves is not known, so its value stands between. Unverified for SGLang.
    fn latent(&self) -> f64 {
        match (Generation::of(self.hw), self.engine) {
            (Generation::Blackwell, _) => 38.0,
            (Generation::Hopper, EngineKind::Trtllm) => 43.0,
            (Generation::Hopper, EngineKind::Sglang) => 48.0,
            (Generation::Hopper, _) => 60.0,
            _ => 70.0,
        }
    }
}

/// us that the ranks of an all-reduce wait for the last of them. Unverified.
const SKEW: f64 = 2.0;
/// What is left of both on Blackwell, where sum and norm are one kernel: closed loops under vLLM and TensorRT-LLM on B200 and B300
/// (silicon-open: seen).
const FUSED: f64 = 0.65;

/// us of an all-reduce of 16 to 64 rows between two devices inside a graph, less its bytes; `None` where the figures of the
/// tables are not of a direct link.
pub fn all_reduce_us(hw: &Hardware, engine: EngineKind) -> Option<f64> {
    let alone = match (Generation::of(hw), engine) {
        (Generation::Ampere, _) => 6.0,
        (Generation::Hopper, EngineKind::Trtllm) => 3.0,
        (Generation::Hopper, EngineKind::Sglang) => 4.0,
        (Generation::Hopper, _) => 5.0,
        (Generation::Blackwell, EngineKind::Trtllm) => 5.5,
        (Generation::Blackwell, _) => 8.0,
        _ => return None,
    };
    let fused = if Generation::of(hw) == Generation::Blackwell { FUSED } else { 1.0 };
    (hw.link_gbps >= 100.0).then_some((alone + SKEW) * fused)
}

/// Share of the link that large all-reduces reach (16 to 64 million elements of two bytes, two to eight devices).
pub fn all_reduce_bandwidth(hw: &Hardware, tensor: u32) -> Option<f64> {
    let share = match (Generation::of(hw), tensor) {
        (Generation::Ampere, _) => 0.56,
        // Eight devices reduce in the switch.
        (Generation::Hopper, 8..) => 0.80,
        (Generation::Hopper, _) => 0.64,
        (Generation::Blackwell, _) => 0.50,
        _ => return None,
    };
    (hw.link_gbps >= 100.0).then_some(share)
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;

    #[test]
    fn a_layer_of_few_kernels_has_a_lower_floor() {
        let hopper = Hardware { sm: Some(90), ..testing::a100() };
        let of = |f| LayerFloors::of(&hopper, &testing::llama_8b(), f, EngineKind::Vllm).unwrap();
        let (wide, narrow) = (of(Format::Sixteen), of(Format::Eight));
        // Four products, attention, norms, rope, cache, activation.
        assert!((wide.layer - (4.0 * 3.8 + 12.9 + 10.0)).abs() < 1e-9, "{}", wide.layer);
        assert!(narrow.layer > wide.layer + 4.0 * QUANTISED);
        let amd = Hardware { vendor: crate::hardware::Vendor::Amd, sm: None, ..testing::a100() };
        assert!(LayerFloors::of(&amd, &testing::llama_8b(), Format::Sixteen, EngineKind::Vllm).is_none());
    }

    /// Quantising its input costs a product at least this, us.
    const QUANTISED: f64 = 3.0;
}
