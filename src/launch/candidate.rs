//! A candidate: one engine with the flags and environment that differ from its defaults.

use super::EngineKind;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// Value of one flag.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum FlagValue {
    Bool(bool),
    Int(i64),
    Float(f64),
    Text(String),
}

impl fmt::Display for FlagValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            FlagValue::Bool(b) => write!(f, "{b}"),
            FlagValue::Int(i) => write!(f, "{i}"),
            FlagValue::Float(x) => write!(f, "{x}"),
            FlagValue::Text(t) => f.write_str(t),
        }
    }
}

/// Name under which a candidate holds other weights than the plan's model.
pub const VARIANT: &str = "model";

/// Name under which a candidate holds flags that only go together.
pub const TOGETHER: &str = "speculative";

/// Flags by name without the dashes (`max-num-seqs`), sorted, so that equal candidates have equal ids.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize, JsonSchema)]
pub struct Candidate {
    pub engine: EngineKind,
    #[serde(default)]
    pub flags: BTreeMap<String, FlagValue>,
    #[serde(default)]
    pub env: BTreeMap<String, String>,
}

impl Candidate {
    /// The engine with its defaults.
    pub fn baseline(engine: EngineKind) -> Candidate {
        Candidate { engine, flags: BTreeMap::new(), env: BTreeMap::new() }
    }

    /// This candidate with one flag set.
    pub fn with(&self, flag: &str, value: FlagValue) -> Candidate {
        let mut c = self.clone();
        c.flags.insert(flag.to_owned(), value);
        c
    }

    /// The flags in which this candidate differs from `base`, with their values here.
    pub fn changed_from<'a>(
        &'a self,
        base: &'a Candidate,
    ) -> impl Iterator<Item = (&'a String, &'a FlagValue)> {
        self.flags.iter().filter(|(name, value)| base.flags.get(*name) != Some(value))
    }

    /// The names of those flags.
    pub fn changed(&self, base: &Candidate) -> Vec<String> {
        self.changed_from(base).map(|(name, _)| name.clone()).collect()
    }

    /// This candidate with the flags and environment of all of `parts` on top.
    pub fn together<'a>(&self, parts: impl IntoIterator<Item = &'a Candidate>) -> Candidate {
        let mut all = self.clone();
        for part in parts {
            all.flags.extend(part.flags.clone());
            all.env.extend(part.env.clone());
        }
        all
    }

    /// This candidate with one flag as in `base`.
    pub fn without(&self, flag: &str, base: &Candidate) -> Candidate {
        let mut less = self.clone();
        match base.flags.get(flag) {
            Some(value) => less.flags.insert(flag.to_owned(), value.clone()),
            None => less.flags.remove(flag),
        };
        less
    }

    /// The other weights that this candidate serves (`--variant`), where it does.
    pub fn variant(&self) -> Option<&str> {
        match self.flags.get(VARIANT) {
            Some(FlagValue::Text(model)) => Some(model),
            _ => None,
        }
    }

    /// The candidate as an engine is to be given it: without the choice of weights, which is the launch's model, and with
    /// flags that only go together (SGLang's `speculative`, a JSON object of flags) one by one.
    pub fn spelled_out(&self) -> Candidate {
        let mut out = self.clone();
        out.flags.remove(VARIANT);
        let Some(FlagValue::Text(text)) = out.flags.remove(TOGETHER) else { return out };
        let parts: BTreeMap<String, FlagValue> = serde_json::from_str(&text).unwrap_or_default();
        out.flags.extend(parts);
        out
    }

    /// Canonical id: engine and the first 10 hex digits of the SHA-256 of the canonical JSON.
    pub fn id(&self) -> String {
        let json = serde_json::to_vec(self).unwrap_or_default();
        let digest = Sha256::digest(&json);
        let hex: String = digest.iter().take(5).map(|b| format!("{b:02x}")).collect();
        format!("{}-{hex}", self.engine)
    }

    /// Short text for tables: `defaults` or `--flag value …`.
    pub fn label(&self) -> String {
        if self.flags.is_empty() && self.env.is_empty() {
            return "defaults".to_owned();
        }
        let env = self.env.iter().map(|(k, v)| format!("{k}={v}"));
        let flags = self.flags.iter().map(|(k, v)| match v {
            FlagValue::Bool(true) => format!("--{k}"),
            FlagValue::Bool(false) => format!("--no-{k}"),
            other => format!("--{k} {other}"),
        });
        env.chain(flags).collect::<Vec<_>>().join(" ")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn equal_candidates_have_equal_ids_whatever_the_order() {
        let base = Candidate::baseline(EngineKind::Vllm);
        let a = base.with("a", FlagValue::Int(1)).with("b", FlagValue::Bool(false));
        let b = base.with("b", FlagValue::Bool(false)).with("a", FlagValue::Int(1));
        assert_eq!(a.id(), b.id());
        assert_ne!(a.id(), base.id());
        assert_eq!(a.label(), "--a 1 --no-b");
    }

    #[test]
    fn candidates_are_compared_joined_and_reduced_by_flag() {
        let base = Candidate::baseline(EngineKind::Vllm).with("a", FlagValue::Int(1));
        let ab = base.with("a", FlagValue::Int(2)).with("b", FlagValue::Bool(true));
        let changed: Vec<&str> = ab.changed_from(&base).map(|(name, _)| name.as_str()).collect();
        assert_eq!(changed, ["a", "b"]);
        assert_eq!(ab.without("a", &base).without("b", &base), base);
        let parts = [base.with("a", FlagValue::Int(2)), base.with("b", FlagValue::Bool(true))];
        assert_eq!(
            base.together([&parts[0]])
                .together([&Candidate { flags: parts[1].flags.clone(), ..base.clone() }])
                .label(),
            "--a 1 --b"
        );
        let json = serde_json::to_string(&base).unwrap();
        assert!(json.starts_with(r#"{"engine":"vllm","#), "{json}");
    }
}
