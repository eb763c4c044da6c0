//! The largest numbers that a workload may have, so that a slip of a digit is an answer and neither hours nor gigabytes.

use super::{RequestRate, WorkloadSpec};
use crate::error::Problem;

/// Requests of a workload, the turns of all its sessions counted.
pub(super) const REQUESTS: u64 = 4_000_000;
/// Tokens of one prompt, prefix or answer: longer than any model's context.
pub(super) const TOKENS: u32 = 1 << 24;
/// Requests in flight: more than a client has ports for.
const IN_FLIGHT: u32 = 1 << 20;
/// Seconds from the first arrival to the last: a year.
const SPAN_S: f64 = 31_557_600.0;
/// Requests a second.
const RATE: f64 = 1e9;
/// Token ids of all prompts together that are made, of 4 bytes each.
pub(super) const PROMPT_TOKENS: u64 = 1 << 29;

/// What is larger in this workload than anything that can be run.
pub(super) fn problems(spec: &WorkloadSpec, place: &str) -> Vec<Problem> {
    let mut problems = Vec::new();
    let mut bad = |key: &str, message: String| problems.push(Problem::new(place, key, message));
    let requests = u64::from(spec.num_prompts.unwrap_or(1)) * u64::from(spec.turns.unwrap_or(1));
    if requests > REQUESTS {
        bad("num_prompts", format!("asks for {requests} requests; at most {REQUESTS} are made"));
    }
    let high = |range: Option<(u32, u32)>| range.map(|r| r.1);
    for (key, value) in [
        ("input_len", spec.input_len),
        ("output_len", spec.output_len),
        ("random_prefix_len", spec.random_prefix_len),
        ("input_range", high(spec.input_range)),
        ("output_range", high(spec.output_range)),
        ("context_min", spec.context_min),
        ("context_max", spec.context_max),
    ] {
        if value.is_some_and(|v| v > TOKENS) {
            bad(key, format!("must not be above {TOKENS} tokens"));
        }
    }
    let prefixes =
        u64::from(spec.prefix_groups.unwrap_or(1)) * u64::from(spec.random_prefix_len.unwrap_or(0));
    if prefixes > PROMPT_TOKENS || spec.prefix_groups.is_some_and(|g| u64::from(g) > REQUESTS) {
        bad("prefix_groups", format!("must hold at most {PROMPT_TOKENS} tokens in {REQUESTS} groups"));
    }
    if spec.max_concurrency.is_some_and(|c| c > IN_FLIGHT) {
        bad("max_concurrency", format!("must not be above {IN_FLIGHT}; null is no limit"));
    }
    if let RequestRate::PerSecond(rate) = spec.request_rate {
        if rate > RATE {
            bad("request_rate", format!("must not be above {RATE} a second; \"inf\" is all at once"));
        } else if spec.stages.is_none() && f64::from(spec.num_prompts.unwrap_or(1)) / rate > SPAN_S {
            bad("request_rate", "would send the last request more than a year after the first".into());
        }
    }
    let lasting: f64 = spec.stages.iter().flatten().map(|s| s.seconds).sum();
    if lasting > SPAN_S {
        bad("stages", "must not last more than a year".into());
    }
    if spec.time_scale.is_some_and(|s| s > 1e6) {
        bad("time_scale", "must not be above 1000000".into());
    }
    problems
}

#[cfg(test)]
mod tests {
    use crate::workload::{generate, parse};

    #[test]
    fn numbers_that_nothing_could_run_are_refused_by_their_key() {
        for (text, key) in [
            ("random:8/4,n=4000000000", "num_prompts"),
            ("random:8/4,n=100000000", "num_prompts"),
            ("random:8/4,scale=1e300", "num_prompts"),
            ("sharegpt,scale=1e5", "num_prompts"),
            ("chat,turns=4000000000", "num_prompts"),
            ("chat,context=1-4294967295", "context_max"),
            ("random:8/4,concurrency=4294967295", "max_concurrency"),
            ("random:8/4,n=100,rate=1e-300", "request_rate"),
            ("random:8/4,rate=1e300", "request_rate"),
            ("random:4000000000/4000000000", "output_len"),
            ("random:8/4,prefix=4294967295", "random_prefix_len"),
            ("random:8/4,prefix=5,prefix-groups=4294967295", "prefix_groups"),
            ("random:8/4,stages=1@1e8", "stages"),
            ("mix:1*random:8/4000000000,n=10", "output_len"),
        ] {
            let error = parse(text).unwrap_err();
            assert!(error.problems.iter().any(|p| p.key.contains(key)), "{text}: {error}");
        }
        // Each number is fine, and all prompts together are not.
        let much = parse("random:1000000/1,n=4000").unwrap();
        assert!(generate(&much, 1000).unwrap_err().to_string().contains("tokens"));
    }
}
