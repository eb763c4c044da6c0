//! The dense products of a model by the shape that one rank computes, and what shape does to them.

use super::{Format, Generation};
use crate::engine::EngineConfig;
use crate::hardware::Hardware;
use crate::launch::EngineKind;
use crate::model::{Attention, Experts, Layer, Model};

/// One product of a few rows takes `floor + hypot(bytes × (1 + narrow / n) / (bandwidth × stream), FLOPs × (1 + half / min(n, k)) /
/// (peak × share))` for weights of `k` rows and `n` columns: fitted to the tables' products of up to 16,384 rows, between 128
/// and 40,000 columns. The form leaves 5 to 13 % in the median of a table, up to 20 % in four-bit ones.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ProductKernel {
    /// us of a product whatever its size; of its input's quantising too.
    pub floor: f64,
    /// Share of the bandwidth reached in streaming wide weights.
    pub stream: f64,
    /// Columns at which streaming takes twice as long.
    pub narrow: f64,
    /// Columns or rows of the weights at which arithmetic takes twice as long.
    pub half: f64,
    pub measured: bool,
}

/// us to quantise the input of a product for up to 64 rows (vLLM's table: 2.1 to 2.6 with a scale at hand, 0.6 to 1.1 more to
/// find one; SGLang's 8, TensorRT-LLM's 8.6 in a path by tensor).
const QUANTISING: f64 = 3.0;

impl ProductKernel {
    /// `None` for parts whose kernels no table shows: there nothing is known of shapes.
    pub fn of(hw: &Hardware, format: Format, engine: EngineKind) -> Option<ProductKernel> {
        use Format::{Eight, EightByTensor, Four, FourWeights, IntegerWeights, Sixteen};
        use Generation::{Ada, Ampere, Blackwell, BlackwellConsumer, Hopper};
        let k = |floor, stream, narrow, half| ProductKernel { floor, stream, narrow, half, measured: true };
        let q = |floor, stream, narrow, half| k(floor + QUANTISING, stream, narrow, half);
        if format == EightByTensor {
            let by_block = ProductKernel::of(hw, Eight, engine)?;
            return Some(ProductKernel { floor: by_block.floor - QUANTISING, ..by_block });
        }
        let wide_memory = hw.bandwidth_gbps > 4000.0;
        Some(match (Generation::of(hw), format) {
            (Ampere, Sixteen | FourWeights) => k(5.6, 0.75, 1.0, 40.0),
            (Hopper, Sixteen | FourWeights) => k(3.8, 0.88, 28.0, 1.0),
            (Hopper, Eight) if matches!(engine, EngineKind::Vllm | EngineKind::Emulated) => {
                q(5.3, 0.96, if wide_memory { 3000.0 } else { 2050.0 }, 1200.0)
            }
            (Hopper, Eight) => q(4.5, if wide_memory { 0.88 } else { 0.93 }, 2100.0, 350.0),
            (Blackwell, Sixteen | FourWeights) => k(3.3, 0.81, 95.0, 1.0),
            (Blackwell, Eight) => q(6.3, 0.85, 2400.0, 400.0),
            (Blackwell, Four) if engine == EngineKind::Trtllm => q(7.5, 0.46, 3000.0, 1.0),
            (Blackwell, Four) => q(6.0, 0.80, 2850.0, 270.0),
            (BlackwellConsumer, Sixteen | FourWeights) => k(2.9, 0.97, 1.0, 12.0),
            (BlackwellConsumer, Eight) => q(4.5, 0.95, 1700.0, 200.0),
            (BlackwellConsumer, Four) => q(6.3, 0.95, 3000.0, 1.0),
            (Ada, Sixteen | FourWeights) => k(1.9, 0.86, 1.0, 1.0),
            (Ada, Eight) => q(3.0, 0.92, 800.0, 500.0),
            // Marlin and its like, dequantising on the way; TensorRT-LLM's on A100 have 14 us, 0.92 and 3,000.
            (Ampere | Ada | Hopper | Blackwell | BlackwellConsumer, IntegerWeights) => {
                ProductKernel { measured: false, ..k(6.0, 0.80, 1000.0, 1.0) }
            }
            _ => return None,
        })
    }
}

/// A product of `n` columns and `k` rows of weights on one rank, as many times as there are layers with it.
#[derive(Debug, Clone, Copy, PartialEq)]
struct Product {
    layers: f64,
    n: f64,
    k: f64,
}

/// What the shapes of a launch's dense products do to them.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Shapes {
    /// Times longer than streaming wide weights.
    pub stream: f64,
    /// Times longer than large products' arithmetic.
    pub compute: f64,
    /// Elements of the products' inputs of a token on a rank, over layers and hidden size.
    pub inputs: f64,
}

/// The tables' large products, which [`super::dense`] is the median of, have sides around this.
const LARGE: f64 = 4096.0;

impl Shapes {
    pub const PLAIN: Shapes = Shapes { stream: 1.0, compute: 1.0, inputs: 0.0 };

    pub fn of(model: &Model, config: &EngineConfig, kernel: Option<ProductKernel>) -> Shapes {
        let products = products(model, config);
        let weights: f64 = products.iter().map(|p| p.layers * p.n * p.k).sum();
        let (Some(kernel), true) = (kernel, weights > 0.0) else { return Shapes::PLAIN };
        let mean = |f: &dyn Fn(&Product) -> f64| {
            products.iter().map(|p| p.layers * p.n * p.k * f(p)).sum::<f64>() / weights
        };
        let inputs: f64 = products.iter().map(|p| p.layers * p.k).sum();
        Shapes {
            stream: mean(&|p| 1.0 + kernel.narrow / p.n),
            compute: mean(&|p| 1.0 + kernel.half / p.n.min(p.k)) / (1.0 + kernel.half / LARGE),
            inputs: inputs / (f64::from(model.layers) * f64::from(model.hidden)).max(1.0),
        }
    }
}

fn products(model: &Model, config: &EngineConfig) -> Vec<Product> {
    let mut all = Vec::new();
    for (count, layer) in model.runs() {
        let layers = f64::from(count);
        let shapes = of_layer(model, config, layer);
        all.extend(shapes.into_iter().map(|(n, k)| Product { layers, n: n.max(1.0), k: k.max(1.0) }));
    }
    all
}

/// (columns, rows) of each dense product of a layer on one rank.
fn of_layer(model: &Model, config: &EngineConfig, layer: &Layer) -> Vec<(f64, f64)> {
    let hidden = f64::from(model.hidden);
    let tensor = f64::from(config.tensor_parallel.max(1));
    let mut shapes = Vec::new();
    if let Some(a) = &layer.attention {
        shapes.extend(of_attention(a, hidden, f64::from(config.attention_tensor())));
    }
    if let Some(s) = &layer.state {
        // A third of a recurrent mixer's weights leads out.
        let width = s.params as f64 / hidden / 3.0 / tensor;
        shapes.extend([(2.0 * width, hidden), (hidden, width)]);
    }
    let up = if model.gated_ffn { 2.0 } else { 1.0 };
    let feed_forward = |width: f64| [(up * width / tensor, hidden), (hidden, width / tensor)];
    if let Some(d) = &layer.dense {
        shapes.extend(feed_forward(f64::from(d.width)));
    }
    if let Some(Experts { shared_width: width @ 1.., .. }) = &layer.experts {
        shapes.extend(feed_forward(f64::from(*width)));
    }
    shapes
}

fn of_attention(a: &Attention, hidden: f64, ranks: f64) -> Vec<(f64, f64)> {
    let heads = f64::from(a.q_heads) / ranks;
    let (key, value) = (f64::from(a.head_dim), f64::from(a.v_head_dim));
    let Some(l) = &a.latent else {
        let kv = (f64::from(a.kv_heads) / ranks).max(1.0);
        return vec![(heads * key + kv * (key + value), hidden), (hidden, heads * value)];
    };
    let (kv_rank, rope, nope) = (f64::from(l.kv_rank), f64::from(l.rope_dim), f64::from(l.nope_dim));
    let (down, query) = if l.q_rank > 0 { (f64::from(l.q_rank), f64::from(l.q_rank)) } else { (0.0, hidden) };
    let mut shapes = vec![
        (down + kv_rank + rope, hidden),
        (heads * (nope + rope), query),
        // The up-projections, taken into queries and answers.
        (heads * (nope + value), kv_rank),
        (hidden, heads * value),
    ];
    if let Some(i) = &a.indexer {
        shapes.push((f64::from(i.heads) * f64::from(i.head_dim), query));
        shapes.push((f64::from(i.head_dim), hidden));
    }
    shapes
}

#[cfg(test)]
mod tests {
    use super::super::super::testing;
    use super::*;

    #[test]
    fn the_products_hold_the_weights_of_the_layers() {
        let m = testing::llama_8b();
        for ranks in [1, 4] {
            let config = EngineConfig { tensor_parallel: ranks, ..EngineConfig::default() };
            let held: f64 = products(&m, &config).iter().map(|p| p.layers * p.n * p.k).sum();
            let layers = (m.params().attention + m.params().dense_ffn) as f64;
            assert!((held * f64::from(ranks) / layers - 1.0).abs() < 0.01, "{held} of {layers}");
        }
    }

    #[test]
    fn one_scale_a_matrix_saves_the_quantising() {
        let hopper = Hardware { sm: Some(90), ..testing::a100() };
        let of = |f| ProductKernel::of(&hopper, f, EngineKind::Vllm).unwrap();
        assert!((of(Format::Eight).floor - of(Format::EightByTensor).floor - QUANTISING).abs() < 1e-12);
        let catalog = crate::model::Catalog::load(None).unwrap();
        let format = |name: &str| {
            let m = catalog.find(name).unwrap();
            Format::of_weights(&m, m.precision)
        };
        assert_eq!(format("deepseek-ai/DeepSeek-R1"), Format::Eight);
        assert_eq!(format("openai/gpt-oss-20b"), Format::FourWeights);
        assert_eq!(format("nvidia/Llama-3.1-70B-Instruct-FP8"), Format::EightByTensor);
    }

    #[test]
    fn eight_bit_products_lose_where_ranks_hold_few_columns() {
        let m = testing::llama_8b();
        let hopper = Hardware { sm: Some(90), ..testing::a100() };
        let kernel = ProductKernel::of(&hopper, Format::Eight, EngineKind::Sglang);
        let at = |ranks| {
            let config = EngineConfig { tensor_parallel: ranks, ..EngineConfig::default() };
            Shapes::of(&m, &config, kernel)
        };
        assert!(at(1).stream > 1.15 && at(8).stream > at(1).stream && at(8).compute > at(1).compute);
        assert_eq!(Shapes::of(&m, &EngineConfig::default(), None), Shapes::PLAIN);
    }
}
