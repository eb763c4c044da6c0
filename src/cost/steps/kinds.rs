//! Steps put together into kinds by their composition.

use super::super::StepShape;
use super::super::setup::Setup;
use super::contexts::shapes;
use crate::engine::{Span, StepRow};
use std::collections::BTreeMap;

/// Steps of nearly the same composition.
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

/// The same where the kind's contexts are a guess.
const GUESS_SD: f64 = 0.15;
/// Longer than this many times the median of its kind, a step was disturbed from outside.
const DISTURBED: f64 = 4.0;

/// Puts steps together that agree in every count within a fifth or so.
pub(super) fn kinds(setup: &Setup, rows: &[StepRow]) -> Vec<StepKind> {
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
