//! How much repeated runs of the same thing scatter on this machine, beyond what the families of result keys allow.

use super::case::Case;
use super::discrepancy::Family;
use crate::hardware::Vendor;
use crate::scenario::Key;
use std::collections::BTreeMap;

/// Relative spread of runs on a host's own cores, which others use too, and the number of repeats that this belief weighs.
/// Seen on two virtual cores: 4 to 9 % between launches of the same command minutes apart.
const SHARED_CORES: (f64, f64) = (0.07, 4.0);
/// Fewer degrees of freedom say nothing.
const FEWEST: f64 = 3.0;

/// Standard deviation of the logarithm by result key, beyond the family's scatter; keys without any are left out.
pub fn between_runs(cases: &[Case]) -> BTreeMap<String, f64> {
    let on_cores = cases.first().is_some_and(|c| c.setup.hardware.vendor == Vendor::Cpu);
    let (believed, worth) = if on_cores { SHARED_CORES } else { (0.0, 0.0) };
    let mut groups: BTreeMap<&str, Vec<&Case>> = BTreeMap::new();
    for c in cases {
        groups.entry(&c.label).or_default().push(c);
    }
    let noise = |key: Key| {
        let family = Family::of(key)?;
        let (mut squares, mut freedom) = (0.0, 0.0);
        for same in groups.values() {
            let logs: Vec<f64> =
                same.iter().filter_map(|c| c.measured.get(key)).filter(|v| *v > 0.0).map(f64::ln).collect();
            let mean = logs.iter().sum::<f64>() / logs.len().max(1) as f64;
            squares += logs.iter().map(|l| (l - mean).powi(2)).sum::<f64>();
            freedom += (logs.len().max(1) - 1) as f64;
        }
        if freedom + worth < FEWEST {
            return None;
        }
        let variance = (squares + worth * believed * believed) / (freedom + worth);
        let beyond = variance - family.spread().1.powi(2);
        (beyond > 0.0).then(|| (key.name().to_owned(), beyond.sqrt()))
    };
    Key::ALL.iter().filter_map(|k| noise(*k)).collect()
}

#[cfg(test)]
mod tests {
    use super::super::setup::Catalogs;
    use super::*;
    use crate::scenario::Record;

    fn case(hardware: &str, ttft: f64) -> Case {
        let record: Record = serde_json::from_str(&format!(
            r#"{{"engine":"vllm","engine_version":"0.18.0","model":"Qwen/Qwen3-8B","hardware":"{hardware}",
                "serve_command":"vllm serve Qwen/Qwen3-8B --max-model-len 2048",
                "workload":{{"dataset":"random","input_len":64,"output_len":8,"num_prompts":4}},
                "result":{{"mean_ttft_ms":{ttft}}}}}"#
        ))
        .unwrap();
        Case::new(&record, &Catalogs::load(None).unwrap()).unwrap().unwrap()
    }

    #[test]
    fn repeats_that_scatter_widen_and_repeats_that_agree_do_not() {
        let runs = |hw: &str, values: &[f64]| {
            let cases: Vec<Case> = values.iter().map(|v| case(hw, *v)).collect();
            between_runs(&cases).get("mean_ttft_ms").copied()
        };
        let wide = runs("l40s-48gb", &[80.0, 100.0, 125.0, 100.0]).unwrap();
        assert!(wide > 0.12 && wide < 0.25, "{wide}");
        assert_eq!(runs("l40s-48gb", &[100.0, 101.0, 99.0, 100.0]), None);
        assert_eq!(runs("l40s-48gb", &[80.0, 125.0]), None, "two runs say little");
        assert!(runs("cpu", &[100.0]).unwrap() > 0.04, "shared cores are not believed to be quiet");
    }
}
