//! A plain step-by-step run of one launch under one load: the reference that fits and tests lean on.

use super::{StepShape, StepTime};
use crate::engine::EngineConfig;
use crate::scenario::EngineKind;
use crate::workload::RequestShape;
use std::cmp::Reverse;
use std::collections::{BinaryHeap, VecDeque};

/// Requests of a run and how they are sent.
#[derive(Debug, Clone, Default)]
pub struct Load {
    pub requests: Vec<RequestShape>,
    /// `max_tokens` of each request where it differs from what comes out.
    pub max_tokens: Option<u32>,
    pub concurrency: Option<u32>,
    /// Prompt tokens found in the prefix cache, by request index.
    pub cached: Vec<u32>,
    /// Nanoseconds for which a burst at the start keeps the front end from handing anything on.
    pub gate: u64,
}

#[derive(Debug, Clone, Copy, Default)]
pub struct Outcome {
    pub arrival: u64,
    pub first: u64,
    pub last: u64,
    pub input: u32,
    pub output: u32,
}

#[derive(Debug, Clone, Default)]
pub struct Run {
    pub outcomes: Vec<Outcome>,
    /// (gap in ns, how many tokens had it)
    pub gaps: Vec<(u64, u32)>,
    pub steps: u64,
    pub preemptions: u64,
}

#[derive(Debug, Clone, Copy, Default)]
struct Req {
    computed: u32,
    target: u32,
    produced: u32,
    last_emit: u64,
    first: u64,
}

struct Kv {
    total: i64,
    free: i64,
    block: u32,
    full_groups: i64,
    local_groups: i64,
    window_blocks: i64,
}

impl Kv {
    fn held(&self, tokens: u32) -> i64 {
        let b = i64::from(tokens.div_ceil(self.block));
        self.full_groups * b + self.local_groups * b.min(self.window_blocks)
    }
}

fn pairs(start: u32, n: u32) -> u64 {
    let (s, n) = (u64::from(start), u64::from(n));
    n * s + n * (n + 1) / 2
}

fn pairs_window(start: u32, n: u32, w: u32) -> u64 {
    let total = pairs(start, n);
    let end = start + n;
    if end <= w {
        return total;
    }
    let from = start.max(w);
    // tokens at positions from..end attend to w only
    let k = u64::from(end - from);
    let over = pairs(from, end - from) - k * u64::from(w);
    total - over
}

pub fn run(load: &Load, c: &EngineConfig, groups: (f64, f64), time: &dyn StepTime) -> Run {
    let n = load.requests.len();
    let window = time.window().unwrap_or(u32::MAX);
    let mut kv = Kv {
        total: c.num_kv_blocks.unwrap_or(1 << 40) as i64,
        free: 0,
        block: c.block_size.max(1),
        full_groups: groups.0 as i64,
        local_groups: groups.1 as i64,
        window_blocks: i64::from(
            (window.saturating_add(c.max_num_batched_tokens)).div_ceil(c.block_size.max(1)),
        ) + 1,
    };
    kv.free = kv.total;
    let mut out = Run { outcomes: vec![Outcome::default(); n], ..Run::default() };
    let mut req = vec![Req::default(); n];
    let mut arrivals: BinaryHeap<Reverse<(u64, usize)>> = BinaryHeap::new();
    let first_wave = load.concurrency.map_or(n, |k| (k as usize).min(n));
    for (i, r) in load.requests.iter().enumerate().take(first_wave) {
        arrivals.push(Reverse((if load.concurrency.is_some() { 0 } else { r.arrival.0 }, i)));
    }
    let mut next = first_wave;
    let mut ready: VecDeque<(u64, usize)> = VecDeque::new();
    let mut waiting: VecDeque<usize> = VecDeque::new();
    let mut running: Vec<usize> = Vec::new();
    let mut fe_free = load.gate;
    let (mut t, mut prev_start) = (0u64, 0u64);
    let emit0 = time.emit(0);
    let per_row = time.emit(1) - emit0;
    let mut done = 0;
    let mut chunked: Option<usize> = None;
    let is_sglang = c.engine == EngineKind::Sglang;
    let is_trt = c.engine == EngineKind::Trtllm;
    let mut new_token_ratio: f64 = 0.7 * c.conservativeness;
    let ratio_min = new_token_ratio * 0.14;
    let ratio_decay = (new_token_ratio - ratio_min) / 600.0;
    while done < n {
        // Arrivals up to now pass the front end in order.
        loop {
            let Some(&Reverse((at, i))) = arrivals.peek() else { break };
            if at > t && !(running.is_empty() && waiting.is_empty() && ready.is_empty()) {
                break;
            }
            arrivals.pop();
            out.outcomes[i].arrival = at;
            out.outcomes[i].input = load.requests[i].input_tokens;
            let service = if load.gate > 0 { 0 } else { time.frontend(load.requests[i].input_tokens) };
            fe_free = fe_free.max(at) + service;
            ready.push_back((fe_free, i));
            req[i].target = load.requests[i].input_tokens;
        }
        let horizon = if c.overlap && !running.is_empty() { prev_start } else { t };
        while ready.front().is_some_and(|r| r.0 <= horizon) {
            waiting.push_back(ready.pop_front().map(|r| r.1).unwrap_or_default());
        }
        if running.is_empty() && waiting.is_empty() {
            let Some(&(at, _)) = ready.front() else { continue };
            t = t.max(at);
            prev_start = t;
            continue;
        }
        // Compose.
        let mut s = StepShape::default();
        let mut budget = c.max_num_batched_tokens;
        let mut emitted: Vec<usize> = Vec::new();
        let mut preempted = false;
        let do_prefill = |i: usize, take: u32, req: &mut Vec<Req>, s: &mut StepShape, emitted: &mut Vec<usize>| {
            let q = &mut req[i];
            s.prefill_rows += 1;
            s.prefill_tokens += take;
            s.prefill_ctx += pairs(q.computed, take);
            s.prefill_ctx_window += pairs_window(q.computed, take, window);
            q.computed += take;
            s.prefill_kv += u64::from(q.computed);
            if q.computed >= q.target {
                emitted.push(i);
            }
        };
        let decode_row = |i: usize, req: &mut Vec<Req>, s: &mut StepShape, emitted: &mut Vec<usize>| {
            let q = &mut req[i];
            q.computed += 1;
            s.decode_rows += 1;
            s.decode_ctx += u64::from(q.computed);
            s.decode_ctx_window += u64::from(q.computed.min(window));
            emitted.push(i);
        };
        if is_sglang {
            let mut chunk = if c.chunked_prefill { c.chunk_tokens } else { u32::MAX };
            let reserved: f64 = running
                .iter()
                .map(|&i| {
                    let max = load.max_tokens.unwrap_or(load.requests[i].output_tokens);
                    f64::from(max.saturating_sub(req[i].produced).min(4096)) * new_token_ratio
                })
                .sum();
            let mut room = kv.free as f64 - reserved;
            if let Some(i) = chunked.take() {
                let take = (req[i].target - req[i].computed).min(chunk);
                kv.free -= i64::from(take);
                room -= f64::from(take);
                do_prefill(i, take, &mut req, &mut s, &mut emitted);
                chunk -= take;
                budget = budget.saturating_sub(take);
                if req[i].computed < req[i].target {
                    chunked = Some(i);
                } else {
                    running.push(i);
                }
            }
            while chunked.is_none()
                && chunk > 0
                && budget > 0
                && !waiting.is_empty()
                && running.len() < c.max_num_seqs as usize
            {
                let i = waiting[0];
                let want = req[i].target - req[i].computed;
                let max = load.max_tokens.unwrap_or(load.requests[i].output_tokens);
                let need = f64::from(want) + f64::from(max.saturating_sub(req[i].produced).min(4096));
                if need >= room && !running.is_empty() {
                    break;
                }
                if need >= room && room <= f64::from(want) {
                    break;
                }
                let take = want.min(chunk).min(budget);
                waiting.pop_front();
                kv.free -= i64::from(take);
                room -= need;
                chunk -= take;
                budget -= take;
                s.admitted += 1;
                do_prefill(i, take, &mut req, &mut s, &mut emitted);
                if take < want {
                    chunked = Some(i);
                } else {
                    running.push(i);
                }
            }
            if s.prefill_rows == 0 {
                while kv.free < running.len() as i64 && running.len() > 1 {
                    // Retract the one with the fewest output tokens.
                    let (at, _) = running
                        .iter()
                        .enumerate()
                        .min_by_key(|(_, i)| req[**i].produced)
                        .unwrap_or((0, &0));
                    let i = running.remove(at);
                    kv.free += i64::from(req[i].computed);
                    req[i].target = load.requests[i].input_tokens + req[i].produced;
                    req[i].computed = 0;
                    waiting.push_back(i);
                    out.preemptions += 1;
                    let produced: u32 = running.iter().map(|&i| req[i].produced).sum();
                    let max: u32 = running
                        .iter()
                        .map(|&i| load.max_tokens.unwrap_or(load.requests[i].output_tokens))
                        .sum();
                    new_token_ratio =
                        ((f64::from(produced) + 20.0 * running.len() as f64) / f64::from(max + 1)).min(1.0);
                }
                kv.free -= running.len() as i64;
                for &i in &running {
                    decode_row(i, &mut req, &mut s, &mut emitted);
                }
                new_token_ratio = (new_token_ratio - ratio_decay).max(ratio_min);
            }
        } else {
            // Running requests in order: decodes and unfinished prefills.
            let mut k = 0;
            while k < running.len() && budget > 0 {
                let i = running[k];
                let is_prefill = req[i].computed < req[i].target;
                let take = if is_prefill { (req[i].target - req[i].computed).min(budget) } else { 1 };
                let need = kv.held(req[i].computed + take) - kv.held(req[i].computed);
                let mut self_gone = false;
                while !is_trt && kv.free < need {
                    let Some(v) = running.pop() else { break };
                    kv.free += kv.held(req[v].computed);
                    req[v].target = load.requests[v].input_tokens + req[v].produced;
                    req[v].computed = 0;
                    waiting.push_front(v);
                    out.preemptions += 1;
                    preempted = true;
                    if v == i {
                        self_gone = true;
                        break;
                    }
                }
                if self_gone {
                    break;
                }
                if !is_trt {
                    kv.free -= need;
                }
                budget -= take;
                if is_prefill {
                    do_prefill(i, take, &mut req, &mut s, &mut emitted);
                } else {
                    decode_row(i, &mut req, &mut s, &mut emitted);
                }
                k += 1;
            }
            while !preempted && budget > 0 && running.len() < c.max_num_seqs as usize {
                let Some(&i) = waiting.front() else { break };
                let hit = load.cached.get(i).copied().unwrap_or(0).min(req[i].target - 1);
                let want = req[i].target - hit;
                let take = want.min(budget);
                if !c.chunked_prefill && take < want {
                    break;
                }
                if is_trt {
                    let max = load.max_tokens.unwrap_or(load.requests[i].output_tokens);
                    let need = kv.held(load.requests[i].input_tokens + max);
                    if need > kv.free && !running.is_empty() {
                        break;
                    }
                    kv.free -= need;
                } else {
                    let gate = if c.reserve_full_prompt { kv.held(req[i].target) } else { kv.held(hit + take) };
                    if gate > kv.free && !running.is_empty() {
                        break;
                    }
                    kv.free -= kv.held(hit + take);
                }
                waiting.pop_front();
                running.push(i);
                req[i].computed = hit;
                s.admitted += 1;
                budget -= take;
                do_prefill(i, take, &mut req, &mut s, &mut emitted);
            }
        }
        if s.rows() == 0 {
            // Nothing can run: what waits will never fit.
            if ready.is_empty() && arrivals.is_empty() { break }
            t += 1_000_000;
            continue;
        }
        let cost = time.step(&s);
        let period = if c.overlap { cost.device.max(cost.host) } else { cost.device + cost.host };
        prev_start = t;
        t += period;
        out.steps += 1;
        fe_free = fe_free.max(t) + per_row * emitted.len() as u64;
        let seen = fe_free + emit0;
        let mut finished = false;
        let mut gap_runs: Vec<(u64, u32)> = Vec::new();
        for &i in &emitted {
            let q = &mut req[i];
            q.produced += 1;
            if q.first == 0 {
                q.first = seen;
                out.outcomes[i].first = seen;
            } else {
                let gap = seen - q.last_emit;
                match gap_runs.iter_mut().find(|g| g.0 == gap) {
                    Some(g) => g.1 += 1,
                    None => gap_runs.push((gap, 1)),
                }
            }
            q.last_emit = seen;
            if q.target > load.requests[i].input_tokens {
                q.target = q.computed;
            }
            if q.produced >= load.requests[i].output_tokens {
                out.outcomes[i].last = seen;
                out.outcomes[i].output = q.produced;
                if is_trt {
                    let max = load.max_tokens.unwrap_or(load.requests[i].output_tokens);
                    kv.free += kv.held(load.requests[i].input_tokens + max);
                } else if is_sglang {
                    kv.free += i64::from(q.computed);
                } else {
                    kv.free += kv.held(q.computed);
                }
                done += 1;
                finished = true;
                if load.concurrency.is_some() && next < n {
                    arrivals.push(Reverse((seen, next)));
                    next += 1;
                }
            }
        }
        out.gaps.extend(gap_runs);
        if finished {
            running.retain(|&i| req[i].produced < load.requests[i].output_tokens);
        }
    }
    out
}
