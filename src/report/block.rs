//! The block of results that users know from `vllm bench serve`.

use crate::scenario::{Key, Metrics};
use std::fmt::Write;

/// Serving benchmark block of one run; keys that are missing are left out.
pub(super) fn block(m: &Metrics) -> String {
    let mut out = format!("{:=^50}\n", " Serving Benchmark Result ");
    let head = [
        (Key::Completed, "Successful requests:"),
        (Key::Failed, "Failed requests:"),
        (Key::Duration, "Benchmark duration (s):"),
        (Key::TotalInputTokens, "Total input tokens:"),
        (Key::TotalOutputTokens, "Total generated tokens:"),
        (Key::RequestThroughput, "Request throughput (req/s):"),
        (Key::RequestGoodput, "Request goodput (req/s):"),
        (Key::OutputThroughput, "Output token throughput (tok/s):"),
        (Key::MaxOutputTokensPerS, "Peak output token throughput (tok/s):"),
        (Key::MaxConcurrentRequests, "Peak concurrent requests:"),
        (Key::TotalTokenThroughput, "Total token throughput (tok/s):"),
    ];
    rows(&mut out, m, &head);
    for (name, keys) in [
        ("Time to First Token", ["ttft", "TTFT"]),
        ("Time per Output Token (excl. 1st token)", ["tpot", "TPOT"]),
        ("Inter-token Latency", ["itl", "ITL"]),
        ("End-to-end Latency", ["e2el", "E2EL"]),
    ] {
        let key = |stat: &str| Key::from_name(&format!("{stat}_{}_ms", keys[0]));
        if key("mean").and_then(|k| m.get(k)).is_none() {
            continue;
        }
        let _ = writeln!(out, "{name:-^50}");
        for (stat, word) in [("mean", "Mean"), ("median", "Median"), ("p99", "P99")] {
            if let Some(v) = key(stat).and_then(|k| m.get(k)) {
                let _ = writeln!(out, "{:<40} {v:<10.2}", format!("{word} {} (ms):", keys[1]));
            }
        }
    }
    let _ = writeln!(out, "{}", "=".repeat(50));
    // No spaces at line ends: the text is compared byte by byte.
    out.lines().map(|l| format!("{}\n", l.trim_end())).collect()
}

fn rows(out: &mut String, m: &Metrics, keys: &[(Key, &str)]) {
    for (key, name) in keys {
        let Some(v) = m.get(*key) else { continue };
        let _ = if key.is_count() {
            writeln!(out, "{name:<40} {v:<10.0}")
        } else {
            writeln!(out, "{name:<40} {v:<10.2}")
        };
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_reads_as_users_know_it() {
        let mut m = Metrics::default();
        for (k, v) in [(Key::Completed, 500.0), (Key::Duration, 128.79), (Key::MeanTtftMs, 62947.13)] {
            m.set(k, v);
        }
        let expected = "\
============ Serving Benchmark Result ============
Successful requests:                     500
Benchmark duration (s):                  128.79
---------------Time to First Token----------------
Mean TTFT (ms):                          62947.13
==================================================
";
        assert_eq!(block(&m), expected);
    }
}
