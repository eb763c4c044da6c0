//! The ramp in words, tables and a picture for the terminal.

use crate::capacity::picture::Picture;
use crate::capacity::{Breakpoint, Forecast, Ladder, MeasuredRamp, SLO_CROSSING, Step};
use crate::cost::Interval;
use crate::scenario::Key;
use std::fmt::Write as _;

/// A step as it ends.
pub(super) fn line(step: &Step) -> String {
    let p = &step.point;
    let expected = step.expected.map_or(String::new(), |e| {
        format!(" (expected after the steps before: {:.2})", e.corrected_throughput)
    });
    let spoilt = match (step.invalid, &step.spoilt) {
        (true, None) => ": the client was starved, once more",
        (true, Some(_)) => ": the client was starved again, INVALID",
        (false, _) => "",
    };
    format!(
        "load {:>7.1}: {:>8.2} req/s{expected}, e2e {:.3} s, waiting {:.3} s, lost {:.2} %{spoilt}",
        p.load,
        p.throughput,
        p.e2e_s,
        p.queue_s,
        p.loss * 100.0
    )
}

/// The forecast in a line.
pub(super) fn foretold(f: &Forecast) -> String {
    let reached: Vec<String> = f
        .study
        .breakpoints
        .iter()
        .filter(|b| b.at.is_some())
        .map(|b| format!("{} {}", b.name, at(b)))
        .collect();
    let what = if reached.is_empty() { "no breakpoint within --to".to_owned() } else { reached.join(", ") };
    format!("forecast of {}, from {}: {what}", f.made_at, f.study.basis)
}

fn at(b: &Breakpoint) -> String {
    b.at.map_or("not reached".to_owned(), |i| format!("{:.1} ({:.1} to {:.1})", i.value, i.p05, i.p95))
}

/// Everything, for people.
pub(super) fn report(
    ramp: &MeasuredRamp,
    forecast: Option<&Forecast>,
    ladder: &Ladder,
    picture: &Picture,
) -> String {
    let mut out = steps(ramp);
    if let Some(f) = forecast {
        out.push_str(&beside(ramp, f));
    }
    let _ = write!(out, "\n{}", picture.text());
    out.push_str(&found(ramp, forecast));
    let s = ramp.saved(ladder, forecast);
    let _ = writeln!(
        out,
        "\n{} steps. The same resolution takes {} by doubling and bisecting, {} on a ladder of equal factors {}.",
        s.steps, s.doubling, s.fixed, ladder.resolution
    );
    for step in ramp.steps.iter().filter(|s| !s.doubts.is_empty()) {
        let what = if step.invalid { "INVALID" } else { "doubtful" };
        let _ = writeln!(out, "{what} at load {:.0}: {}", step.point.load, step.doubts.join("; "));
    }
    out.pop();
    out
}

fn steps(ramp: &MeasuredRamp) -> String {
    let mut out = format!(
        "Of the steady part; with burst: p99 TTFT of the whole step, its opening burst included\n\
         {:>8} {:>9} {:>10} {:>10} {:>10} {:>10} {:>9} {:>9} {:>9} {:>8} {:>6} {:>7}\n",
        "load",
        "req/s",
        "out tok/s",
        "TTFT ms",
        "p99",
        "with burst",
        "TPOT ms",
        "E2E s",
        "wait s",
        "waiting",
        "KV",
        "lost %"
    );
    for step in &ramp.steps {
        let p = &step.point;
        let metric = |key| step.result.get(key).map_or("-".to_owned(), |v| format!("{v:.1}"));
        let steady = |key: Key| step.steady.get(key.name()).map_or("-".to_owned(), |v| format!("{v:.1}"));
        let seen = |v: Option<f64>, digits| v.map_or("-".to_owned(), |v| format!("{v:.digits$}"));
        let _ = writeln!(
            out,
            "{:>8.1} {:>9.2} {:>10} {:>10} {:>10} {:>10} {:>9} {:>9.3} {:>9.3} {:>8} {:>6} {:>7.2}",
            p.load,
            p.throughput,
            metric(Key::OutputThroughput),
            steady(Key::MeanTtftMs),
            steady(Key::P99TtftMs),
            metric(Key::P99TtftMs),
            steady(Key::MeanTpotMs),
            p.e2e_s,
            p.queue_s,
            seen(step.engine.max_waiting, 0),
            seen(step.engine.max_kv_usage, 2),
            p.loss * 100.0
        );
    }
    out
}

/// Forecast and measurement side by side, in the order in which the steps were measured.
fn beside(ramp: &MeasuredRamp, f: &Forecast) -> String {
    let mut out = format!(
        "\nForecast of {} beside the measurement, in the order of measuring ({})\n\
         {:>8} {:>9} {:>26} {:>7} {:>10} {:>7} {:>10} {:>10} {:>9} {:>9}\n",
        f.made_at,
        f.study.basis,
        "load",
        "req/s",
        "forecast",
        "error",
        "corrected",
        "error",
        "TTFT ms",
        "forecast",
        "TPOT ms",
        "forecast"
    );
    let mut steps: Vec<&Step> = ramp.steps.iter().collect();
    steps.sort_by_key(|s| s.order);
    for s in steps {
        let Some(e) = s.expected else { continue };
        let interval = |v: Option<Interval>| {
            v.map_or("-".to_owned(), |v| format!("{:.2} [{:.2}, {:.2}]", v.value, v.p05, v.p95))
        };
        let value = |v: Option<Interval>| v.map_or("-".to_owned(), |v| format!("{:.1}", v.value));
        let metric = |key: Key| s.steady.get(key.name()).map_or("-".to_owned(), |v| format!("{v:.1}"));
        let error = |expected: f64| format!("{:+.1} %", (expected / s.point.throughput - 1.0) * 100.0);
        let _ = writeln!(
            out,
            "{:>8.1} {:>9.2} {:>26} {:>7} {:>10.2} {:>7} {:>10} {:>10} {:>9} {:>9}",
            s.point.load,
            s.point.throughput,
            interval(e.request_throughput),
            e.request_throughput.map_or("-".to_owned(), |v| error(v.value)),
            e.corrected_throughput,
            error(e.corrected_throughput),
            metric(Key::MeanTtftMs),
            value(e.mean_ttft_ms),
            metric(Key::MeanTpotMs),
            value(e.mean_tpot_ms),
        );
    }
    out.push_str("(corrected: by the steps measured before this one; TTFT and TPOT of the steady part, on both sides)\n");
    out
}

fn found(ramp: &MeasuredRamp, forecast: Option<&Forecast>) -> String {
    let found = ramp.ramp();
    let mut out = "\nBreakpoints (90 % interval)\n".to_owned();
    let asked = ramp.steps.iter().any(|s| s.point.slo > 0.0);
    // Without an SLO its crossing says nothing.
    let shown = |b: &Breakpoint| asked || b.name != SLO_CROSSING;
    for (i, b) in found.breakpoints().iter().enumerate().filter(|(_, b)| shown(b)) {
        let foretold = forecast
            .and_then(|f| f.study.breakpoints.get(i))
            .map_or(String::new(), |b| format!(" forecast {:<26}", at(b)));
        let _ = writeln!(out, "  {:<19} {:<26}{foretold} {}", b.name, at(b), b.criterion);
    }
    out.push_str("\nZones (90 % interval of the upper end)\n");
    for z in found.zones() {
        let to = match (z.to, z.to_interval) {
            (Some(to), Some((a, b))) => format!("{to:.1} ({a:.1} to {b:.1})"),
            _ => "the end of the ladder".to_owned(),
        };
        let _ = writeln!(out, "  {:<18} {:.1} to {to}: {}", z.zone, z.from, z.criterion);
    }
    out
}
