//! Scenarios as TOML with what others have published of them, and the prediction held beside that.

use crate::capacity::simulated::Study;
use crate::error::{Error, Problem, Result};
use crate::scenario::{Key, Record, parse_records};
use serde::Deserialize;
use std::fmt::Write as _;
use std::path::Path;

/// What a page says of a ramp; loads on its own axis.
#[derive(Debug, Clone, PartialEq, Deserialize)]
#[serde(deny_unknown_fields)]
pub(in super::super) struct Published {
    source: String,
    /// Ends of the range of requests a second at which throughput stands still, and the load from which on.
    plateau_requests_per_s: Option<(f64, f64)>,
    plateau_from: Option<f64>,
    /// Loads as they were told: stable up to, degrading between, saturated from.
    stable_to: Option<(f64, f64)>,
    degradation: Option<(f64, f64)>,
    saturation: Option<(f64, f64)>,
    /// What the page says without a figure on an axis.
    #[serde(default)]
    words: Vec<String>,
}

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct File {
    scenario: toml::Table,
    published: Option<Published>,
}

/// A TOML file with a `[scenario]` in the keys of the JSON form and, if it likes, what is `[published]` of it.
pub(super) fn read(path: &Path) -> Result<(Record, Option<Published>)> {
    let file = path.display().to_string();
    let bad =
        |at: &str, what: String| Error::problems("bad scenario file", vec![Problem::new(&file, at, what)]);
    let text =
        crate::host::read_text(path, crate::host::SETTINGS_LIMIT).map_err(|e| bad("", e.to_string()))?;
    parse(&file, &text)
}

/// The same of a text.
pub(in super::super) fn parse(file: &str, text: &str) -> Result<(Record, Option<Published>)> {
    let bad =
        |at: &str, what: String| Error::problems("bad scenario file", vec![Problem::new(file, at, what)]);
    let parsed: File = toml::from_str(text).map_err(|e| bad("", e.to_string()))?;
    let json = serde_json::to_string(&parsed.scenario).map_err(|e| bad("scenario", e.to_string()))?;
    let record = parse_records(file, &json)?.into_iter().next();
    let record = record.ok_or_else(|| bad("scenario", "is empty".to_owned()))?;
    Ok((record, parsed.published))
}

impl Published {
    /// Prediction and publication, line by line.
    pub(super) fn beside(&self, study: &Study) -> String {
        let mut out = format!("\nPublished ({})\n", self.source);
        let rate = |load: f64| study.value_at(load, Key::RequestThroughput);
        let top = study.rungs.iter().filter_map(|r| rate(r.load)).map(|v| v.value).fold(0.0, f64::max);
        if let Some((low, high)) = self.plateau_requests_per_s {
            let _ = write!(out, "  plateau {low:.0} to {high:.0} req/s: predicted");
            let best =
                study.rungs.iter().filter_map(|r| rate(r.load)).max_by(|a, b| a.value.total_cmp(&b.value));
            let _ = match best {
                Some(v) => writeln!(out, " {:.0} [{:.0}, {:.0}]", v.value, v.p05, v.p95),
                None => writeln!(out, " nothing"),
            };
        }
        let said = [
            ("plateau from", self.plateau_from.map(|l| (l, l))),
            ("stable to", self.stable_to),
            ("degradation from", self.degradation),
            ("saturation from", self.saturation),
        ];
        for (what, loads) in said {
            let Some((low, high)) = loads else { continue };
            let mut at = vec![low, high];
            at.dedup();
            for load in at {
                let share = rate(load).map_or(0.0, |v| 100.0 * v.value / top);
                let _ = writeln!(
                    out,
                    "  {what} {load:.0}: predicted there {share:.0} % of the plateau{}",
                    times(study, load)
                );
            }
        }
        for words in &self.words {
            let _ = writeln!(out, "  in words: {words}");
        }
        out
    }
}

fn times(study: &Study, load: f64) -> String {
    let of = |key, name: &str| {
        study
            .value_at(load, key)
            .map_or(String::new(), |v| format!(", {name} {:.0} ms [{:.0}, {:.0}]", v.value, v.p05, v.p95))
    };
    format!("{}{}", of(Key::MeanTtftMs, "TTFT"), of(Key::MeanTpotMs, "TPOT"))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_published_scenario_of_the_repository_is_read() {
        let dir = Path::new(env!("CARGO_MANIFEST_DIR")).join("scenarios");
        let mut seen = 0;
        let files = std::fs::read_dir(dir).unwrap().map(|e| e.unwrap().path());
        for path in files.filter(|p| p.is_file()) {
            let (record, published) = read(&path).unwrap_or_else(|e| panic!("{}: {e:?}", path.display()));
            assert!(record.model.is_some() && record.hardware.is_some() && record.workload.is_some());
            assert!(published.is_some_and(|p| p.source.len() > 20), "{}", path.display());
            seen += 1;
        }
        assert!(seen >= 3);
    }

    #[test]
    fn a_wrong_key_is_named() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("s.toml");
        std::fs::write(&path, "[scenario]\nmodle = \"x\"\n").unwrap();
        let e = read(&path).unwrap_err();
        assert!(e.problems.iter().any(|p| format!("{p:?}").contains("modle")), "{e:?}");
        std::fs::write(&path, "[published]\nsource = \"x\"\n").unwrap();
        assert!(format!("{:?}", read(&path).unwrap_err()).contains("scenario"));
    }
}
