//! Scores the cost model on public measurements: every run predicted from what did not see it.
//!
//! `cargo run --release --example evaluate -- [--data DIR]… [--basis prior|fit|transfer]… [--only TEXT] [--blind] [--rows FILE]`
//!
//! Reads `reports/data`, and further sets from each `--data`.
#![expect(clippy::print_stdout, reason = "prints its tables")]
#![expect(clippy::print_stderr, reason = "says what it could not score")]

mod data;
mod score;
mod table;

use clap::Parser;
use llm_dyno::cost::Catalogs;
use score::Basis;
use std::path::PathBuf;

#[derive(Parser)]
struct Arguments {
    /// Further directories with sets of observations.
    #[arg(long)]
    data: Vec<PathBuf>,
    /// From what runs are predicted; all three when absent.
    #[arg(long)]
    basis: Vec<String>,
    /// Only groups whose name holds this text.
    #[arg(long)]
    only: Option<String>,
    /// The blind groups too.
    #[arg(long)]
    blind: bool,
    /// Every predicted figure, as CSV.
    #[arg(long)]
    rows: Option<PathBuf>,
}

fn main() {
    let a = Arguments::parse();
    let catalogs = Catalogs::load(None).expect("the embedded catalogs");
    let mut dirs = vec![PathBuf::from("reports/data")];
    dirs.extend(a.data);
    let (mut runs, notes) = data::load(&dirs, a.blind, &catalogs);
    for n in notes {
        eprintln!("{n}");
    }
    if let Some(text) = &a.only {
        runs.retain(|r| r.group.contains(text.as_str()) || r.set.contains(text.as_str()));
    }
    let asked = |b: &Basis| a.basis.is_empty() || a.basis.iter().any(|t| b.id().ends_with(t.as_str()));
    let bases: Vec<Basis> =
        [Basis::Prior, Basis::SmallFit, Basis::Transfer].into_iter().filter(asked).collect();
    let rows = score::score(&runs, &bases, &catalogs);
    if let Some(file) = &a.rows {
        std::fs::write(file, table::csv(&rows)).expect("the rows can be written");
    }
    println!("{}", table::markdown(&rows));
}
