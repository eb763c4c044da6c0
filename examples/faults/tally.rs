//! What became of the faults, by kind.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "the table is what this program is for")]

use std::collections::BTreeMap;
use std::process::ExitCode;

#[derive(Default)]
struct Row {
    faults: u32,
    broken: u32,
    /// Trials or requests that were lost beyond the one in flight.
    lost: u32,
    peak_mb: u64,
}

#[derive(Default)]
pub(crate) struct Tally {
    rows: BTreeMap<String, Row>,
    complaints: Vec<String>,
}

impl Tally {
    /// Books one fault: nothing to say, or what broke.
    pub(crate) fn book(&mut self, kind: &str, peak_mb: u64, broken: Result<(), String>) {
        let row = self.rows.entry(kind.to_owned()).or_default();
        row.faults += 1;
        row.peak_mb = row.peak_mb.max(peak_mb);
        if let Err(why) = broken {
            row.broken += 1;
            row.lost += u32::from(why.starts_with("trials lost") || why.contains("is lost"));
            eprintln!("{kind}: {why}");
            self.complaints.push(why);
        }
    }

    pub(crate) fn print(&self) -> ExitCode {
        println!("| what happens | faults | broken | of these lost something | most memory |");
        println!("|---|---|---|---|---|");
        for (kind, r) in &self.rows {
            println!("| {kind} | {} | {} | {} | {} MB |", r.faults, r.broken, r.lost, r.peak_mb);
        }
        let all: u32 = self.rows.values().map(|r| r.faults).sum();
        println!("| all | {all} | {} | | |", self.complaints.len());
        ExitCode::from(u8::from(!self.complaints.is_empty()))
    }
}
