//! SGLang's batch lines, which it writes by itself.
//!
//! A decode line comes every `--decode-log-interval` steps and gives the rate since the one before it; a prefill line
//! (in newer releases; seen in 0.5.23) gives the prompt tokens of the batch before it over the time since then. So a line
//! tells a step time only when the line before it is of the same kind, and nothing else ran in between.

use super::{Span, StepRow, count, number};

/// One batch line.
#[derive(Debug, Clone, Copy)]
enum Line {
    Prefill { requests: u32, tokens: u32, rate: Option<f64> },
    Decode { running: u32, tokens: Option<u64>, usage: Option<f64>, rate: f64 },
}

pub(super) fn read(text: &str) -> Vec<StepRow> {
    let mut rows = Vec::new();
    let mut before: Option<Line> = None;
    for line in text.lines().filter_map(line) {
        match (before, line) {
            (Some(Line::Prefill { requests, tokens, .. }), Line::Prefill { rate: Some(rate), .. })
                if rate > 0.0 && tokens > 0 =>
            {
                rows.push(StepRow {
                    prefill_requests: requests,
                    prefill_tokens: tokens,
                    decode_requests: 0,
                    decode_tokens: 0,
                    kv_usage: None,
                    kv_tokens: None,
                    duration_ms: f64::from(tokens) / rate * 1e3,
                    span: Span::Period,
                });
            }
            // Equal rows at both ends: none left or came in between, as far as can be seen.
            (Some(Line::Decode { running: then, .. }), Line::Decode { running, tokens, usage, rate })
                if rate > 0.0 && then == running && running > 0 =>
            {
                rows.push(StepRow {
                    prefill_requests: 0,
                    prefill_tokens: 0,
                    decode_requests: running,
                    decode_tokens: running,
                    kv_usage: usage,
                    kv_tokens: tokens,
                    duration_ms: f64::from(running) / rate * 1e3,
                    span: Span::Period,
                });
            }
            _ => {}
        }
        before = Some(line);
    }
    rows
}

fn line(text: &str) -> Option<Line> {
    if let Some(at) = text.find("Prefill batch") {
        let text = &text[at..];
        return Some(Line::Prefill {
            requests: count(text, "#new-seq")?,
            tokens: count(text, "#new-token")?,
            rate: number(text, "input throughput (token/s)"),
        });
    }
    let text = &text[text.find("Decode batch")?..];
    // With speculation a step brings several tokens a row: its rate is not that of steps.
    let accepted = number(text, "accept len").unwrap_or(1.0).max(1.0);
    Some(Line::Decode {
        running: count(text, "#running-req")?,
        tokens: number(text, "#token").or_else(|| number(text, "#full token")).map(|t| t as u64),
        usage: number(text, "full token usage").or_else(|| number(text, "token usage")),
        rate: number(text, "gen throughput (token/s)")? / accepted,
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_lines_after_one_of_their_kind_tell_a_step_time() {
        let log = "\
[2026-05-02 10:00:00] Prefill batch, #new-seq: 2, #new-token: 4096, #cached-token: 0, token usage: 0.00, #running-req: 0, #queue-req: 30, #pending-token: 61440, cuda graph: False, input throughput (token/s): 12.00
[2026-05-02 10:00:00] Prefill batch, #new-seq: 4, #new-token: 8192, #cached-token: 0, token usage: 0.01, #running-req: 2, #queue-req: 26, #pending-token: 53248, cuda graph: False, input throughput (token/s): 40960.00
[2026-05-02 10:00:01] Decode batch, #running-req: 6, #token: 12300, token usage: 0.02, cuda graph: True, gen throughput (token/s): 200.00, #queue-req: 0
[2026-05-02 10:00:02] Decode batch, #running-req: 6, #token: 12540, token usage: 0.02, cuda graph: True, gen throughput (token/s): 600.00, #queue-req: 0
[2026-05-02 10:00:02] Decode batch, #running-req: 5, #token: 10540, token usage: 0.02, cuda graph: True, gen throughput (token/s): 600.00, #queue-req: 0";
        let rows = read(log);
        assert_eq!(rows.len(), 2, "{rows:?}");
        assert_eq!((rows[0].prefill_requests, rows[0].prefill_tokens), (2, 4096));
        assert!((rows[0].duration_ms - 100.0).abs() < 1e-9);
        assert_eq!((rows[1].decode_requests, rows[1].kv_tokens), (6, Some(12_540)));
        assert!((rows[1].duration_ms - 10.0).abs() < 1e-9);
    }

    #[test]
    fn lines_of_0_5_4_give_decode_steps_alone() {
        let log = "\
[2025-11-02 10:00:00] Prefill batch [3], #new-seq: 1, #new-token: 64, #cached-token: 0, token usage: 0.00, #running-req: 0, #queue-req: 0, 
[2025-11-02 10:00:00] Prefill batch [4], #new-seq: 1, #new-token: 64, #cached-token: 0, token usage: 0.00, #running-req: 0, #queue-req: 0, 
[2025-11-02 10:00:01] Decode batch [44], #running-req: 2, #full token: 300, full token usage: 0.03, #swa token: 200, swa token usage: 0.10, cuda graph: True, gen throughput (token/s): 90.00, #queue-req: 0, 
[2025-11-02 10:00:02] Decode batch [84], #running-req: 2, #full token: 380, full token usage: 0.04, #swa token: 200, swa token usage: 0.10, cuda graph: True, gen throughput (token/s): 100.00, #queue-req: 0, ";
        let rows = read(log);
        assert_eq!(rows.len(), 1, "{rows:?}");
        assert_eq!((rows[0].kv_tokens, rows[0].kv_usage, rows[0].duration_ms), (Some(380), Some(0.04), 20.0));
    }
}
