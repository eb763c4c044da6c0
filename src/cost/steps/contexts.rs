//! Contexts of an engine's steps, followed from step to step.
//!
//! Prompts of one busy period count as equally long, and whoever decodes longest is taken to end first; where the engine
//! says how much of its KV room is in use, to better than a few percent, that is believed instead.

use super::super::StepShape;
use super::super::setup::Setup;
use crate::engine::StepRow;
use crate::launch::EngineKind;
use std::collections::VecDeque;

/// A printed KV usage below this is too coarse (steps of 0.1 %) to give contexts.
const USAGE_TELLS: f64 = 0.02;
/// The compositions of the steps, and whether their contexts are known well.
pub(super) fn shapes(setup: &Setup, rows: &[StepRow]) -> Vec<(StepShape, bool)> {
    let window = setup.model.sliding.as_ref().map_or(u64::MAX, |s| u64::from(s.window));
    let pool = setup.config.num_kv_blocks.unwrap_or(0) * u64::from(setup.config.block_size);
    let follows = setup.config.engine != EngineKind::Sglang;
    let mut out = Vec::with_capacity(rows.len());
    let mut start = 0;
    while start < rows.len() {
        // A busy period begins where nothing decodes and no prompt was cut: its prompts are taken to be equally long.
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
