//! From a record to everything that a simulation of it needs, coefficients apart.

mod catalogs;
mod load;
mod nodes;
mod room;
mod run;
mod screened;
mod variants;

pub use self::catalogs::Catalogs;
pub(super) use self::catalogs::size_drafter;
use self::catalogs::{same_gpus, whole_engine};
use self::load::Load;
use self::room::Room;
use super::footprint::Footprint;
use super::habits::{Habits, Intake};
use super::memory::{self, MemoryEstimate};
use super::model_kind::ModelKind;
use super::{Coefficients, Physical};
use crate::engine::{EngineConfig, resolve};
use crate::error::{Error, Result};
use crate::hardware::Hardware;
use crate::model::{Model, Precision};
use crate::scenario::{Key, Record};
use crate::sim::KvLayout;
use crate::units::Nanos;
use crate::workload::{RequestShape, Shared, WorkloadSpec, sharing};
use std::sync::Arc;

use nodes::lay_over_nodes;

/// A record made ready to simulate.
#[derive(Debug, Clone)]
pub struct Setup {
    pub hardware: Hardware,
    pub model: Model,
    /// With the KV blocks filled in.
    pub config: EngineConfig,
    pub memory: MemoryEstimate,
    /// Arrivals and lengths; `output_tokens` is what comes out.
    pub requests: Vec<RequestShape>,
    /// What their prompts share, and the sessions they form, where the workload tells.
    shared: Option<Arc<Vec<Shared>>>,
    /// The client's `max_tokens` where it is one number for all.
    pub max_tokens: Option<u32>,
    pub concurrency: Option<u32>,
    /// Requests sent in one burst at the start, without a bound on those in flight.
    pub burst: bool,
    /// Share of the requests whose prompts an earlier run left in the prefix cache (same seed, same server).
    pub warm: f64,
    /// What a run of this launch does that its scenario does not say.
    pub habits: Habits,
    /// Both readings of a load whose lengths are not known to be exact: (exact, scattered).
    readings: Option<Arc<(Vec<RequestShape>, Vec<RequestShape>)>>,
    /// The prompts are text that a model could have written; `None`: the scenario does not say what they are.
    pub(super) text: Option<bool>,
    /// The scenario says which release runs.
    pub(super) release_told: bool,
    /// The engine itself said how many KV blocks it has.
    kv_known: bool,
    /// Fewest blocks with which the longest request runs.
    least_blocks: u64,
}

impl Setup {
    /// Errors: no model, hardware, engine or workload, or one that is not known.
    pub fn new(record: &Record, catalogs: &Catalogs) -> Result<Setup> {
        let name = record
            .model
            .clone()
            .or_else(|| record.launch().model)
            .ok_or_else(|| Error::usage("the scenario names no model").hint("set `model`"))?;
        let hw = record
            .hardware
            .as_deref()
            .ok_or_else(|| Error::usage("the scenario names no hardware").hint("set `hardware`"))?;
        let hardware = catalogs.hardware.find(hw)?.clone();
        let model = catalogs.models.find(&name)?;
        whole_engine(record)?;
        let mut config = resolve(record, &hardware, &model)?;
        size_drafter(&mut config, catalogs);
        same_gpus(record, &hardware, &config)?;
        Setup::from_parts(record, hardware, model, config)
    }

    /// As [`Setup::new`], of parts that are already resolved.
    pub fn from_parts(
        record: &Record,
        mut hardware: Hardware,
        model: Model,
        mut config: EngineConfig,
    ) -> Result<Setup> {
        lay_over_nodes(record, &mut hardware, &mut config);
        let load = Load::of(record, &config)?;
        let generated = record.workload.as_ref().filter(|_| record.requests.is_none());
        let shared = generated.map(sharing).transpose()?.flatten().map(Arc::new);
        let burst = load.concurrency.is_none()
            && load.requests.len() > 1
            && load.requests.iter().all(|r| r.arrival == Nanos::ZERO);
        let Room { config, memory, kv_known, least_blocks } =
            Room::of(config, &hardware, &model, &load.requests);
        Ok(Setup {
            hardware,
            model,
            config,
            memory,
            requests: load.requests,
            shared,
            max_tokens: load.max_tokens,
            concurrency: load.concurrency,
            burst,
            warm: 0.0,
            habits: Habits { lengths: load.lengths, intake: Intake::AtOnce },
            readings: load.readings,
            text: record.workload.as_ref().map(WorkloadSpec::is_text),
            release_told: record.launch().version.is_some(),
            kv_known,
            least_blocks,
        })
    }

    /// KV blocks: those that the engine reported, else what memory leaves, but enough for the longest
    /// request, since an engine that runs holds at least that.
    pub fn kv_blocks(&self, c: &Coefficients) -> u64 {
        if self.kv_known {
            return self.config.num_kv_blocks.unwrap_or(1);
        }
        let kv = self.memory.kv.0 as f64 - (c.reserved_memory - 1.0) * f64::from(1 << 30);
        ((kv / self.memory.block_bytes).max(0.0) as u64).max(self.least_blocks)
    }

    /// Precision of the weights that this launch computes with.
    pub fn precision(&self) -> Precision {
        self.config.weights.unwrap_or(self.model.precision)
    }

    pub fn model_kind(&self) -> ModelKind {
        ModelKind::of(&self.model)
    }

    /// Its attention keeps a compressed vector a token.
    pub(super) fn is_latent(&self) -> bool {
        self.model.attentions().any(|(_, a)| a.latent.is_some())
    }

    /// Devices that the launch takes.
    pub fn devices(&self) -> u32 {
        let c = &self.config;
        c.tensor_parallel.max(1) * c.pipeline_parallel.max(1) * c.data_parallel.max(1)
    }

    /// Blocks of all ranks of data-parallel attention, which are simulated as one engine.
    fn pool_blocks(&self, c: &Coefficients) -> u64 {
        self.kv_blocks(c) * u64::from(self.config.attention_parallel.max(1))
    }

    /// Tokens of context that the KV room holds with these coefficients.
    pub fn kv_pool_tokens(&self, c: &Coefficients) -> u64 {
        let blocks = self.kv_blocks(c) as f64;
        // The estimate's own ratio of tokens to blocks knows the groups of hybrid models.
        let per_block = match self.memory.blocks {
            0 => f64::from(self.config.block_size),
            n => self.memory.kv_tokens as f64 / n as f64,
        };
        (blocks * per_block) as u64
    }

    /// Whether prompts of an earlier run could still lie in the prefix cache.
    pub fn could_be_warm(&self) -> bool {
        let tokens: u64 = self.requests.iter().map(|r| u64::from(r.input_tokens)).sum();
        self.burst
            && self.config.prefix_caching
            && self.max_tokens.is_some()
            && tokens < self.memory.kv_tokens
    }

    /// How the KV room is cut up.
    pub fn layout(&self, blocks: u64) -> KvLayout {
        let f = Footprint::new(&self.model, &self.config);
        let (_, full, local) = memory::kv_groups(&f);
        let only_local = f.full_layers <= 0.0 && f.local_layers > 0.0;
        KvLayout {
            block_size: self.config.block_size.max(1),
            blocks: blocks.saturating_sub(1).max(1),
            full_groups: if only_local { 0 } else { full as u32 },
            sliding_groups: if only_local { 1 } else { local as u32 },
            window: f.window.unwrap_or(0),
        }
    }

    /// The step-time model of this launch with these coefficients.
    pub fn physical(&self, c: &Coefficients) -> Physical {
        Physical::new(&self.hardware, &self.model, &self.config, c)
    }
}

/// The scenario of an observation: its result removed, and the real token counts moved into the workload.
pub fn scenario_of(record: &Record) -> Record {
    let mut r = record.clone();
    if let (Some(w), Some(m)) = (&mut r.workload, &record.result) {
        let w: &mut WorkloadSpec = w;
        let sent = f64::from(w.num_prompts.unwrap_or(0));
        let all = m.get(Key::Completed).is_none_or(|done| sent == 0.0 || done >= sent);
        if all {
            w.total_input_tokens = w.total_input_tokens.or(m.get(Key::TotalInputTokens));
            w.total_output_tokens = w.total_output_tokens.or(m.get(Key::TotalOutputTokens));
        }
    }
    r.result = None;
    r
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::sim::SimResult;

    fn record(json: &str) -> Record {
        serde_json::from_str(json).unwrap()
    }

    #[test]
    fn real_token_counts_shape_the_load() {
        let r = record(
            r#"{"engine":"vllm","engine_version":"0.11.0","serve_command":"vllm serve openai/gpt-oss-20b",
                "hardware":"a100-sxm-80gb","workload":{"dataset":"random","input_len":4000,"output_len":200,
                "num_prompts":500,"seed":42},"result":{"completed":500,"total_input_tokens":1999249,
                "total_output_tokens":53530}}"#,
        );
        let s = Setup::new(&scenario_of(&r), &Catalogs::load(None).unwrap()).unwrap();
        let out: f64 = s.requests.iter().map(|r| f64::from(r.output_tokens)).sum();
        assert!((out / 53530.0 - 1.0).abs() < 0.02, "{out}");
        assert!(s.requests.iter().all(|r| r.output_tokens <= 200) && s.burst);
        assert_eq!(s.max_tokens, Some(200));
    }

    #[test]
    fn a_run_is_deterministic_and_within_the_physical_bound() {
        let r = record(
            r#"{"engine":"vllm","engine_version":"0.11.0","serve_command":"vllm serve openai/gpt-oss-20b",
                "hardware":"a100-sxm-80gb","workload":{"dataset":"random","input_len":500,"output_len":50,
                "num_prompts":60,"max_concurrency":8}}"#,
        );
        let s = Setup::new(&r, &Catalogs::load(None).unwrap()).unwrap();
        let c = Coefficients::default();
        let (a, b) = (s.simulate(&c, false), s.simulate(&c, false));
        assert_eq!(a, b);
        let f = Footprint::new(&s.model, &s.config);
        let bound = s.hardware.bf16_tflops * 1e12 / f.flops_token();
        assert!(a.metrics.get(Key::TotalTokenThroughput).unwrap() < bound);
        assert_eq!(a.metrics.get(Key::Completed), Some(60.0));
    }

    #[test]
    fn a_shared_prefix_counts_with_prefix_caching_and_only_then() {
        let run = |engine: &str, flag: &str, workload: &str| {
            let r = record(&format!(
                r#"{{"engine":"{engine}","serve_command":"{flag}","model":"openai/gpt-oss-20b",
                    "hardware":"a100-sxm-80gb","workload":{workload}}}"#
            ));
            let s = Setup::new(&r, &Catalogs::load(None).unwrap()).unwrap();
            (
                s.simulate(&Coefficients::default(), false),
                s.screen(&Coefficients::default(), &crate::sim::Demand::of(&s.requests)),
            )
        };
        let prefix = r#"{"dataset":"random","input_len":200,"output_len":60,"random_prefix_len":8000,"num_prompts":80,
            "max_concurrency":16,"seed":1}"#;
        let chat = r#"{"dataset":"chat","num_prompts":20,"turns":4,"context_min":1000,"context_max":4000,
            "output_len":50,"max_concurrency":8,"seed":1,"think_time_s":0.1}"#;
        for (engine, on, off) in [
            ("vllm", "vllm serve m", "vllm serve m --no-enable-prefix-caching"),
            (
                "sglang",
                "python -m sglang.launch_server --model m",
                "python -m sglang.launch_server --model m --disable-radix-cache",
            ),
        ] {
            for workload in [prefix, chat] {
                let ((with, screened), (without, _)) =
                    (run(engine, on, workload), run(engine, off, workload));
                let ttft = |r: &SimResult| r.metrics.get(Key::MeanTtftMs).unwrap();
                let rate = |r: &SimResult| r.metrics.get(Key::RequestThroughput).unwrap();
                assert!(with.breakdown.prefix_hits > 0 && without.breakdown.prefix_hits == 0, "{engine}");
                assert!(ttft(&with) < 0.6 * ttft(&without), "{engine}: {} {}", ttft(&with), ttft(&without));
                assert!(rate(&with) > 1.05 * rate(&without), "{engine}: {} {}", rate(&with), rate(&without));
                assert_eq!(screened, None, "the screen does not know the cache");
            }
        }
    }
}
