//! TensorRT-LLM's iteration statistics: the JSON of `/metrics` (`enable_iter_perf_stats`), and the lines of
//! `print_iter_log`.
//!
//! Device times come one step late: a line or entry carries that of the step before it. Older lines have only the time
//! of the loop.

use super::{Span, StepRow, count, number};
use serde_json::Value;

pub(super) fn read(text: &str) -> Vec<StepRow> {
    match serde_json::from_str::<Value>(text) {
        Ok(Value::Array(entries)) => paired(entries.iter().filter_map(entry)),
        Ok(one @ Value::Object(_)) => paired(entry(&one).into_iter()),
        // JSON entries one a line, or a log.
        _ => paired(text.lines().filter_map(|l| {
            serde_json::from_str(l.trim()).ok().as_ref().and_then(entry).or_else(|| line(l))
        })),
    }
}

/// A step as told, and what it says of the device's time of the step before it.
struct Told {
    iter: u64,
    row: StepRow,
    device_before_ms: Option<f64>,
}

/// Gives each step the device time that the next one tells, where it does.
fn paired(told: impl Iterator<Item = Told>) -> Vec<StepRow> {
    let mut steps: Vec<Told> = told.collect();
    for i in 1..steps.len() {
        let device = steps[i].device_before_ms.filter(|d| *d > 0.0);
        if let (Some(device), true) = (device, steps[i].iter == steps[i - 1].iter + 1) {
            steps[i - 1].row.duration_ms = device;
            steps[i - 1].row.span = Span::Device;
        }
    }
    let ran = |r: &StepRow| r.duration_ms > 0.0 && r.prefill_requests + r.decode_requests > 0;
    steps.into_iter().map(|s| s.row).filter(ran).collect()
}

fn line(text: &str) -> Option<Told> {
    let text = &text[text.find("iter = ")?..];
    let (context, tokens) = (count(text, "'num_ctx_requests'")?, count(text, "'num_ctx_tokens'")?);
    let generated = count(text, "'num_generation_tokens'")?;
    // Generation tokens are padded to the size of a graph; the number of requests is not.
    let scheduled = count(text, "num_scheduled_requests").unwrap_or(context + generated);
    let decoding = scheduled.saturating_sub(context);
    let elapsed_ms = number(text, "elapsed_time").map(|s| s * 1e3);
    Some(Told {
        iter: number(text, "iter = ")? as u64,
        device_before_ms: number(text, "prev_device_step_time"),
        row: StepRow {
            prefill_requests: context,
            prefill_tokens: tokens,
            decode_requests: decoding,
            decode_tokens: decoding.min(generated),
            kv_usage: number(text, "kv_cache_util"),
            kv_tokens: number(text, "cached_kv_len").map(|t| t as u64),
            duration_ms: number(text, "host_step_time").or(elapsed_ms)?,
            span: Span::Period,
        },
    })
}

fn entry(v: &Value) -> Option<Told> {
    let batch = v.get("inflightBatchingStats")?;
    let n = |key: &str| batch.get(key).and_then(Value::as_u64).map(|n| n as u32);
    let ms = |key: &str| v.get(key).and_then(Value::as_f64);
    let (loop_ms, latency_ms) = (ms("hostStepTimeMS"), ms("iterLatencyMS"));
    let alone = v.get("schedulerMode").and_then(Value::as_str) == Some("non_overlap");
    let span = if loop_ms.is_some() || alone { Span::Period } else { Span::Latency };
    let kv = v.get("kvCacheStats");
    let blocks = |key: &str| kv.and_then(|k| k.get(key)).and_then(Value::as_f64);
    let (used, most) = (blocks("usedNumBlocks"), blocks("maxNumBlocks"));
    let decoding = n("numGenRequests")?;
    Some(Told {
        iter: v.get("iter").and_then(Value::as_u64)?,
        device_before_ms: ms("prevDeviceStepTimeMS"),
        row: StepRow {
            prefill_requests: n("numContextRequests")?,
            prefill_tokens: n("numCtxTokens").unwrap_or(0),
            decode_requests: decoding,
            decode_tokens: decoding,
            kv_usage: used.zip(most).filter(|(_, m)| *m > 0.0).map(|(u, m)| u / m),
            kv_tokens: used.zip(blocks("tokensPerBlock")).map(|(u, t)| (u * t) as u64),
            duration_ms: loop_ms.or(latency_ms)?,
            span,
        },
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_line_gives_the_device_time_of_the_step_before_it() {
        let log = "\
[TRT-LLM] [I] [_torch][RANK 0] iter = 7, global_rank = 0, rank = 0, num_scheduled_requests = 3, kv_cache_util = 0.1, currank_total_requests = 0/1, host_step_time = 9.5ms, prev_device_step_time = N/A, timestamp = 08-23-2026 01:02:03, states = {'num_ctx_requests': 1, 'num_ctx_tokens': 512, 'num_generation_tokens': 2}
[TRT-LLM] [I] [_torch][RANK 0] iter = 8, global_rank = 0, rank = 0, num_scheduled_requests = 10, kv_cache_util = 0.1, currank_total_requests = 0/1, host_step_time = 7.4ms, prev_device_step_time = 8.8ms, timestamp = 08-23-2026 01:02:03, states = {'num_ctx_requests': 0, 'num_ctx_tokens': 0, 'num_generation_tokens': 16}
[TRT-LLM] [I] something else";
        let rows = read(log);
        assert_eq!(rows.len(), 2);
        assert_eq!((rows[0].duration_ms, rows[0].span, rows[0].prefill_tokens), (8.8, Span::Device, 512));
        assert_eq!((rows[0].decode_requests, rows[0].kv_usage), (2, Some(0.1)));
        assert_eq!((rows[1].duration_ms, rows[1].span, rows[1].decode_tokens), (7.4, Span::Period, 10));
    }

    #[test]
    fn the_first_wording_has_seconds_and_padded_tokens() {
        let line = "[04/28/2025-09:56:44] [TRT-LLM] [I] iter = 198, global_rank = 0, rank = 0, currank_total_requests = 0/0, elapsed_time = 0.005060911178588867s, timestamp = 2025-04-28 09:56:44, num_scheduled_requests: 10, states = {'num_ctx_requests': 0, 'num_ctx_tokens': 0, 'num_generation_tokens': 16}";
        let rows = read(line);
        assert_eq!((rows[0].decode_requests, rows[0].span), (10, Span::Period));
        assert!((rows[0].duration_ms - 5.0609).abs() < 1e-3);
    }

    #[test]
    fn entries_of_the_metrics_are_read_as_an_array_or_line_by_line() {
        let entry = |iter: u32, extra: &str| {
            format!(
                r#"{{"iter":{iter},"iterLatencyMS":12.5,"numActiveRequests":8{extra},"kvCacheStats":{{"usedNumBlocks":50,"maxNumBlocks":200,"tokensPerBlock":32}},"inflightBatchingStats":{{"numContextRequests":1,"numGenRequests":7,"numScheduledRequests":8,"numCtxTokens":300}}}}"#
            )
        };
        let old = read(&format!("[{},{}]", entry(1, ""), entry(2, "")));
        assert_eq!((old.len(), old[0].span, old[0].duration_ms), (2, Span::Latency, 12.5));
        assert_eq!((old[0].kv_tokens, old[0].kv_usage), (Some(1600), Some(0.25)));
        let timed = r#","hostStepTimeMS":7.0,"prevDeviceStepTimeMS":6.5,"schedulerMode":"overlap""#;
        let new = read(&format!("{}\n{}\n", entry(4, timed), entry(5, timed)));
        assert_eq!((new[0].span, new[0].duration_ms), (Span::Device, 6.5));
        assert_eq!((new[1].span, new[1].duration_ms, new[1].prefill_tokens), (Span::Period, 7.0, 300));
        assert!(read("[]").is_empty() && read("{}").is_empty());
    }
}
