//! The shape of a search space's file: keys with their types, and what they are read into.

use super::super::flag::{FlagType, OutputChange, Phase};
use crate::data::schema::{Key, Shape, opt, req};
use crate::launch::{EngineKind, FlagValue, Version};
use serde::Deserialize;

const OTHER: &[Key] = &[req("name", Shape::Text), opt("since", Shape::Text), opt("removed", Shape::Text)];
const DEFAULT: &[Key] = &[req("value", Shape::Any), opt("since", Shape::Text), opt("if", Shape::Text)];
const CONSTRAINT: &[Key] = &[req("need", Shape::Text), req("why", Shape::Text)];
const TUNE: &[Key] = &[
    opt("if", Shape::Text),
    opt("values", Shape::List(&Shape::Any)),
    opt("times", Shape::List(&Shape::Positive)),
    opt("changes_output", Shape::Bool),
    opt("also", Shape::Bool),
    opt("output", Shape::OneOf(&["none", "lossless", "approximate"])),
];
const FLAG: &[Key] = &[
    req("name", Shape::Text),
    req("type", Shape::OneOf(&["bool", "int", "float", "text", "ints", "json"])),
    opt("values", Shape::List(&Shape::Any)),
    opt("min", Shape::Number),
    opt("max", Shape::Number),
    opt("negatable", Shape::Bool),
    opt("modelled", Shape::Bool),
    opt("neutral", Shape::Bool),
    req("default", Shape::Text),
    opt("defaults", Shape::List(&Shape::Table(DEFAULT))),
    opt("since", Shape::Text),
    opt("removed", Shape::Text),
    opt("aliases", Shape::List(&Shape::Table(OTHER))),
    opt("env", Shape::List(&Shape::Table(OTHER))),
    req("phase", Shape::List(&Shape::OneOf(&["prefill", "decode", "memory", "start", "host"]))),
    req("changes_output", Shape::Bool),
    req("doc", Shape::Text),
    opt("mechanism", Shape::Text),
    req("source", Shape::Text),
    opt("constraints", Shape::List(&Shape::Table(CONSTRAINT))),
    opt("tune", Shape::List(&Shape::Table(TUNE))),
    opt("useful", Shape::Text),
];
pub(super) const SPACE: &[Key] = &[
    req("engine", Shape::OneOf(&["vllm", "sglang", "trtllm", "emulated"])),
    req("oldest", Shape::Text),
    req("newest", Shape::Text),
    opt("base", Shape::Text),
    opt("limits", Shape::List(&Shape::Table(CONSTRAINT))),
    opt("neutral", Shape::List(&Shape::Text)),
    req("doc", Shape::Text),
    req("flag", Shape::List(&Shape::Table(FLAG))),
];

#[derive(Deserialize)]
pub(super) struct RawSpace {
    pub(super) engine: EngineKind,
    pub(super) oldest: Version,
    pub(super) newest: Version,
    pub(super) doc: String,
    #[serde(default)]
    pub(super) limits: Vec<RawConstraint>,
    #[serde(default)]
    pub(super) neutral: Vec<String>,
    pub(super) flag: Vec<RawFlag>,
}

#[derive(Deserialize)]
pub(super) struct RawFlag {
    pub(super) name: String,
    #[serde(rename = "type")]
    pub(super) kind: FlagType,
    #[serde(default)]
    pub(super) values: Vec<RawChoice>,
    pub(super) min: Option<f64>,
    pub(super) max: Option<f64>,
    pub(super) negatable: Option<bool>,
    #[serde(default)]
    pub(super) modelled: bool,
    #[serde(default)]
    pub(super) neutral: bool,
    pub(super) default: String,
    #[serde(default)]
    pub(super) defaults: Vec<RawDefault>,
    pub(super) since: Option<Version>,
    pub(super) removed: Option<Version>,
    #[serde(default)]
    pub(super) aliases: Vec<RawOther>,
    #[serde(default)]
    pub(super) env: Vec<RawOther>,
    pub(super) phase: Vec<Phase>,
    pub(super) changes_output: bool,
    pub(super) doc: String,
    #[serde(default)]
    pub(super) mechanism: String,
    pub(super) source: String,
    #[serde(default)]
    pub(super) constraints: Vec<RawConstraint>,
    #[serde(default)]
    pub(super) tune: Vec<RawTune>,
    pub(super) useful: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
pub(super) enum RawChoice {
    Plain(String),
    Dated { value: String, since: Option<Version>, removed: Option<Version> },
}

#[derive(Deserialize)]
pub(super) struct RawDefault {
    pub(super) value: FlagValue,
    pub(super) since: Option<Version>,
    #[serde(rename = "if")]
    pub(super) when: Option<String>,
}

#[derive(Deserialize)]
pub(super) struct RawOther {
    pub(super) name: String,
    pub(super) since: Option<Version>,
    pub(super) removed: Option<Version>,
}

#[derive(Deserialize)]
pub(super) struct RawConstraint {
    pub(super) need: String,
    pub(super) why: String,
}

#[derive(Deserialize)]
pub(super) struct RawTune {
    #[serde(rename = "if")]
    pub(super) when: Option<String>,
    #[serde(default)]
    pub(super) values: Vec<FlagValue>,
    #[serde(default)]
    pub(super) times: Vec<f64>,
    #[serde(default)]
    pub(super) changes_output: bool,
    pub(super) output: Option<OutputChange>,
    #[serde(default)]
    pub(super) also: bool,
}
