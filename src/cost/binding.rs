//! What limits a simulated run: the resource in which its time went.

use super::setup::Setup;
use super::{Breakdown, Coefficients, StepShape};
use crate::sim::SimResult;

/// The mean steps of a run, decode-only ones and those that carry prompt tokens, each with its number. Apart,
/// because costs are not linear: prompt tokens spread over all steps would touch every expert in each.
/// Decode rows are taken to be equal in both; sums that an account does not keep (attention pairs of the
/// prompt) are put together from the mean prompt.
pub fn mean_steps(setup: &Setup, c: &Coefficients, run: &SimResult) -> [(StepShape, u64); 2] {
    let a = &run.breakdown;
    let mean = |sum: u64, n: u64| (sum + n / 2) / n.max(1);
    let prompt = setup.requests.iter().map(|r| u64::from(r.input_tokens)).sum::<u64>()
        / setup.requests.len().max(1) as u64;
    let window = super::StepTime::window(&setup.physical(c)).map_or(u64::MAX, u64::from);
    let (decodes, context) = (mean(a.decode_rows, a.steps), mean(a.decode_ctx, a.steps));
    let decode = StepShape {
        decode_rows: decodes as u32,
        speculative_tokens: mean(a.speculative_tokens, a.steps) as u32,
        decode_ctx: context,
        decode_ctx_window: context.min(decodes.saturating_mul(window)),
        ..StepShape::default()
    };
    let carrying = a.steps - a.decode_only_steps;
    let (rows, tokens) = (mean(a.prefill_rows, carrying), mean(a.prefill_tokens, carrying));
    let mixed = StepShape {
        prefill_rows: rows as u32,
        prefill_tokens: tokens as u32,
        prefill_ctx: tokens * prompt / 2,
        prefill_ctx_window: tokens * (prompt / 2).min(window),
        prefill_kv: rows * prompt,
        ..decode
    };
    [(decode, a.decode_only_steps), (mixed, carrying)]
}

/// How near a run came to the device's physical limit: time that bytes and FLOPs would take at the peaks, as
/// a share of the run's time; 0..=1.
pub fn of_physical_limit(setup: &Setup, c: &Coefficients, run: &SimResult) -> f64 {
    let p = setup.physical(c);
    let limit: f64 = mean_steps(setup, c, run).iter().map(|(s, n)| p.physical_limit(s) * *n as f64).sum();
    let replicas = f64::from(setup.config.data_parallel.max(1));
    (limit / replicas / (run.breakdown.end.0 as f64).max(1.0)).clamp(0.0, 1.0)
}

/// Device time of a run by component: the breakdown of its mean steps, times their number.
fn total_breakdown(setup: &Setup, c: &Coefficients, run: &SimResult) -> Breakdown {
    let p = setup.physical(c);
    let mut sum = Breakdown::default();
    for (shape, n) in mean_steps(setup, c, run) {
        if n > 0 {
            sum.add(&p.breakdown(&shape), n as f64);
        }
    }
    sum
}

/// Shares of the run's time by resource, largest first; they add up to about 1.
pub fn shares(setup: &Setup, c: &Coefficients, run: &SimResult) -> Vec<(&'static str, f64)> {
    let a = &run.breakdown;
    let b = total_breakdown(setup, c, run);
    let total = run.breakdown.end.secs().max(1e-9);
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
        ("proposing tokens", b.drafting),
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
    let a = &run.breakdown;
    let (name, share) = shares(setup, c, run).into_iter().next().unwrap_or(("nothing", 0.0));
    let steps = a.steps.max(1) as f64;
    let held = [
        ("KV room", a.kv_full_steps as f64 / steps),
        ("max-num-seqs", a.max_num_seqs_steps as f64 / steps),
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
