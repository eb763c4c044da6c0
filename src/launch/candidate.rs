//! A candidate: one engine with the flags and environment that differ from its defaults.

use super::EngineKind;
use serde::{Deserialize, Serialize};
use sha2::{Digest, Sha256};
use std::collections::BTreeMap;
use std::fmt;

/// Value of one flag.
#[derive(Debug, Clone, PartialEq, PartialOrd, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
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

/// Name under which a candidate holds how many copies of the engine share the GPUs, each a server of its own.
pub const REPLICAS: &str = "replicas";

/// Names under which a candidate holds flags that only go together: SGLang's speculation, and how a model is laid over several
/// GPUs.
pub const TOGETHER: [&str; 2] = ["speculative", "layout"];

/// Whether a name of a search space is that of an environment variable: capitals, digits and `_`, such as `NCCL_ALGO`.
pub fn is_variable(name: &str) -> bool {
    name.starts_with(|c: char| c.is_ascii_uppercase())
        && name.contains('_')
        && name.chars().all(|c| c.is_ascii_uppercase() || c.is_ascii_digit() || c == '_')
}

/// Flags by name without the dashes (`max-num-seqs`), sorted, so that equal candidates have equal ids. The axes of a search space
/// that are environment variables stand among the flags under their own names; [`Candidate::spelled_out`] parts the two.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
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

    /// Copies of the engine that one launch starts; 1 where the candidate does not say.
    pub fn replicas(&self) -> u32 {
        match self.apart().flags.get(REPLICAS) {
            Some(FlagValue::Int(n)) => u32::try_from(*n).unwrap_or(1).max(1),
            _ => 1,
        }
    }

    /// The candidate with flags that only go together (a JSON object of flags) one by one.
    pub fn apart(&self) -> Candidate {
        let mut out = self.clone();
        for name in TOGETHER {
            let Some(FlagValue::Text(text)) = out.flags.remove(name) else { continue };
            let parts: BTreeMap<String, FlagValue> = serde_json::from_str(&text).unwrap_or_default();
            out.flags.extend(parts);
        }
        out
    }

    /// The candidate as an engine is to be given it: without the choice of weights, which is the launch's model, with flags that
    /// only go together apart, and with environment variables in the environment.
    pub fn spelled_out(&self) -> Candidate {
        let mut out = self.apart();
        out.flags.remove(VARIANT);
        out.flags.remove(REPLICAS);
        let variables: Vec<String> = out.flags.keys().filter(|n| is_variable(n)).cloned().collect();
        for name in variables {
            let value = match out.flags.remove(&name) {
                Some(FlagValue::Bool(on)) => u8::from(on).to_string(),
                Some(other) => other.to_string(),
                None => continue,
            };
            out.env.insert(name, value);
        }
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
            FlagValue::Bool(on) if is_variable(k) => format!("{k}={}", u8::from(*on)),
            other if is_variable(k) => format!("{k}={other}"),
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
    fn variables_and_flags_that_go_together_are_spelled_out() {
        let c = Candidate::baseline(EngineKind::Vllm)
            .with("VLLM_USE_DEEP_GEMM", FlagValue::Bool(true))
            .with("NCCL_ALGO", FlagValue::Text("Tree".into()))
            .with(
                "layout",
                FlagValue::Text(r#"{"tensor-parallel-size":2,"enable-expert-parallel":true}"#.into()),
            );
        assert!(c.label().contains("NCCL_ALGO=Tree VLLM_USE_DEEP_GEMM=1"), "{}", c.label());
        let out = c.spelled_out();
        assert_eq!((&out.env["VLLM_USE_DEEP_GEMM"][..], &out.env["NCCL_ALGO"][..]), ("1", "Tree"));
        assert_eq!(out.flags.keys().collect::<Vec<_>>(), ["enable-expert-parallel", "tensor-parallel-size"]);
        assert!(!is_variable("max_num_seqs") && !is_variable("O") && !is_variable("max-num-seqs"));
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
