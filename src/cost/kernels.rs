//! How much of a part's peak its kernels reach, by family and hardware generation: the figures behind the prior.
//!
//! Every figure says where it comes from. *Measured* ones are medians over the operation tables that AIConfigurator's
//! `aiconfigurator-core` 0.12.0 carries under Apache-2.0 (`systems/data/*/{gemm,attention,moe,comm}`; the newest release of
//! each engine there: vLLM 0.24.0, SGLang 0.5.14, TensorRT-LLM 1.3.0rc20): figures, no code. Products of 2,048 to 16,384
//! rows with both other sides in that range; attention from 2,048 tokens on; experts from 4,096 tokens on, no expert
//! parallelism. The rest is *unverified*, and the prior is wide there.

use crate::engine::EngineConfig;
use crate::hardware::{Hardware, Vendor};
use crate::launch::EngineKind;
use crate::model::{Model, Precision};
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
    Eight,
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
}

/// Share of the format's peak that a large product of the dense layers reaches when nothing stands before or behind it.
pub fn dense(hw: &Hardware, format: Format) -> Reached {
    use Format::{Eight, Four, FourWeights, IntegerWeights, Sixteen};
    match (Generation::of(hw), format) {
        (Generation::Ampere, Sixteen | FourWeights | IntegerWeights) => measured(0.80),
        // int8 of the tables without scales; block formats run dequantised.
        (Generation::Ampere, _) => unverified(0.60),
        (Generation::Ada, Sixteen | FourWeights | IntegerWeights) => measured(0.58),
        (Generation::Ada, _) => measured(0.44),
        (Generation::Hopper, Sixteen | FourWeights | IntegerWeights) => measured(0.78),
        (Generation::Hopper, _) => measured(0.50),
        (Generation::Blackwell, Sixteen | FourWeights | IntegerWeights) => measured(0.66),
        (Generation::Blackwell, Eight) => measured(0.45),
        (Generation::Blackwell, Four) => measured(0.33),
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

/// Share of the bandwidth that decode attention reaches where it reads more than 200 MB.
pub fn decode_attention(hw: &Hardware, kv_elem_bytes: f64) -> Reached {
    // One-byte caches reach 0.75 of the bytes a second of two-byte ones (0.55 against 0.74 on H200).
    let narrow = if kv_elem_bytes < 1.5 { 0.75 } else { 1.0 };
    let r = match Generation::of(hw) {
        Generation::Ampere => measured(0.69),
        Generation::Ada => measured(0.78),
        Generation::Hopper if hw.bandwidth_gbps > 4000.0 => measured(0.73),
        Generation::Hopper => measured(0.81),
        Generation::Blackwell => measured(0.76),
        Generation::BlackwellConsumer => measured(0.89),
        Generation::Amd => unverified(0.50),
        Generation::Cpu | Generation::Older => unverified(0.70),
    };
    Reached { share: r.share * narrow, ..r }
}

/// Share of the bandwidth reached in streaming large 16-bit weights to few rows.
pub fn weight_stream(hw: &Hardware) -> Reached {
    match Generation::of(hw) {
        Generation::Ampere => measured(0.69),
        Generation::Hopper if hw.bandwidth_gbps > 4000.0 => measured(0.73),
        Generation::Ada | Generation::Hopper => measured(0.78),
        Generation::Blackwell => measured(0.66),
        Generation::BlackwellConsumer => measured(0.88),
        Generation::Amd => unverified(0.55),
        Generation::Cpu | Generation::Older => unverified(0.78),
    }
}

/// How grouped expert products depend on the columns of an expert that a rank holds: the share of the peak at `w` columns
/// is `at_width × w / (w + half)`.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpertKernel {
    pub at_width: f64,
    /// Columns at which half of it is lost.
    pub half: f64,
    pub measured: bool,
}

impl ExpertKernel {
    pub fn of(hw: &Hardware, format: Format, engine: EngineKind) -> ExpertKernel {
        use Format::{Eight, Four, FourWeights, IntegerWeights, Sixteen};
        let k = |at_width: f64, half: f64| ExpertKernel { at_width, half, measured: true };
        match (Generation::of(hw), format, engine) {
            (Generation::Ampere, Sixteen, _) => k(0.32, 50.0),
            (Generation::Ampere, IntegerWeights, _) => k(0.48, 90.0),
            // Marlin on MXFP4; from the bursts of gpt-oss-20b on one A100 (published-runs: seen by this constant).
            (Generation::Ampere, FourWeights, _) => {
                ExpertKernel { at_width: 0.78, half: 90.0, measured: false }
            }
            (Generation::Hopper, Sixteen, EngineKind::Sglang) => k(0.24, 60.0),
            (Generation::Hopper | Generation::Blackwell, Sixteen, EngineKind::Trtllm) => k(0.72, 600.0),
            (Generation::Hopper, Sixteen, _) => k(0.48, 160.0),
            (Generation::Hopper, Eight, EngineKind::Trtllm) => k(0.75, 800.0),
            (Generation::Hopper, Eight, EngineKind::Sglang) => k(0.33, 260.0),
            (Generation::Hopper, Eight, _) => k(0.28, 250.0),
            (Generation::Hopper, IntegerWeights, _) => k(0.125, 200.0),
            (Generation::Blackwell, IntegerWeights, _) => k(0.05, 200.0),
            (Generation::Hopper, FourWeights, EngineKind::Sglang) => k(0.24, 120.0),
            (Generation::Hopper, FourWeights, _) => k(0.46, 160.0),
            (Generation::Blackwell, Sixteen, _) => k(0.38, 120.0),
            (Generation::Blackwell, Eight, _) => k(0.19, 220.0),
            (Generation::Blackwell, Four, _) => k(0.36, 500.0),
            (Generation::Blackwell, FourWeights, _) => k(0.24, 230.0),
            (Generation::Ada | Generation::BlackwellConsumer, Sixteen, _) => k(0.42, 180.0),
            (Generation::Ada | Generation::BlackwellConsumer, _, _) => k(0.40, 250.0),
            (Generation::Amd, ..) => ExpertKernel { at_width: 0.16, half: 250.0, measured: false },
            (_, _, _) => ExpertKernel { at_width: 0.32, half: 160.0, measured: false },
        }
    }

    /// Share of the peak at `columns`.
    pub fn share(&self, columns: f64) -> f64 {
        self.at_width * columns / (columns + self.half)
    }
}

/// Columns at which half of the streaming rate is lost in decode steps: 0.55 below 256 columns, 0.75 around 352, 0.85 to
/// 0.95 from 600 on (all GPUs and formats of the tables).
const STREAM_HALF: f64 = 80.0;

/// Share of the wide experts' streaming rate that experts with this number of columns reach.
pub fn narrow_stream(columns: f64) -> f64 {
    (columns / (columns + STREAM_HALF)).max(0.05)
}

/// Columns of one routed expert that a rank holds.
pub fn expert_columns(model: &Model, config: &EngineConfig) -> f64 {
    let width = model.expert_layers().next().map_or(0.0, |(_, e)| f64::from(e.width));
    let split = if config.expert_parallel { 1.0 } else { f64::from(config.tensor_parallel.max(1)) };
    (width / split).max(1.0)
}

/// Triton's grouped kernels without a tuned configuration for a shape fall back to a default one. For AMD's parts
/// configurations exist for few shapes, and no table says what is lost; the tables of Ampere and Ada are of those very
/// kernels as vLLM and SGLang choose them, so nothing is taken off there (it was until 2026-11-26, unverified, and the runs
/// of GLM-4.5-Air and GLM-4.6 on A100 came out a fifth to a quarter too slow).
pub fn may_be_untuned(hw: &Hardware, model: &Model, format: Format, engine: EngineKind) -> bool {
    let triton = matches!(engine, EngineKind::Vllm | EngineKind::Sglang);
    let rare = Generation::of(hw) == Generation::Amd;
    let four = matches!(format, Format::FourWeights | Format::IntegerWeights);
    triton && rare && !four && model.moe_layers() > 0
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;

    #[test]
    fn narrow_experts_reach_less() {
        let k = ExpertKernel::of(&testing::a100(), Format::Eight, EngineKind::Vllm);
        assert!(k.share(352.0) < k.share(1408.0));
        let hopper = Hardware { sm: Some(90), ..testing::a100() };
        let k = ExpertKernel::of(&hopper, Format::Eight, EngineKind::Trtllm);
        // The table's medians at 192, 352, 1,408 and 2,816 columns: 0.13, 0.22, 0.48, 0.63.
        for (columns, share) in [(192.0, 0.13), (352.0, 0.22), (1408.0, 0.48), (2816.0, 0.63)] {
            assert!((k.share(columns) / share - 1.0_f64).abs() < 0.15, "{columns}: {}", k.share(columns));
        }
    }

    #[test]
    fn what_no_table_shows_is_marked() {
        let amd = Hardware { vendor: Vendor::Amd, sm: None, ..testing::a100() };
        assert!(!dense(&amd, Format::Sixteen).measured && dense(&testing::a100(), Format::Sixteen).measured);
    }
}
