//! How each coefficient of the prior moves what is predicted, by run: what a regression of the priors of many groups starts from.

use crate::data::{Run, by_launch};
use crate::score::{SCORED, in_parallel, spread};
use llm_dyno::cost::kernels::{Format, Generation};
use llm_dyno::cost::setup::scenario_of;
use llm_dyno::cost::{Catalogs, Coefficients, Setup, habits, prior};
use llm_dyno::scenario::Key;
use std::fmt::Write as _;

/// Most runs of a launch.
const RUNS: usize = 6;
/// Change of a coefficient's logarithm.
const STEP: f64 = 0.2;

/// CSV: what the launch is, measured and predicted logarithm of each key, and its derivative by each coefficient's logarithm.
pub(crate) fn table(runs: &[Run], catalogs: &Catalogs) -> String {
    let launches = by_launch(runs);
    let chosen: Vec<&Run> = launches.values().flat_map(|l| spread(l, RUNS)).collect();
    let lines = in_parallel(&chosen, |r| of_run(r, catalogs).unwrap_or_default());
    let names = Coefficients::NAMES.join(",");
    let head = format!(
        "set,group,engine,version,generation,hardware,kind,format,scheme,devices,load,key,measured,predicted,{names}\n"
    );
    head + &lines.concat()
}

fn of_run(run: &Run, catalogs: &Catalogs) -> Option<String> {
    let setup = Setup::new(&scenario_of(&run.record), catalogs).ok()?;
    if setup.refused().is_some() {
        return None;
    }
    let at = |c: &Coefficients| logs(&setup, c);
    let centre = prior::coefficients(&setup);
    let values = at(&centre);
    let moved: Vec<Vec<Option<f64>>> = (0..Coefficients::NAMES.len())
        .map(|i| {
            let mut shift = vec![0.0; Coefficients::NAMES.len()];
            shift[i] = STEP;
            at(&centre.shifted(&shift))
        })
        .collect();
    let result = run.record.result.as_ref()?;
    let workload = run.record.workload.as_ref()?;
    let mut out = String::new();
    for (k, (key, name)) in SCORED.iter().enumerate() {
        let (Some(measured), Some(value)) = (result.get(*key).filter(|m| *m > 0.0), values[k]) else {
            continue;
        };
        let slopes: Vec<String> =
            moved.iter().map(|m| format!("{:.4}", m[k].map_or(0.0, |v| (v - value) / STEP))).collect();
        let load = format!(
            "{}/{} c{}",
            workload.input_len.unwrap_or(0),
            workload.output_len.unwrap_or(0),
            workload.max_concurrency.unwrap_or(0)
        );
        let _ = writeln!(
            out,
            "{},\"{}\",{},{},{:?},{},{},{:?},\"{:?}\",{},\"{load}\",{name},{:.5},{value:.5},{}",
            run.set,
            run.group,
            setup.config.engine,
            run.record.engine_version.as_deref().unwrap_or(""),
            Generation::of(&setup.hardware),
            setup.hardware.id,
            run.kind,
            Format::of(setup.precision()),
            setup.model.quantisation.format.scheme,
            run.devices,
            measured.ln(),
            slopes.join(",")
        );
    }
    Some(out)
}

/// Logarithm of each key, its mean over the readings of what the scenario leaves open.
fn logs(setup: &Setup, c: &Coefficients) -> Vec<Option<f64>> {
    let readings = habits::readings(setup.config.engine, &setup.possible_habits(), &[]);
    let mut sums: Vec<Option<f64>> = vec![Some(0.0); SCORED.len()];
    for r in readings {
        let m = setup.with_habits(r.habits).simulate(c, false).metrics;
        for (sum, (key, _)) in sums.iter_mut().zip(SCORED) {
            *sum = sum.and_then(|s| Some(s + r.weight * value(&m, key)?));
        }
    }
    sums
}

fn value(m: &llm_dyno::scenario::Metrics, key: Key) -> Option<f64> {
    m.get(key).filter(|v| *v > 0.0).map(f64::ln)
}
