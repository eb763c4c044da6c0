//! Predicted values with their intervals, which must agree with one another: what one says bounds the others.

use super::discrepancy::Family;
use crate::scenario::Key;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// A predicted value with its central 90 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
pub struct Interval {
    pub value: f64,
    pub p05: f64,
    pub p95: f64,
}

/// Throughputs and the duration are one quantity seen four ways: they move together.
pub(super) fn reconcile(values: &mut BTreeMap<Key, Interval>) {
    let Some(total) = values.get(&Key::TotalTokenThroughput).copied() else { return };
    let tokens = |k| values.get(&k).map_or(f64::NAN, |v: &Interval| v.value);
    let (input, output) = (tokens(Key::TotalInputTokens), tokens(Key::TotalOutputTokens));
    let done = tokens(Key::Completed);
    let all = input + output;
    if all.is_nan() || all <= 0.0 {
        return;
    }
    let scaled = |f: f64| Interval { value: total.value * f, p05: total.p05 * f, p95: total.p95 * f };
    values.insert(Key::OutputThroughput, scaled(output / all));
    values.insert(Key::RequestThroughput, scaled(done / all));
    values.insert(
        Key::Duration,
        Interval { value: all / total.value, p05: all / total.p95, p95: all / total.p05 },
    );
}

/// No request of a run waits longer for its first token than the run takes: bounds of TTFT end at the upper bound of the
/// duration. Says so where that cuts one off.
pub(super) fn within_the_run(values: &mut BTreeMap<Key, Interval>) -> Option<String> {
    let longest_ms = 1e3 * values.get(&Key::Duration)?.p95;
    let ttft =
        |k: &Key| matches!(Family::of(*k), Some(Family::Ttft | Family::TtftTail)) && *k != Key::StdTtftMs;
    let mut cut = false;
    for (_, v) in values.iter_mut().filter(|(k, _)| ttft(k)) {
        let most = longest_ms.max(v.value);
        cut |= v.p95 > most;
        v.p95 = v.p95.min(most);
    }
    cut.then(|| {
        format!(
            "whether this launch sustains the load is not sure: the upper bounds of TTFT end at that of the whole run, {:.0} s",
            longest_ms / 1e3
        )
    })
}

/// No first token comes before its own prompt is computed once at the device's peaks: `mean_ms` for a prompt of mean length, which
/// bounds the mean, since that time is convex in the length; `shortest_ms` for the shortest, which bounds every quantile.
pub(super) fn no_sooner_than(values: &mut BTreeMap<Key, Interval>, mean_ms: f64, shortest_ms: f64) {
    for (key, v) in values {
        let least = match (Family::of(*key), *key) {
            (_, Key::StdTtftMs) => continue,
            (Some(Family::Ttft), Key::MeanTtftMs) => mean_ms,
            (Some(Family::Ttft | Family::TtftTail), _) => shortest_ms,
            _ => continue,
        };
        v.p05 = v.p05.max(least.min(v.value));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn no_first_token_comes_before_its_prompt() {
        let one = |value, p05, p95| Interval { value, p05, p95 };
        let mut values = BTreeMap::from([
            (Key::MeanTtftMs, one(11_400.0, 1e-6, 253e3)),
            (Key::MedianTtftMs, one(9000.0, 20.0, 1e5)),
            (Key::P99TtftMs, one(8.0, 2.0, 90.0)),
            (Key::StdTtftMs, one(5.0, 0.1, 90.0)),
            (Key::MeanTpotMs, one(20.0, 1e-6, 90.0)),
        ]);
        no_sooner_than(&mut values, 90.0, 15.0);
        assert_eq!(values[&Key::MeanTtftMs].p05, 90.0);
        assert_eq!(values[&Key::MedianTtftMs].p05, 20.0, "a bound that is higher stays");
        assert_eq!(values[&Key::P99TtftMs].p05, 8.0, "never above the value");
        assert_eq!((values[&Key::StdTtftMs].p05, values[&Key::MeanTpotMs].p05), (0.1, 1e-6));
    }

    #[test]
    fn no_request_waits_longer_than_its_run() {
        let one = |value, p05, p95| Interval { value, p05, p95 };
        let mut values = BTreeMap::from([
            (Key::Duration, one(300.0, 290.0, 900.0)),
            (Key::MeanTtftMs, one(600.0, 1.0, 1.2e8)),
            (Key::P99TtftMs, one(2000.0, 900.0, 5000.0)),
            (Key::MeanTpotMs, one(100.0, 50.0, 1e7)),
        ]);
        let said = within_the_run(&mut values).unwrap();
        assert!(said.contains("900 s"), "{said}");
        assert_eq!(values[&Key::MeanTtftMs], one(600.0, 1.0, 9e5));
        assert_eq!(values[&Key::P99TtftMs], one(2000.0, 900.0, 5000.0));
        assert_eq!(values[&Key::MeanTpotMs].p95, 1e7, "only waiting is bounded by the run");
        assert_eq!(within_the_run(&mut values), None);
    }
}
