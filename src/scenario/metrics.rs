//! The figures of a run: result keys, what dyno's client says besides, and what else a file held.

use super::client_report::ClientReport;
use super::key::{Key, to_map};
use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// Any subset of the result keys, what dyno's client says besides, and unknown keys, which are kept as they came.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Metrics {
    pub known: BTreeMap<Key, f64>,
    pub client: ClientReport,
    pub extra: Map<String, Value>,
}

impl Metrics {
    pub fn get(&self, key: Key) -> Option<f64> {
        self.known.get(&key).copied()
    }
    /// Sets a key; a value that is not finite is left out, since JSON cannot carry it.
    pub fn set(&mut self, key: Key, value: f64) {
        if value.is_finite() {
            // Nothing is minus nothing: an empty sum of floats is.
            self.known.insert(key, value + 0.0);
        }
    }
}

#[cfg(feature = "schemas")]
impl schemars::JsonSchema for Metrics {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "Metrics".into()
    }
    fn json_schema(generator: &mut schemars::SchemaGenerator) -> schemars::Schema {
        let mut properties: Map<String, Value> = Key::ALL
            .iter()
            .map(|k| (k.name().to_owned(), serde_json::json!({ "type": ["number", "null"] })))
            .collect();
        ClientReport::schema(generator, &mut properties);
        schemars::json_schema!({ "type": "object", "properties": properties })
    }
}

impl Serialize for Metrics {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        let mut map = to_map(&self.known);
        self.client.write(&mut map);
        map.extend(self.extra.clone());
        map.serialize(s)
    }
}

impl<'de> Deserialize<'de> for Metrics {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<Metrics, D::Error> {
        let mut m = Metrics::default();
        for (name, value) in Map::deserialize(d)? {
            match (Key::from_name(&name), &value) {
                (Some(k), Value::Number(n)) => {
                    m.known.insert(k, n.as_f64().unwrap_or(f64::NAN));
                }
                (Some(_), Value::Null) => {}
                (Some(_), other) => {
                    return Err(serde::de::Error::custom(format!("{name} must be a number, not {other}")));
                }
                (None, _) => {
                    m.extra.insert(name, value);
                }
            }
        }
        m.client = ClientReport::take(&mut m.extra);
        Ok(m)
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn unknown_keys_are_kept_and_counts_are_integers() {
        let text = r#"{"completed":500,"mean_ttft_ms":1.5,"p99_9_itl_ms":3.0,"note":"x"}"#;
        let m: Metrics = serde_json::from_str(text).unwrap();
        assert_eq!(m.get(Key::Completed), Some(500.0));
        assert_eq!(serde_json::to_string(&m).unwrap(), text);
        assert!(serde_json::from_str::<Metrics>(r#"{"completed":"many"}"#).is_err());
    }
}
