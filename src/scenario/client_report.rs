//! What a measuring client says of a run besides the result keys: its own lateness, losses, doubts, the steady part.
//!
//! On disk every figure stands flat among the result keys, under the names that other programs read.

use super::key::{Key, to_map};
use serde::de::DeserializeOwned;
use serde::{Deserialize, Deserializer, Serialize, Serializer};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Mean, 99th percentile and largest value of one quantity, in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Spread {
    pub mean_ms: f64,
    pub p99_ms: f64,
    pub max_ms: f64,
}

/// The part of a run at full load, as [`crate::load::steady`] finds it. Times count from the start of the run.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct SteadyPart {
    pub from_s: f64,
    pub to_s: f64,
    pub requests: usize,
    /// Requests and tokens a second.
    pub request_throughput: f64,
    pub output_throughput: f64,
    pub mean_ttft_ms: f64,
    pub p99_ttft_ms: f64,
    pub mean_e2el_ms: f64,
}

/// What client and network add to the truth at one load, on this machine, now. The known-timing server shares the
/// machine, so that this is an upper bound of the client's own share. Times in milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct ErrorFloor {
    pub in_flight: u32,
    /// Measured minus true time to first token.
    pub mean_ttft_ms: f64,
    pub p99_ttft_ms: f64,
    /// Measured minus true gap between tokens.
    pub mean_itl_ms: f64,
    pub p99_itl_ms: f64,
    /// Mean lateness of the server against its own deadlines, included in the errors above.
    pub server_late_ms: f64,
    /// What is left of the errors above when the times at which the server really wrote are taken for the truth.
    pub own_mean_ttft_ms: f64,
    pub own_p99_itl_ms: f64,
}

impl ErrorFloor {
    /// In one line.
    pub fn summary(&self) -> String {
        format!(
            "error floor at {} in flight: TTFT {:+.2} ms (p99 {:+.2}), ITL {:+.3} ms (p99 {:+.2}); without the \
             known-timing server's own lateness: mean TTFT {:+.2} ms, p99 ITL {:+.2} ms",
            self.in_flight,
            self.mean_ttft_ms,
            self.p99_ttft_ms,
            self.mean_itl_ms,
            self.p99_itl_ms,
            self.own_mean_ttft_ms,
            self.own_p99_itl_ms
        )
    }
}

/// The result keys over the requests of one part of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ComponentFigures {
    pub workload: String,
    pub weight: f64,
    #[serde(flatten, serialize_with = "write_figures", deserialize_with = "read_figures")]
    pub figures: BTreeMap<Key, f64>,
}

impl ComponentFigures {
    pub fn get(&self, key: Key) -> Option<f64> {
        self.figures.get(&key).copied()
    }
}

fn write_figures<S: Serializer>(figures: &BTreeMap<Key, f64>, s: S) -> Result<S::Ok, S::Error> {
    to_map(figures).serialize(s)
}

fn read_figures<'de, D: Deserializer<'de>>(d: D) -> Result<BTreeMap<Key, f64>, D::Error> {
    let map = Map::deserialize(d)?;
    Ok(map.iter().filter_map(|(name, v)| Some((Key::from_name(name)?, v.as_f64()?))).collect())
}

/// What the engine's own metrics endpoint counted while the run lasted.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct EngineCounts {
    pub preemptions: Option<f64>,
    pub peak_running: Option<f64>,
    pub peak_waiting: Option<f64>,
    /// Share of the KV cache, 0 to 1.
    pub peak_kv_usage: Option<f64>,
}

/// The client's report on one run. Empty for runs that another tool measured or the simulator forecast.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClientReport {
    /// Send time after the intended send time.
    pub send_late: Option<Spread>,
    /// Latencies from the intended send time.
    pub ttft_from_intended: Option<Spread>,
    pub e2el_from_intended: Option<Spread>,
    /// Send to response headers.
    pub headers: Option<Spread>,
    pub connect: Option<Spread>,
    pub write: Option<Spread>,
    pub tokens_per_chunk: Option<f64>,
    /// Time between chunks, shared among the tokens that they carried.
    pub mean_token_gap_ms: Option<f64>,
    /// Tokens of answers that did not complete.
    pub lost_output_tokens: Option<f64>,
    /// Share of prompt tokens that the engine answered from its prefix cache, 0 to 1.
    pub cache_hit_ratio: Option<f64>,
    pub engine: EngineCounts,
    /// Lost requests by kind of error.
    pub errors: BTreeMap<String, u64>,
    pub steady: Option<SteadyPart>,
    /// CPU, lateness and memory of the client itself, by name.
    pub health: BTreeMap<String, f64>,
    /// Why the figures must not be used, and what else is doubtful.
    pub invalid: Vec<String>,
    pub doubts: Vec<String>,
    /// Names of the result keys that the client may have distorted.
    pub untrusted: Vec<String>,
    pub components: Vec<ComponentFigures>,
    pub error_floor: Option<ErrorFloor>,
}

impl Spread {
    /// Of values in milliseconds, in any order; nothing of none.
    pub fn of(mut values: Vec<f64>) -> Option<Spread> {
        values.sort_by(f64::total_cmp);
        let max_ms = rounded(*values.last()?)?;
        Some(Spread {
            mean_ms: rounded(crate::stats::mean(&values))?,
            p99_ms: rounded(crate::stats::quantile_sorted(&values, 0.99))?,
            max_ms,
        })
    }
}

/// To a tenth of a microsecond where milliseconds are meant: what is finer is no measurement. `None` if not finite.
pub fn rounded(value: f64) -> Option<f64> {
    // Nothing is minus nothing: an empty sum of floats is.
    value.is_finite().then(|| (value * 1e4).round() / 1e4 + 0.0)
}

impl ClientReport {
    /// Adds the figures to the result keys of a file.
    pub(super) fn write(&self, map: &mut Map<String, Value>) {
        for (name, spread) in self.spreads() {
            let Some(s) = spread else { continue };
            for (figure, value) in [("mean", s.mean_ms), ("p99", s.p99_ms), ("max", s.max_ms)] {
                put(map, &format!("{figure}_{name}_ms"), Some(value));
            }
        }
        for (name, value) in self.numbers() {
            put(map, name, value);
        }
        put(map, "errors", filled(&self.errors, self.errors.is_empty()));
        put(map, "steady", self.steady);
        put(map, "client", filled(&self.health, self.health.is_empty()));
        put(map, "invalid", filled(&self.invalid, self.invalid.is_empty()));
        put(map, "doubts", filled(&self.doubts, self.doubts.is_empty()));
        put(map, "untrusted", filled(&self.untrusted, self.untrusted.is_empty()));
        put(map, "components", filled(&self.components, self.components.is_empty()));
        put(map, "error_floor", self.error_floor);
    }

    /// Takes out of a file's other keys what a client of dyno wrote. A key of that name with another shape belongs to
    /// another tool and stays.
    pub(super) fn take(map: &mut Map<String, Value>) -> ClientReport {
        let mut spread = |name: &str| {
            let names = ["mean", "p99", "max"].map(|figure| format!("{figure}_{name}_ms"));
            let value = |n: &String| map.get(n).and_then(Value::as_f64);
            let (mean_ms, p99_ms, max_ms) = (value(&names[0])?, value(&names[1])?, value(&names[2])?);
            for n in &names {
                map.shift_remove(n);
            }
            Some(Spread { mean_ms, p99_ms, max_ms })
        };
        ClientReport {
            send_late: spread("send_late"),
            ttft_from_intended: spread("ttft_from_intended"),
            e2el_from_intended: spread("e2el_from_intended"),
            headers: spread("headers"),
            connect: spread("connect"),
            write: spread("write"),
            tokens_per_chunk: take(map, "tokens_per_chunk"),
            mean_token_gap_ms: take(map, "mean_token_gap_ms"),
            lost_output_tokens: take(map, "lost_output_tokens"),
            cache_hit_ratio: take(map, "cache_hit_ratio"),
            engine: EngineCounts {
                preemptions: take(map, "engine_preemptions"),
                peak_running: take(map, "engine_peak_running"),
                peak_waiting: take(map, "engine_peak_waiting"),
                peak_kv_usage: take(map, "engine_peak_kv_usage"),
            },
            errors: take(map, "errors").unwrap_or_default(),
            steady: take(map, "steady"),
            health: take(map, "client").unwrap_or_default(),
            invalid: take(map, "invalid").unwrap_or_default(),
            doubts: take(map, "doubts").unwrap_or_default(),
            untrusted: take(map, "untrusted").unwrap_or_default(),
            components: take(map, "components").unwrap_or_default(),
            error_floor: take(map, "error_floor"),
        }
    }

    fn spreads(&self) -> [(&'static str, Option<Spread>); 6] {
        [
            ("send_late", self.send_late),
            ("ttft_from_intended", self.ttft_from_intended),
            ("e2el_from_intended", self.e2el_from_intended),
            ("headers", self.headers),
            ("connect", self.connect),
            ("write", self.write),
        ]
    }

    fn numbers(&self) -> [(&'static str, Option<f64>); 8] {
        [
            ("tokens_per_chunk", self.tokens_per_chunk),
            ("mean_token_gap_ms", self.mean_token_gap_ms),
            ("lost_output_tokens", self.lost_output_tokens),
            ("cache_hit_ratio", self.cache_hit_ratio),
            ("engine_preemptions", self.engine.preemptions),
            ("engine_peak_running", self.engine.peak_running),
            ("engine_peak_waiting", self.engine.peak_waiting),
            ("engine_peak_kv_usage", self.engine.peak_kv_usage),
        ]
    }

    /// Names and shapes on disk, for the schema of the result keys.
    #[cfg(feature = "schemas")]
    pub(super) fn schema(generator: &mut schemars::SchemaGenerator, properties: &mut Map<String, Value>) {
        let empty = ClientReport::default();
        let number = || serde_json::json!({ "type": "number" });
        for (name, _) in empty.spreads() {
            for figure in ["mean", "p99", "max"] {
                properties.insert(format!("{figure}_{name}_ms"), number());
            }
        }
        properties.extend(empty.numbers().map(|(name, _)| (name.to_owned(), number())));
        // `vllm bench serve --save-detailed` writes a list under the same name.
        properties.insert("errors".into(), serde_json::json!({ "type": ["object", "array"] }));
        properties.insert("steady".into(), generator.subschema_for::<SteadyPart>().into());
        properties.insert("client".into(), generator.subschema_for::<BTreeMap<String, f64>>().into());
        for name in ["invalid", "doubts", "untrusted"] {
            properties.insert(name.into(), generator.subschema_for::<Vec<String>>().into());
        }
        properties.insert(
            "components".into(),
            serde_json::json!({ "type": "array", "items": { "type": "object" } }),
        );
        properties.insert("error_floor".into(), generator.subschema_for::<ErrorFloor>().into());
    }
}

fn filled<T>(value: T, empty: bool) -> Option<T> {
    (!empty).then_some(value)
}

fn put(map: &mut Map<String, Value>, name: &str, value: Option<impl Serialize>) {
    if let Some(Ok(v)) = value.map(serde_json::to_value) {
        map.insert(name.to_owned(), v);
    }
}

fn take<T: DeserializeOwned>(map: &mut Map<String, Value>, name: &str) -> Option<T> {
    let value = T::deserialize(map.get(name)?).ok()?;
    map.shift_remove(name);
    Some(value)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::scenario::Metrics;

    #[test]
    fn a_report_survives_the_file_and_other_tools_keys_stay() {
        let mut m = Metrics::default();
        m.set(Key::Completed, 3.0);
        m.client.send_late = Spread::of(vec![0.25, 0.75]);
        m.client.errors.insert("timeout".into(), 2);
        m.client.invalid.push("the run was stopped before its end".into());
        m.client.engine.peak_running = Some(8.0);
        m.client.components.push(ComponentFigures {
            workload: "random:8/2".into(),
            weight: 0.5,
            figures: [(Key::Completed, 1.0)].into(),
        });
        m.extra.insert("endpoint_type".into(), "openai".into());
        let text = serde_json::to_string(&m).unwrap();
        assert!(
            text.contains("\"mean_send_late_ms\":0.5") && text.contains("\"workload\":\"random:8/2\""),
            "{text}"
        );
        assert_eq!(serde_json::from_str::<Metrics>(&text).unwrap(), m);
    }

    #[test]
    fn a_list_of_errors_as_vllm_saves_it_is_no_count_by_kind() {
        let m: Metrics = serde_json::from_str(r#"{"completed": 1, "errors": ["", "refused"]}"#).unwrap();
        assert!(m.client.errors.is_empty());
        assert_eq!(m.extra["errors"][1], "refused");
    }
}
