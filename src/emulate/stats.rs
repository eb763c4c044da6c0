//! Counters, gauges and histograms behind `/metrics`, under vLLM's names.

use crate::sim::scheduler::Gauges;
use std::fmt::Write;

/// A cumulative histogram with fixed upper bounds.
#[derive(Debug, Clone)]
pub struct Histogram {
    bounds: &'static [f64],
    counts: Vec<u64>,
    sum: f64,
    count: u64,
}

impl Histogram {
    fn new(bounds: &'static [f64]) -> Histogram {
        Histogram { bounds, counts: vec![0; bounds.len()], sum: 0.0, count: 0 }
    }

    pub fn observe(&mut self, x: f64) {
        let at = self.bounds.partition_point(|b| *b < x);
        if let Some(c) = self.counts.get_mut(at) {
            *c += 1;
        }
        self.sum += x;
        self.count += 1;
    }

    pub fn count(&self) -> u64 {
        self.count
    }

    pub fn sum(&self) -> f64 {
        self.sum
    }

    fn write(&self, out: &mut String, name: &str, doc: &str, labels: &str) {
        let _ = writeln!(out, "# HELP {name} {doc}\n# TYPE {name} histogram");
        let mut total = 0;
        for (bound, n) in self.bounds.iter().zip(&self.counts) {
            total += n;
            let _ = writeln!(out, "{name}_bucket{{{labels},le=\"{bound:?}\"}} {total}");
        }
        let _ = writeln!(out, "{name}_bucket{{{labels},le=\"+Inf\"}} {}", self.count);
        let _ = writeln!(out, "{name}_count{{{labels}}} {}\n{name}_sum{{{labels}}} {}", self.count, self.sum);
    }
}

// The buckets of vLLM 0.11's loggers for times, and its 1-2-5 series for token counts.
const TTFT: &[f64] = &[
    0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0,
    80.0, 160.0, 640.0, 2560.0,
];
const ITL: &[f64] = &[
    0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1.0, 2.5, 5.0, 7.5, 10.0, 20.0, 40.0, 80.0,
];
const REQUEST: &[f64] = &[
    0.3, 0.5, 0.8, 1.0, 1.5, 2.0, 2.5, 5.0, 10.0, 15.0, 20.0, 30.0, 40.0, 50.0, 60.0, 120.0, 240.0, 480.0,
    960.0, 1920.0, 7680.0,
];
const COUNT: &[f64] = &[
    1.0, 2.0, 5.0, 10.0, 20.0, 50.0, 100.0, 200.0, 500.0, 1000.0, 2000.0, 5000.0, 10000.0, 20000.0, 50000.0,
    100000.0,
];
const ITERATION: &[f64] =
    &[1.0, 8.0, 16.0, 32.0, 64.0, 128.0, 256.0, 512.0, 1024.0, 2048.0, 4096.0, 8192.0, 16384.0];

/// Everything that the engine counts.
#[derive(Debug, Clone)]
pub struct Stats {
    pub gauges: Gauges,
    pub prompt_tokens: u64,
    pub generation_tokens: u64,
    /// Finished by length, by stop, aborted.
    pub success: [u64; 3],
    pub steps: u64,
    pub ttft: Histogram,
    pub itl: Histogram,
    pub tpot: Histogram,
    pub e2e: Histogram,
    pub queue_time: Histogram,
    pub prefill_time: Histogram,
    pub decode_time: Histogram,
    pub inference_time: Histogram,
    pub prompt_len: Histogram,
    pub generation_len: Histogram,
    pub iteration_tokens: Histogram,
    /// Σ over emissions of how long after its due time the engine thread sent it, seconds.
    pub late_s: f64,
    pub late_max_s: f64,
    pub emissions: u64,
}

impl Default for Stats {
    fn default() -> Stats {
        Stats {
            gauges: Gauges::default(),
            prompt_tokens: 0,
            generation_tokens: 0,
            success: [0; 3],
            steps: 0,
            ttft: Histogram::new(TTFT),
            itl: Histogram::new(ITL),
            tpot: Histogram::new(ITL),
            e2e: Histogram::new(REQUEST),
            queue_time: Histogram::new(REQUEST),
            prefill_time: Histogram::new(REQUEST),
            decode_time: Histogram::new(REQUEST),
            inference_time: Histogram::new(REQUEST),
            prompt_len: Histogram::new(COUNT),
            generation_len: Histogram::new(COUNT),
            iteration_tokens: Histogram::new(ITERATION),
            late_s: 0.0,
            late_max_s: 0.0,
            emissions: 0,
        }
    }
}

/// What `/metrics` says beside the counters.
#[derive(Debug, Clone)]
pub struct Labels {
    pub model_name: String,
    /// Label pairs of `vllm:cache_config_info`.
    pub cache_config: Vec<(String, String)>,
    pub version: (u32, u32, u32),
}

impl Stats {
    /// The exposition text.
    pub fn render(&self, labels: &Labels, http_late: (f64, u64)) -> String {
        let l = format!("engine=\"0\",model_name=\"{}\"", escape(&labels.model_name));
        let mut out = String::with_capacity(16 * 1024);
        let mut line = |kind: &str, name: &str, doc: &str, value: f64| {
            let suffix = if kind == "counter" { "_total" } else { "" };
            let _ = writeln!(out, "# HELP {name}{suffix} {doc}\n# TYPE {name}{suffix} {kind}");
            let _ = writeln!(out, "{name}{suffix}{{{l}}} {value}");
        };
        let g = &self.gauges;
        let usage = g.kv_blocks_used as f64 / (g.kv_blocks_total.max(1)) as f64;
        line(
            "gauge",
            "vllm:num_requests_running",
            "Requests in model execution batches.",
            f64::from(g.running),
        );
        line("gauge", "vllm:num_requests_waiting", "Requests waiting to be processed.", f64::from(g.waiting));
        line("gauge", "vllm:kv_cache_usage_perc", "KV-cache usage, 1 means 100 percent.", usage);
        line("counter", "vllm:num_preemptions", "Cumulative number of preemptions.", g.preemptions as f64);
        line(
            "counter",
            "vllm:prefix_cache_queries",
            "Prefix cache queries, in tokens.",
            g.prefix_queries as f64,
        );
        line("counter", "vllm:prefix_cache_hits", "Prefix cache hits, in tokens.", g.prefix_hits as f64);
        line("counter", "vllm:prompt_tokens", "Prefill tokens processed.", self.prompt_tokens as f64);
        line(
            "counter",
            "vllm:generation_tokens",
            "Generation tokens processed.",
            self.generation_tokens as f64,
        );
        line(
            "counter",
            "dyno:emulate_late_seconds",
            "Sum over step outputs of how late they were sent.",
            self.late_s,
        );
        line("counter", "dyno:emulate_outputs", "Step outputs sent.", self.emissions as f64);
        line("gauge", "dyno:emulate_late_max_seconds", "Largest lateness of a step output.", self.late_max_s);
        line(
            "counter",
            "dyno:emulate_wire_late_seconds",
            "Sum over writes of tokens of how late they were; early ones count negative.",
            http_late.0,
        );
        line("counter", "dyno:emulate_wire_writes", "Writes of tokens to clients.", http_late.1 as f64);
        if labels.version < (0, 12, 0) {
            line("gauge", "vllm:gpu_cache_usage_perc", "Deprecated: vllm:kv_cache_usage_perc.", usage);
            line("counter", "vllm:gpu_prefix_cache_queries", "Deprecated.", g.prefix_queries as f64);
            line("counter", "vllm:gpu_prefix_cache_hits", "Deprecated.", g.prefix_hits as f64);
        }
        self.success_lines(&mut out, &l);
        self.histograms(&mut out, &l, labels.version);
        let _ = writeln!(out, "# HELP vllm:cache_config_info Information of the LLMEngine CacheConfig");
        let _ = writeln!(out, "# TYPE vllm:cache_config_info gauge");
        let pairs: Vec<String> =
            labels.cache_config.iter().map(|(k, v)| format!("{k}=\"{}\"", escape(v))).collect();
        let _ = writeln!(out, "vllm:cache_config_info{{{}}} 1.0", pairs.join(","));
        out
    }

    fn success_lines(&self, out: &mut String, l: &str) {
        let _ = writeln!(out, "# HELP vllm:request_success_total Count of successfully processed requests.");
        let _ = writeln!(out, "# TYPE vllm:request_success_total counter");
        for (reason, n) in ["length", "stop", "abort"].iter().zip(self.success) {
            let _ = writeln!(out, "vllm:request_success_total{{{l},finished_reason=\"{reason}\"}} {n}");
        }
    }

    fn histograms(&self, out: &mut String, l: &str, version: (u32, u32, u32)) {
        self.ttft.write(out, "vllm:time_to_first_token_seconds", "Time to first token.", l);
        self.itl.write(out, "vllm:inter_token_latency_seconds", "Inter-token latency.", l);
        if version < (0, 15, 0) {
            self.itl.write(out, "vllm:time_per_output_token_seconds", "Inter-token latency (old name).", l);
        }
        self.tpot.write(out, "vllm:request_time_per_output_token_seconds", "Time per output token.", l);
        self.e2e.write(out, "vllm:e2e_request_latency_seconds", "End-to-end request latency.", l);
        for (name, doc, h) in [
            ("vllm:request_queue_time_seconds", "Time in the WAITING phase.", &self.queue_time),
            ("vllm:request_prefill_time_seconds", "Time in the PREFILL phase.", &self.prefill_time),
            ("vllm:request_decode_time_seconds", "Time in the DECODE phase.", &self.decode_time),
            ("vllm:request_inference_time_seconds", "Time in the RUNNING phase.", &self.inference_time),
        ] {
            h.write(out, name, doc, l);
        }
        self.prompt_len.write(out, "vllm:request_prompt_tokens", "Prefill tokens of a request.", l);
        self.generation_len.write(out, "vllm:request_generation_tokens", "Generated tokens of a request.", l);
        self.iteration_tokens.write(out, "vllm:iteration_tokens_total", "Tokens per engine step.", l);
    }
}

fn escape(s: &str) -> String {
    s.replace('\\', "\\\\").replace('"', "\\\"").replace('\n', "\\n")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_text_has_vllms_names_and_cumulative_buckets() {
        let mut s = Stats { prompt_tokens: 7, ..Stats::default() };
        for x in [0.0005, 0.001, 0.3, 9999.0] {
            s.ttft.observe(x);
        }
        let labels = Labels {
            model_name: "a\"b".into(),
            cache_config: vec![("num_gpu_blocks".into(), "12".into())],
            version: (0, 11, 0),
        };
        let text = s.render(&labels, (0.5, 3));
        let l = "engine=\"0\",model_name=\"a\\\"b\"";
        for want in [
            format!("vllm:prompt_tokens_total{{{l}}} 7"),
            format!("vllm:time_to_first_token_seconds_bucket{{{l},le=\"0.001\"}} 2"),
            format!("vllm:time_to_first_token_seconds_bucket{{{l},le=\"0.5\"}} 3"),
            format!("vllm:time_to_first_token_seconds_bucket{{{l},le=\"+Inf\"}} 4"),
            "vllm:cache_config_info{num_gpu_blocks=\"12\"} 1.0".to_owned(),
            format!("vllm:gpu_cache_usage_perc{{{l}}} 0"),
        ] {
            assert!(text.lines().any(|line| line == want), "{want}\n{text}");
        }
        let newer = s.render(&Labels { version: (0, 15, 0), ..labels }, (0.0, 0));
        assert!(!newer.contains("gpu_cache_usage_perc") && !newer.contains("time_per_output_token_seconds_bucket{engine=\"0\",model_name=\"a\\\"b\",le=\"0.01\"} 0\nvllm:time_per"));
    }
}
