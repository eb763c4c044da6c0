//! Per-step telemetry in the fit: steps of one launch, put together into kinds, each held against the step model.
//!
//! An engine tells how many requests and tokens were in a step, not their contexts. Those are followed here from
//! step to step: prompts of one busy period count as equally long, whoever decodes longest is taken to end first; where the
//! engine says how much of its KV room is in use, to better than a few percent, that is believed instead.

use super::setup::{Catalogs, Setup};
use super::{Coefficients, StepCost, StepShape, StepTime};
use crate::engine::{Span, StepRow};
use crate::error::Result;
use crate::launch::EngineKind;
use crate::scenario::Record;
use crate::workload::WorkloadSpec;
use serde::{Deserialize, Serialize};
use std::collections::{BTreeMap, VecDeque};

/// The steps of one launch as the engine told them.
#[derive(Debug, Clone, PartialEq)]
pub struct StepLog {
    /// The launch: model, hardware, engine, command, and what the engine resolved; its workload is not used.
    pub launch: Record,
    pub rows: Vec<StepRow>,
}

/// Steps that were alike.
#[derive(Debug, Clone, PartialEq)]
pub struct StepKind {
    /// Mean composition.
    pub shape: StepShape,
    pub span: Span,
    pub steps: usize,
    /// Mean duration, and the standard deviation of the mean's logarithm.
    pub mean_ms: f64,
    pub uncertain: f64,
    /// Share of the log's time.
    pub share: f64,
}

/// What the fitted model leaves of one kind of step.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct StepResidual {
    /// Mean composition in words.
    pub kind: String,
    pub steps: usize,
    pub measured_ms: f64,
    pub fitted_ms: f64,
}

/// A log made ready for a fit.
#[derive(Debug, Clone)]
pub struct StepCase {
    pub setup: Setup,
    pub kinds: Vec<StepKind>,
}

/// Standard deviation of the logarithm that the model's shape is good for, for one kind of step.
const MODEL_SD: f64 = 0.04;
/// The same where the kind's contexts are a guess.
const GUESS_SD: f64 = 0.15;
/// A wait shorter than this share of the device's time says little of it: the host was the longer one.
const TOLD: f64 = 0.1;
/// A printed KV usage below this is too coarse (steps of 0.1 %) to give contexts.
const USAGE_TELLS: f64 = 0.02;
/// Longer than this many times the median of its kind, a step was disturbed from outside.
const DISTURBED: f64 = 4.0;

impl StepCase {
    /// Errors: a launch that cannot be made ready.
    pub fn new(log: &StepLog, catalogs: &Catalogs) -> Result<StepCase> {
        let launch = Record {
            workload: Some(log.launch.workload.clone().unwrap_or_else(|| WorkloadSpec::random(1, 1, 1, 0))),
            requests: None,
            result: None,
            ..log.launch.clone()
        };
        let setup = Setup::new(&launch, catalogs)?;
        let kinds = kinds(&setup, &log.rows);
        Ok(StepCase { setup, kinds })
    }

    /// Residuals over their spread, one a kind that these coefficients make a statement on.
    pub fn residuals(&self, c: &Coefficients) -> Vec<f64> {
        let time = self.setup.physical(c);
        let n = self.kinds.len() as f64;
        let one = |k: &StepKind| {
            // Steps that take more of the time weigh more, within bounds.
            let weight = (k.share * n).clamp(0.1, 2.0).sqrt();
            let sd = MODEL_SD.hypot(k.uncertain);
            duration_ms(time.step(&k.shape), k.span, self.setup.config.overlap)
                .map_or(0.0, |ms| weight * (k.mean_ms / ms).ln() / sd)
        };
        self.kinds.iter().map(one).collect()
    }

    /// Every kind beside what the model says of it.
    pub fn compare(&self, c: &Coefficients) -> Vec<StepResidual> {
        let time = self.setup.physical(c);
        let one = |k: &StepKind| {
            let fitted_ms = duration_ms(time.step(&k.shape), k.span, self.setup.config.overlap)?;
            Some(StepResidual { kind: words(&k.shape), steps: k.steps, measured_ms: k.mean_ms, fitted_ms })
        };
        self.kinds.iter().filter_map(one).collect()
    }
}

/// What the engine would tell of a step with these costs; `None` where it tells nothing of use.
fn duration_ms(cost: StepCost, span: Span, overlap: bool) -> Option<f64> {
    let ms = |ns: u64| ns as f64 / 1e6;
    let (device, launching) = (ms(cost.device.max(cost.launch)), ms(cost.host + cost.launch));
    let period = if overlap { device.max(launching) } else { device + ms(cost.host) };
    match (span, overlap) {
        (Span::Device, false) => Some(device),
        // The engine composes the next step first, and waits for what is left.
        (Span::Device, true) => Some(device - launching).filter(|ms| *ms > TOLD * device),
        (Span::Period, _) | (Span::Latency, false) => Some(period),
        (Span::Latency, true) => Some(2.0 * period),
    }
}

fn words(s: &StepShape) -> String {
    let mut parts = Vec::new();
    if s.prefill_rows > 0 {
        parts.push(format!("{} prompt tokens of {} request(s)", s.prefill_tokens, s.prefill_rows));
    }
    if s.decode_rows > 0 {
        parts.push(format!(
            "{} decoding, context {}",
            s.decode_rows,
            s.decode_ctx / u64::from(s.decode_rows)
        ));
    }
    parts.join("; ")
}

/// Puts steps together that agree in every count within a fifth or so.
fn kinds(setup: &Setup, rows: &[StepRow]) -> Vec<StepKind> {
    let mut groups: BTreeMap<[u32; 6], Vec<(StepShape, f64, bool)>> = BTreeMap::new();
    for (row, (shape, sure)) in rows.iter().zip(shapes(setup, rows)) {
        let class = |n: f64| ((n + 1.0).ln() * 4.0).round() as u32;
        let key = [
            row.span as u32,
            shape.prefill_rows.min(2) + 4 * u32::from(sure),
            class(f64::from(shape.prefill_tokens)),
            class(shape.prefill_ctx as f64) / 2,
            class(f64::from(shape.decode_rows)),
            class(shape.decode_ctx as f64) / 3,
        ];
        if row.duration_ms > 0.0 {
            groups.entry(key).or_default().push((shape, row.duration_ms, sure));
        }
    }
    let total: f64 = rows.iter().map(|r| r.duration_ms).sum();
    groups.into_iter().map(|(key, members)| kind(rows, key[0], &members, total)).collect()
}

fn kind(rows: &[StepRow], span: u32, members: &[(StepShape, f64, bool)], total: f64) -> StepKind {
    let mut times: Vec<f64> = members.iter().map(|m| m.1).collect();
    times.sort_by(f64::total_cmp);
    let median = times[times.len() / 2];
    times.retain(|t| *t <= DISTURBED * median);
    let n = times.len() as f64;
    let mean = times.iter().sum::<f64>() / n;
    let spread = (times.iter().map(|t| (t / mean).ln().powi(2)).sum::<f64>() / n).sqrt();
    let sure = members[0].2;
    // Steps of one run are disturbed together: their mean is not as good as their number promises.
    let uncertain = (spread.max(0.05) / n.powf(0.25)).hypot(if sure { 0.0 } else { GUESS_SD });
    let span = rows.iter().map(|r| r.span).find(|s| *s as u32 == span).unwrap_or(Span::Device);
    let shapes: Vec<StepShape> = members.iter().map(|m| m.0).collect();
    StepKind {
        shape: mean_shape(&shapes),
        span,
        steps: times.len(),
        mean_ms: mean,
        uncertain,
        share: times.iter().sum::<f64>() / total.max(1e-9),
    }
}

fn mean_shape(all: &[StepShape]) -> StepShape {
    let mean = |f: fn(&StepShape) -> u64| {
        (all.iter().map(|s| f(s) as f64).sum::<f64>() / all.len().max(1) as f64).round() as u64
    };
    StepShape {
        prefill_rows: mean(|s| u64::from(s.prefill_rows)) as u32,
        prefill_tokens: mean(|s| u64::from(s.prefill_tokens)) as u32,
        prefill_ctx: mean(|s| s.prefill_ctx),
        prefill_ctx_window: mean(|s| s.prefill_ctx_window),
        prefill_kv: mean(|s| s.prefill_kv),
        decode_rows: mean(|s| u64::from(s.decode_rows)) as u32,
        decode_ctx: mean(|s| s.decode_ctx),
        decode_ctx_window: mean(|s| s.decode_ctx_window),
        ..StepShape::default()
    }
}

/// The compositions of the steps, and whether their contexts are known well.
fn shapes(setup: &Setup, rows: &[StepRow]) -> Vec<(StepShape, bool)> {
    let window = setup.model.sliding.as_ref().map_or(u64::MAX, |s| u64::from(s.window));
    let pool = setup.config.num_kv_blocks.unwrap_or(0) * u64::from(setup.config.block_size);
    let follows = setup.config.engine != EngineKind::Sglang;
    let mut out = Vec::with_capacity(rows.len());
    let mut start = 0;
    while start < rows.len() {
        // A busy period begins where nothing decodes and no prompt was cut: its prompts are taken to be alike.
        let budget = setup.config.max_num_batched_tokens;
        let full = |r: &StepRow| r.prefill_tokens + r.decode_tokens >= budget;
        let begins = |pair: &[StepRow]| pair[1].decode_requests == 0 && !full(&pair[0]);
        let more = rows[start..].windows(2).position(begins);
        let end = more.map_or(rows.len(), |n| start + 1 + n);
        let mut follow = Follow::new(&rows[start..end], budget, window);
        for row in &rows[start..end] {
            let (mut shape, mut sure) = follow.step(row);
            let coarse = row.kv_usage.filter(|u| *u >= USAGE_TELLS).map(|u| (u * pool as f64) as u64);
            if let Some(held) = row.kv_tokens.or(coarse).filter(|h| *h > 0 && row.decode_requests > 0) {
                shape.decode_ctx = held.max(u64::from(row.decode_requests));
                shape.decode_ctx_window =
                    shape.decode_ctx.min(window.saturating_mul(u64::from(row.decode_requests)));
                sure = sure || row.prefill_requests == 0;
            } else if !follows {
                sure = false;
            }
            out.push((shape, sure));
        }
        start = end;
    }
    out
}

/// Follows the contexts of a busy period.
struct Follow {
    /// Contexts of what decodes, oldest first.
    decoding: VecDeque<f64>,
    /// Tokens of a prompt computed so far, of the one that did not fit.
    begun: f64,
    prompt: f64,
    budget: u32,
    window: u64,
}

impl Follow {
    fn new(rows: &[StepRow], budget: u32, window: u64) -> Follow {
        let full = |r: &&StepRow| r.prefill_tokens + r.decode_tokens >= budget;
        let tokens: f64 = rows.iter().map(|r| f64::from(r.prefill_tokens)).sum();
        let parts: f64 = rows.iter().map(|r| f64::from(r.prefill_requests)).sum();
        // A prompt cut by the budget counts in two steps.
        let cut = rows.iter().filter(full).count() as f64;
        let prompt = tokens / (parts - cut).max(1.0);
        Follow { decoding: VecDeque::new(), begun: 0.0, prompt, budget, window }
    }

    fn step(&mut self, row: &StepRow) -> (StepShape, bool) {
        let rows = row.decode_requests as usize;
        while self.decoding.len() > rows {
            self.decoding.pop_front();
        }
        let known = self.decoding.len() == rows;
        self.decoding.resize(rows, self.prompt);
        for context in &mut self.decoding {
            *context += 1.0;
        }
        let clip = |c: &f64| c.min(self.window as f64);
        let mut shape = StepShape {
            prefill_rows: row.prefill_requests,
            prefill_tokens: row.prefill_tokens,
            decode_rows: row.decode_requests,
            decode_ctx: self.decoding.iter().sum::<f64>() as u64,
            decode_ctx_window: self.decoding.iter().map(clip).sum::<f64>() as u64,
            ..StepShape::default()
        };
        let sure = self.prefill(row, &mut shape) && known;
        (shape, sure)
    }

    /// The step's prompts; whether their lengths are known well.
    fn prefill(&mut self, row: &StepRow, shape: &mut StepShape) -> bool {
        let mut left = f64::from(row.prefill_tokens);
        let full = row.prefill_tokens + row.decode_tokens >= self.budget;
        let sure = self.begun == 0.0 && (!full || row.prefill_requests == 1);
        let n = row.prefill_requests;
        for i in 0..n {
            let last = i + 1 == n;
            let begun = std::mem::take(&mut self.begun);
            let share = left / f64::from(n - i);
            let chunk = match (last, full) {
                (true, _) => left,
                (false, true) => (self.prompt - begun).clamp(1.0, left.max(1.0)),
                (false, false) if begun > 0.0 => (self.prompt - begun).clamp(1.0, left.max(1.0)),
                (false, false) => share,
            };
            left = (left - chunk).max(0.0);
            let end = begun + chunk;
            shape.prefill_ctx += pairs(begun, end, f64::INFINITY) as u64;
            shape.prefill_ctx_window += pairs(begun, end, self.window as f64) as u64;
            shape.prefill_kv += end as u64;
            if last && full && end + 0.5 < self.prompt {
                self.begun = end;
            } else {
                self.decoding.push_back(end);
            }
        }
        sure
    }
}

/// Σ of the contexts that tokens `from..to` of a prompt attend to, each clipped.
fn pairs(from: f64, to: f64, clip: f64) -> f64 {
    let below = |n: f64| {
        let m = n.min(clip);
        m * m / 2.0 + (n - m) * clip.min(1e12)
    };
    below(to) - below(from)
}

#[cfg(test)]
mod tests {
    use super::super::{fit, prior};
    use super::*;

    fn launch(extra: &str) -> Record {
        serde_json::from_str(&format!(
            r#"{{"engine":"vllm","engine_version":"0.18.0","model":"Qwen/Qwen3-8B","hardware":"a100-sxm-80gb",
                "serve_command":"vllm serve Qwen/Qwen3-8B --max-num-batched-tokens 2048 --no-async-scheduling {extra}"}}"#
        ))
        .unwrap()
    }

    fn row(prefill: (u32, u32), decode: u32, duration_ms: f64) -> StepRow {
        StepRow {
            prefill_requests: prefill.0,
            prefill_tokens: prefill.1,
            decode_requests: decode,
            decode_tokens: decode,
            kv_usage: None,
            kv_tokens: None,
            duration_ms,
            span: Span::Device,
        }
    }

    fn ready(rows: &[StepRow]) -> StepCase {
        let log = StepLog { launch: launch(""), rows: rows.to_vec() };
        StepCase::new(&log, &Catalogs::load(None).unwrap()).unwrap()
    }

    #[test]
    fn contexts_are_followed_through_prompts_that_the_budget_cuts() {
        // Four prompts of 1,500 tokens, three tokens each, budget 2,048.
        let told = [
            row((2, 2048), 0, 9.0),
            row((2, 2047), 1, 9.0),
            row((2, 1905), 2, 9.0),
            row((0, 0), 3, 1.0),
            row((0, 0), 2, 1.0),
        ];
        let s = shapes(&ready(&[]).setup, &told);
        let half = |n: u64| n * n / 2;
        assert_eq!(s[0].0.prefill_ctx, half(1500) + half(548));
        assert_eq!(s[0].0.prefill_kv, 1500 + 548);
        // 952 tokens more of the second, 1,095 of the third.
        assert_eq!(s[1].0.prefill_ctx, half(1500) - half(548) + half(1095));
        assert_eq!((s[1].0.decode_rows, s[1].0.decode_ctx), (1, 1501));
        assert!(!s[1].1, "a guess, and said so");
        assert_eq!(s[3].0.decode_ctx, 1502 + 2 * 1501);
        assert_eq!(s[4].0.decode_ctx, 2 * 1502);
        assert!(s[3].1);
    }

    #[test]
    fn what_the_engine_says_of_its_cache_is_believed() {
        let told = [StepRow { kv_tokens: Some(5000), ..row((0, 0), 4, 1.0) }];
        assert_eq!(shapes(&ready(&[]).setup, &told)[0].0.decode_ctx, 5000);
    }

    /// Steps made up with other coefficients: a fit on them alone predicts steps that were not among them.
    #[test]
    fn a_fit_on_steps_alone_finds_the_step_times_and_says_what_they_cannot_tell() {
        let catalogs = Catalogs::load(None).unwrap();
        let setup = ready(&[]).setup;
        let names = Coefficients::NAMES;
        let hidden: Vec<f64> = (0..names.len()).map(|i| if i % 2 == 0 { 0.2 } else { -0.25 }).collect();
        let truth = prior::coefficients(&setup).shifted(&hidden);
        let time = setup.physical(&truth);
        let rows: Vec<StepRow> = (0..60)
            .flat_map(|i| {
                [
                    row((1, 200 + 30 * i), 0, 0.0),
                    row((0, 0), 1, 0.0),
                    row((1, 64), i % 32, 0.0),
                    row((0, 0), 1 + i % 32, 0.0),
                ]
            })
            .collect();
        let rows: Vec<StepRow> = shapes(&setup, &rows)
            .into_iter()
            .zip(&rows)
            .map(|((shape, _), r)| {
                let cost = time.step(&shape);
                StepRow { duration_ms: cost.device.max(cost.launch) as f64 / 1e6, ..*r }
            })
            .collect();
        let log = StepLog { launch: launch(""), rows };
        let profile = fit::fit_with_steps(&[], &[log], &catalogs).unwrap();
        let g = &profile.groups[0];
        assert!(!g.steps.is_empty() && g.observations == 0);
        let unseen = StepShape {
            decode_rows: 48,
            decode_ctx: 48 * 300,
            decode_ctx_window: 48 * 300,
            ..StepShape::default()
        };
        let error = |c: &Coefficients| {
            (setup.physical(c).step(&unseen).device as f64 / time.step(&unseen).device as f64).ln().abs()
        };
        let before = error(&prior::coefficients(&setup));
        assert!(error(&g.coefficients) < 0.05, "{} before {before}", error(&g.coefficients));
        for never in ["host_step", "frontend_request", "comm_latency"] {
            assert!(g.unidentified.iter().any(|n| n == never), "{never} cannot be told from device times");
        }
        assert!(!g.unidentified.iter().any(|n| n == "dense_compute"));
    }

    #[test]
    fn waits_under_overlap_are_the_device_less_the_host() {
        let cost = StepCost { device: 10_000_000, host: 4_000_000, launch: 0 };
        assert_eq!(duration_ms(cost, Span::Device, true), Some(6.0));
        assert_eq!(duration_ms(cost, Span::Device, false), Some(10.0));
        assert_eq!(duration_ms(cost, Span::Period, false), Some(14.0));
        assert_eq!(duration_ms(cost, Span::Latency, true), Some(20.0));
        let bound = StepCost { device: 4_000_000, host: 10_000_000, launch: 0 };
        assert_eq!(duration_ms(bound, Span::Device, true), None);
    }
}
