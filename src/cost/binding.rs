//! What limits a simulated run: the resource in which its time went.

use super::setup::Setup;
use super::{Coefficients, StepShape};
use crate::sim::SimResult;

/// Shares of the run's time by resource, largest first; they add up to about 1.
pub fn shares(setup: &Setup, c: &Coefficients, run: &SimResult) -> Vec<(&'static str, f64)> {
    let a = &run.account;
    let steps = a.steps.max(1);
    let mean = |sum: u64| sum / steps;
    let prefill_rows = mean(a.prefill_rows) as u32;
    let prompt = setup.requests.iter().map(|r| u64::from(r.input_tokens)).sum::<u64>()
        / setup.requests.len().max(1) as u64;
    let tokens = mean(a.prefill_tokens) as u32;
    let window = setup.physical(c);
    let shape = StepShape {
        prefill_rows,
        prefill_tokens: tokens,
        prefill_ctx: u64::from(tokens) * prompt / 2,
        prefill_ctx_window: u64::from(tokens)
            * (prompt / 2).min(super::StepTime::window(&window).map_or(u64::MAX, u64::from)),
        prefill_kv: u64::from(prefill_rows) * prompt,
        decode_rows: mean(a.decode_rows) as u32,
        decode_ctx: mean(a.decode_ctx),
        decode_ctx_window: mean(a.decode_ctx),
        ..StepShape::default()
    };
    let b = window.breakdown(&shape);
    let total = run.account.end.secs().max(1e-9);
    let device = a.device.secs() / total;
    let parts = [
        (
            "weights bandwidth",
            stream_part(b.weight_stream, b.dense_compute) + stream_part(b.expert_stream, b.expert_compute),
        ),
        (
            "compute",
            stream_part(b.dense_compute, b.weight_stream) + stream_part(b.expert_compute, b.expert_stream),
        ),
        ("prefill attention", b.prefill_attention),
        ("KV bandwidth", b.kv_read),
        ("communication", b.communication),
        ("launch and small kernels", b.overhead + b.rows + b.activations + b.eager_launch),
    ];
    let sum: f64 = parts.iter().map(|p| p.1).sum::<f64>().max(1e-9);
    let mut out: Vec<(&str, f64)> = parts.iter().map(|(n, v)| (*n, v / sum * device)).collect();
    out.push(("host", a.host.secs() / total));
    out.push(("front end", a.frontend.secs() / total));
    out.push(("waiting for requests", a.idle.secs() / total));
    out.sort_by(|x, y| y.1.total_cmp(&x.1));
    out
}

/// A component of a rounded roofline corner: its share of `hypot(a, b)` by squares.
fn stream_part(own: f64, other: f64) -> f64 {
    let both = own.hypot(other);
    if both > 0.0 { own * own / both } else { 0.0 }
}

/// The binding resource in one phrase, with the queue that stood before it.
pub fn describe(setup: &Setup, c: &Coefficients, run: &SimResult) -> String {
    let a = &run.account;
    let (name, share) = shares(setup, c, run).into_iter().next().unwrap_or(("nothing", 0.0));
    let steps = a.steps.max(1) as f64;
    let held = [
        ("KV room", a.kv_full_steps as f64 / steps),
        ("max-num-seqs", a.seats_full_steps as f64 / steps),
        ("token budget", a.budget_full_steps as f64 / steps),
    ];
    let queue = held.iter().filter(|h| h.1 > 0.3).max_by(|x, y| x.1.total_cmp(&y.1));
    match queue {
        Some((what, part)) => {
            format!(
                "{name} ({:.0} % of the time); requests wait for {what} in {:.0} % of the steps",
                share * 100.0,
                part * 100.0
            )
        }
        None => format!("{name} ({:.0} % of the time)", share * 100.0),
    }
}
