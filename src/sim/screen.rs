//! The closed-form screen: what a scenario gives in steady state, in microseconds and without events.
//!
//! A mean-field model of continuous batching. With `n` rows decoding and requests of `O` output and `I`
//! prompt tokens, `n / O` requests finish a step, so `n I / O` prompt tokens come in a step; that fixes the
//! mean step and so the rate `X(n) = n / ((O - 1) T(n))`. The largest `n` is set by `max_num_seqs`, KV room and token
//! budget, and `X` there is the **stability limit**. An open load below it has the `n` with `X(n)` equal to
//! its rate; a closed one the `n` at which requests in decode, prefill, queue and front end add up to its
//! concurrency (Little); a load sent all at once fills, runs at the limit, and drains.
//!
//! What it leaves out: chance beyond the mean (but for the front end's queue), preemption, prefix caching.

use super::kv::KvLayout;
use crate::engine::EngineConfig;
use crate::launch::EngineKind;
use crate::sim::step::{StepShape, StepTime};
use crate::workload::RequestShape;

/// Moments of the lengths of a workload's requests, in tokens.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Demand {
    pub requests: f64,
    pub input: f64,
    pub output: f64,
    /// Mean of input².
    pub input_square: f64,
    /// Mean of output².
    pub output_square: f64,
    /// Mean of input × output.
    pub product: f64,
    pub output_max: f64,
}

impl Demand {
    pub fn of(requests: &[RequestShape]) -> Demand {
        let n = requests.len().max(1) as f64;
        let mean = |f: &dyn Fn(f64, f64) -> f64| {
            requests.iter().map(|r| f(f64::from(r.input_tokens), f64::from(r.output_tokens))).sum::<f64>() / n
        };
        Demand {
            requests: requests.len() as f64,
            input: mean(&|i, _| i).max(1.0),
            output: mean(&|_, o| o).max(1.0),
            input_square: mean(&|i, _| i * i).max(1.0),
            output_square: mean(&|_, o| o * o).max(1.0),
            product: mean(&|i, o| i * o).max(1.0),
            output_max: requests.iter().map(|r| f64::from(r.output_tokens)).fold(1.0, f64::max),
        }
    }

    /// Mean context of a decoding row at a random moment: long outputs are met more often.
    fn context(&self) -> f64 {
        (self.product + self.output_square / 2.0) / self.output
    }
}

/// How requests come.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum Load {
    AllAtOnce,
    /// So many in flight.
    Closed(u32),
    /// Requests a second.
    Open(f64),
}

/// What keeps the rate from being higher.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Limit {
    /// The load itself: the engine could take more.
    Load,
    FrontEnd,
    /// `max_num_seqs`.
    MaxNumSeqs,
    KvRoom,
    TokenBudget,
}

/// The screen's answer; times in nanoseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Screened {
    /// Requests a second.
    pub rate: f64,
    pub duration: f64,
    pub ttft: f64,
    pub tpot: f64,
    pub e2e: f64,
    /// Mean rows that decode.
    pub running: f64,
    /// Requests a second that the launch can sustain at all.
    pub limit_rate: f64,
    pub limit: Limit,
}

/// The launch and the lengths, ready for any load.
#[derive(Debug)]
pub struct Screen<'a, T: StepTime + ?Sized> {
    time: &'a T,
    demand: Demand,
    budget: f64,
    overlap: bool,
    prefill_alone: bool,
    /// The most rows that can decode in the long run, and what sets it.
    rows: f64,
    limit: Limit,
    frontend: f64,
    /// Proposed tokens that a decode row verifies, and tokens that it brings a step.
    verified: f64,
    brings: f64,
}

/// One mean step.
#[derive(Debug, Clone, Copy, Default)]
struct Mean {
    /// Over all steps.
    period: f64,
    /// Of a step with prompt tokens.
    prefill: f64,
    /// Such steps that one prompt takes.
    chunks: f64,
    /// Share of steps with a full budget that one prompt takes up, as time.
    service: f64,
}

impl<'a, T: StepTime + ?Sized> Screen<'a, T> {
    pub fn new(config: &EngineConfig, layout: &KvLayout, time: &'a T, demand: Demand) -> Screen<'a, T> {
        let sglang = config.engine == EngineKind::Sglang;
        let chunk = if sglang && config.chunk_tokens > 0 { config.chunk_tokens } else { u32::MAX };
        let budget = f64::from(config.max_num_batched_tokens.min(chunk).max(1));
        let prefill_alone = sglang && !config.mixed_chunk;
        let max_num_seqs = f64::from(config.max_num_seqs.max(1));
        let reserved = config.engine == EngineKind::Trtllm && config.reserve_output || sglang;
        let context = if reserved { demand.input + demand.output } else { demand.context() };
        let room = layout.blocks as f64 / blocks(layout, context);
        let speculation = config.speculative.as_ref();
        let verified = speculation.map_or(0.0, |s| s.acceptance.proposed * f64::from(s.verified));
        let brings = speculation.map_or(1.0, |s| s.acceptance.tokens_per_step());
        // Prompts of the requests that replace finished ones must fit beside the decode rows.
        let flow = if prefill_alone {
            f64::INFINITY
        } else {
            let steps = demand.output / brings;
            budget * steps / (demand.input + steps * (1.0 + verified))
        };
        let rows = max_num_seqs.min(room).min(flow).max(1.0);
        let limit = if rows >= max_num_seqs {
            Limit::MaxNumSeqs
        } else if room <= flow {
            Limit::KvRoom
        } else {
            Limit::TokenBudget
        };
        let frontend = time.frontend(demand.input as u32) as f64;
        Screen {
            time,
            demand,
            budget,
            overlap: config.overlap,
            prefill_alone,
            rows,
            limit,
            frontend,
            verified,
            brings,
        }
    }

    fn period(&self, shape: &StepShape) -> f64 {
        let c = self.time.step(shape);
        if self.overlap {
            c.device.max(c.host + c.launch) as f64
        } else {
            (c.device.max(c.launch) + c.host) as f64
        }
    }

    fn shape(&self, rows: f64, prompt: f64) -> StepShape {
        let d = &self.demand;
        let context = d.context();
        let clip = self.time.window().map_or(f64::INFINITY, f64::from);
        let attended = d.input_square / d.input / 2.0;
        let longest = 2.0 * attended;
        let clipped = if longest <= clip { attended } else { clip - clip * clip / 2.0 / longest };
        let prompts = (prompt / d.input).max(if prompt > 0.0 { 1.0 } else { 0.0 });
        StepShape {
            prefill_rows: prompts.round() as u32,
            prefill_tokens: prompt as u32,
            prefill_ctx: (prompt * attended) as u64,
            prefill_ctx_window: (prompt * clipped) as u64,
            prefill_kv: (prompts * d.input.min(prompt)) as u64,
            decode_rows: rows.round() as u32,
            speculative_tokens: (rows * self.verified).round() as u32,
            decode_ctx: (rows * context) as u64,
            decode_ctx_window: (rows * context.min(clip)) as u64,
            admitted: 0,
            finished: 0,
        }
    }

    /// The mean step with `n` rows decoding in steady state.
    fn mean(&self, n: f64) -> Mean {
        self.mean_among(n, n)
    }

    /// The mean step that a row sees among `n` when the prompts of `others` of them come in between.
    fn mean_among(&self, n: f64, others: f64) -> Mean {
        let d = &self.demand;
        let starts = others * self.brings / d.output;
        let prompt = starts * d.input;
        let beside = if self.prefill_alone { 0.0 } else { n };
        let left = (self.budget - beside * (1.0 + self.verified)).max(1.0);
        // Prompts come in lumps: this share of the steps carries some.
        let share = (1.0 - (-starts).exp()).max(prompt / left).min(1.0);
        let lump = if share > 0.0 { (prompt / share).min(left) } else { 0.0 };
        let decode = self.period(&self.shape(n, 0.0));
        let prefill = self.period(&self.shape(beside, lump.max(d.input.min(left))));
        let carried = self.period(&self.shape(beside, lump));
        let period = if self.prefill_alone {
            // Every decode step waits for the prefill steps that come between.
            decode + carried * prompt / lump.max(1.0)
        } else {
            share * carried + (1.0 - share) * decode
        };
        let service = d.input / left * self.period(&self.shape(beside, left));
        Mean { period, prefill, chunks: (d.input / left).ceil().max(1.0), service }
    }

    /// Decode steps of the mean request.
    fn gaps(&self) -> f64 {
        (self.demand.output - 1.0).max(0.0) / self.brings
    }

    /// Requests a nanosecond with `n` rows decoding.
    fn rate(&self, n: f64, mean: &Mean) -> f64 {
        n / (self.gaps().max(0.5) * mean.period)
    }

    /// From the front end to the first token when the engine is `busy` (a share of the time) and prompts come
    /// at `rate`: to the end of the step under way, behind other prompts, through its own chunks.
    fn first_token(&self, mean: &Mean, busy: f64, rate: f64) -> f64 {
        let lag = if self.overlap { mean.period } else { 0.0 };
        let used = (rate * mean.service * busy).min(0.95);
        let behind = mean.service * used / (1.0 - used) / 2.0;
        busy * (mean.period / 2.0 + lag) + behind + mean.chunks * mean.prefill + self.time.emit(1) as f64
    }

    /// The number of rows at which the engine serves `rate`; the rate grows with the rows.
    fn rows_at(&self, rate: f64) -> f64 {
        let (mut low, mut high) = (0.0, self.rows);
        for _ in 0..16 {
            let n = f64::midpoint(low, high);
            if self.rate(n, &self.mean(n)) < rate {
                low = n;
            } else {
                high = n;
            }
        }
        high
    }

    /// Requests a nanosecond that the launch sustains, front end included, and what limits it.
    fn capacity(&self) -> (f64, Limit, Mean) {
        let full = self.mean(self.rows);
        let engine = self.rate(self.rows, &full);
        if self.frontend > 0.0 && 1.0 / self.frontend < engine {
            (1.0 / self.frontend, Limit::FrontEnd, full)
        } else {
            (engine, self.limit, full)
        }
    }

    pub fn run(&self, load: Load) -> Screened {
        match load {
            Load::Open(rate) => self.open(rate / 1e9),
            Load::Closed(clients) if f64::from(clients) < self.demand.requests => {
                self.closed(f64::from(clients.max(1)))
            }
            Load::AllAtOnce | Load::Closed(_) => self.burst(),
        }
    }

    fn answer(&self, rate: f64, ttft: f64, period: f64, running: f64, limit: Limit) -> Screened {
        let e2e = ttft + self.gaps() * period;
        Screened {
            rate: rate * 1e9,
            duration: self.demand.requests / rate,
            ttft,
            tpot: period / self.brings,
            e2e,
            running,
            limit_rate: self.capacity().0 * 1e9,
            limit,
        }
    }

    fn open(&self, rate: f64) -> Screened {
        let (capacity, limit, full) = self.capacity();
        let busy = (rate * self.frontend).min(0.999);
        // One server, constant service, Poisson arrivals.
        let frontend = self.frontend * (1.0 + busy / 2.0 / (1.0 - busy));
        if rate < capacity {
            let n = self.rows_at(rate);
            let mean = self.mean(n);
            let ttft = frontend + self.first_token(&mean, 1.0 - (-n).exp(), rate);
            let mut a = self.answer(rate, ttft, mean.period, n, Limit::Load);
            a.duration = self.demand.requests / rate + a.e2e;
            a.rate = self.demand.requests / a.duration * 1e9;
            return a;
        }
        // The queue grows for as long as requests come; the mean request waits half of what the last one does.
        let duration = self.demand.requests / capacity;
        let wait = (duration - self.demand.requests / rate).max(0.0) / 2.0;
        let n = if limit == Limit::FrontEnd { self.rows_at(capacity) } else { self.rows };
        let mean = if limit == Limit::FrontEnd { self.mean(n) } else { full };
        let ttft = frontend + wait + self.first_token(&mean, 1.0, 0.0);
        self.answer(capacity, ttft, mean.period, n, limit)
    }

    fn closed(&self, clients: f64) -> Screened {
        let (capacity, limit, full) = self.capacity();
        let others = (clients - 1.0) / clients;
        let gaps = self.gaps();
        let mut n = clients.min(self.rows);
        let mut mean = full;
        let mut outside = 0.0;
        for _ in 0..8 {
            mean = self.mean_among(n, n * others);
            outside = self.first_token(&mean, others, self.rate(n, &mean)) + self.frontend;
            n = f64::midpoint(n, clients * gaps * mean.period / (gaps * mean.period + outside))
                .min(self.rows);
        }
        let rate = clients / (gaps * mean.period + outside);
        let count = self.demand.requests;
        if rate < capacity && n < self.rows * 0.999 {
            let mut a = self.answer(rate, outside, mean.period, n, Limit::Load);
            // At the start they all come at once, and the last ones finish with fewer beside them.
            let start = clients * mean.service.max(self.frontend);
            a.ttft += start / 2.0 * clients / count * others;
            a.duration += start * others * 0.5;
            a.rate = count / a.duration * 1e9;
            return a;
        }
        let n = if limit == Limit::FrontEnd { self.rows_at(capacity) } else { self.rows };
        let mean = if limit == Limit::FrontEnd { self.mean(n) } else { full };
        let ttft = (clients / capacity - gaps * mean.period).max(self.first_token(&mean, 1.0, 0.0));
        self.answer(capacity, ttft, mean.period, n, limit)
    }
}

/// Blocks that a running request of this context holds on average.
fn blocks(layout: &KvLayout, context: f64) -> f64 {
    let b = f64::from(layout.block_size.max(1));
    let full = context / b + 0.5;
    let sliding = full.min(f64::from(layout.window) / b + 1.5);
    (f64::from(layout.full_groups) * full + f64::from(layout.sliding_groups) * sliding).max(1e-9)
}

mod burst;
#[cfg(test)]
mod tests;
