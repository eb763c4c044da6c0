//! Scores the cost model on public measurements: every run predicted from what did not see it.
//!
//! `cargo run --release --example evaluate -- [--data DIR]… [--basis NAME]… [--only TEXT] [--learn] [--calibrate] [--blind] [--shipped] [--rows FILE] [--report FILE]`
//!
//! Reads `reports/data`, and further sets from each `--data`. `--learn` first fits every open group and writes
//! `profiles/public.toml`, and at the end `profiles/calibration.toml`; `--calibrate` writes the latter alone. `--blind` scores the blind groups alone, `--shipped` the
//! open ones, with what this dyno carries.
#![expect(clippy::print_stdout, reason = "prints its tables")]
#![expect(clippy::print_stderr, reason = "says what it could not score")]

mod conformal;
mod data;
mod score;
mod sensitivity;
mod table;

use clap::Parser;
use llm_dyno::cost::calibration::Calibration;
use llm_dyno::cost::habits::Likely;
use llm_dyno::cost::{Catalogs, Profile, pooling};
use score::{Basis, Row, Scorer};
use std::collections::BTreeMap;
use std::path::PathBuf;
use std::sync::Mutex;

#[derive(Parser)]
struct Arguments {
    /// Further directories with sets of observations.
    #[arg(long)]
    data: Vec<PathBuf>,
    /// From what runs are predicted: `small fit`, `prior`, `prior, kind left out`, `transfer`; all when absent.
    #[arg(long)]
    basis: Vec<String>,
    /// Only groups whose name holds this text.
    #[arg(long)]
    only: Option<String>,
    /// Fit the open groups anew and write what this dyno carries.
    #[arg(long)]
    learn: bool,
    /// Write what the scored rows teach to `profiles/calibration.toml`; with all bases, on all open sets.
    #[arg(long)]
    calibrate: bool,
    /// Physics alone behind the prior: no public fits.
    #[arg(long)]
    physics: bool,
    /// Score the blind groups instead of the open ones.
    #[arg(long)]
    blind: bool,
    /// Intervals by the factors that this dyno carries, as its users get them, instead of factors formed from the other groups scored.
    #[arg(long)]
    shipped: bool,
    /// Every predicted figure, as CSV.
    #[arg(long)]
    rows: Option<PathBuf>,
    /// The same with the intervals that the model itself believes.
    #[arg(long)]
    raw: Option<PathBuf>,
    /// How each coefficient of the prior moves up to six runs of each launch, as CSV; nothing is scored then.
    #[arg(long)]
    sensitivity: Option<PathBuf>,
    /// The tables as a file.
    #[arg(long)]
    report: Option<PathBuf>,
}

const CALIBRATION: &str = "# Spreads and conformal factors by standing, family and load, and the kinds of launches behind them; see \
src/cost/calibration.rs.\n# Written by `cargo run --release --example evaluate -- --data DIR --calibrate`. Those of `prior-seen` and `prior-unseen` are \
the same: the\n# physics is.\n\n";

fn main() {
    let a = Arguments::parse();
    let catalogs = Catalogs::load(None).expect("the embedded catalogs");
    let mut dirs = vec![PathBuf::from("reports/data")];
    dirs.extend(a.data.clone());
    let (mut runs, notes) = data::load(&dirs, a.blind, &catalogs);
    for n in notes {
        eprintln!("{n}");
    }
    runs.retain(|r| r.blind == a.blind);
    if let Some(text) = &a.only {
        runs.retain(|r| r.group.contains(text.as_str()) || r.set.contains(text.as_str()));
    }
    if let Some(file) = &a.sensitivity {
        std::fs::write(file, sensitivity::table(&runs, &catalogs)).expect("the sensitivities can be written");
        return;
    }
    // Without public fits behind the prior there is none of the same kind to leave out.
    let same_as_prior =
        |b: &Basis| *b == Basis::Unseen && !a.learn && (a.physics || pooling::public().groups.is_empty());
    let asked = |b: &Basis| a.basis.is_empty() || a.basis.iter().any(|t| b.id() == t.as_str());
    let bases: Vec<Basis> = Basis::ALL.into_iter().filter(asked).filter(|b| !same_as_prior(b)).collect();
    let unit = Calibration::default();
    let nothing = Profile::default();
    let physics =
        Scorer { catalogs: &catalogs, base: &nothing, calibration: &unit, inferred: Mutex::default() };
    let base = match (a.learn, a.physics) {
        (true, _) => physics.public_fits(&runs),
        (_, true) => nothing.clone(),
        _ => pooling::public().clone(),
    };
    if a.learn {
        let text = base.to_toml().expect("a profile is TOML");
        std::fs::write("profiles/public.toml", text).expect("profiles/ can be written");
    }
    let own = if a.blind || a.shipped { shipped() } else { unit.clone() };
    let scorer = Scorer { catalogs: &catalogs, base: &base, calibration: &own, inferred: Mutex::default() };
    let raw = scorer.score(&runs, &bases);
    if a.learn || a.calibrate {
        let text = toml::to_string(&conformal::calibration(&raw, None)).expect("a calibration is TOML");
        std::fs::write("profiles/calibration.toml", CALIBRATION.to_owned() + &text)
            .expect("profiles/ can be written");
    }
    let rows = if a.blind || a.shipped { raw.clone() } else { conformal::left_out(&raw) };
    if let Some(file) = &a.rows {
        std::fs::write(file, table::csv(&rows)).expect("the rows can be written");
    }
    if let Some(file) = &a.raw {
        std::fs::write(file, table::csv(&raw)).expect("the rows can be written");
    }
    let inferred = scorer.inferred.into_inner().expect("no worker panicked");
    let text = tables(&rows, &bases, &inferred);
    println!("{text}");
    if let Some(file) = &a.report {
        std::fs::write(file, format!("# Tables of `evaluate`\n\n{}\n", text.trim()))
            .expect("the report can be written");
    }
}

/// The spreads and factors as they stand in the tree, which may be younger than this program.
fn shipped() -> Calibration {
    let file = "profiles/calibration.toml";
    let text = std::fs::read_to_string(file).expect("profiles/calibration.toml, from the root of the tree");
    Calibration::parse(file, &text).expect("a calibration")
}

/// All tables of the scored rows.
fn tables(rows: &[Row], bases: &[Basis], inferred: &BTreeMap<String, Vec<Likely>>) -> String {
    let mut text = table::markdown(rows);
    if bases.contains(&Basis::Transfer) && bases.contains(&Basis::Prior) {
        text += "\n### Transfer\n\n";
        text += &table::transfers(rows);
    }
    if !inferred.is_empty() {
        text += "\n### What the small fits infer of the closed loops\n\n";
        text += &table::inferred(inferred);
    }
    text += "\n### Standing by kind of launch\n\n";
    text += &table::standings(&conformal::seen(rows));
    text
}
