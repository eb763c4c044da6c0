//! A fitted profile: coefficients by (model, hardware, engine), how sure they are, and what was left over.

use super::coefficients::Coefficients;
use super::discrepancy::Residual;
use super::habits::Likely;
use super::kernels::Generation;
use super::model_kind::ModelKind;
use super::setup::Setup;
use super::solve::Matrix;
use super::steps::StepResidual;
use crate::error::{Error, Problem, Result};
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;

/// What `dyno fit` writes and `dyno predict --profile` reads (TOML).
#[derive(Debug, Clone, PartialEq, Default, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Profile {
    pub schema: u32,
    /// Where the observations came from.
    #[serde(default)]
    pub provenance: Vec<String>,
    #[serde(default, rename = "group")]
    pub groups: Vec<GroupFit>,
}

/// The fit of one group of observations: same model, hardware and engine.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct GroupFit {
    pub model: String,
    pub hardware: String,
    pub engine: String,
    pub engine_versions: Vec<String>,
    pub observations: usize,
    #[serde(default)]
    pub kind: Option<ModelKind>,
    #[serde(default)]
    pub generation: Option<Generation>,
    /// Readings of what scenarios leave open, likeliest first.
    #[serde(default, skip_serializing_if = "Vec::is_empty")]
    pub habits: Vec<Likely>,
    /// Sum of squared residuals over its prior, before and after.
    pub cost_before: f64,
    pub cost_after: f64,
    /// Coefficients that these data do not identify: they stand at the prior, as wide as it is.
    pub unidentified: Vec<String>,
    pub coefficients: Coefficients,
    /// Order of `log_shift` and `covariance`.
    pub names: Vec<String>,
    /// ln(fitted / prior).
    pub log_shift: Vec<f64>,
    /// Posterior covariance of the logarithms (Laplace).
    pub covariance: Matrix,
    /// Runs that found part of their prompts in the prefix cache.
    #[serde(default)]
    pub warm: Vec<Warm>,
    #[serde(default, rename = "residual")]
    pub residuals: Vec<Residual>,
    /// Scatter of repeated runs beyond what any machine shows, as standard deviation of the logarithm by result key.
    #[serde(default, skip_serializing_if = "BTreeMap::is_empty")]
    pub noise: BTreeMap<String, f64>,
    /// Steps that the engine told of, by kind, beside what the fitted model says of them.
    #[serde(default, rename = "step", skip_serializing_if = "Vec::is_empty")]
    pub steps: Vec<StepResidual>,
}

/// A burst whose prompts an earlier run of the same server had left in the prefix cache: seen from timings
/// that no uncached run explains.
#[derive(Debug, Clone, Copy, PartialEq, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Warm {
    pub requests: usize,
    pub mean_input_tokens: f64,
    /// Share of the requests.
    pub share: f64,
}

impl Warm {
    pub fn of(s: &Setup) -> Warm {
        let n = s.requests.len().max(1);
        let total: f64 = s.requests.iter().map(|r| f64::from(r.input_tokens)).sum();
        Warm { requests: n, mean_input_tokens: total / n as f64, share: s.warm }
    }

    /// The same load, whatever the flags.
    pub fn is_like(&self, other: &Warm) -> bool {
        self.requests == other.requests
            && (self.mean_input_tokens / other.mean_input_tokens - 1.0).abs() < 0.02
    }
}

/// What identifies a group.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord)]
pub struct GroupKey {
    pub model: String,
    pub hardware: String,
    pub engine: String,
}

impl GroupKey {
    pub fn of(s: &Setup) -> GroupKey {
        let precision = s.config.weights.unwrap_or(s.model.precision);
        GroupKey {
            model: format!("{} ({})", family(&s.model.id), precision.id()),
            hardware: s.hardware.id.clone(),
            engine: s.config.engine.id().to_owned(),
        }
    }
}

/// The hub name in lower case without its owner and without suffixes that change nothing but the training.
fn family(id: &str) -> String {
    let name = id.trim_end_matches('/').rsplit('/').next().unwrap_or(id).to_lowercase();
    let name = name.replace("meta-llama-", "llama-");
    ["-instruct", "-it", "-chat", "-base"].iter().fold(name, |n, s| n.replace(s, ""))
}

impl GroupFit {
    pub fn key(&self) -> GroupKey {
        GroupKey { model: self.model.clone(), hardware: self.hardware.clone(), engine: self.engine.clone() }
    }

    /// A fit of an earlier dyno knows nothing of the coefficients that came later: they stand at the prior.
    fn add_what_is_new(&mut self) {
        let known = self.names.len();
        if known == 0
            || !Coefficients::NAMES.starts_with(&self.names.iter().map(String::as_str).collect::<Vec<_>>())
        {
            return;
        }
        for (name, sd) in Coefficients::NAMES.iter().zip(Coefficients::LOG_SD).skip(known) {
            self.names.push((*name).to_owned());
            self.log_shift.push(0.0);
            for row in &mut self.covariance {
                row.push(0.0);
            }
            let mut row = vec![0.0; self.names.len()];
            row[self.names.len() - 1] = sd * sd;
            self.covariance.push(row);
        }
    }
}

impl Profile {
    pub const SCHEMA: u32 = 1;

    /// Errors name the file and the key.
    pub fn parse(file: &str, text: &str) -> Result<Profile> {
        let wrong = |key: String, message: String| {
            Error::problems("the profile cannot be read", vec![Problem::new(file, key, message)])
                .hint("`dyno fit` writes profiles")
        };
        let document =
            toml::de::Deserializer::parse(text).map_err(|e| wrong(String::new(), e.to_string()))?;
        let mut profile: Profile = serde_path_to_error::deserialize(document)
            .map_err(|e| wrong(e.path().to_string(), e.inner().message().to_owned()))?;
        if profile.schema != Profile::SCHEMA {
            return Err(wrong(
                "schema".into(),
                format!("is {}, this dyno reads {}", profile.schema, Profile::SCHEMA),
            ));
        }
        for (i, g) in profile.groups.iter_mut().enumerate() {
            g.add_what_is_new();
            let n = g.names.len();
            if g.names != Coefficients::NAMES
                || g.log_shift.len() != n
                || g.covariance.len() != n
                || g.covariance.iter().any(|r| r.len() != n)
            {
                return Err(wrong(
                    format!("group[{i}]"),
                    "its coefficients are not those of this dyno".into(),
                ));
            }
        }
        Ok(profile)
    }

    pub fn to_toml(&self) -> Result<String> {
        toml::to_string(self).map_err(|e| Error::failed("the profile cannot be written").source(e))
    }

    /// The group that was fitted on exactly this model, hardware and engine.
    pub fn exact(&self, key: &GroupKey) -> Option<&GroupFit> {
        self.groups.iter().find(|g| g.key() == *key)
    }
}
