//! The calibration run: a few short probes, chosen so that together they identify the coefficients.
//!
//! | probe | what it shows |
//! |---|---|
//! | one request at a time, short prompt | a step with one row: weights, layer overhead, host, delays |
//! | one request at a time, long prompt | prefill: products and attention by chunk |
//! | a closed loop at a middle concurrency | growth by row, experts touched |
//! | a closed loop at the limit of rows, short contexts | host and device by row, budget |
//! | a closed loop with long contexts | KV bandwidth, KV room |
//! | a burst of very short requests | the front end |

use super::setup::Setup;
use crate::workload::WorkloadSpec;

/// One probe and what it is there for.
#[derive(Debug, Clone, PartialEq)]
pub struct Probe {
    pub purpose: &'static str,
    pub workload: WorkloadSpec,
}

/// The probes for a launch, sized for its context limit, its rows and its KV room.
pub fn probes(setup: &Setup, seed: u64) -> Vec<Probe> {
    let limit = setup.config.max_model_len.max(64);
    let rows = setup.config.max_num_seqs.clamp(1, 256);
    let fit = |tokens: u32| tokens.min(limit * 3 / 4).max(8);
    let long = fit(4096);
    let held = (setup.memory.kv_tokens / u64::from(long + 64)).clamp(1, u64::from(rows)) as u32;
    let middle = (rows / 8).clamp(1, 32);
    let probe = |purpose, input: u32, output: u32, n: u32, concurrency: Option<u32>| Probe {
        purpose,
        workload: WorkloadSpec {
            max_concurrency: concurrency,
            ..WorkloadSpec::random(fit(input), fit(output).min(limit / 4).max(2), n, seed)
        },
    };
    vec![
        probe("one row: weights, overhead, host, delays", 64, 64, 4, Some(1)),
        probe("prefill of a long prompt", long, 4, 4, Some(1)),
        probe("growth by row", 256, 64, 3 * middle, Some(middle)),
        probe("the limit of rows", 128, 48, 2 * rows, Some(rows)),
        probe("long contexts: KV bandwidth and room", long, 32, 2 * held.min(32), Some(held.min(32))),
        probe("the front end", 16, 2, 2 * rows.min(128), None),
    ]
}

#[cfg(test)]
mod tests {
    use super::super::setup::{Catalogs, Setup};
    use super::super::{Coefficients, fit};
    use super::*;
    use crate::scenario::Record;

    fn record(workload: WorkloadSpec) -> Record {
        Record {
            workload: Some(workload),
            ..serde_json::from_str(
                r#"{"engine":"vllm","engine_version":"0.11.0","model":"Qwen/Qwen3-8B","hardware":"a100-sxm-80gb",
                    "serve_command":"vllm serve Qwen/Qwen3-8B --max-model-len 8192"}"#,
            )
            .unwrap()
        }
    }

    /// Measurements made up by the simulator with other coefficients: the fit has to find what they predict.
    #[test]
    fn a_fit_on_the_probes_predicts_loads_that_were_not_probed() {
        let catalogs = Catalogs::load(None).unwrap();
        let ready = |w: &WorkloadSpec| Setup::new(&record(w.clone()), &catalogs).unwrap();
        let base = super::super::prior::coefficients(&ready(&WorkloadSpec::random(64, 8, 2, 1)));
        let names = Coefficients::NAMES;
        let hidden: Vec<f64> = (0..names.len()).map(|i| if i % 2 == 0 { 0.25 } else { -0.3 }).collect();
        let truth = base.shifted(&hidden);
        let measured: Vec<Record> = probes(&ready(&WorkloadSpec::random(64, 8, 2, 1)), 7)
            .into_iter()
            .map(|p| Record {
                result: Some(ready(&p.workload).simulate(&truth, false).metrics),
                ..record(p.workload)
            })
            .collect();
        let profile = fit::fit_records(&measured, &catalogs).unwrap();
        let unseen =
            ready(&WorkloadSpec { max_concurrency: Some(48), ..WorkloadSpec::random(1500, 120, 150, 3) });
        let want = unseen.simulate(&truth, false).metrics;
        let fitted = unseen.simulate(&profile.groups[0].coefficients, false).metrics;
        let before = unseen.simulate(&base, false).metrics;
        let error = |m: &crate::scenario::Metrics, k| (m.get(k).unwrap() / want.get(k).unwrap()).ln().abs();
        for key in [crate::scenario::Key::MeanTpotMs, crate::scenario::Key::TotalTokenThroughput] {
            assert!(error(&fitted, key) < 0.06, "{} is {:.3} off", key.name(), error(&fitted, key));
            assert!(error(&fitted, key) < error(&before, key));
        }
    }
}
