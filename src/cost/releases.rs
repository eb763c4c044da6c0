//! How far releases of an engine are apart, and what a fit over several of them is told.

use super::profile::GroupFit;
use super::setup::Setup;
use crate::launch::{EngineKind, Version};

/// Farther apart than this, releases are as different as they get.
const FARTHEST: f64 = 9.0;

/// Months at which an engine's releases came, from the dates of 2025 and 2026: vLLM's and SGLang's about one a month (SGLang counts
/// them by its third number), TensorRT-LLM's one in three.
fn months(engine: EngineKind, v: Version) -> f64 {
    let (minor, patch) = (f64::from(v.1), f64::from(v.2));
    match engine {
        EngineKind::Sglang => 0.7 * (100.0 * f64::from(v.0) + 10.0 * minor + patch.min(9.0)),
        EngineKind::Trtllm => 3.0 * (10.0 * f64::from(v.0) + minor),
        EngineKind::Vllm | EngineKind::Emulated => 100.0 * f64::from(v.0) + minor,
    }
}

/// The newest release among those that a fit has seen.
pub(super) fn newest<'a>(seen: impl IntoIterator<Item = &'a String>) -> Option<Version> {
    seen.into_iter().filter_map(|v| v.parse().ok()).max()
}

/// Tells a launch how much older its release is than the one that coefficients are of.
pub(super) fn measured_against(setup: &mut Setup, reference: Option<Version>) {
    let Some(reference) = reference.filter(|_| setup.release_told) else { return };
    let engine = setup.config.engine;
    let older = months(engine, reference) - months(engine, setup.config.version);
    setup.config.months_older = older.clamp(-FARTHEST, FARTHEST);
}

/// The launch as a fit sees it, where one speaks for it.
pub(super) fn as_seen_by(setup: &Setup, fit: Option<&GroupFit>) -> Setup {
    let mut setup = setup.clone();
    measured_against(&mut setup, fit.and_then(|g| newest(&g.engine_versions)));
    setup
}

#[cfg(test)]
mod tests {
    use super::super::coefficients::Coefficients;
    use super::super::fit::fit_records;
    use super::super::predict::Predictor;
    use super::super::prior;
    use super::super::profile::Profile;
    use super::super::setup::Catalogs;
    use super::*;
    use crate::scenario::{Key, Record};
    use serde_json::json;

    #[test]
    fn releases_lie_as_far_apart_as_they_came() {
        let months = |e, a, b| months(e, a) - months(e, b);
        assert_eq!(months(EngineKind::Trtllm, Version(1, 2, 0), Version(1, 1, 0)), 3.0);
        assert_eq!(months(EngineKind::Vllm, Version(0, 14, 1), Version(0, 11, 0)), 3.0);
        assert!((months(EngineKind::Sglang, Version(0, 5, 0), Version(0, 4, 9)) - 0.7).abs() < 1e-9);
        let seen = ["1.1.0rc2.post2".to_owned(), "1.2.0rc6".to_owned()];
        assert_eq!(newest(&seen), Some(Version(1, 2, 0)));
    }

    fn observed(version: &str, concurrency: u32, older: f64) -> Record {
        let mut record: Record = serde_json::from_value(json!({
            "engine": "vllm", "engine_version": version, "model": "Qwen/Qwen3-8B", "hardware": "h100-sxm-80gb",
            "serve_command": "vllm serve Qwen/Qwen3-8B",
            "workload": { "dataset": "random", "input_len": 512, "output_len": 64, "num_prompts": 96,
                          "max_concurrency": concurrency, "seed": 1 }
        }))
        .unwrap();
        let mut setup = Setup::new(&record, &Catalogs::load(None).unwrap()).unwrap();
        setup.config.months_older = 1.0;
        let truth = Coefficients { month_older: older, ..prior::coefficients(&setup) };
        record.result = Some(setup.simulate(&truth, false).metrics);
        record
    }

    #[test]
    fn a_fit_over_two_releases_learns_what_lies_between_them() {
        // Three releases earlier every step took 1.2 times as long.
        let runs = [
            observed("0.14.0", 4, 1.0),
            observed("0.14.0", 32, 1.0),
            observed("0.11.0", 4, 1.2),
            observed("0.11.0", 16, 1.2),
        ];
        let catalogs = Catalogs::load(None).unwrap();
        let profile = fit_records(&runs, &catalogs).unwrap();
        let month = profile.groups[0].coefficients.month_older;
        assert!((month.powi(3) / 1.2 - 1.0).abs() < 0.06, "{month}");
        let unseen = observed("0.11.0", 32, 1.2);
        let said = Predictor::new(&catalogs, Some(&profile)).predict(&unseen, false).unwrap();
        assert!(said.notes.iter().any(|n| n.contains("older than the newest release")), "{:?}", said.notes);
        let measured = unseen.result.unwrap().get(Key::MeanTpotMs).unwrap();
        let off = said.get(Key::MeanTpotMs).unwrap().value / measured - 1.0;
        assert!(off.abs() < 0.08, "{off}");
    }

    #[test]
    fn a_fit_of_an_earlier_dyno_is_read_and_knows_nothing_of_releases() {
        let runs = [observed("0.14.0", 4, 1.0)];
        let profile = fit_records(&runs, &Catalogs::load(None).unwrap()).unwrap();
        let mut old = profile.clone();
        let g = &mut old.groups[0];
        g.names.pop();
        g.log_shift.pop();
        g.covariance.pop();
        g.covariance.iter_mut().for_each(|row| {
            row.pop();
        });
        let read = Profile::parse("old.toml", &old.to_toml().unwrap()).unwrap();
        assert_eq!(read.groups[0].names, profile.groups[0].names);
        assert_eq!(read.groups[0].log_shift.last(), Some(&0.0));
        assert!(read.groups[0].covariance.iter().all(|row| row.len() == read.groups[0].names.len()));
    }
}
