//! `dyno explain`: where the time of one scenario goes, by step and by request.

use super::predict::{Launch, read_profile};
use crate::cost::binding::{mean_steps, of_physical_limit, shares};
use crate::cost::{Breakdown, Catalogs, Coefficients, Payoff, Predictor, Setup, StepShape};
use crate::error::{Error, Result};
use crate::scenario::{Key, Record};
use crate::sim::{RequestOutcome, SimResult};
use serde_json::{Value, json};
use std::path::PathBuf;

/// Explain where the time of a scenario goes: by resource, by component of a step, by stage of a request.
///
/// The scenario comes from a file (its first record), or from --model, --hardware, --engine and --workload, with the
/// engine's own flags after `--`.
#[derive(Debug, clap::Args)]
pub(super) struct ExplainArgs {
    /// Fitted profile (`dyno fit`, or `profile.toml` of a campaign)
    #[arg(long)]
    profile: Option<PathBuf>,
    /// JSON file with the scenario
    #[arg(long, alias = "scenarios", required_unless_present = "model")]
    scenario: Option<PathBuf>,
    #[command(flatten)]
    one: Launch,
    /// Print JSON only
    #[arg(long)]
    json: bool,
    /// Directory with hardware/, models/, search-spaces/ that add to or replace the embedded ones
    #[arg(long)]
    data_dir: Option<PathBuf>,
}

/// Named amounts, drawn as bars.
type Rows = Vec<(&'static str, f64)>;

struct Explained {
    label: String,
    basis: String,
    kv_room: crate::cost::KvRoom,
    shares: Rows,
    /// Name, shape, how many, milliseconds by component, period.
    steps: Vec<(&'static str, StepShape, u64, Rows, f64)>,
    request: Rows,
    limit: f64,
    throughput: f64,
    payoff: Option<Payoff>,
}

pub(super) fn run(args: ExplainArgs) -> Result<()> {
    let (mut records, _) = args.one.scenarios(args.scenario.as_deref(), args.data_dir.as_deref())?;
    if records.is_empty() {
        return Err(Error::usage("the file holds no scenario"));
    }
    let record = records.swap_remove(0);
    let catalogs = Catalogs::load(args.data_dir.as_deref())?;
    let profile = read_profile(args.profile.as_deref())?;
    for note in crate::engine::told(&record, &catalogs.models) {
        super::out::note(format_args!("dyno: {note}"));
    }
    let predictor = Predictor { draws: 0, ..Predictor::new(&catalogs, profile.as_ref()) };
    let e = explain(&record, &predictor)?;
    if args.json {
        super::out::line(serde_json::to_string_pretty(&to_json(&record, &e)).unwrap_or_default());
    } else {
        super::out::line(text(&e));
    }
    Ok(())
}

fn explain(record: &Record, predictor: &Predictor<'_>) -> Result<Explained> {
    let setup = Setup::new(record, predictor.catalogs)?;
    let p = predictor.predict_setup(&setup, true)?;
    let (c, _) = predictor.coefficients(&setup);
    let physical = setup.physical(&c);
    let names = ["decode-only step", "step with prompt tokens"];
    let steps = mean_steps(&setup, &c, &p.simulated)
        .into_iter()
        .zip(names)
        .filter(|((_, n), _)| *n > 0)
        .map(|((shape, n), name)| {
            let b = physical.breakdown(&shape);
            let period =
                if setup.config.overlap { b.device().max(b.host) } else { b.device() + b.host } / 1e6;
            (name, shape, n, components(&b, setup.config.overlap), period)
        })
        .collect();
    Ok(Explained {
        label: crate::cost::fit::label(record),
        basis: p.basis.clone(),
        kv_room: p.kv_room,
        shares: resource_shares(&setup, &c, &p.simulated),
        steps,
        request: stages(&p.simulated.requests),
        limit: of_physical_limit(&setup, &c, &p.simulated),
        payoff: setup.payoff(&c),
        throughput: p.get(Key::TotalTokenThroughput).map_or(f64::NAN, |v| v.value),
    })
}

fn resource_shares(setup: &Setup, c: &Coefficients, run: &SimResult) -> Rows {
    shares(setup, c, run).into_iter().filter(|s| s.1 >= 0.005).map(|(n, s)| (n, s * 100.0)).collect()
}

/// Milliseconds of one step by component. A stream and its arithmetic overlap, so each shows what it adds.
fn components(b: &Breakdown, overlap: bool) -> Rows {
    let host =
        if overlap { "host (hidden behind the device up to its time)" } else { "host (before the device)" };
    let mut rows = vec![
        ("dense weights and their arithmetic", b.weight_stream.hypot(b.dense_compute)),
        ("experts and their arithmetic", b.expert_stream.hypot(b.expert_compute)),
        ("prefill attention", b.prefill_attention),
        ("decode attention: KV reads", b.kv_read),
        ("activations", b.activations),
        ("communication", b.communication),
        ("proposing tokens", b.drafting),
        ("layers' fixed overhead", b.overhead),
        ("rows: sampling and metadata", b.rows),
        ("launch without a graph", b.eager_launch),
        (host, b.host),
    ];
    rows.retain(|r| r.1 > 0.0);
    rows.into_iter().map(|(n, ns)| (n, ns / 1e6)).collect()
}

/// Mean milliseconds of a request by stage.
fn stages(requests: &[RequestOutcome]) -> Rows {
    let done: Vec<&RequestOutcome> = requests.iter().filter(|r| !r.failed).collect();
    let mean = |f: fn(&RequestOutcome) -> f64| {
        done.iter().map(|r| f(r)).sum::<f64>() / done.len().max(1) as f64 * 1e3
    };
    vec![
        ("front end", mean(|r| r.queued.saturating_sub(r.arrival).secs())),
        ("queue", mean(|r| r.queue().secs())),
        ("prefill", mean(|r| r.first_token.saturating_sub(r.scheduled).secs())),
        ("decode", mean(|r| r.finished.saturating_sub(r.first_token).secs())),
    ]
}

fn to_json(record: &Record, e: &Explained) -> Value {
    let rows = |r: &Rows| Value::Object(r.iter().map(|(n, v)| ((*n).to_owned(), json!(v))).collect());
    let steps: Vec<Value> = e
        .steps
        .iter()
        .map(|(name, s, n, parts, period)| {
            json!({
                "step": name, "count": n, "decode_rows": s.decode_rows, "decode_context_tokens": s.decode_ctx,
                "prefill_rows": s.prefill_rows, "prefill_tokens": s.prefill_tokens,
                "period_ms": period, "components_ms": rows(parts),
            })
        })
        .collect();
    json!({
        "scenario": record, "basis": e.basis, "share_of_time_percent": rows(&e.shares), "steps": steps,
        "request_ms": rows(&e.request), "of_physical_limit": e.limit,
        "speculation": e.payoff.as_ref().map(|p| json!({
            "gain_by_rows": p.gains, "stops_to_pay_at_rows": p.stops_at,
        })),
        "kv_pool_tokens": e.kv_room.tokens, "max_concurrency_at_max_model_len": e.kv_room.max_concurrency,
        "total_token_throughput": e.throughput,
    })
}

fn text(e: &Explained) -> String {
    let mut out =
        format!("{}\nrests on {}\n{}\n\nThe run by resource (% of its time)\n", e.label, e.basis, e.kv_room);
    out.push_str(&bars(&e.shares, "%"));
    for (name, s, n, parts, period) in &e.steps {
        out.push_str(&format!(
            "\nThe mean {name} ({n} of them, {period:.2} ms each): {} decode rows over {} tokens of context",
            s.decode_rows, s.decode_ctx
        ));
        if s.prefill_tokens > 0 {
            out.push_str(&format!(", {} prompt tokens of {} requests", s.prefill_tokens, s.prefill_rows));
        }
        out.push('\n');
        out.push_str(&bars(parts, "ms"));
    }
    if let Some(p) = &e.payoff {
        out.push_str(&speculation(p));
    }
    out.push_str("\nThe mean request by stage\n");
    out.push_str(&bars(&e.request, "ms"));
    out.push_str(&format!(
        "\n{:.0} tok/s in all; bytes and FLOPs at the device's peaks would take {:.0} % of the time.\n",
        e.throughput,
        e.limit * 100.0
    ));
    out
}

/// What speculation brings, by rows that decode at once.
fn speculation(p: &Payoff) -> String {
    let gains: Vec<String> =
        p.gains.iter().map(|(n, g)| format!("{n}: {:+.0} %", (g - 1.0) * 100.0)).collect();
    let end = match p.stops_at {
        Some(1) => "it pays at no batch".to_owned(),
        Some(n) => format!("it stops to pay at {n} rows"),
        None => "it pays at every batch that runs".to_owned(),
    };
    format!("\nSpeculation: tokens a second of a decode step, by rows ({end})\n  {}\n", gains.join("  "))
}

/// Width of the longest bar, characters.
const BAR: f64 = 40.0;

fn bars(rows: &Rows, unit: &str) -> String {
    let top = rows.iter().map(|r| r.1).fold(f64::MIN_POSITIVE, f64::max);
    let width = rows.iter().map(|r| r.0.len()).max().unwrap_or(0);
    rows.iter()
        .map(|(name, v)| {
            let eighths = (v / top * BAR * 8.0).round() as usize;
            let part = ["", "▏", "▎", "▍", "▌", "▋", "▊", "▉"][eighths % 8];
            format!("  {name:<width$} {v:>10.2} {unit:<2} {}{part}\n", "█".repeat(eighths / 8))
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn bars_are_in_proportion() {
        let text = bars(&vec![("a", 10.0), ("bb", 5.0), ("c", 0.0)], "ms");
        let lengths: Vec<usize> = text.lines().map(|l| l.matches('█').count()).collect();
        assert_eq!(lengths, [40, 20, 0]);
    }
}
