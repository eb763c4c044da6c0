//! What a candidate is judged against: engine release, hardware, model, load.

use super::expr::{Kind, Term};
use super::flag::OutputChange;
use crate::hardware::{Hardware, Vendor};
use crate::launch::Version;
use crate::launch::{Candidate, FlagValue};
use crate::model::Model;
use std::collections::BTreeSet;

/// Shape of the load that is tuned for; unknown parts are `None` and refuse nothing.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Load {
    pub input_tokens: Option<f64>,
    pub output_tokens: Option<f64>,
    /// Most requests in flight at once.
    pub in_flight: Option<f64>,
    pub requests: Option<f64>,
    /// Whether the prompts are text that a model could have written: only there speculation says anything.
    pub text: Option<bool>,
}

/// What is fixed while flags are chosen.
#[derive(Debug, Clone)]
pub struct Context<'a> {
    /// The engine's release; `None` = the newest that the table covers.
    pub version: Option<Version>,
    pub hardware: &'a Hardware,
    pub model: &'a Model,
    pub num_gpus: u32,
    pub load: Load,
    /// Flags that every launch carries (`-- --max-model-len 8192`).
    pub fixed: Option<&'a Candidate>,
    /// Flag names (no dashes) that the installed release's `--help` lists; it is the judge over the table.
    pub installed: Option<&'a BTreeSet<String>>,
    /// The draft model that the user offers for speculative decoding.
    pub draft_model: Option<&'a str>,
    /// The most that a flag's value may do to what the model answers.
    pub allowed_output_change: OutputChange,
}

impl<'a> Context<'a> {
    pub fn new(hardware: &'a Hardware, model: &'a Model) -> Context<'a> {
        Context {
            version: None,
            hardware,
            model,
            num_gpus: 1,
            load: Load::default(),
            fixed: None,
            installed: None,
            draft_model: None,
            allowed_output_change: OutputChange::default(),
        }
    }

    /// The fact behind a name of the constraint language; `None` when it is not known here.
    pub(super) fn fact(&self, name: &str) -> Option<Term> {
        let number = |x: f64| Some(Term::Number(x));
        let text = |s: &str| Some(Term::Text(s.to_owned()));
        let (h, m) = (self.hardware, self.model);
        match name {
            "version" => self.version.map(Term::Version),
            "sm" => h.sm.map(|s| Term::Number(f64::from(s))),
            "vendor" => text(match h.vendor {
                Vendor::Nvidia => "nvidia",
                Vendor::Amd => "amd",
                Vendor::Cpu => "cpu",
            }),
            "hardware" => text(&h.id),
            "hardware.fp8" => Some(Term::Bool(h.has_fp8())),
            "memory_gib" => number(h.memory().gib()),
            "num_gpus" => number(f64::from(self.num_gpus)),
            "model.moe" => Some(Term::Bool(m.moe.is_some())),
            "model.mla" => Some(Term::Bool(m.mla.is_some())),
            "model.sinks" => Some(Term::Bool(m.attention_sinks)),
            "model.sliding" => Some(Term::Bool(m.sliding_layers() > 0)),
            "model.q_heads" => number(f64::from(m.q_heads)),
            "model.kv_heads" => number(f64::from(m.kv_heads)),
            "model.experts" => number(m.moe.as_ref().map_or(0.0, |m| f64::from(m.experts))),
            "model.max_position" => number(f64::from(m.max_position)),
            "model.precision" => text(m.precision.id()),
            "model.weight_gib" => number(m.weight_bytes() as f64 / f64::from(1 << 30)),
            "model.mtp" => Some(Term::Bool(m.mtp_params() > 0)),
            "draft" => text(draft_kind(self.draft_model)),
            "load.input_tokens" => self.load.input_tokens.map(Term::Number),
            "load.output_tokens" => self.load.output_tokens.map(Term::Number),
            "load.in_flight" => self.load.in_flight.map(Term::Number),
            "load.requests" => self.load.requests.map(Term::Number),
            "load.text" => self.load.text.map(Term::Bool),
            _ => None,
        }
    }
}

/// How a draft model proposes tokens, by its name: EAGLE heads carry it there on the hub.
fn draft_kind(name: Option<&str>) -> &'static str {
    match name.map(str::to_lowercase) {
        None => "none",
        Some(n) if n.contains("eagle3") || n.contains("eagle-3") => "eagle3",
        Some(n) if n.contains("eagle") => "eagle",
        Some(_) => "model",
    }
}

/// Type of a fact's name; `None` for a name that is no fact.
pub(super) fn fact_kind(name: &str) -> Option<Kind> {
    Some(match name {
        "version" => Kind::Version,
        "vendor" | "hardware" | "model.precision" | "draft" => Kind::Text,
        "hardware.fp8" | "load.text" | "model.moe" | "model.mtp" | "model.mla" | "model.sinks"
        | "model.sliding" => Kind::Bool,
        "sm" | "memory_gib" | "num_gpus" | "model.q_heads" | "model.kv_heads" | "model.experts"
        | "model.max_position" | "model.weight_gib" | "load.input_tokens" | "load.output_tokens"
        | "load.in_flight" | "load.requests" => Kind::Number,
        _ => return None,
    })
}

/// A flag's value in the constraint language.
pub(super) fn term(value: &FlagValue) -> Term {
    match value {
        FlagValue::Bool(b) => Term::Bool(*b),
        FlagValue::Int(i) => Term::Number(*i as f64),
        FlagValue::Float(x) => Term::Number(*x),
        FlagValue::Text(t) => Term::Text(t.clone()),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_fact_has_the_type_it_is_declared_with() {
        let hardware = crate::hardware::Catalog::load(None).unwrap();
        let models = crate::model::Catalog::load(None).unwrap();
        let model = models.find("openai/gpt-oss-20b").unwrap();
        let mut c = Context::new(hardware.find("h100-sxm-80gb").unwrap(), &model);
        c.version = Some(Version(0, 11, 0));
        let one = Some(1.0);
        c.load =
            Load { input_tokens: one, output_tokens: one, in_flight: one, requests: one, text: Some(true) };
        for name in
            "version sm vendor hardware hardware.fp8 memory_gib num_gpus model.moe model.mla model.sinks \
            model.sliding model.q_heads model.kv_heads model.experts model.max_position model.precision \
            model.weight_gib load.input_tokens load.output_tokens load.in_flight load.requests load.text \
            model.mtp draft"
                .split_whitespace()
        {
            let kind = match c.fact(name).unwrap_or_else(|| panic!("{name} has no value")) {
                Term::Bool(_) => Kind::Bool,
                Term::Number(_) => Kind::Number,
                Term::Text(_) => Kind::Text,
                Term::Version(_) => Kind::Version,
            };
            assert_eq!(fact_kind(name), Some(kind), "{name}");
        }
        assert_eq!(fact_kind("nothing"), None);
    }
}
