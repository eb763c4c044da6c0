//! The result as the block of lines that users know from `vllm bench serve`.

use super::LoadResult;
use crate::scenario::{Key, Metrics};
use crate::workload::{RequestRate, WorkloadSpec};
use std::fmt::Write as _;

/// The block: the same lines in the same places, so that scripts which read it go on working.
pub fn block(metrics: &Metrics, workload: &WorkloadSpec) -> String {
    let mut out = format!("{:=^50}\n", " Serving Benchmark Result ");
    let mut line = |name: &str, value: Option<String>| {
        if let Some(v) = value {
            let _ = writeln!(out, "{name:<40} {v:<10}");
        }
    };
    let count = |key| metrics.get(key).map(|v| format!("{v:.0}"));
    let real = |key| metrics.get(key).map(|v| format!("{v:.2}"));
    line("Successful requests:", count(Key::Completed));
    line("Failed requests:", count(Key::Failed));
    line("Maximum request concurrency:", workload.max_concurrency.map(|c| c.to_string()));
    if let RequestRate::PerSecond(rate) = workload.request_rate {
        line("Request rate configured (RPS):", Some(format!("{rate:.2}")));
    }
    line("Benchmark duration (s):", real(Key::Duration));
    line("Total input tokens:", count(Key::TotalInputTokens));
    line("Total generated tokens:", count(Key::TotalOutputTokens));
    line("Request throughput (req/s):", real(Key::RequestThroughput));
    line("Request goodput (req/s):", real(Key::RequestGoodput));
    line("Output token throughput (tok/s):", real(Key::OutputThroughput));
    line("Peak output token throughput (tok/s):", real(Key::MaxOutputTokensPerS));
    line("Peak concurrent requests:", real(Key::MaxConcurrentRequests));
    line("Total token throughput (tok/s):", real(Key::TotalTokenThroughput));
    for (title, short, keys) in SECTIONS {
        let _ = writeln!(out, "{title:-^50}");
        for (label, key) in ["Mean", "Median", "P99"].iter().zip(keys) {
            if let Some(v) = metrics.get(key) {
                let name = format!("{label} {short} (ms):");
                let _ = writeln!(out, "{name:<40} {v:<10.2}");
            }
        }
    }
    out.push_str(&"=".repeat(50));
    out
}

const SECTIONS: [(&str, &str, [Key; 3]); 4] = [
    ("Time to First Token", "TTFT", [Key::MeanTtftMs, Key::MedianTtftMs, Key::P99TtftMs]),
    ("Time per Output Token (excl. 1st token)", "TPOT", [Key::MeanTpotMs, Key::MedianTpotMs, Key::P99TpotMs]),
    ("Inter-token Latency", "ITL", [Key::MeanItlMs, Key::MedianItlMs, Key::P99ItlMs]),
    ("End-to-end Latency", "E2EL", [Key::MeanE2elMs, Key::MedianE2elMs, Key::P99E2elMs]),
];

impl LoadResult {
    /// What the block does not say and a reader must know: losses by kind, send lateness, the client's own state.
    pub fn remarks(&self) -> Vec<String> {
        let mut lines: Vec<String> = self
            .errors
            .iter()
            .map(|(kind, c)| format!("lost: {} x {kind} (first: {})", c.count, one_line(&c.first)))
            .collect();
        let client = &self.metrics.client;
        if let Some(per_chunk) = client.tokens_per_chunk.filter(|&t| t > 1.01) {
            lines.push(format!(
                "{per_chunk:.2} tokens came in one chunk: ITL is the gap between chunks, {:.2} ms a token",
                client.mean_token_gap_ms.unwrap_or(f64::NAN)
            ));
        }
        if let Some(late) = client.send_late {
            lines.push(format!(
                "sent after the intended time: mean {:.2} ms, at most {:.2} ms",
                late.mean_ms, late.max_ms
            ));
        }
        lines.extend(client.components.iter().map(super::parts::remark));
        let h = &self.health;
        if let Some(cpu) = h.cpu_s_per_million_tokens {
            lines.push(format!(
                "client: {cpu:.1} CPU s a million tokens, read {:.2} ms late (p99), {} thread(s)",
                h.lateness().p99,
                h.threads
            ));
        }
        lines.extend(self.distortion.doubts.iter().map(|why| format!("DOUBTFUL: {why}")));
        let invalid = self.invalid.iter().chain(&self.distortion.reasons);
        lines.extend(invalid.map(|why| format!("INVALID: {why}")));
        lines
    }
}

fn one_line(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").chars().take(160).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_block_reads_as_that_tool_prints_it() {
        let mut m = Metrics::default();
        for (key, v) in [
            (Key::Completed, 500.0),
            (Key::Failed, 0.0),
            (Key::Duration, 128.79),
            (Key::MeanTtftMs, 62947.131),
        ] {
            m.set(key, v);
        }
        let text = block(&m, &WorkloadSpec::random(4000, 200, 500, 42));
        assert!(text.starts_with("============ Serving Benchmark Result ============\n"), "{text}");
        assert!(text.contains("Successful requests:                     500       \n"), "{text}");
        assert!(text.contains("Benchmark duration (s):                  128.79    \n"), "{text}");
        assert!(text.contains("---------------Time to First Token----------------\n"), "{text}");
        assert!(text.contains("Mean TTFT (ms):                          62947.13  \n"), "{text}");
        assert!(!text.contains("Maximum request concurrency"));
    }
}
