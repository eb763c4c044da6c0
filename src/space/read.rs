//! Reading a search space from TOML: shape, then meaning, with every problem named.

use super::Space;
use super::context::fact_kind;
use super::expr::{Expr, Kind};
use super::flag::{
    Choice, Constraint, DefaultRule, Flag, FlagType, OtherName, OutputChange, Phase, Role, Span, TuneRule,
};
use crate::data::schema::{self, Key, Shape, opt, req};
use crate::data::{self, Document};
use crate::error::Problem;
use crate::launch::EngineKind;
use crate::launch::{FlagValue, Version};
use serde::Deserialize;
use serde_json::{Map, Value};
use std::collections::BTreeMap;

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
const SPACE: &[Key] = &[
    req("engine", Shape::OneOf(&["vllm", "sglang", "trtllm", "emulated"])),
    req("oldest", Shape::Text),
    req("newest", Shape::Text),
    opt("base", Shape::Text),
    opt("limits", Shape::List(&Shape::Table(CONSTRAINT))),
    opt("neutral", Shape::List(&Shape::Text)),
    req("doc", Shape::Text),
    req("flag", Shape::List(&Shape::Table(FLAG))),
];

/// Values of one flag that a space may hold: the work of a search grows with their product.
const MOST_VALUES: usize = 1000;

#[derive(Deserialize)]
struct RawSpace {
    engine: EngineKind,
    oldest: Version,
    newest: Version,
    doc: String,
    #[serde(default)]
    limits: Vec<RawConstraint>,
    #[serde(default)]
    neutral: Vec<String>,
    flag: Vec<RawFlag>,
}

#[derive(Deserialize)]
struct RawFlag {
    name: String,
    #[serde(rename = "type")]
    kind: FlagType,
    #[serde(default)]
    values: Vec<RawChoice>,
    min: Option<f64>,
    max: Option<f64>,
    negatable: Option<bool>,
    #[serde(default)]
    modelled: bool,
    #[serde(default)]
    neutral: bool,
    default: String,
    #[serde(default)]
    defaults: Vec<RawDefault>,
    since: Option<Version>,
    removed: Option<Version>,
    #[serde(default)]
    aliases: Vec<RawOther>,
    #[serde(default)]
    env: Vec<RawOther>,
    phase: Vec<Phase>,
    changes_output: bool,
    doc: String,
    #[serde(default)]
    mechanism: String,
    source: String,
    #[serde(default)]
    constraints: Vec<RawConstraint>,
    #[serde(default)]
    tune: Vec<RawTune>,
    useful: Option<String>,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawChoice {
    Plain(String),
    Dated { value: String, since: Option<Version>, removed: Option<Version> },
}

#[derive(Deserialize)]
struct RawDefault {
    value: FlagValue,
    since: Option<Version>,
    #[serde(rename = "if")]
    when: Option<String>,
}

#[derive(Deserialize)]
struct RawOther {
    name: String,
    since: Option<Version>,
    removed: Option<Version>,
}

#[derive(Deserialize)]
struct RawConstraint {
    need: String,
    why: String,
}

#[derive(Deserialize)]
struct RawTune {
    #[serde(rename = "if")]
    when: Option<String>,
    #[serde(default)]
    values: Vec<FlagValue>,
    #[serde(default)]
    times: Vec<f64>,
    #[serde(default)]
    changes_output: bool,
    output: Option<OutputChange>,
    #[serde(default)]
    also: bool,
}

/// Reads one document; `all` are the documents in which a `base` is looked for.
///
/// Errors: every problem found.
pub(super) fn read(document: &Document, all: &[Document]) -> Result<Space, Vec<Problem>> {
    let file = &document.file;
    let value = data::toml_value(file, &document.text).map_err(|p| vec![p])?;
    let value = with_base(file, value, all)?;
    let problems = schema::check(file, "", &value, SPACE);
    if !problems.is_empty() {
        return Err(named(&value, problems));
    }
    let raw: RawSpace = data::decode(file, &value).map_err(|p| named(&value, vec![p]))?;
    let mut builder = Builder { file, kinds: BTreeMap::new(), problems: Vec::new() };
    let space = builder.space(raw);
    if builder.problems.is_empty() { Ok(space) } else { Err(builder.problems) }
}

/// Problems in `flag[12].since` also say which flag that is.
fn named(value: &Value, problems: Vec<Problem>) -> Vec<Problem> {
    let name_of = |key: &str| {
        let index: usize = key.strip_prefix("flag[")?.split(']').next()?.parse().ok()?;
        value["flag"][index]["name"].as_str().map(str::to_owned)
    };
    let add = |mut p: Problem| {
        if let Some(name) = name_of(&p.key) {
            p.message = format!("--{name}: {}", p.message);
        }
        p
    };
    problems.into_iter().map(add).collect()
}

/// A space with `base = "vllm"` takes the rows it names from that space; keys that it gives win.
fn with_base(file: &str, mut value: Value, all: &[Document]) -> Result<Value, Vec<Problem>> {
    let Some(base) = value.get("base").and_then(Value::as_str) else { return Ok(value) };
    let wrong = |message: String| vec![Problem::new(file, "base", message)];
    let rows = all
        .iter()
        .rev()
        .filter_map(|d| data::toml_value(&d.file, &d.text).ok())
        .find(|v| v["engine"].as_str() == Some(base))
        .and_then(|v| v.get("flag").and_then(Value::as_array).cloned())
        .ok_or_else(|| wrong(format!("there is no space `{base}` to build on")))?;
    let by_name: BTreeMap<&str, &Map<String, Value>> =
        rows.iter().filter_map(|r| Some((r["name"].as_str()?, r.as_object()?))).collect();
    if let Some(Value::Array(own)) = value.get_mut("flag") {
        for row in own.iter_mut().filter_map(Value::as_object_mut) {
            let inherited = row.get("name").and_then(Value::as_str).and_then(|n| by_name.get(n));
            for (key, v) in inherited.into_iter().flat_map(|m| m.iter()) {
                row.entry(key.clone()).or_insert_with(|| v.clone());
            }
        }
    }
    Ok(value)
}

struct Builder<'a> {
    file: &'a str,
    kinds: BTreeMap<String, Kind>,
    problems: Vec<Problem>,
}

impl Builder<'_> {
    fn bad(&mut self, key: String, message: impl Into<String>) {
        self.problems.push(Problem::new(self.file, key, message));
    }

    fn space(&mut self, raw: RawSpace) -> Space {
        if raw.newest < raw.oldest {
            self.bad("newest".into(), "is before oldest");
        }
        for f in &raw.flag {
            if self.kinds.insert(f.name.clone(), f.kind.kind()).is_some() {
                self.bad(format!("flag.{}", f.name), "stands twice");
            }
        }
        let limits = self.constraints("limits", raw.limits);
        let flags: Vec<Flag> = raw.flag.into_iter().map(|f| self.flag(f)).collect();
        for f in &flags {
            for a in &f.aliases {
                if flags.iter().any(|other| other.name == a.name && other.span == Span::default()) {
                    self.bad(
                        format!("flag.{}.aliases", f.name),
                        format!("`{}` is a flag of its own", a.name),
                    );
                }
            }
        }
        Space {
            engine: raw.engine,
            oldest: raw.oldest,
            newest: raw.newest,
            doc: raw.doc,
            neutral: raw.neutral,
            limits,
            flags,
        }
    }

    fn flag(&mut self, raw: RawFlag) -> Flag {
        let key = format!("flag.{}", raw.name);
        let named_well = raw.name.starts_with(|c: char| c.is_ascii_alphabetic())
            && raw.name.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c));
        if !named_well {
            self.bad(key.clone(), "is no flag name: letters, digits and dashes, without the leading dashes");
        }
        let role = match (raw.modelled, raw.neutral) {
            (true, true) => {
                self.bad(key.clone(), "is either modelled or neutral, not both");
                Role::Modelled
            }
            (true, false) => Role::Modelled,
            (false, true) => Role::Neutral,
            (false, false) => Role::Told,
        };
        let span = self.span(&key, raw.since, raw.removed);
        let defaults = raw.defaults.into_iter().map(|d| DefaultRule {
            value: d.value,
            since: d.since,
            when: self.condition(format!("{key}.defaults.if"), d.when),
        });
        let defaults = defaults.collect();
        let tune: Vec<TuneRule> = raw
            .tune
            .into_iter()
            .map(|t| TuneRule {
                when: self.condition(format!("{key}.tune.if"), t.when),
                values: t.values,
                times: t.times,
                changes_output: t.changes_output,
                output: t.output,
                also: t.also,
            })
            .collect();
        let constraints = self.constraints(&format!("{key}.constraints"), raw.constraints);
        let flag = Flag {
            choices: self.choices(&key, raw.values),
            kind: raw.kind,
            min: raw.min,
            max: raw.max,
            negatable: raw.negatable.unwrap_or(true),
            default: raw.default,
            defaults,
            span,
            aliases: self.others(&key, "aliases", raw.aliases),
            env: self.others(&key, "env", raw.env),
            role,
            phase: raw.phase,
            changes_output: raw.changes_output,
            doc: raw.doc,
            mechanism: raw.mechanism,
            source: raw.source,
            constraints,
            tune,
            useful: self.condition(format!("{key}.useful"), raw.useful),
            name: raw.name,
        };
        self.meaning(&key, &flag);
        flag
    }

    fn constraints(&mut self, key: &str, raw: Vec<RawConstraint>) -> Vec<Constraint> {
        raw.into_iter()
            .filter_map(|c| {
                let need = self.condition(format!("{key}.need"), Some(c.need))?;
                Some(Constraint { need, why: c.why })
            })
            .collect()
    }

    fn meaning(&mut self, key: &str, f: &Flag) {
        if f.phase.is_empty() {
            self.bad(format!("{key}.phase"), "names no phase");
        }
        if !f.tune.is_empty() && f.mechanism.is_empty() {
            self.bad(format!("{key}.mechanism"), "missing: a tuned flag says why it may help");
        }
        for d in &f.defaults {
            if !f.kind.accepts(&d.value) {
                self.bad(format!("{key}.defaults"), format!("`{}` is not {}", d.value, f.wants()));
            }
        }
        for rule in &f.tune {
            if rule.values.is_empty() && rule.times.is_empty() {
                self.bad(format!("{key}.tune"), "has neither values nor times");
            }
            if rule.values.len().max(rule.times.len()) > MOST_VALUES {
                self.bad(format!("{key}.tune"), format!("has more than {MOST_VALUES} values to try"));
                continue;
            }
            if !rule.times.is_empty() && !matches!(f.kind, FlagType::Int | FlagType::Float) {
                self.bad(format!("{key}.tune.times"), "needs a number");
            }
            for v in &rule.values {
                // A dated choice may be out of any one release; that it is listed at all is checked here.
                let listed = f.choices.iter().any(|c| c.value == v.to_string());
                let wrong = f.objection(v, Version(u32::MAX, 0, 0)).filter(|_| !listed);
                if let Some(message) = wrong {
                    self.bad(format!("{key}.tune.values"), message);
                }
            }
        }
    }

    fn condition(&mut self, key: String, text: Option<String>) -> Option<Expr> {
        let text = text?;
        let kinds = |name: &str| self.kinds.get(name).copied().or_else(|| fact_kind(name));
        match Expr::parse(&text, &kinds) {
            Ok(e) => Some(e),
            Err(message) => {
                self.bad(key, format!("{message} in \"{text}\""));
                None
            }
        }
    }

    fn span(&mut self, key: &str, since: Option<Version>, removed: Option<Version>) -> Span {
        if let (Some(s), Some(r)) = (since, removed)
            && r <= s
        {
            self.bad(format!("{key}.removed"), format!("{r} is not after since = {s}"));
        }
        Span { since, removed }
    }

    fn choices(&mut self, key: &str, raw: Vec<RawChoice>) -> Vec<Choice> {
        let mut out: Vec<Choice> = Vec::new();
        if raw.len() > MOST_VALUES {
            self.bad(format!("{key}.values"), format!("are more than {MOST_VALUES}"));
            return out;
        }
        for choice in raw {
            let (value, since, removed) = match choice {
                RawChoice::Plain(v) => (v, None, None),
                RawChoice::Dated { value, since, removed } => (value, since, removed),
            };
            if out.iter().any(|c| c.value == value) {
                self.bad(format!("{key}.values"), format!("`{value}` stands twice"));
            }
            let span = self.span(&format!("{key}.values"), since, removed);
            out.push(Choice { value, span });
        }
        out
    }

    fn others(&mut self, key: &str, what: &str, raw: Vec<RawOther>) -> Vec<OtherName> {
        raw.into_iter()
            .map(|o| OtherName {
                span: self.span(&format!("{key}.{what}"), o.since, o.removed),
                name: o.name,
            })
            .collect()
    }
}
