//! At which batch speculation stops to pay.

use super::physical::Physical;
use super::{StepShape, StepTime};
use crate::engine::Speculation;

/// Tokens a second of a decode-only batch with speculation over without, by rows: where it stops to pay.
#[derive(Debug, Clone, PartialEq)]
pub struct Payoff {
    /// (Rows, tokens a second with it over without).
    pub gains: Vec<(u32, f64)>,
    /// The fewest rows from which on it brings nothing; `None`: it pays at every batch looked at.
    pub stops_at: Option<u32>,
}

/// Compares step times at this context a row, up to `most` rows. `with` is the launch's model, `without` that of the same
/// launch that does not speculate.
pub(super) fn payoff(
    s: &Speculation,
    with: &Physical,
    without: &Physical,
    overlap: (bool, bool),
    context: u32,
    most: u32,
) -> Payoff {
    let period = |p: &Physical, rows: u32, speculative: f64, overlap: bool| {
        let shape = StepShape {
            decode_rows: rows,
            speculative_tokens: (f64::from(rows) * speculative).round() as u32,
            decode_ctx: u64::from(rows) * u64::from(context),
            decode_ctx_window: u64::from(rows) * u64::from(context),
            ..StepShape::default()
        };
        let c = p.step(&shape);
        let (device, host) = (c.device.max(c.launch) as f64, c.host as f64);
        if overlap { device.max(host + c.launch as f64) } else { device + host }
    };
    let a = &s.acceptance;
    let gain = |rows: u32| {
        let plain = period(without, rows, 0.0, overlap.1);
        let verified = period(with, rows, a.proposed * f64::from(s.verified), overlap.0);
        a.tokens_per_step() * plain / verified
    };
    let sizes = (0..=10).map(|i| 1 << i).filter(|n| *n <= most.max(1));
    let gains: Vec<(u32, f64)> = sizes.map(|n| (n, gain(n))).collect();
    let last_that_pays = gains.iter().rposition(|g| g.1 > 1.0);
    let stops_at = match last_that_pays {
        None => Some(1),
        Some(i) => gains.get(i + 1).map(|&(high, _)| {
            let (mut low, mut high) = (gains[i].0, high);
            while high - low > 1 {
                let mid = u32::midpoint(low, high);
                if gain(mid) > 1.0 { low = mid } else { high = mid }
            }
            high
        }),
    };
    Payoff { gains, stops_at }
}
