//! From rows to the result keys.

use super::options::Goodput;
use super::outcome::Row;
use crate::scenario::client_report::{Spread, rounded};
use crate::scenario::{ClientReport, Key, Metrics};
use crate::stats::{mean, quantile_sorted, std_dev};
use crate::units::Nanos;

/// The result keys of these rows; `duration` is from the start of the run to the last end.
///
/// Latencies are over completed requests, throughputs over the whole duration. `max_output_tokens_per_s` is the fullest
/// one-second interval (counted from the start of the run), its chunks weighted with their tokens;
/// `max_concurrent_requests` is the true largest number between send and end.
pub fn summarize(rows: &[Row], duration: Nanos, goodput: Option<Goodput>) -> Metrics {
    let done: Vec<&Row> = rows.iter().filter(|r| r.completed()).collect();
    let seconds = duration.secs();
    let mut m = Metrics::default();
    let input: f64 = done.iter().map(|r| f64::from(r.input_tokens)).sum();
    let output: f64 = done.iter().map(|r| f64::from(r.output_tokens)).sum();
    m.set(Key::Completed, done.len() as f64);
    m.set(Key::Duration, seconds);
    m.set(Key::TotalInputTokens, input);
    m.set(Key::TotalOutputTokens, output);
    m.set(Key::RequestThroughput, done.len() as f64 / seconds);
    m.set(Key::OutputThroughput, output / seconds);
    m.set(Key::TotalTokenThroughput, (input + output) / seconds);
    if let Some(bounds) = goodput {
        let good = done.iter().filter(|r| meets(r, bounds)).count();
        m.set(Key::RequestGoodput, good as f64 / seconds);
    }
    let failed = rows.len() - done.len();
    m.set(Key::Failed, failed as f64);
    m.set(Key::RequestLossRate, failed as f64 / (rows.len() as f64).max(1.0));
    latencies(&mut m, &done);
    m.set(Key::MaxOutputTokensPerS, peak_tokens(rows));
    m.set(Key::MaxConcurrentRequests, peak_concurrency(rows));
    m.client = report(rows, &done);
    m
}

fn meets(row: &Row, bounds: Goodput) -> bool {
    let within = |value: Option<f64>, bound: Option<f64>| bound.is_none_or(|b| value.is_some_and(|v| v <= b));
    within(row.ttft().map(Nanos::millis), bounds.ttft_ms)
        && within(row.tpot().map_or(Some(0.0), |s| Some(s * 1e3)), bounds.tpot_ms)
        && within(row.e2e().map(Nanos::millis), bounds.e2el_ms)
}

/// Keys of mean, median, standard deviation, p90, p95 and p99.
type Keys = [Key; 6];
const TTFT: Keys =
    [Key::MeanTtftMs, Key::MedianTtftMs, Key::StdTtftMs, Key::P90TtftMs, Key::P95TtftMs, Key::P99TtftMs];
const TPOT: Keys =
    [Key::MeanTpotMs, Key::MedianTpotMs, Key::StdTpotMs, Key::P90TpotMs, Key::P95TpotMs, Key::P99TpotMs];
const ITL: Keys =
    [Key::MeanItlMs, Key::MedianItlMs, Key::StdItlMs, Key::P90ItlMs, Key::P95ItlMs, Key::P99ItlMs];
const E2EL: Keys =
    [Key::MeanE2elMs, Key::MedianE2elMs, Key::StdE2elMs, Key::P90E2elMs, Key::P95E2elMs, Key::P99E2elMs];

fn latencies(m: &mut Metrics, done: &[&Row]) {
    let ms = |f: fn(&Row) -> Option<Nanos>| done.iter().filter_map(|r| f(r)).map(Nanos::millis).collect();
    distribution(m, TTFT, ms(Row::ttft));
    distribution(m, TPOT, done.iter().filter_map(|r| r.tpot()).map(|s| s * 1e3).collect());
    distribution(m, ITL, done.iter().flat_map(|r| gaps(r)).collect());
    distribution(m, E2EL, ms(Row::e2e));
}

/// Gaps between the token-carrying chunks of a request, milliseconds.
fn gaps(row: &Row) -> impl Iterator<Item = f64> {
    row.chunks.windows(2).map(|w| w[1].saturating_sub(w[0]).millis())
}

fn distribution(m: &mut Metrics, keys: Keys, mut values: Vec<f64>) {
    if values.is_empty() {
        return;
    }
    values.sort_by(f64::total_cmp);
    let q = |share| quantile_sorted(&values, share);
    let figures = [mean(&values), q(0.5), std_dev(&values), q(0.9), q(0.95), q(0.99)];
    for (key, value) in keys.into_iter().zip(figures) {
        m.set(key, value);
    }
}

/// Tokens of the fullest one-second interval. Chunks of unknown size share their request's tokens equally.
fn peak_tokens(rows: &[Row]) -> f64 {
    let mut seconds: Vec<f64> = Vec::new();
    for row in rows {
        let share = f64::from(row.output_tokens) / (row.chunks.len() as f64).max(1.0);
        for (i, at) in row.chunks.iter().enumerate() {
            let second = at.secs() as usize;
            if seconds.len() <= second {
                seconds.resize(second + 1, 0.0);
            }
            seconds[second] += row.chunk_tokens.get(i).map_or(share, |&t| f64::from(t));
        }
    }
    seconds.into_iter().fold(0.0, f64::max)
}

/// Largest number of requests between send and end at one moment.
fn peak_concurrency(rows: &[Row]) -> f64 {
    let mut edges: Vec<(Nanos, i64)> = rows.iter().flat_map(|r| [(r.sent, 1), (r.ended, -1)]).collect();
    // At equal times ends come first: a slot that is freed and taken is one slot.
    edges.sort_unstable();
    let mut now = 0;
    edges.iter().fold(0, |most: i64, e| {
        now += e.1;
        most.max(now)
    }) as f64
}

/// Figures beyond those of `vllm bench serve`: send lateness, latencies from the intended send time, tokens a chunk, what
/// was lost.
fn report(rows: &[Row], done: &[&Row]) -> ClientReport {
    let from_intended = |pick: fn(&[Nanos]) -> Option<&Nanos>| {
        Spread::of(
            done.iter().filter_map(|r| Some(pick(&r.chunks)?.saturating_sub(r.intended).millis())).collect(),
        )
    };
    let headers = done.iter().filter_map(|r| Some(r.headers?.saturating_sub(r.sent).millis()));
    let chunks: f64 = done.iter().map(|r| r.chunks.len() as f64).sum();
    let tokens: f64 = done.iter().map(|r| f64::from(r.output_tokens)).sum();
    let after_first: f64 = done.iter().map(|r| f64::from(r.output_tokens.saturating_sub(1))).sum();
    let lost: f64 = rows.iter().filter(|r| !r.completed()).map(|r| f64::from(r.output_tokens)).sum();
    ClientReport {
        send_late: Spread::of(rows.iter().map(|r| r.lateness().millis()).collect()),
        ttft_from_intended: from_intended(<[Nanos]>::first),
        e2el_from_intended: from_intended(<[Nanos]>::last),
        headers: Spread::of(headers.collect()),
        connect: Spread::of(done.iter().map(|r| r.connect.millis()).collect()),
        write: Spread::of(done.iter().map(|r| r.write.millis()).collect()),
        tokens_per_chunk: rounded(tokens / chunks),
        mean_token_gap_ms: rounded(done.iter().flat_map(|r| gaps(r)).sum::<f64>() / after_first),
        lost_output_tokens: rounded(lost),
        ..ClientReport::default()
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::load::ErrorKind;

    fn ms(v: u64) -> Nanos {
        Nanos(v * 1_000_000)
    }

    fn row(sent: u64, chunks: &[u64], tokens: u32) -> Row {
        Row {
            sent: ms(sent),
            intended: ms(sent.saturating_sub(5)),
            chunks: chunks.iter().map(|&c| ms(c)).collect(),
            ended: ms(chunks.last().copied().unwrap_or(sent) + 1),
            input_tokens: 10,
            output_tokens: tokens,
            counted: true,
            ..Row::default()
        }
    }

    #[test]
    fn figures_follow_the_definitions() {
        let mut lost = row(0, &[50, 60], 2);
        lost.error = Some((ErrorKind::Truncated, String::new()));
        let rows = [row(100, &[200, 210, 230], 3), row(150, &[350], 1), row(300, &[400, 440], 8), lost];
        let m = summarize(&rows, ms(2000), Some(Goodput { ttft_ms: Some(150.0), ..Goodput::default() }));
        let get = |k| m.get(k).unwrap();
        assert_eq!(get(Key::Completed), 3.0);
        assert_eq!((get(Key::Failed), get(Key::RequestLossRate)), (1.0, 0.25));
        assert_eq!((get(Key::TotalInputTokens), get(Key::TotalOutputTokens)), (30.0, 12.0));
        assert_eq!((get(Key::OutputThroughput), get(Key::RequestThroughput)), (6.0, 1.5));
        assert_eq!(get(Key::RequestGoodput), 1.0);
        // TTFT 100, 200, 100; TPOT 15 and 40/7 (the one-token request has none); gaps 10, 20, 40.
        assert!((get(Key::MeanTtftMs) - 400.0 / 3.0).abs() < 1e-9);
        assert!((get(Key::MeanTpotMs) - f64::midpoint(15.0, 40.0 / 7.0)).abs() < 1e-9);
        assert_eq!((get(Key::MedianItlMs), get(Key::P90ItlMs)), (20.0, 36.0));
        assert_eq!(get(Key::MeanE2elMs), (130.0 + 200.0 + 140.0) / 3.0);
        assert_eq!(get(Key::MaxOutputTokensPerS), 14.0);
        // 150..351 with 100..231 and 300..441: two at once; the lost one 0..61 alone.
        assert_eq!(get(Key::MaxConcurrentRequests), 2.0);
        assert_eq!(m.client.lost_output_tokens, Some(2.0));
        assert_eq!(m.client.send_late.unwrap().mean_ms, 3.75);
        assert_eq!(m.client.tokens_per_chunk, Some(2.0));
    }

    #[test]
    fn a_run_without_a_completed_request_has_no_latencies() {
        let mut lost = row(0, &[], 0);
        lost.error = Some((ErrorKind::Connect, String::new()));
        let m = summarize(&[lost], ms(10), None);
        assert_eq!((m.get(Key::Completed), m.get(Key::MeanTtftMs)), (Some(0.0), None));
        assert_eq!(m.get(Key::RequestLossRate), Some(1.0));
    }
}
