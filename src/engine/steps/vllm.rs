//! vLLM's iteration details (`--enable-logging-iteration-details`, from 0.14): one line a step.
//!
//! Written by the engine core at first, in later releases (seen in 0.32) by the front end, which adds the use of the KV room. The time is that
//! for which the engine waits for the step's result: the device's without asynchronous scheduling, less what
//! the host does meanwhile with it.

use super::{Span, StepRow, count, number};

pub(super) fn read(text: &str) -> Vec<StepRow> {
    text.lines().filter_map(row).collect()
}

fn row(line: &str) -> Option<StepRow> {
    let line = &line[line.find("Iteration(")?..];
    // A step without tokens, run to keep data-parallel ranks together.
    if line.contains("(dummy)") {
        return None;
    }
    let (_, counts) = line.split_once("): ")?;
    let mut parts = counts.split(", ");
    let mut next = |unit: &str| parts.next()?.strip_suffix(unit)?.trim().parse::<u32>().ok();
    let row = StepRow {
        prefill_requests: next("context requests")?,
        prefill_tokens: next("context tokens")?,
        decode_requests: next("generation requests")?,
        decode_tokens: next("generation tokens")?,
        kv_usage: number(line, "KV cache usage:").map(|p| p / 100.0),
        kv_tokens: None,
        duration_ms: number(line, "iteration elapsed time:")?,
        span: Span::Device,
    };
    (row.prefill_tokens + row.decode_tokens > 0 && count(line, "Iteration(").is_some()).then_some(row)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_lines_of_old_and_new_releases_are_read() {
        // The first is of 0.14, the others were captured from 0.32.0 on a CPU.
        let log = "\
(EngineCore_DP0 pid=2010410) INFO 12-22 21:44:40 [core.py:349] Iteration(515): 0 context requests, 0 context tokens, 20 generation requests, 20 generation tokens, iteration elapsed time: 10.99 ms
(APIServer pid=22058) INFO 11-22 04:24:43 [loggers.py:199] Engine 000: Iteration(1): 1 context requests, 128 context tokens, 0 generation requests, 0 generation tokens, iteration elapsed time: 6.45 ms, CPU KV cache usage: 0.0%
(APIServer pid=22058) INFO 11-22 04:24:43 [loggers.py:259] Engine 000: Avg prompt throughput: 12.8 tokens/s, Running: 1 reqs
(APIServer pid=22058) INFO 11-22 04:24:51 [loggers.py:199] Engine 000: Iteration(1402): 4 context requests, 1953 context tokens, 11 generation requests, 11 generation tokens, iteration elapsed time: 55.65 ms, CPU KV cache usage: 1.2%
(APIServer pid=1) INFO 11-22 04:24:51 [loggers.py:199] Engine 001: Iteration(9): 0 context requests, 0 context tokens, 0 generation requests, 0 generation tokens, iteration elapsed time: 1.00 ms (dummy), GPU KV cache usage: 0.0%
(APIServer pid=1) INFO 11-22 04:24:51 [loggers.py:199] Engine 001: Iteration(10): 1 context requests, 9 context tokens, 0 generation";
        let rows = read(log);
        assert_eq!(rows.len(), 3, "{rows:?}");
        assert_eq!((rows[0].decode_requests, rows[0].duration_ms, rows[0].kv_usage), (20, 10.99, None));
        assert_eq!((rows[1].prefill_requests, rows[1].prefill_tokens), (1, 128));
        assert_eq!((rows[2].prefill_tokens, rows[2].decode_tokens), (1953, 11));
        assert_eq!((rows[2].kv_usage, rows[2].duration_ms), (Some(0.012), 55.65));
    }
}
