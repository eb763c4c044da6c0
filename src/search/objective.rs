//! What is optimised, and under which service-level objectives: objective and service-level objectives, read from their
//! command-line form and applied to one observation.

use crate::scenario::{Key, Record, RequestRow};
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// Weight of a missed SLO clause in the score: one percent over a limit costs as much as 20 % throughput, so
/// that a candidate that meets its SLO wins over any that does not, while among those that miss
/// them the way towards keeping them still shows.
const VIOLATION_WEIGHT: f64 = 20.0;

/// The quantity to improve.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Objective {
    /// One of the result keys, throughput or latency.
    Metric(Key),
    /// Completed requests that meet every clause of the SLO, per second.
    Goodput,
}

impl Objective {
    pub fn higher_is_better(self) -> bool {
        match self {
            Objective::Metric(k) => k.higher_is_better(),
            Objective::Goodput => true,
        }
    }

    /// The result key under which the value stands in an observation.
    pub fn key(self) -> Key {
        match self {
            Objective::Metric(k) => k,
            Objective::Goodput => Key::RequestGoodput,
        }
    }

    /// Unit for tables.
    pub fn unit(self) -> &'static str {
        match self {
            Objective::Goodput | Objective::Metric(Key::RequestThroughput | Key::RequestGoodput) => "req/s",
            Objective::Metric(Key::OutputThroughput | Key::TotalTokenThroughput) => "tok/s",
            Objective::Metric(_) => "ms",
        }
    }

    /// Value in one observation; `None` when the observation does not hold it.
    pub fn value(self, observation: &Record, slo: &Slo) -> Option<f64> {
        let result = observation.result.as_ref()?;
        match (self, &observation.requests) {
            (Objective::Goodput, Some(rows)) if !slo.0.is_empty() => {
                let good = rows.iter().filter(|r| slo.keeps(r)).count();
                result.get(Key::Duration).filter(|d| *d > 0.0).map(|d| good as f64 / d)
            }
            _ => result.get(self.key()),
        }
    }

    /// The score a search works with: log of the value, larger is better, less what missed clauses of the SLO cost
    /// (not for goodput, which counts them already). A goodput of nothing counts as half a request.
    pub fn score(self, observation: &Record, slo: &Slo) -> Option<f64> {
        let value = self.value(observation, slo)?;
        let least = match self {
            Objective::Goodput => {
                let duration = observation.result.as_ref()?.get(Key::Duration)?;
                0.5 / duration.max(1e-9)
            }
            Objective::Metric(_) => 0.0,
        };
        let value = value.max(least);
        if !(value.is_finite() && value > 0.0) {
            return None;
        }
        let log = if self.higher_is_better() { value.ln() } else { -value.ln() };
        let broken = if self == Objective::Goodput { 0.0 } else { slo.violation(observation) };
        Some(log - VIOLATION_WEIGHT * broken)
    }

    /// Relative improvement from a log gain: +0.25 is a quarter more throughput; for a latency, +0.25 is a
    /// quarter less time.
    pub fn improvement(self, gain: f64) -> f64 {
        if self.higher_is_better() { gain.exp_m1() } else { -(-gain).exp_m1() }
    }
}

impl fmt::Display for Objective {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Objective::Goodput => "goodput",
            Objective::Metric(k) => k.name(),
        })
    }
}

/// Short names beside the result keys themselves.
const SHORT: &[(&str, Key)] = &[
    ("throughput", Key::TotalTokenThroughput),
    ("total", Key::TotalTokenThroughput),
    ("total-throughput", Key::TotalTokenThroughput),
    ("output", Key::OutputThroughput),
    ("output-throughput", Key::OutputThroughput),
    ("request", Key::RequestThroughput),
    ("requests", Key::RequestThroughput),
    ("request-throughput", Key::RequestThroughput),
];

impl FromStr for Objective {
    type Err = String;
    fn from_str(s: &str) -> Result<Objective, String> {
        let short = SHORT.iter().find(|(n, _)| *n == s).map(|(_, k)| *k);
        let latency = || Clause::key_of(s.split_once('.').unwrap_or((s, "mean")));
        let key = match s {
            "goodput" => return Ok(Objective::Goodput),
            _ => short.or_else(|| Key::from_name(s)).or_else(latency),
        };
        let optimisable = |k: &Key| {
            k.name().ends_with("_ms") && !k.name().starts_with("std_")
                || matches!(k, Key::RequestThroughput | Key::OutputThroughput | Key::TotalTokenThroughput)
        };
        key.filter(optimisable).map(Objective::Metric).ok_or_else(|| {
            format!(
                "unknown objective `{s}`; known: total-throughput, output-throughput, request-throughput, goodput, \
                 and ttft, tpot, itl, e2e with .mean, .p50, .p90, .p95 or .p99"
            )
        })
    }
}

/// Objectives and SLOs are written in files as on the command line.
#[cfg(feature = "schemas")]
impl schemars::JsonSchema for Objective {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Objective".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl Serialize for Objective {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Objective {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Objective, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Latency {
    Ttft,
    Tpot,
    Itl,
    E2e,
}

/// One clause of an SLO, such as `ttft.p99=500ms`.
#[derive(Debug, Clone, PartialEq)]
pub struct Clause {
    latency: Latency,
    /// The key whose value must not exceed the limit.
    pub key: Key,
    pub limit_ms: f64,
}

impl Clause {
    fn latency_of(name: &str) -> Option<Latency> {
        Some(match name {
            "ttft" => Latency::Ttft,
            "tpot" => Latency::Tpot,
            "itl" => Latency::Itl,
            "e2e" | "e2el" => Latency::E2e,
            _ => return None,
        })
    }

    fn key_of((name, stat): (&str, &str)) -> Option<Key> {
        let latency = match Clause::latency_of(name)? {
            Latency::Ttft => "ttft",
            Latency::Tpot => "tpot",
            Latency::Itl => "itl",
            Latency::E2e => "e2el",
        };
        let stat = match stat {
            "mean" => "mean",
            "p50" | "median" => "median",
            "p90" => "p90",
            "p95" => "p95",
            "p99" => "p99",
            _ => return None,
        };
        Key::from_name(&format!("{stat}_{latency}_ms"))
    }

    /// Whether a single request stays within the limit.
    fn keeps(&self, r: &RequestRow) -> bool {
        let (Some(ttft), Some(e2e)) = (r.ttft_s, r.e2e_s) else { return false };
        let limit = self.limit_ms / 1e3;
        match self.latency {
            Latency::Ttft => ttft <= limit,
            Latency::E2e => e2e <= limit,
            // A request of one token has no time per output token to break.
            Latency::Tpot => r.output_tokens < 2 || (e2e - ttft) / f64::from(r.output_tokens - 1) <= limit,
            Latency::Itl => r.itl_s.as_ref().is_none_or(|gaps| gaps.iter().all(|g| *g <= limit)),
        }
    }
}

impl fmt::Display for Clause {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let name = match self.latency {
            Latency::Ttft => "ttft",
            Latency::Tpot => "tpot",
            Latency::Itl => "itl",
            Latency::E2e => "e2e",
        };
        let stat = self.key.name().split('_').next().unwrap_or_default().replace("median", "p50");
        write!(f, "{name}.{stat}={}ms", self.limit_ms)
    }
}

impl FromStr for Clause {
    type Err = String;
    fn from_str(s: &str) -> Result<Clause, String> {
        let form = || {
            format!(
                "`{s}` is not a clause such as ttft.p99=500ms (ttft, tpot, itl, e2e; mean, p50, p90, p95, p99)"
            )
        };
        let (what, limit) = s.split_once('=').ok_or_else(form)?;
        let what = what.trim();
        let (name, stat) = what.split_once('.').unwrap_or((what, "p99"));
        let (latency, key) = Clause::latency_of(name).zip(Clause::key_of((name, stat))).ok_or_else(form)?;
        let limit = limit.trim();
        // Fractions of a millisecond are written so, and are no duration to the crate that reads durations.
        let limit_ms = match limit.strip_suffix("ms").unwrap_or(limit).trim().parse::<f64>() {
            Ok(ms) => ms,
            Err(_) => {
                humantime::parse_duration(limit).map_err(|e| format!("{}: {e}", form()))?.as_secs_f64() * 1e3
            }
        };
        if limit_ms > 0.0 && limit_ms.is_finite() {
            Ok(Clause { latency, key, limit_ms })
        } else {
            Err(format!("the limit in `{s}` must be positive"))
        }
    }
}

/// All clauses; an empty SLO is always met.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Slo(pub Vec<Clause>);

impl Slo {
    /// Whether one request stays within every limit (the meaning of `vllm bench serve --goodput`).
    pub fn keeps(&self, r: &RequestRow) -> bool {
        r.error.is_none() && r.e2e_s.is_some() && self.0.iter().all(|c| c.keeps(r))
    }

    /// Sum of the logs by which a run exceeds its limits; 0 when it keeps all of them.
    pub fn violation(&self, observation: &Record) -> f64 {
        let Some(result) = &observation.result else { return 0.0 };
        let over = |c: &Clause| result.get(c.key).map_or(0.0, |v| (v / c.limit_ms).max(1.0).ln());
        self.0.iter().map(over).sum()
    }
}

impl fmt::Display for Slo {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let all: Vec<String> = self.0.iter().map(Clause::to_string).collect();
        f.write_str(&all.join(","))
    }
}

impl FromStr for Slo {
    type Err = String;
    fn from_str(s: &str) -> Result<Slo, String> {
        let parts = s.split(',').map(str::trim).filter(|p| !p.is_empty());
        parts.map(Clause::from_str).collect::<Result<Vec<_>, _>>().map(Slo)
    }
}

#[cfg(feature = "schemas")]
impl schemars::JsonSchema for Slo {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Slo".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "type": "string" })
    }
}

impl Serialize for Slo {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        s.collect_str(self)
    }
}

impl<'de> Deserialize<'de> for Slo {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Slo, D::Error> {
        String::deserialize(d)?.parse().map_err(serde::de::Error::custom)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Metrics;

    fn observation(values: &[(Key, f64)]) -> Record {
        let mut m = Metrics::default();
        for &(k, v) in values {
            m.set(k, v);
        }
        Record { result: Some(m), ..Record::default() }
    }

    #[test]
    fn limits_below_a_millisecond_survive_the_record() {
        for text in ["itl.p99=500us", "ttft.p99=1500us", "tpot.mean=0.3ms", "e2e.p50=2s"] {
            let slo: Slo = text.parse().unwrap();
            assert_eq!(slo.to_string().parse::<Slo>(), Ok(slo), "{text}");
        }
    }

    #[test]
    fn names_parse_to_keys_and_back() {
        for (text, key) in [
            ("total", Key::TotalTokenThroughput),
            ("ttft", Key::MeanTtftMs),
            ("tpot.p99", Key::P99TpotMs),
            ("e2e.p50", Key::MedianE2elMs),
            ("p95_itl_ms", Key::P95ItlMs),
        ] {
            let o: Objective = text.parse().unwrap();
            assert_eq!(o, Objective::Metric(key));
            assert_eq!(o.to_string().parse::<Objective>().unwrap(), o);
        }
        for bad in ["", "speed", "std_ttft_ms", "completed", "ttft.p77"] {
            assert!(bad.parse::<Objective>().is_err(), "{bad}");
        }
    }

    #[test]
    fn clauses_parse_with_units() {
        let slo: Slo = "ttft.p99=500ms,tpot.p99=50ms,e2e=2s".parse().unwrap();
        assert_eq!(slo.0[2].limit_ms, 2000.0);
        assert_eq!(slo.to_string().parse::<Slo>().unwrap(), slo);
        for bad in ["ttft", "ttft.p99=-1", "speed=3ms", "ttft.p99=abc"] {
            assert!(bad.parse::<Slo>().is_err(), "{bad}");
        }
    }

    #[test]
    fn scores_turn_latencies_round_and_punish_missed_clauses() {
        let o: Objective = "tpot".parse().unwrap();
        let score = |ms| o.score(&observation(&[(Key::MeanTpotMs, ms)]), &Slo::default()).unwrap();
        assert!(score(10.0) > score(20.0));
        assert!((o.improvement(score(10.0) - score(20.0)) - 0.5).abs() < 1e-12);
        let slo: Slo = "ttft.p99=100ms".parse().unwrap();
        let run = |tps, ttft| observation(&[(Key::TotalTokenThroughput, tps), (Key::P99TtftMs, ttft)]);
        let t: Objective = "total".parse().unwrap();
        assert!(t.score(&run(100.0, 99.0), &slo) > t.score(&run(300.0, 110.0), &slo));
        assert_eq!(t.score(&observation(&[]), &slo), None);
    }

    #[test]
    fn goodput_counts_requests_that_meet_every_clause() {
        let row = |ttft, e2e| RequestRow {
            output_tokens: 11,
            ttft_s: Some(ttft),
            e2e_s: Some(e2e),
            ..RequestRow::default()
        };
        let mut o = observation(&[(Key::Duration, 2.0)]);
        let failed = RequestRow { error: Some("timeout".into()), ..RequestRow::default() };
        o.requests = Some(vec![row(0.1, 0.3), row(0.9, 1.0), row(0.1, 1.2), failed]);
        let slo: Slo = "ttft.p99=500ms,tpot.p99=50ms".parse().unwrap();
        assert_eq!(Objective::Goodput.value(&o, &slo), Some(0.5));
    }
}
