//! Per-step telemetry in the fit: steps of one launch, put together into kinds, each held against the step model.

mod contexts;
mod kinds;

pub use self::kinds::StepKind;
use self::kinds::kinds;
use super::setup::{Catalogs, Setup};
use super::{Coefficients, StepCost, StepShape, StepTime};
use crate::engine::{Span, StepRow};
use crate::error::Result;
use crate::scenario::Record;
use crate::workload::WorkloadSpec;
use serde::{Deserialize, Serialize};

/// The steps of one launch as the engine told them.
#[derive(Debug, Clone, PartialEq)]
pub struct StepLog {
    /// The launch: model, hardware, engine, command, and what the engine resolved; its workload is not used.
    pub launch: Record,
    pub rows: Vec<StepRow>,
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
/// A wait shorter than this share of the device's time says little of it: the host was the longer one.
const TOLD: f64 = 0.1;
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

#[cfg(test)]
mod tests {
    use super::super::{fit, prior};
    use super::contexts::shapes;
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
