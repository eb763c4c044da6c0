//! What a column of a free table means, by the words of its name.

use crate::scenario::Key;

/// What a column of a free table means.
#[derive(Debug, Clone, Copy, PartialEq)]
pub(super) enum Meaning {
    /// A key of the record.
    Record(&'static str),
    /// A key of its workload.
    Workload(&'static str),
    /// A result, and the factor to its unit.
    Result(Key, f64),
    Tensor,
    Pipeline,
    Data,
    /// A latency whose unit is not in its name.
    NoUnit(Key),
}

/// The meaning of a column's name; None where its words do not tell.
pub(super) fn column(name: &str) -> Option<Meaning> {
    let n: String = name.to_lowercase().chars().map(|c| if c.is_alphanumeric() { c } else { '_' }).collect();
    let words: Vec<&str> = n.split('_').filter(|w| !w.is_empty()).collect();
    let n = words.join("_");
    if let Some(key) = Key::from_name(&n) {
        return Some(Meaning::Result(key, 1.0));
    }
    described(&n)
        .or_else(|| load(&n))
        .or_else(|| count(&n))
        .or_else(|| throughput(&words).map(|key| Meaning::Result(key, 1.0)))
        .or_else(|| latency(&words))
}

/// What was run.
fn described(n: &str) -> Option<Meaning> {
    Some(match n {
        "model" | "model_id" | "model_name" => Meaning::Record("model"),
        "hardware" | "gpu" | "gpu_type" | "gpu_model" | "accelerator" | "device" | "hw" => {
            Meaning::Record("hardware")
        }
        "engine" | "framework" | "backend" | "server" | "inference_engine" => Meaning::Record("engine"),
        "engine_version" | "version" | "framework_version" => Meaning::Record("engine_version"),
        "num_gpus" | "gpus" | "gpu_count" | "n_gpus" => Meaning::Record("num_gpus"),
        "serve_command" | "command" | "launch_command" => Meaning::Record("serve_command"),
        "precision" | "dtype" | "quantization" => Meaning::Record("precision"),
        "tp" | "tp_size" | "tensor_parallel" | "tensor_parallel_size" => Meaning::Tensor,
        "pp" | "pp_size" | "pipeline_parallel_size" => Meaning::Pipeline,
        "dp" | "dp_size" | "data_parallel_size" => Meaning::Data,
        _ => return None,
    })
}

/// The load that it was under.
fn load(n: &str) -> Option<Meaning> {
    Some(Meaning::Workload(match n {
        "input_len"
        | "isl"
        | "input_length"
        | "prompt_len"
        | "prompt_length"
        | "input_tokens"
        | "prompt_tokens"
        | "input_sequence_length"
        | "input_sequence_length_tokens"
        | "random_input_len" => "input_len",
        "output_len"
        | "osl"
        | "output_length"
        | "output_tokens"
        | "completion_tokens"
        | "max_tokens"
        | "output_sequence_length"
        | "output_sequence_length_tokens"
        | "random_output_len" => "output_len",
        "num_prompts" | "num_requests" | "requests" | "request_count" | "n_req" | "n_requests"
        | "num_req" | "number_of_requests" => "num_prompts",
        "concurrency"
        | "conc"
        | "max_concurrency"
        | "maximum_request_concurrency"
        | "max_request_concurrency"
        | "request_concurrency"
        | "users"
        | "num_users"
        | "concurrent_requests"
        | "concurrent_users"
        | "parallel_requests"
        | "vus" => "max_concurrency",
        "request_rate" | "qps" | "rate" | "offered_rate" | "target_qps" => "request_rate",
        _ => return None,
    }))
}

/// Totals of the run.
fn count(n: &str) -> Option<Meaning> {
    let key = match n {
        "duration_s"
        | "benchmark_duration"
        | "benchmark_duration_s"
        | "elapsed_s"
        | "total_time_s"
        | "total_time_sec"
        | "wall_time_s" => Key::Duration,
        "successful_requests" | "successful" | "completed_requests" | "succeeded" => Key::Completed,
        "failed_requests" | "failures" | "errors" | "error_count" => Key::Failed,
        "total_generated_tokens" | "generated_tokens" => Key::TotalOutputTokens,
        _ => return None,
    };
    Some(Meaning::Result(key, 1.0))
}

/// `Output Throughput (tok/s)`, `req/s`, `Total TPS`, `Req Tput (RPS)`: every word has to be known, so that a rate of something
/// else (of a user, of a GPU, of decoding alone, at its peak) is none of these. A rate of tokens that does not say of which is
/// not guessed, and one that names both requests and tokens (`Per-request tok/s`) is the rate of a single request.
fn throughput(words: &[&str]) -> Option<Key> {
    let (mut request, mut token, mut output, mut total, mut rate) = (false, false, false, false, false);
    for word in words {
        match *word {
            "req" | "reqs" | "request" | "requests" => request = true,
            "rps" | "qps" => (request, rate) = (true, true),
            "tps" => (token, rate) = (true, true),
            "throughput" | "tput" | "thpt" | "s" | "sec" | "second" | "seconds" => rate = true,
            "output" | "out" | "gen" | "generated" | "generation" => output = true,
            "total" | "overall" => total = true,
            "tok" | "toks" | "token" | "tokens" => token = true,
            // Of the whole server, which is what is meant anyway.
            "aggregate" | "aggregated" | "system" | "per" | "mean" | "avg" | "average" => {}
            _ => return None,
        }
    }
    match (rate, request, output, total) {
        (_, true, ..) if token => None,
        (true, true, false, _) => Some(Key::RequestThroughput),
        (true, false, true, false) => Some(Key::OutputThroughput),
        (true, false, false, true) => Some(Key::TotalTokenThroughput),
        _ => None,
    }
}

/// `p99_ttft_ms`, `ttft_p50_s`, `Mean TPOT (ms)`, `e2e_latency_avg_ms`.
fn latency(words: &[&str]) -> Option<Meaning> {
    let (mut stats, mut unit, mut rest) = (Vec::new(), None, Vec::new());
    for w in words {
        match *w {
            "mean" | "avg" | "average" => stats.push("mean"),
            "median" | "p50" => stats.push("median"),
            "std" | "stddev" => stats.push("std"),
            "p90" | "p95" | "p99" => stats.push(w),
            "ms" | "msec" | "milliseconds" => unit = Some(1.0),
            "s" | "sec" | "seconds" => unit = Some(1e3),
            "us" => unit = Some(1e-3),
            other => rest.push(other),
        }
    }
    let metric = match rest.join("_").as_str() {
        "ttft" | "time_to_first_token" | "ttft_latency" | "first_token_latency" => "ttft",
        "tpot" | "time_per_output_token" => "tpot",
        "itl" | "inter_token_latency" => "itl",
        "e2el" | "e2e" | "e2e_latency" | "request_latency" | "latency" | "end_to_end_latency" => "e2el",
        _ => return None,
    };
    // A name of two statistics is that of no single figure.
    let stat = match stats.as_slice() {
        [] => "mean",
        [stat] => stat,
        _ => return None,
    };
    let key = Key::from_name(&format!("{stat}_{metric}_ms"))?;
    Some(unit.map_or(Meaning::NoUnit(key), |factor| Meaning::Result(key, factor)))
}

/// A figure in its key's unit; `unit` is the factor to milliseconds that stands beside the figure, `factor` that of its name.
pub(super) fn in_unit(key: Key, figure: f64, unit: Option<f64>, factor: f64) -> f64 {
    match unit {
        // Of all times a run's duration alone is kept in seconds.
        Some(unit) if key == Key::Duration => figure * unit / 1e3,
        Some(unit) => figure * unit,
        None => figure * factor,
    }
}

/// A figure with words behind it: `212.8 ms`, `33.9 tok/s`, `29.5 (-3 %)`. The second part is the factor to milliseconds where the
/// words are a unit of time.
pub(super) fn with_unit(text: &str) -> Option<(f64, Option<f64>)> {
    let text = text.trim();
    let end = text.find(|c: char| !(c.is_ascii_digit() || ".-+e".contains(c))).unwrap_or(text.len());
    let number = text[..end].trim_end_matches('e').parse::<f64>().ok().filter(|n| n.is_finite())?;
    let rest = text[text[..end].trim_end_matches('e').len()..].trim();
    // `80 / 80`: so many of so many.
    if rest.strip_prefix('/').is_some_and(|of| of.trim().parse::<f64>().is_ok()) {
        return Some((number, None));
    }
    let unit = rest.split(['(', ' ']).next().unwrap_or_default().to_lowercase();
    let behind = rest[unit.len().min(rest.len())..].trim();
    // A second figure in the cell is not this one's remark unless it stands in brackets.
    let alone =
        behind.is_empty() || behind.starts_with('(') || !behind.contains(|c: char| c.is_ascii_digit());
    let known = match unit.as_str() {
        "" | "req/s" | "tok/s" | "tokens/s" | "token/s" | "tps" | "rps" | "reqs/s" | "requests/s" => None,
        "ms" => Some(1.0),
        "s" | "sec" => Some(1e3),
        "us" | "µs" => Some(1e-3),
        _ => return None,
    };
    alone.then_some((number, known))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_of_throughputs_and_what_only_looks_like_one() {
        for (name, key) in [
            ("Req Tput (RPS)", Key::RequestThroughput),
            ("Requests/s", Key::RequestThroughput),
            ("Output Token Throughput (tok/s)", Key::OutputThroughput),
            ("gen tok/s", Key::OutputThroughput),
            ("Total TPS", Key::TotalTokenThroughput),
            ("Aggregate output tok/s", Key::OutputThroughput),
            ("system output tok/s", Key::OutputThroughput),
            ("Successful requests", Key::Completed),
        ] {
            assert_eq!(column(name), Some(Meaning::Result(key, 1.0)), "{name}");
        }
        for name in [
            "Tput User (TPS)",
            "Tput Decode (TPS)",
            "Peak output throughput (tok/s)",
            "tok/s",
            "tok/s/GPU",
            "Per-request tok/s",
            "Request throughput (tok/s)",
            "TPS per request",
            "Output tokens/s per request",
        ] {
            assert_eq!(column(name), None, "{name}");
        }
        assert_eq!(column("TTFT p50/p95 (ms)"), None);
        assert_eq!(column("N Req"), Some(Meaning::Workload("num_prompts")));
        assert_eq!(column("P99 TTFT"), Some(Meaning::NoUnit(Key::P99TtftMs)));
    }

    #[test]
    fn figures_with_words_behind_them() {
        assert_eq!(with_unit("212.8 ms"), Some((212.8, Some(1.0))));
        assert_eq!(with_unit("1.2s"), Some((1.2, Some(1e3))));
        assert_eq!(with_unit("29.5 (-3 %)"), Some((29.5, None)));
        assert_eq!(with_unit("33.9 tok/s"), Some((33.9, None)));
        assert_eq!(in_unit(Key::Duration, 500.0, Some(1.0), 1.0), 0.5);
        assert_eq!(in_unit(Key::MeanTtftMs, 0.5, Some(1e3), 1.0), 500.0);
        assert_eq!(with_unit("80 / 80"), Some((80.0, None)));
        for text in ["3 | 4", "12 / 14 ms", "n/a", "95%", "~3"] {
            assert_eq!(with_unit(text), None, "{text}");
        }
    }
}
