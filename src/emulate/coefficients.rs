//! `--coefficients FILE`: factors on the step-time model's coefficients, so that a tuner can be tested on an
//! engine whose physics it does not know. The engine never tells what the file says.

use crate::cost::Coefficients;
use crate::error::{Error, Problem, Result};
use std::path::Path;

/// Reads a table of `name = factor` and applies it to the prior. Errors: every bad line at once.
pub(super) fn read(path: &Path) -> Result<Coefficients> {
    let file = path.display().to_string();
    let text = crate::host::read_text(path, crate::host::SETTINGS_LIMIT)
        .map_err(|e| Error::problems("cannot read", vec![Problem::new(&file, "", e.to_string())]))?;
    let table: toml::Table = text.parse().map_err(|e: toml::de::Error| {
        Error::problems("not TOML", vec![Problem::new(&file, "", e.to_string())])
    })?;
    let mut values = Coefficients::default().to_vec();
    let mut problems = Vec::new();
    for (name, value) in &table {
        let factor = value.as_float().or_else(|| value.as_integer().map(|i| i as f64));
        let at = Coefficients::NAMES.iter().position(|n| n == name);
        match (at, factor) {
            (Some(at), Some(f)) if f > 0.0 && f.is_finite() => values[at] *= f,
            (Some(_), _) => {
                problems.push(Problem::new(&file, name, "must be a positive factor, such as 1.2"));
            }
            (None, _) => {
                let known = format!("known: {}", Coefficients::NAMES.join(", "));
                problems.push(Problem::new(&file, name, "no such coefficient").hint(known));
            }
        }
    }
    if problems.is_empty() {
        Ok(Coefficients::from_slice(&values))
    } else {
        Err(Error::problems("the file of coefficients has problems", problems))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn factors_scale_and_every_mistake_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("c.toml");
        std::fs::write(&path, "host_step = 1.4\nkv_bandwidth = 0.5").unwrap();
        let c = read(&path).unwrap();
        let prior = Coefficients::default();
        assert!((c.host_step / prior.host_step - 1.4).abs() < 1e-12);
        assert!((c.kv_bandwidth / prior.kv_bandwidth - 0.5).abs() < 1e-12);
        assert_eq!(c.row, prior.row);
        std::fs::write(&path, "host_stepp = 1.4\nrow = -1\nemit_token = \"x\"").unwrap();
        assert_eq!(read(&path).unwrap_err().problems.len(), 3);
        std::fs::write(&path, "a = = 1").unwrap();
        assert_eq!(read(&path).unwrap_err().kind.exit_code(), 2);
        assert!(read(&dir.path().join("absent")).is_err());
    }
}
