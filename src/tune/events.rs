//! What a campaign says while it runs. The library builds the values; `cli` renders them.

use crate::search::Stage;
use crate::store::TrialLine;

#[derive(Debug)]
pub enum Event<'a> {
    /// Something the user should know: an engine left out, a reaped leftover, …
    Note(&'a str),
    Stage {
        stage: Stage,
        launches: usize,
    },
    Started {
        seq: u32,
        stage: Stage,
        label: &'a str,
        progress: Progress,
    },
    Finished {
        line: &'a TrialLine,
        /// Mean of the objective over the valid runs of the first workload.
        value: Option<f64>,
        progress: Progress,
    },
    /// Answered from the record of the interrupted campaign.
    Replayed {
        line: &'a TrialLine,
    },
    Incumbent {
        label: &'a str,
        /// Relative improvement over the baseline, positive is better.
        improvement: f64,
    },
}

/// Where the campaign stands.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Progress {
    /// Launches done, of about how many.
    pub done: usize,
    pub total: usize,
    pub eta_s: Option<f64>,
}

pub trait Watcher {
    fn event(&mut self, event: &Event<'_>);
}

/// Says nothing.
#[derive(Debug, Default)]
pub struct Silent;

impl Watcher for Silent {
    fn event(&mut self, _: &Event<'_>) {}
}
