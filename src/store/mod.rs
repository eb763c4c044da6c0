//! The record of a campaign: `run.json` with its plan, `trials.jsonl` with one line a finished trial, and a
//! lock. Append-only, flushed to the disk before the next trial begins, so that whatever ends the process,
//! at most the trial in flight is lost.

pub mod journal;
mod line;
pub mod lock;
pub mod plan;
mod read;
pub mod run;
pub mod verdict;

pub use journal::Journal;
pub use line::{Line, TrialLine};
pub use lock::DirLock;
pub use plan::{NamedWorkload, Plan, Variant};
pub use read::{Contents, parse_journal, read_journal};
pub use run::{RunFile, parse_run, read_run, write_run};
pub use verdict::{
    Compared, EngineRow, FlagEffect, ForecastRow, Improvement, MetricRow, SpaceSummary, Tried, Verdict,
    WorkloadRow,
};
