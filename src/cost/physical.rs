//! The physical step-time model: a roofline by component, with efficiencies as coefficients.
//!
//! Device time of a step, for `t` tokens (padded to the captured size in a graph) of which `r` rows sample:
//!
//! ```text
//! layers × overhead + rows
//! + hypot(weight bytes / bandwidth, dense FLOPs / compute)          dense layers and head
//! + hypot(touched experts × bytes / bandwidth, expert FLOPs / compute)  tiles padded
//! + prefill pairs × FLOPs / compute + prefill KV bytes / bandwidth  prefill attention
//! + decode KV bytes / bandwidth                                     decode attention
//! + activation traffic + all-reduces
//! ```
//!
//! Without a CUDA graph the host launches kernel by kernel, and the step ends no earlier than its launch.
//! A roofline's corner is rounded by `hypot`: real kernels reach neither limit where both bind. All terms
//! are non-negative and grow with each count in the shape.

mod breakdown;
mod communication;
mod dealing;
mod graph;

pub use self::breakdown::Breakdown;
use self::communication::communication;
use self::dealing::Dealing;
use self::graph::{Graph, eager_factor, launched, prompt_launch};
use super::coefficients::Coefficients;
use super::drafting::{Drafting, Rates};
use super::footprint::Footprint;
use super::kernels::{self, ExpertKernel, Format, ProductKernel, Shapes};
use super::{StepCost, StepShape, StepTime};
use crate::engine::EngineConfig;
use crate::hardware::{Hardware, Vendor};
use crate::model::Model;

/// Step times of one launch; everything that does not depend on the batch is computed once.
#[derive(Debug, Clone)]
pub struct Physical {
    coefficients: Coefficients,
    /// ns per step, whatever is in it.
    fixed: f64,
    row: f64,
    /// ns to stream the dense weights of all layers, and of the head.
    weights: f64,
    head_weights: f64,
    /// ns of arithmetic by token through the layers, and by row through the head.
    dense_token: f64,
    head_row: f64,
    /// ns to stream one expert in every MoE layer, ns of expert arithmetic by token.
    expert: f64,
    expert_token: f64,
    experts: f64,
    top_k: f64,
    /// How much longer streaming dense weights, their arithmetic and streaming experts take for the shapes a rank holds.
    stretched: [f64; 3],
    /// Data-parallel ranks whose tokens meet in the experts.
    expert_ranks: f64,
    /// ln(1 - k/E)
    ln_miss: f64,
    /// ns by (query, context) pair of prompts in full layers, and in local layers.
    pair_full: f64,
    pair_local: f64,
    /// ns of a decode row's arithmetic by token of context, in full layers and in local ones: latent attention computes
    /// with its compressed form and is not bound by bytes alone.
    decode_pair_full: f64,
    decode_pair_local: f64,
    /// ns to read one token's KV in full layers, and in local layers.
    kv_full: f64,
    kv_local: f64,
    /// ns to read and write the recurrent state of one row, and of its update's arithmetic by token.
    state_row: f64,
    state_token: f64,
    /// Most tokens that a query attends to.
    sparse: Option<u64>,
    /// ns of a step with a prompt, whatever is in it.
    prompt_step: f64,
    /// ns of activation traffic by token through the layers, and of its copies for the experts that it is sent to.
    token: f64,
    routed_token: f64,
    dealing: Dealing,
    /// ns of all-reduces a step, and of their transfer by token.
    comm_step: f64,
    comm_token: f64,
    /// Host ns of launching a step without a graph.
    eager: f64,
    /// How much more of that a step with prompts costs.
    prompt_launch: f64,
    host_step: f64,
    host_row: f64,
    /// Share of the host time that comes after the device's, without overlap.
    update: f64,
    frontend_request: f64,
    frontend_token: f64,
    emit_delay: f64,
    emit_token: f64,
    shared_frontend: bool,
    /// The engine's processes have no cores but these.
    on_cpu: bool,
    graph: Graph,
    window: Option<u32>,
    /// Batches in flight over pipeline stages: each sees this share of the rows.
    micro: f64,
    drafting: Option<Box<Drafting>>,
    /// How many times as long every part of a step takes as in the release that the coefficients are of.
    older: f64,
}

impl Physical {
    #[expect(clippy::too_many_lines, reason = "one value, field by field")]
    pub fn new(hw: &Hardware, model: &Model, config: &EngineConfig, c: &Coefficients) -> Physical {
        let f = Footprint::new(model, config);
        let tp = f64::from(config.tensor_parallel.max(1));
        let pp = f64::from(config.pipeline_parallel.max(1));
        let bandwidth = hw.bandwidth_gbps; // bytes a nanosecond
        let (dense_peak, expert_peak) = f.peaks(hw);
        let (dense_peak, expert_peak) = (dense_peak / 1e9, expert_peak / 1e9); // FLOP a nanosecond
        let bf16_peak = hw.bf16_tflops * 1e3;
        let attention_rate = bf16_peak * c.attention_compute * head_dim_factor(f.head_dim);
        // Ranks of data-parallel attention read the caches of their own requests.
        let own = config.attention_tensor();
        let kv_split = f64::from(own.min(f.kv_shards).max(1)) * tp / f64::from(own);
        let kv_rate = bandwidth * c.kv_bandwidth;
        let weight_rate = bandwidth * c.weight_bandwidth;
        let (comm_step, comm_token) = communication(hw, &f, config, c);
        let format = Format::of_weights(model, f.precision);
        let columns = kernels::expert_columns(model, config);
        let narrow = ExpertKernel::of(hw, format, config.engine).narrow_stream(columns);
        let shapes = Shapes::of(model, config, ProductKernel::of(hw, format, config.engine));
        let attention_ns = |flops: f64| flops / tp / attention_rate;
        let pass = c.activation_passes * f.hidden * 2.0 / (bandwidth * 0.8);
        Physical {
            coefficients: *c,
            fixed: (c.layer_overhead * f.layers + c.moe_overhead * f.moe_layers) * 1e3,
            row: c.row * 1e3,
            weights: shapes.stream * f.dense_bytes_rank(config) / weight_rate,
            head_weights: f.head_bytes / tp / weight_rate,
            dense_token: shapes.compute * 2.0 * f.dense_params / tp / (dense_peak * c.dense_compute),
            head_row: 2.0 * f.head_params / tp / (bf16_peak * c.dense_compute),
            expert: f.expert_bytes * f.moe_layers
                / (tp * f.expert_ranks(config))
                / (bandwidth * c.expert_bandwidth * narrow),
            expert_token: imbalance(config) * 2.0 * f.expert_params * f.top_k * f.moe_layers
                / tp
                / (expert_peak * c.expert_compute),
            experts: f.experts,
            ln_miss: if f.experts > 0.0 { (1.0 - f.top_k / f.experts).max(1e-12).ln() } else { 0.0 },
            pair_full: attention_ns(f.prefill_flops_pair.0),
            pair_local: attention_ns(f.prefill_flops_pair.1),
            decode_pair_full: attention_ns(f.decode_flops_pair.0),
            decode_pair_local: attention_ns(f.decode_flops_pair.1),
            kv_full: f.kv_bytes.0 / kv_split / kv_rate,
            kv_local: f.kv_bytes.1 / kv_split / kv_rate,
            state_row: 2.0 * f.state_bytes / tp / kv_rate,
            state_token: attention_ns(f.state_flops_token),
            sparse: f.sparse_top_k.map(u64::from),
            prompt_step: c.prompt_step * 1e3,
            token: pass * f.layers / f64::from(config.attention_parallel.max(1)),
            routed_token: pass * 0.25 * f.top_k * f.moe_layers
                / if config.expert_parallel { tp } else { 1.0 },
            dealing: Dealing::of(config),
            top_k: f.top_k,
            stretched: [shapes.stream, shapes.compute, 1.0 / narrow],
            expert_ranks: f.expert_ranks(config),
            comm_step,
            comm_token,
            eager: c.eager_launch
                * 1e3
                * f.layers
                * eager_factor(hw, config)
                * launched(model, config, format),
            prompt_launch: prompt_launch(config),
            host_step: c.host_step * 1e3 * host_ranks(config),
            host_row: c.host_row * 1e3,
            update: if hw.vendor == Vendor::Cpu && !config.overlap { CPU_UPDATE } else { 0.0 },
            frontend_request: c.frontend_request * 1e3 / f64::from(config.frontends),
            frontend_token: c.frontend_token * 1e3 / f64::from(config.frontends),
            emit_delay: c.emit_delay * 1e3,
            emit_token: c.emit_token * 1e3 / f64::from(config.frontends * config.stream_interval),
            shared_frontend: config.shared_frontend,
            on_cpu: hw.vendor == Vendor::Cpu,
            graph: Graph::of(config),
            window: f.window,
            micro: 1.0 / pp,
            older: c.month_older.powf(config.months_older),
            drafting: config.speculative.as_ref().map(|s| {
                let rates = Rates {
                    weights: weight_rate,
                    kv: kv_rate,
                    dense: dense_peak * c.dense_compute,
                    head: bf16_peak * c.dense_compute,
                };
                Box::new(Drafting::new(s, config, &f, c, &rates))
            }),
        }
    }

    pub fn coefficients(&self) -> &Coefficients {
        &self.coefficients
    }

    /// Tokens' worth of arithmetic that grouped kernels spend on the unfilled part of each expert's last tile.
    fn tile_waste(&self, tokens: f64, touched: f64) -> f64 {
        if touched <= 0.0 {
            return 0.0;
        }
        let tile = (tokens * self.expert_ranks * self.top_k / touched).clamp(16.0, 128.0);
        touched * tile / 2.0 / self.top_k / self.expert_ranks
    }

    /// Pairs of a query and its context under sparse attention, which bounds the context of each query.
    fn attended(&self, pairs: u64, queries: u32) -> f64 {
        self.sparse.map_or(pairs, |k| pairs.min(k.saturating_mul(u64::from(queries)))) as f64
    }

    fn prefill_attention(&self, s: &StepShape) -> f64 {
        let even = self.pair_full * self.attended(s.prefill_ctx, s.prefill_tokens)
            + self.pair_local * s.prefill_ctx_window as f64
            + self.kv_full * s.prefill_kv as f64
            + self.state_token * f64::from(s.prefill_tokens)
            + self.state_row * f64::from(s.prefill_rows);
        even * self.dealing.uneven(s)
    }

    /// Reading the cache and computing with it overlap; the state of recurrent layers is read and written by every row.
    fn decode_attention(&self, s: &StepShape) -> f64 {
        let full = self.attended(s.decode_ctx, s.decode_rows);
        let local = s.decode_ctx_window as f64;
        let read = self.kv_full * full + self.kv_local * local;
        // Every verified token attends by itself; the cache is read once a row.
        let queries = 1.0 + f64::from(s.speculative_tokens) / f64::from(s.decode_rows.max(1));
        let computed = (self.decode_pair_full * full + self.decode_pair_local * local) * queries;
        read.max(computed) + self.state_row * f64::from(s.decode_rows)
    }

    /// The step's time by component.
    pub fn breakdown(&self, s: &StepShape) -> Breakdown {
        let (tokens, graph) = self.graph.padded(s, self.micro);
        let mut b = self.device_time(s, tokens);
        if !graph {
            b.eager_launch = (self.launch(s) - b.device()).max(0.0);
        }
        b
    }

    /// The step's time by component on a device that never waits for its launch; `tokens` includes the padding.
    fn device_time(&self, s: &StepShape, tokens: f64) -> Breakdown {
        // The last stage alone samples, and it sets the pace: its part counts once for each batch in flight.
        let rows = f64::from(s.rows());
        let stages = 1.0 / self.micro;
        // Padded rows repeat one token and reach no further expert.
        let touched = if self.experts > 0.0 {
            let real = f64::from(s.tokens()) * self.micro;
            self.experts * (1.0 - (real * self.expert_ranks * self.ln_miss).exp())
        } else {
            0.0
        };
        // Tokens that dense layers and norms take the time of: those of prompts as the busiest rank has them.
        let dealt = tokens + f64::from(s.prefill_tokens) * self.micro * (self.dealing.uneven(s) - 1.0);
        let parts = Breakdown {
            overhead: self.fixed + if s.prefill_rows > 0 { self.prompt_step } else { 0.0 },
            rows: self.row * rows,
            weight_stream: self.weights + self.head_weights * stages,
            dense_compute: self.dense_token * dealt
                + self.head_row * (rows + f64::from(s.speculative_tokens)),
            expert_stream: self.expert * touched,
            expert_compute: self.expert_token * (tokens + self.tile_waste(tokens, touched)),
            prefill_attention: self.prefill_attention(s) * self.micro,
            kv_read: self.decode_attention(s) * self.micro,
            activations: self.token * dealt + self.routed_token * tokens,
            communication: self.comm_step + self.comm_token * tokens,
            drafting: self.drafting.as_ref().map_or(0.0, |d| d.device(s)),
            eager_launch: 0.0,
            host: self.host(s),
        };
        if self.older == 1.0 { parts } else { parts.times(self.older) }
    }

    /// Host time of a step besides its launch, nanoseconds.
    fn host(&self, s: &StepShape) -> f64 {
        let proposing = self.drafting.as_ref().map_or(0.0, |d| d.host(s));
        self.host_step + self.host_row * f64::from(s.rows()) + proposing
    }

    /// Host time of launching a step without a graph, nanoseconds.
    fn launch(&self, s: &StepShape) -> f64 {
        self.older * if s.prefill_rows > 0 { self.eager * self.prompt_launch } else { self.eager }
    }

    /// Time of the step if nothing but bytes and FLOPs at the device's peaks counted, nanoseconds.
    pub fn physical_limit(&self, s: &StepShape) -> f64 {
        let b = self.breakdown(s);
        let c = &self.coefficients;
        let [stream, compute, experts] = self.stretched;
        let b = b.times(1.0 / self.older);
        (b.weight_stream * c.weight_bandwidth / stream).max(b.dense_compute * c.dense_compute / compute)
            + (b.expert_stream * c.expert_bandwidth / experts).max(b.expert_compute * c.expert_compute)
            + b.prefill_attention * c.attention_compute
            + b.kv_read * c.kv_bandwidth
    }
}

impl StepTime for Physical {
    fn step(&self, shape: &StepShape) -> StepCost {
        let (tokens, graph) = self.graph.padded(shape, self.micro);
        let b = self.device_time(shape, tokens);
        let launch = if graph { 0.0 } else { self.launch(shape) };
        StepCost { device: b.device() as u64, host: b.host as u64, launch: launch as u64 }
    }
    fn update(&self, shape: &StepShape) -> u64 {
        (self.update * self.host(shape)) as u64
    }
    fn frontend(&self, input_tokens: u32) -> u64 {
        (self.frontend_request + self.frontend_token * f64::from(input_tokens)) as u64
    }
    fn shares_frontend(&self) -> bool {
        self.on_cpu
    }
    fn emit(&self, rows: u32) -> u64 {
        let sending = if self.shared_frontend { 0.0 } else { self.emit_token * f64::from(rows) };
        (self.emit_delay + sending) as u64
    }
    fn emit_busy(&self, rows: u32) -> u64 {
        if self.shared_frontend { (self.emit_token * f64::from(rows)) as u64 } else { 0 }
    }
    fn window(&self) -> Option<u32> {
        self.window
    }
}

/// On a CPU most of the loop's time is handing out tokens while the front end, on the same core, sends those before.
const CPU_UPDATE: f64 = 0.75;

/// Under expert parallelism the busiest rank sets the pace. Unverified; routing of trained models on one node gives the
/// busiest of eight ranks a fifth to a third more than the mean.
fn imbalance(config: &EngineConfig) -> f64 {
    if config.expert_parallel && config.tensor_parallel > 1 { 1.25 } else { 1.0 }
}

/// Attention kernels reach less of the peak with narrow heads: FlashAttention 3 about a sixth less at 64.
fn head_dim_factor(head_dim: f64) -> f64 {
    (head_dim / 128.0).clamp(0.25, 1.0).powf(0.25)
}

/// Ranks are driven by more work on the host: one broadcast and gather more with tensor parallelism, but
/// where each rank schedules for itself.
fn host_ranks(config: &EngineConfig) -> f64 {
    if config.shared_frontend {
        return 1.0;
    }
    1.0 + 0.1 * f64::from(config.tensor_parallel.max(1)).log2()
}

#[cfg(test)]
mod tests {
    use super::super::testing;
    use super::*;
    use proptest::prelude::*;

    fn decode(rows: u32, context: u64) -> StepShape {
        StepShape {
            decode_rows: rows,
            decode_ctx: u64::from(rows) * context,
            decode_ctx_window: u64::from(rows) * context.min(128),
            ..StepShape::default()
        }
    }

    fn model() -> Physical {
        Physical::new(
            &testing::a100(),
            &testing::gpt_oss_20b(),
            &EngineConfig::default(),
            &Coefficients::default(),
        )
    }

    #[test]
    fn a_dense_decode_step_is_bound_by_its_weights() {
        let hw = testing::rtx_4090();
        let p = Physical::new(&hw, &testing::llama_8b(), &EngineConfig::default(), &Coefficients::default());
        let limit = 15.0e9 / 1008.0; // ns to read 15 GB at the peak
        let step = p.step(&decode(1, 100)).device as f64;
        assert!(step > limit && step < 2.0 * limit, "{step} against {limit}");
        assert!((p.physical_limit(&decode(1, 1)) / limit - 1.0).abs() < 0.01);
    }

    #[test]
    fn more_rows_touch_more_experts_until_all_are_read() {
        let m = model();
        let one = m.breakdown(&decode(1, 10)).expert_stream;
        let many = m.breakdown(&decode(256, 10)).expert_stream;
        assert!(many / one > 7.5 && many / one < 8.01);
    }

    #[test]
    fn above_the_largest_graph_the_launch_shows() {
        let config = EngineConfig { max_graph_size: 0, ..EngineConfig::default() };
        let c = Coefficients { eager_launch: 400.0, ..Coefficients::default() };
        let p = Physical::new(&testing::a100(), &testing::gpt_oss_20b(), &config, &c);
        assert!(p.step(&decode(1, 10)).launch >= 400_000 * 24);
        assert!(p.breakdown(&decode(1, 10)).eager_launch > 0.0);
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn time_never_falls_with_more_work(rows in 1u32..400, context in 1u64..4000, chunk in 0u32..2000) {
            let m = model();
            let s = decode(rows, context);
            let more_context = StepShape { decode_ctx: s.decode_ctx + 1000, ..s };
            let more_prefill = StepShape { prefill_rows: 1, prefill_tokens: chunk + 600,
                prefill_ctx: u64::from(chunk) * 50, ..s };
            prop_assert!(m.step(&more_context).device >= m.step(&s).device);
            prop_assert!(m.step(&more_prefill).device >= m.step(&s).device);
            prop_assert!(m.step(&s).device as f64 + 1.0 >= m.physical_limit(&s));
        }
    }
}
