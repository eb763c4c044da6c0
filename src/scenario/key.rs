//! Result keys: exactly those that `vllm bench serve --save-result` writes, so that every number can be
//! held beside that tool's.

use serde_json::{Map, Number, Value};
use std::collections::BTreeMap;

macro_rules! keys {
    ($($variant:ident $name:literal,)*) => {
        /// A known result key. Order of the variants is the order in files and tables.
        #[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Key { $($variant,)* }
        impl Key {
            pub const ALL: &[Key] = &[$(Key::$variant,)*];
            pub fn name(self) -> &'static str {
                match self { $(Key::$variant => $name,)* }
            }
            pub fn from_name(name: &str) -> Option<Key> {
                match name { $($name => Some(Key::$variant),)* _ => None }
            }
        }
    };
}

keys! {
    Completed "completed",
    Duration "duration",
    TotalInputTokens "total_input_tokens",
    TotalOutputTokens "total_output_tokens",
    RequestThroughput "request_throughput",
    RequestGoodput "request_goodput",
    OutputThroughput "output_throughput",
    TotalTokenThroughput "total_token_throughput",
    MeanTtftMs "mean_ttft_ms",
    MedianTtftMs "median_ttft_ms",
    StdTtftMs "std_ttft_ms",
    P90TtftMs "p90_ttft_ms",
    P95TtftMs "p95_ttft_ms",
    P99TtftMs "p99_ttft_ms",
    MeanTpotMs "mean_tpot_ms",
    MedianTpotMs "median_tpot_ms",
    StdTpotMs "std_tpot_ms",
    P90TpotMs "p90_tpot_ms",
    P95TpotMs "p95_tpot_ms",
    P99TpotMs "p99_tpot_ms",
    MeanItlMs "mean_itl_ms",
    MedianItlMs "median_itl_ms",
    StdItlMs "std_itl_ms",
    P90ItlMs "p90_itl_ms",
    P95ItlMs "p95_itl_ms",
    P99ItlMs "p99_itl_ms",
    MeanE2elMs "mean_e2el_ms",
    MedianE2elMs "median_e2el_ms",
    StdE2elMs "std_e2el_ms",
    P90E2elMs "p90_e2el_ms",
    P95E2elMs "p95_e2el_ms",
    P99E2elMs "p99_e2el_ms",
    MaxOutputTokensPerS "max_output_tokens_per_s",
    MaxConcurrentRequests "max_concurrent_requests",
    Failed "failed",
    RequestLossRate "request_loss_rate",
}

impl Key {
    /// Counts are written as integers.
    pub fn is_count(self) -> bool {
        matches!(
            self,
            Key::Completed
                | Key::TotalInputTokens
                | Key::TotalOutputTokens
                | Key::MaxConcurrentRequests
                | Key::Failed
        )
    }
    /// True where a larger value is better (throughputs), false for latencies, losses and durations.
    pub fn higher_is_better(self) -> bool {
        matches!(
            self,
            Key::Completed
                | Key::RequestThroughput
                | Key::RequestGoodput
                | Key::OutputThroughput
                | Key::TotalTokenThroughput
                | Key::MaxOutputTokensPerS
        )
    }
}

/// Figures by key, as they stand in a file: counts as integers, the others as numbers.
pub fn to_map(figures: &BTreeMap<Key, f64>) -> Map<String, Value> {
    let mut map = Map::new();
    for (&k, &v) in figures {
        let n = if k.is_count() && v.fract() == 0.0 && v.abs() < 9e15 {
            Some(Number::from(v as i64))
        } else {
            Number::from_f64(v)
        };
        if let Some(n) = n {
            map.insert(k.name().to_owned(), Value::Number(n));
        }
    }
    map
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn names_are_unique_and_round_trip() {
        for &k in Key::ALL {
            assert_eq!(Key::from_name(k.name()), Some(k));
        }
    }
}
