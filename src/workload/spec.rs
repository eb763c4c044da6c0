//! The `workload` object of a scenario (contract): data set, lengths, arrivals, seed.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Dataset {
    Random,
    Sharegpt,
    Trace,
    Chat,
    Custom,
    /// A weighted mixture of the others.
    Mix,
}

impl WorkloadSpec {
    /// Whether the prompts are text: the length tables and random workloads are sent as random token ids, on which the
    /// acceptance of speculated tokens means nothing.
    pub fn is_text(&self) -> bool {
        self.dataset == Dataset::Custom || (self.dataset == Dataset::Sharegpt && self.path.is_some())
    }
}

impl Dataset {
    /// The name in files and on the command line.
    pub fn id(self) -> &'static str {
        match self {
            Dataset::Random => "random",
            Dataset::Sharegpt => "sharegpt",
            Dataset::Trace => "trace",
            Dataset::Chat => "chat",
            Dataset::Custom => "custom",
            Dataset::Mix => "mix",
        }
    }
}

/// Whether every request has exactly the lengths that the workload asks for.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Lengths {
    /// Equal requests in a closed loop then march in step.
    Exact,
    /// Early stops and a tokenizer's round trips scatter them.
    Scattered,
}

/// `"inf"` (all at once) or requests per second.
#[derive(Debug, Clone, Copy, PartialEq)]
pub enum RequestRate {
    Inf,
    PerSecond(f64),
}

#[cfg(feature = "schemas")]
impl schemars::JsonSchema for RequestRate {
    fn schema_name() -> std::borrow::Cow<'static, str> {
        "RequestRate".into()
    }
    fn json_schema(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
        schemars::json_schema!({ "anyOf": [{ "const": "inf" }, { "type": "number", "exclusiveMinimum": 0 }] })
    }
}

impl Serialize for RequestRate {
    fn serialize<S: serde::Serializer>(&self, s: S) -> Result<S::Ok, S::Error> {
        match self {
            RequestRate::Inf => s.serialize_str("inf"),
            RequestRate::PerSecond(r) => s.serialize_f64(*r),
        }
    }
}

impl<'de> Deserialize<'de> for RequestRate {
    fn deserialize<D: serde::Deserializer<'de>>(d: D) -> Result<RequestRate, D::Error> {
        #[derive(Deserialize)]
        #[serde(untagged)]
        enum Raw {
            Text(String),
            Number(f64),
        }
        let wrong = |what: &dyn std::fmt::Display| {
            serde::de::Error::custom(format!("request_rate must be \"inf\" or a positive number, not {what}"))
        };
        match Raw::deserialize(d)? {
            Raw::Text(t) if t == "inf" => Ok(RequestRate::Inf),
            Raw::Number(n) if n.is_infinite() && n > 0.0 => Ok(RequestRate::Inf),
            Raw::Number(n) if n > 0.0 => Ok(RequestRate::PerSecond(n)),
            Raw::Text(t) => match t.parse::<f64>() {
                Ok(n) if n > 0.0 && n.is_finite() => Ok(RequestRate::PerSecond(n)),
                _ => Err(wrong(&t)),
            },
            Raw::Number(n) => Err(wrong(&n)),
        }
    }
}

/// How arrivals are spread when a finite `request_rate` is given.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum Arrivals {
    /// Gamma-distributed gaps of shape `burstiness` (1, the default, is Poisson), as `vllm bench serve` draws them.
    Gamma,
    /// Equal gaps of `1 / request_rate`.
    Constant,
}

/// One stage of a load profile: the rate goes from where it was to `rate` within `seconds`; an equal rate holds.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Stage {
    /// Requests a second at the end of the stage.
    pub rate: f64,
    pub seconds: f64,
    /// The rate grows by equal factors instead of equal steps.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub exponential: bool,
}

/// One part of a mixture.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct Component {
    /// Its share of the requests, relative to the other weights.
    pub weight: f64,
    /// What its requests are; number, arrivals and seed are those of the mixture.
    #[serde(serialize_with = "contents_only")]
    pub workload: WorkloadSpec,
}

/// A component without the keys that only the mixture can set.
fn contents_only<S: serde::Serializer>(spec: &WorkloadSpec, s: S) -> Result<S::Ok, S::Error> {
    let mut value = serde_json::to_value(spec).map_err(serde::ser::Error::custom)?;
    if let Some(map) = value.as_object_mut() {
        map.retain(|key, v| !v.is_null() && key != "request_rate");
    }
    value.serialize(s)
}

/// The workload of a scenario. Unknown keys are an error (contract).
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct WorkloadSpec {
    pub dataset: Dataset,
    /// The parts of a mixture.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub components: Option<Vec<Component>>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub path: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_len: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_len: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_range_ratio: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub random_prefix_len: Option<u32>,
    /// Random lengths uniform in a closed range, instead of around `input_len` and `output_len`.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub input_range: Option<(u32, u32)>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub output_range: Option<(u32, u32)>,
    /// Share of the requests that begin with a shared prefix (of `random_prefix_len`); all when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_share: Option<f64>,
    /// Number of different shared prefixes; one when absent.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub prefix_groups: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub num_prompts: Option<u32>,
    #[serde(default = "inf")]
    pub request_rate: RequestRate,
    /// Gamma shape of the gaps between arrivals: 1 is Poisson, below 1 burstier.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub burstiness: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub arrivals: Option<Arrivals>,
    /// A rate that changes in stages, from `request_rate` (or nothing) on; it sets the number of requests.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub stages: Option<Vec<Stage>>,
    /// Multiplies the arrival times of a trace: 0.5 replays it twice as fast.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub time_scale: Option<f64>,
    #[serde(default)]
    pub max_concurrency: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub seed: Option<u64>,
    /// Multi-turn chat: turns a session, and the context range it grows through.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub turns: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_min: Option<u32>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub context_max: Option<u32>,
    /// Mean time between the end of an answer and the next turn, seconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub think_time_s: Option<f64>,
    /// Real token counts when they are known (models stop early).
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_input_tokens: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub total_output_tokens: Option<f64>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub source: Option<String>,
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub note: Option<String>,
}

fn inf() -> RequestRate {
    RequestRate::Inf
}

impl WorkloadSpec {
    /// `random:IN/OUT`, all sent at once.
    pub fn random(input_len: u32, output_len: u32, num_prompts: u32, seed: u64) -> WorkloadSpec {
        WorkloadSpec {
            input_len: Some(input_len),
            output_len: Some(output_len),
            num_prompts: Some(num_prompts),
            seed: Some(seed),
            ..WorkloadSpec::empty(Dataset::Random)
        }
    }

    /// A spec of this data set with every optional field unset.
    pub fn empty(dataset: Dataset) -> WorkloadSpec {
        WorkloadSpec {
            dataset,
            components: None,
            path: None,
            input_len: None,
            output_len: None,
            random_range_ratio: None,
            random_prefix_len: None,
            input_range: None,
            output_range: None,
            prefix_share: None,
            prefix_groups: None,
            num_prompts: None,
            request_rate: RequestRate::Inf,
            burstiness: None,
            arrivals: None,
            stages: None,
            time_scale: None,
            max_concurrency: None,
            seed: None,
            turns: None,
            context_min: None,
            context_max: None,
            think_time_s: None,
            total_input_tokens: None,
            total_output_tokens: None,
            source: None,
            note: None,
        }
    }
}

impl WorkloadSpec {
    /// The parts of a mixture; none of any other workload.
    pub fn parts(&self) -> &[Component] {
        self.components.as_deref().unwrap_or_default()
    }

    /// Prompts that have something in common by intent: hits of a prefix cache are then part of the workload.
    pub fn shares_prompts(&self) -> bool {
        match self.dataset {
            Dataset::Random => self.random_prefix_len.is_some_and(|n| n > 0),
            Dataset::Mix => self.parts().iter().any(|c| c.workload.shares_prompts()),
            _ => true,
        }
    }

    /// Whether both ask for the same kind and number of requests, whatever their seed and arrivals.
    pub fn same_kind(&self, other: &WorkloadSpec) -> bool {
        let kind = |w: &WorkloadSpec| (w.dataset, w.input_len, w.output_len, w.num_prompts);
        kind(self) == kind(other) && self.path == other.path && self.components == other.components
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_contract_example_round_trips() {
        let text = r#"{"dataset":"random","input_len":4000,"output_len":200,"num_prompts":500,"request_rate":"inf","max_concurrency":null,"seed":42}"#;
        let w: WorkloadSpec = serde_json::from_str(text).unwrap();
        assert_eq!(w, WorkloadSpec::random(4000, 200, 500, 42));
        assert_eq!(serde_json::to_string(&w).unwrap(), text);
    }

    #[test]
    fn unknown_keys_and_bad_rates_are_named() {
        let e = serde_json::from_str::<WorkloadSpec>(r#"{"dataset":"random","inputlen":1}"#).unwrap_err();
        assert!(e.to_string().contains("inputlen"), "{e}");
        let e =
            serde_json::from_str::<WorkloadSpec>(r#"{"dataset":"random","request_rate":-3}"#).unwrap_err();
        assert!(e.to_string().contains("request_rate"), "{e}");
    }
}
