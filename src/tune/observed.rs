//! What a campaign has observed so far, for the cost model to learn from, and the probes that make it identifiable.

use crate::cost::steps::StepLog;
use crate::scenario::Record;
use crate::workload::WorkloadSpec;
use std::cell::{Ref, RefCell};
use std::rc::Rc;

/// Valid observations of the campaign so far, one a candidate and workload, and the steps that the calibration
/// launch told of; shared with the runner, which fills it.
#[derive(Debug, Clone, Default)]
pub struct Observed(Rc<RefCell<Observations>>);

#[derive(Debug, Default)]
struct Observations {
    records: Vec<Record>,
    steps: Vec<StepLog>,
}

impl Observed {
    /// Adds an observation unless the same command on the same workload is there: repeats would only make the
    /// fit slower, since its error is the model's, not the scatter's.
    pub fn add(&self, r: &Record) {
        let all = &mut self.0.borrow_mut().records;
        if !all.iter().any(|o| o.serve_command == r.serve_command && o.workload == r.workload) {
            all.push(r.clone());
        }
    }

    /// Takes out what this command gave on this workload.
    pub(super) fn forget(&self, r: &Record) {
        let all = &mut self.0.borrow_mut().records;
        all.retain(|o| o.serve_command != r.serve_command || o.workload != r.workload);
    }

    /// Adds what a launch told of its steps; nothing when it told of none.
    pub fn add_steps(&self, log: StepLog) {
        if !log.rows.is_empty() {
            self.0.borrow_mut().steps.push(log);
        }
    }

    pub(super) fn len(&self) -> usize {
        let all = self.0.borrow();
        all.records.len() + all.steps.len()
    }

    /// The observations and the step logs.
    pub(super) fn all(&self) -> (Ref<'_, [Record]>, Ref<'_, [StepLog]>) {
        Ref::map_split(self.0.borrow(), |o| (o.records.as_slice(), o.steps.as_slice()))
    }
}

/// Short runs on the baseline that make the cost model's parameters identifiable: a single stream (the
/// period of a step), long prompts (prefill), many short requests (the front end).
pub fn probes(seed: u64) -> Vec<WorkloadSpec> {
    let probe = |input, output, n, concurrency| WorkloadSpec {
        max_concurrency: concurrency,
        ..WorkloadSpec::random(input, output, n, seed)
    };
    vec![
        probe(256, 64, 2, Some(1)),
        probe(3000, 8, 4, Some(1)),
        probe(512, 64, 32, Some(32)),
        probe(32, 2, 64, None),
    ]
}
