//! The steady part of a run: from when the load had built up to when it began to drain.

use super::outcome::Row;
use crate::scenario::client_report::SteadyPart;
use crate::stats::{mean, quantile_sorted};
use crate::units::Nanos;

/// Share of the largest number in flight that counts as full load.
const FULL: f64 = 0.95;
/// Shortest window, as a share of the run, and fewest requests sent in it, that deserve the name.
const SHORTEST: f64 = 0.2;
const FEWEST: usize = 20;

/// Finds the window in the data: from the first to the last moment at which the number in flight was within 5 % of
/// its largest. The latencies are those of requests sent inside the window, the rates count ends and tokens inside it; all
/// are rounded to a thousandth, as they are recorded. None where there is no such stretch worth the name (all requests at
/// once, too few of them).
pub fn steady(rows: &[Row]) -> Option<SteadyPart> {
    let (from, to) = full_load(rows)?;
    let end = rows.iter().map(|r| r.ended).max()?;
    let window = to.saturating_sub(from);
    let inside = |t: Nanos| t >= from && t < to;
    let sent: Vec<&Row> = rows.iter().filter(|r| r.completed() && inside(r.sent)).collect();
    if window.secs() < SHORTEST * end.secs() || sent.len() < FEWEST {
        return None;
    }
    let done: Vec<&Row> = rows.iter().filter(|r| r.completed()).collect();
    let ends = done.iter().filter(|r| inside(r.ended)).count() as f64;
    let tokens: f64 = done
        .iter()
        .map(|r| {
            let share = f64::from(r.output_tokens) / (r.chunks.len() as f64).max(1.0);
            r.chunks.iter().filter(|&&c| inside(c)).count() as f64 * share
        })
        .sum();
    let ms = |f: fn(&Row) -> Option<Nanos>| -> Vec<f64> {
        let mut all: Vec<f64> = sent.iter().filter_map(|r| f(r)).map(Nanos::millis).collect();
        all.sort_by(f64::total_cmp);
        all
    };
    let (ttft, e2e) = (ms(Row::ttft), ms(Row::e2e));
    let rounded = |v: f64| (v * 1e3).round() / 1e3;
    Some(SteadyPart {
        from_s: rounded(from.secs()),
        to_s: rounded(to.secs()),
        requests: sent.len(),
        request_throughput: rounded(ends / window.secs()),
        output_throughput: rounded(tokens / window.secs()),
        mean_ttft_ms: rounded(mean(&ttft)),
        p99_ttft_ms: rounded(quantile_sorted(&ttft, 0.99)),
        mean_e2el_ms: rounded(mean(&e2e)),
    })
}

/// First and last moment of nearly the largest number in flight.
fn full_load(rows: &[Row]) -> Option<(Nanos, Nanos)> {
    let mut edges: Vec<(Nanos, i64)> = rows.iter().flat_map(|r| [(r.sent, 1), (r.ended, -1)]).collect();
    edges.sort_unstable();
    let levels: Vec<(Nanos, i64)> = edges
        .iter()
        .scan(0, |level, &(at, step)| {
            *level += step;
            Some((at, *level))
        })
        .collect();
    let most = levels.iter().map(|l| l.1).max()? as f64;
    let full = |l: &&(Nanos, i64)| l.1 as f64 >= FULL * most;
    let from = levels.iter().find(full)?.0;
    // The level holds until the edge after it.
    let last = levels.iter().rposition(|l| l.1 as f64 >= FULL * most)?;
    let to = levels.get(last + 1).map_or(from, |l| l.0);
    Some((from, to))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn rows(all: &[(u64, u64)]) -> Vec<Row> {
        all.iter()
            .map(|&(sent, ended)| Row {
                sent: Nanos(sent * 1_000_000),
                ended: Nanos(ended * 1_000_000),
                chunks: vec![Nanos((ended - 1) * 1_000_000)],
                output_tokens: 1,
                ..Row::default()
            })
            .collect()
    }

    #[test]
    fn build_up_and_drain_are_left_out() {
        // Four slots of 100 ms requests; the first starts 1 s before the others, the last ends 1 s after.
        let mut all = vec![(0, 1000)];
        for k in 0..40u64 {
            for _ in 0..4 {
                all.push((1000 + k * 100, 1100 + k * 100));
            }
        }
        all.push((5000, 6000));
        let s = steady(&rows(&all)).unwrap();
        assert_eq!((s.from_s, s.to_s), (1.0, 5.0));
        // 39 waves and the last of the first second end inside.
        assert_eq!(s.requests, 160);
        assert!((s.request_throughput - 39.25).abs() < 1e-9, "{}", s.request_throughput);
        assert!((s.mean_ttft_ms - 99.0).abs() < 1e-9);
    }

    #[test]
    fn a_burst_has_no_steady_part() {
        let all: Vec<(u64, u64)> = (0..100).map(|k| (0, 100 + k * 10)).collect();
        assert_eq!(steady(&rows(&all)), None);
        assert_eq!(steady(&[]), None);
    }
}
