//! Grouped products of a mixture of experts, routing, sorting and quantising included.

use super::{Format, Generation};
use crate::engine::EngineConfig;
use crate::hardware::Hardware;
use crate::launch::EngineKind;
use crate::model::Model;

/// One layer's experts take, with `w` columns of each expert on a rank,
///
/// ```text
/// floor + hypot(touched bytes / (bandwidth × stream × w / (w + stream_half)), FLOPs of full tiles / (peak × at_width × w / (w + half)))
///       + traffic of routed tokens
/// ```
///
/// fitted to the tables' rows of 1 to 16,384 tokens, evenly routed, without expert parallelism. The form leaves 3 to 11 % in
/// the median of a table.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct ExpertKernel {
    /// us of a layer whatever is routed.
    pub floor: f64,
    /// Share of the bandwidth reached in streaming wide experts.
    pub stream: f64,
    /// Columns at which half of that is lost.
    pub stream_half: f64,
    /// Share of the peak reached with wide experts and many tokens.
    pub at_width: f64,
    /// Columns at which half of that is lost.
    pub half: f64,
    pub measured: bool,
}

impl ExpertKernel {
    pub fn of(hw: &Hardware, format: Format, engine: EngineKind) -> ExpertKernel {
        use EngineKind::{Sglang, Trtllm};
        use Format::{Eight, Four, FourWeights, IntegerWeights, Sixteen};
        use Generation::{Ada, Ampere, Blackwell, BlackwellConsumer, Hopper};
        let k = |floor, stream, stream_half, at_width, half| ExpertKernel {
            floor,
            stream,
            stream_half,
            at_width,
            half,
            measured: true,
        };
        let unverified = |k: ExpertKernel| ExpertKernel { measured: false, ..k };
        let format = if format == Format::EightByTensor { Eight } else { format };
        match (Generation::of(hw), format, engine) {
            (Ampere, Sixteen, _) => k(47.0, 0.84, 10.0, 0.43, 1.0),
            (Ampere, IntegerWeights, _) => k(37.0, 0.95, 30.0, 0.59, 1.0),
            // Marlin on MXFP4, by its integer kernels' figures.
            (Ampere, FourWeights, _) => unverified(k(37.0, 0.95, 30.0, 0.59, 1.0)),
            (Hopper, Sixteen, Sglang) => k(25.0, 0.86, 10.0, 0.35, 1.0),
            (Hopper, Sixteen, Trtllm) => k(31.0, 0.93, 20.0, 0.96, 50.0),
            (Hopper, Sixteen, _) => k(31.0, 0.94, 25.0, 0.73, 1.0),
            (Hopper, Eight, Sglang) => k(27.0, 0.90, 50.0, 0.44, 20.0),
            (Hopper, Eight, Trtllm) => k(44.0, 0.98, 120.0, 0.54, 850.0),
            (Hopper, Eight, _) => k(41.0, 0.90, 36.0, 0.385, 1.0),
            (Hopper, IntegerWeights, Sglang) => k(24.0, 0.85, 46.0, 0.42, 10.0),
            (Hopper, IntegerWeights, _) => k(37.0, 0.88, 66.0, 0.39, 10.0),
            // SGLang's table is of a path that widens the weights first; an engine takes the same Triton kernels as vLLM. The tables
            // have 0.68 of the bandwidth, which closed loops of gpt-oss-120b under vLLM and TensorRT-LLM exceed (seen, silicon-open).
            (Hopper, FourWeights, Sglang | Trtllm) => unverified(k(34.0, 0.90, 55.0, 0.71, 1.0)),
            (Hopper, FourWeights, _) => k(34.0, 0.90, 55.0, 0.71, 1.0),
            (Blackwell, Sixteen, Sglang) => k(13.0, 0.97, 53.0, 0.83, 1.0),
            (Blackwell, Sixteen, Trtllm) => k(32.0, 0.94, 46.0, 0.96, 243.0),
            (Blackwell, Sixteen, _) => k(17.0, 0.96, 14.0, 0.51, 1.0),
            (Blackwell, Eight, Sglang) => k(22.0, 0.93, 88.0, 0.26, 1.0),
            (Blackwell, Eight, Trtllm) => k(52.0, 0.89, 262.0, 0.79, 932.0),
            (Blackwell, Eight, _) => k(29.0, 0.92, 31.0, 0.23, 1.0),
            (Blackwell, Four, Sglang) => k(15.0, 0.97, 127.0, 0.81, 1.0),
            // Its own generated kernels, which AUTO takes; CUTLASS has 56 us, 0.88, 411, 0.49, 813.
            (Blackwell, Four, Trtllm) => k(16.0, 0.97, 20.0, 0.68, 1.0),
            (Blackwell, Four, _) => k(17.0, 0.97, 109.0, 0.47, 1.0),
            // Inputs in MXFP8, so that the share of the 16-bit peak is above one. The table of 16-bit inputs has 0.68, 260, 0.35, 140; closed
            // loops of gpt-oss-120b under vLLM and TensorRT-LLM need three times its arithmetic (seen, silicon-open).
            (Blackwell, FourWeights, _) => k(19.0, 0.97, 260.0, 1.15, 140.0),
            (Blackwell, IntegerWeights, Sglang) => k(26.0, 0.52, 28.0, 0.43, 1.0),
            (Blackwell, IntegerWeights, _) => k(38.0, 0.61, 82.0, 0.18, 66.0),
            (BlackwellConsumer, Sixteen, _) => k(24.0, 0.92, 2.0, 0.54, 10.0),
            (BlackwellConsumer, Eight, _) => k(25.0, 0.94, 3.0, 0.55, 22.0),
            (BlackwellConsumer, Four, _) => k(44.0, 0.96, 97.0, 0.75, 300.0),
            (BlackwellConsumer, IntegerWeights | FourWeights, _) => k(15.0, 0.92, 3.0, 0.76, 20.0),
            (Ada, Sixteen, _) => k(4.0, 0.79, 1.0, 0.57, 1.0),
            (Ada, IntegerWeights | FourWeights, _) => k(8.0, 0.83, 1.0, 0.67, 50.0),
            (Ada, _, _) => k(4.0, 0.78, 1.0, 0.57, 34.0),
            (Generation::Amd, ..) => unverified(k(40.0, 0.55, 80.0, 0.16, 250.0)),
            (_, _, _) => unverified(k(35.0, 0.78, 80.0, 0.32, 160.0)),
        }
    }

    /// Share of the peak at `columns`.
    pub fn share(&self, columns: f64) -> f64 {
        self.at_width * columns / (columns + self.half)
    }

    /// Share of the wide experts' streaming rate that experts with this number of columns reach.
    pub fn narrow_stream(&self, columns: f64) -> f64 {
        (columns / (columns + self.stream_half)).max(0.05)
    }
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
    use super::super::super::testing;
    use super::*;

    /// DeepSeek-V3's experts cut by eight on H200 with vLLM 0.24.0: the table's times in ms, evenly to power-law routed.
    #[test]
    fn the_form_meets_the_table_where_experts_are_narrow() {
        let h200 = Hardware { sm: Some(90), bandwidth_gbps: 4800.0, ..testing::a100() };
        let k = ExpertKernel::of(&h200, Format::Eight, EngineKind::Vllm);
        let time = |tokens: f64| {
            let (columns, hidden, experts, top_k): (f64, f64, f64, f64) = (256.0, 7168.0, 256.0, 8.0);
            let touched = experts * (1.0 - (1.0 - top_k / experts).powf(tokens));
            let tile = (tokens * top_k / touched).clamp(16.0, 128.0);
            let stream =
                touched * 3.0 * hidden * columns / (4800.0 * k.stream * k.narrow_stream(columns)) / 1e6;
            let full = tokens + touched * tile / 2.0 / top_k;
            let compute = 6.0 * hidden * columns * top_k * full / (1979e3 * k.share(columns)) / 1e6;
            k.floor / 1e3 + stream.hypot(compute) + 4.0 * tokens * top_k * hidden * 2.0 / (4800.0 * 0.8) / 1e6
        };
        for (tokens, ms) in [(1.0, 0.057), (8.0, 0.112), (64.0, 0.33), (1024.0, 0.61), (8192.0, 2.54)] {
            let error: f64 = time(tokens) / ms - 1.0;
            assert!(error.abs() < 0.2, "{tokens} tokens: {} against {ms}", time(tokens));
        }
    }
}
