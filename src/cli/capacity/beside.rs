//! Several launches' ramps side by side: one table, and one picture.

use super::{CapacityArgs, published, short};
use crate::capacity::simulated::{Options, Study, ramp};
use crate::cost::{Catalogs, Predictor};
use crate::error::{Error, Result};
use crate::report::analysis::{Ramp, Side};
use crate::scenario::{Key, Record};
use comfy_table::{Cell, CellAlignment, Table};
use serde_json::{Value, json};

/// A launch and its predicted ramp.
pub(super) struct Other {
    name: String,
    gpus: u32,
    study: Study,
}

/// The scenarios of `--beside`, each with its ramp over the same loads.
///
/// Errors: a file that cannot be read or predicted, by its name; more launches than a picture tells apart.
pub(super) fn others(
    args: &CapacityArgs,
    catalogs: &Catalogs,
    predictor: &Predictor<'_>,
    options: &Options,
) -> Result<Vec<Other>> {
    let most = crate::report::LAUNCHES_IN_A_PICTURE - 1;
    if args.beside.len() > most {
        return Err(Error::usage(format!("--beside stands {} times, at most {most} fit", args.beside.len())));
    }
    let of = |path: &std::path::PathBuf| {
        let record = if path.extension().is_some_and(|e| e == "toml") {
            published::read(path)?.0
        } else {
            let mut all = crate::scenario::read_records(path)?;
            if all.is_empty() {
                return Err(Error::usage("the file holds no scenario").at(path.display()));
            }
            all.swap_remove(0)
        };
        let study = ramp(&record, predictor, options).map_err(|e| e.at(path.display()))?;
        for note in crate::engine::told(&record, &catalogs.models) {
            crate::cli::out::note(format_args!("dyno: {}: {note}", path.display()));
        }
        let gpus = crate::cost::Setup::new(&record, catalogs)?.config.gpus();
        Ok(Other { name: named(&record), gpus, study })
    };
    args.beside.iter().map(of).collect()
}

/// What tells a launch from its neighbours: model, engine, hardware.
fn named(record: &Record) -> String {
    let engine = record.engine.map(|e| e.to_string());
    let words = [record.model.clone(), engine, record.hardware.clone()];
    words.into_iter().flatten().collect::<Vec<_>>().join(" · ")
}

/// The first launch and the others, each with the ramp that a picture draws.
pub(super) fn curves(first: (&Record, &Study), others: &[Other]) -> Vec<(String, Ramp)> {
    let of = |name: String, study| (name, crate::cli::analysis::ramp_of(Side::Defaults, study));
    let rest = others.iter().map(|o| of(o.name.clone(), &o.study));
    std::iter::once(of(named(first.0), first.1)).chain(rest).collect()
}

/// One line a launch: the load to plan with, what it yields there, and the most that any load yields.
pub(super) fn table(first: (&Record, u32, &Study), others: &[Other]) -> String {
    let mut t = Table::new();
    t.load_style(comfy_table::presets::NOTHING);
    t.set_header([
        "launch",
        "GPUs",
        "plan with",
        "req/s there",
        "TTFT ms there",
        "TPOT ms there",
        "most tok/s",
    ]);
    let name = named(first.0);
    let all = std::iter::once((name.as_str(), first.1, first.2))
        .chain(others.iter().map(|o| (o.name.as_str(), o.gpus, &o.study)));
    for (name, gpus, study) in all {
        let load = study.planning_load();
        let at = |key| load.and_then(|l| study.value_at(l, key)).map(|v| v.value);
        let right =
            |v: Option<f64>| Cell::new(v.map_or("–".to_owned(), short)).set_alignment(CellAlignment::Right);
        t.add_row(vec![
            Cell::new(name),
            Cell::new(gpus).set_alignment(CellAlignment::Right),
            right(load),
            right(at(Key::RequestThroughput)),
            right(at(Key::MeanTtftMs)),
            right(at(Key::MeanTpotMs)),
            right(most(study)),
        ]);
    }
    format!("\nSide by side (requests in flight on one replica)\n{t}\n")
}

/// The most tokens a second of any load.
fn most(study: &Study) -> Option<f64> {
    let of = |r: &crate::capacity::simulated::Rung| {
        r.steady.get(Key::TotalTokenThroughput.name()).map(|v| v.value)
    };
    study.rungs.iter().filter_map(of).max_by(f64::total_cmp)
}

/// The others as JSON.
pub(super) fn to_json(others: &[Other]) -> Value {
    let of = |o: &Other| json!({"name": o.name, "gpus": o.gpus, "points": o.study.rungs, "planning_load": o.study.planning_load()});
    others.iter().map(of).collect()
}
