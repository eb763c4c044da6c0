//! What a trial tells while it runs, for a display.

use super::Measured;
use super::types::LaunchFacts;

/// A step of a trial.
#[derive(Debug)]
pub enum Event<'a> {
    Launching {
        argv: &'a [String],
    },
    /// Not ready yet; the last line of the engine's log.
    Waiting {
        elapsed_s: f64,
        last_line: &'a str,
    },
    Ready {
        facts: &'a LaunchFacts,
    },
    /// A measured run begins: index of the workload, of the repeat.
    RunStarted {
        workload: usize,
        repeat: u32,
    },
    /// Requests so far in the run.
    Running {
        completed: u64,
        failed: u64,
        planned: u64,
        elapsed_s: f64,
    },
    RunFinished {
        run: &'a Measured,
    },
    Stopping,
}

/// Receives events on the trial's own thread; must return at once.
pub trait Observer: Sync {
    fn event(&self, event: &Event<'_>);
}

/// Shows nothing.
#[derive(Debug)]
pub struct Silent;

impl Observer for Silent {
    fn event(&self, _event: &Event<'_>) {}
}
