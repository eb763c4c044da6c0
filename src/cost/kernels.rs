//! How much of a part's peak its kernels reach, by family and hardware generation: the figures behind the prior.
//!
//! Every figure says where it comes from. *Measured* ones are fitted to the operation tables that AIConfigurator's
//! `aiconfigurator-core` 0.12.0 carries under Apache-2.0 (`systems/data/*/{gemm,attention,mla,moe,comm}`; the newest release of
//! each engine there: vLLM 0.24.0, SGLang 0.5.14, TensorRT-LLM 1.3.0rc20): figures, no code. `scripts/kernel-tables` fits them
//! again, in the very form of [`Physical`](super::Physical)'s terms, and says how well each form holds
//! (`reports/kernel-tables.md`). They were fixed before any run was scored with them, but for three that runs corrected and that say so
//! (products with one scale a matrix, MXFP4 experts on Hopper and on Blackwell): those have seen the set `silicon-open`. The rest is *unverified*, and the
//! prior is wide there.

mod experts;
mod floors;
mod launches;
mod products;

pub use self::experts::{ExpertKernel, expert_columns, may_be_untuned};
pub use self::floors::{LayerFloors, all_reduce_bandwidth, all_reduce_us};
pub use self::launches::launches;
pub use self::products::{ProductKernel, Shapes};

use crate::hardware::{Hardware, Vendor};
use crate::launch::EngineKind;
use crate::model::{Model, Precision, Scheme};
use serde::{Deserialize, Serialize};

/// A share of the peak and whether a kernel table stands behind it.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Reached {
    pub share: f64,
    pub measured: bool,
}

const fn measured(share: f64) -> Reached {
    Reached { share, measured: true }
}

const fn unverified(share: f64) -> Reached {
    Reached { share, measured: false }
}

/// Generations whose kernels differ.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Generation {
    /// Compute capability 8.0 and 8.6.
    Ampere,
    /// 8.9.
    Ada,
    Hopper,
    /// 10.x, data centre.
    Blackwell,
    /// 12.x.
    BlackwellConsumer,
    /// CDNA 3 and 4.
    Amd,
    Cpu,
    Older,
}

impl Generation {
    pub fn of(hw: &Hardware) -> Generation {
        match (hw.vendor, hw.sm) {
            (Vendor::Cpu, _) => Generation::Cpu,
            (Vendor::Amd, _) => Generation::Amd,
            (_, Some(80..=88)) => Generation::Ampere,
            (_, Some(89)) => Generation::Ada,
            (_, Some(90..=99)) => Generation::Hopper,
            (_, Some(100..=119)) => Generation::Blackwell,
            (_, Some(120..)) => Generation::BlackwellConsumer,
            _ => Generation::Older,
        }
    }
}

/// Formats by the product that computes them.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Format {
    Sixteen,
    /// Eight bits with scales by block or channel.
    Eight,
    /// Eight bits with one scale a matrix and its inputs' scale at hand: quantising is part of the norm or activation before the
    /// product.
    EightByTensor,
    Four,
    /// Micro-scaled four-bit weights with 16-bit arithmetic (MXFP4).
    FourWeights,
    /// Grouped integer weights with 16-bit arithmetic.
    IntegerWeights,
}

impl Format {
    pub fn of(p: Precision) -> Format {
        match p {
            Precision::Fp32 | Precision::Bf16 | Precision::Fp16 => Format::Sixteen,
            Precision::Fp8 | Precision::Int8 => Format::Eight,
            Precision::Nvfp4 | Precision::Fp4 => Format::Four,
            Precision::Mxfp4 => Format::FourWeights,
            Precision::Int4 => Format::IntegerWeights,
        }
    }

    /// The format that a model's products are computed in where its weights are of this type.
    pub fn of_weights(model: &Model, p: Precision) -> Format {
        let as_written = p == model.precision && model.quantisation.format.scheme == Scheme::Tensor;
        match Format::of(p) {
            Format::Eight if as_written => Format::EightByTensor,
            own => own,
        }
    }
}

/// Share of the format's peak that a large product of the dense layers (sides around 4,096) reaches when nothing stands before
/// or behind it.
pub fn dense(hw: &Hardware, format: Format, engine: EngineKind) -> Reached {
    use EngineKind::{Sglang, Trtllm};
    use Format::{Eight, EightByTensor, Four, FourWeights, IntegerWeights, Sixteen};
    match (Generation::of(hw), format) {
        (Generation::Ampere, Sixteen | FourWeights | IntegerWeights) => measured(0.80),
        // int8 of the tables without scales; block formats run dequantised.
        (Generation::Ampere, _) => unverified(0.60),
        (Generation::Ada, Sixteen | FourWeights | IntegerWeights) => measured(0.58),
        (Generation::Ada, _) => measured(0.44),
        (Generation::Hopper, Sixteen | FourWeights | IntegerWeights) => measured(0.78),
        // The tables' kernels come to 0.39 to 0.58 alone; closed loops of Llama-3.1-70B (nvidia's FP8) under vLLM on H100, H200 and B200 and
        // under TensorRT-LLM on B200 need this (seen by this constant, silicon-open).
        (Generation::Hopper | Generation::Blackwell, EightByTensor) => measured(0.52),
        // CUTLASS, and where scales lie by block DeepGEMM and TensorRT-LLM's own.
        (Generation::Hopper, _) => measured(match engine {
            Sglang => 0.56,
            Trtllm => 0.48,
            _ => 0.45,
        }),
        (Generation::Blackwell, Sixteen | FourWeights | IntegerWeights) => measured(0.66),
        (Generation::Blackwell, Eight) => {
            measured(if matches!(engine, Sglang | Trtllm) { 0.58 } else { 0.39 })
        }
        (Generation::Blackwell, Four) => measured(0.41),
        (Generation::BlackwellConsumer, Sixteen | FourWeights | IntegerWeights) => measured(0.75),
        (Generation::BlackwellConsumer, _) => measured(0.58),
        // Matrix cores under hipBLASLt, from public figures of 500 to 700 TFLOP/s; eight bits by Triton or AITER.
        (Generation::Amd, Sixteen | FourWeights | IntegerWeights) => unverified(0.48),
        (Generation::Amd, _) => unverified(0.30),
        (Generation::Cpu | Generation::Older, _) => unverified(0.78),
    }
}

/// Share of the peak that a prefill attention kernel reaches at head size 128.
pub fn prefill_attention(hw: &Hardware, engine: EngineKind) -> Reached {
    // TensorRT-LLM's context kernels: 0.43 to 0.46 where FlashAttention reaches 0.53 to 0.62.
    let trtllm = if engine == EngineKind::Trtllm { 0.82 } else { 1.0 };
    let r = match Generation::of(hw) {
        Generation::Ampere | Generation::Hopper | Generation::BlackwellConsumer => measured(0.56),
        Generation::Ada => measured(0.49),
        Generation::Blackwell => measured(0.46),
        Generation::Amd => unverified(0.30),
        Generation::Cpu | Generation::Older => unverified(0.56),
    };
    Reached { share: r.share * trtllm, ..r }
}

/// Share of the bandwidth that decode attention reaches beside its floor ([`LayerFloors`]).
pub fn decode_attention(hw: &Hardware, kv_elem_bytes: f64) -> Reached {
    let narrow = kv_elem_bytes < 1.5;
    let wide_memory = hw.bandwidth_gbps > 4000.0;
    match Generation::of(hw) {
        Generation::Ampere => measured(0.67),
        Generation::Ada => measured(0.83),
        // A byte of a one-byte cache costs more: the kernel is bound by what it computes of it.
        Generation::Hopper => measured(match (wide_memory, narrow) {
            (false, false) => 0.83,
            (false, true) => 0.69,
            (true, false) => 0.79,
            (true, true) => 0.53,
        }),
        Generation::Blackwell => measured(0.87),
        Generation::BlackwellConsumer => measured(0.95),
        Generation::Amd => unverified(0.50 * if narrow { 0.75 } else { 1.0 }),
        Generation::Cpu | Generation::Older => unverified(0.70),
    }
}

/// As [`decode_attention`] for latent attention (MLA) with 8 to 64 heads on a rank. With 128 it is bound by arithmetic, as the
/// step model says by itself.
pub fn latent_decode_attention(hw: &Hardware, engine: EngineKind, kv_elem_bytes: f64) -> Reached {
    let narrow = kv_elem_bytes < 1.5;
    let wide_memory = hw.bandwidth_gbps > 4000.0;
    match (Generation::of(hw), narrow) {
        (Generation::Ampere, _) => measured(0.25),
        // FlashAttention 3 with a one-byte cache goes through it at a sixteenth of the bandwidth.
        (Generation::Hopper, true) if engine == EngineKind::Sglang => measured(0.07),
        (Generation::Hopper, true) => measured(if wide_memory { 0.59 } else { 0.78 }),
        (Generation::Hopper, false) => measured(if wide_memory { 0.81 } else { 0.84 }),
        (Generation::Blackwell, false) => measured(0.67),
        (Generation::Blackwell, true) => measured(0.74),
        (Generation::Ada, _) => measured(0.72),
        (Generation::BlackwellConsumer, _) => measured(0.68),
        _ => Reached { measured: false, ..decode_attention(hw, kv_elem_bytes) },
    }
}

/// Share of the bandwidth reached in streaming large 16-bit weights to few rows, on parts whose products are in no table.
pub fn weight_stream(hw: &Hardware) -> Reached {
    match Generation::of(hw) {
        Generation::Amd => unverified(0.55),
        Generation::Ampere => measured(0.69),
        _ => unverified(0.78),
    }
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn what_no_table_shows_is_marked() {
        let amd = Hardware { vendor: Vendor::Amd, sm: None, ..testing::a100() };
        let dense = |hw: &Hardware| dense(hw, Format::Sixteen, EngineKind::Vllm);
        assert!(!dense(&amd).measured && dense(&testing::a100()).measured);
        let latent = |hw: &Hardware| latent_decode_attention(hw, EngineKind::Vllm, 2.0);
        assert!(!latent(&amd).measured && latent(&testing::a100()).measured);
    }
}
