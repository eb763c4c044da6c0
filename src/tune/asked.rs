//! The launches that a search asks for at once, as a queue.

use super::events::Event;
use super::queue::Queue;
use super::runner::Runner;
use crate::error::{Error, Result};
use crate::search::{Answer, Ask, Evaluator, Stop};
use crate::trial::{TrialResult, TrialSpec};

impl Runner<'_> {
    /// One launch, or several side by side, as many at a time as there are places; the answers are in the order of the asks.
    pub(super) fn launch(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, Stop> {
        if self.cancel.requested() {
            return Err(Stop::Interrupted);
        }
        let Some(launcher) = self.launcher.take() else {
            return Err(Error::failed("a launch in a launch").into());
        };
        let in_flight = self.in_flight();
        let mut asked = Asked::new(self, asks);
        launcher.launch_all(in_flight, &mut asked);
        let (answers, stop) = (asked.answers, asked.stop);
        self.launcher = Some(launcher);
        if let Some(stop) = stop {
            return Err(stop);
        }
        self.keep_away()?;
        Ok(answers)
    }

    /// The specification of a launch that begins now.
    pub(super) fn begun(&mut self, ask: &Ask, seq: u32, place: usize, current: usize) -> TrialSpec {
        let spec = TrialSpec { devices: self.side_by_side.devices(place), ..self.spec(ask, seq) };
        let label = ask.candidate.label();
        let progress = self.progress(current);
        self.watcher.event(&Event::Started { seq, stage: ask.stage, label: &label, progress });
        spec
    }
}

/// The launches that a search asks for at once.
pub(super) struct Asked<'q, 'a> {
    runner: &'q mut Runner<'a>,
    asks: &'q [Ask],
    /// Number of the first of them in the record.
    first: u32,
    begun: usize,
    ended: usize,
    /// In the order of the asks.
    pub(super) answers: Vec<Answer>,
    /// Why no more begin.
    pub(super) stop: Option<Stop>,
}

impl<'q, 'a> Asked<'q, 'a> {
    pub(super) fn new(runner: &'q mut Runner<'a>, asks: &'q [Ask]) -> Asked<'q, 'a> {
        let first = runner.next_seq();
        let answers = vec![Answer::default(); asks.len()];
        Asked { runner, asks, first, begun: 0, ended: 0, answers, stop: None }
    }
}

impl Queue for Asked<'_, '_> {
    fn next(&mut self, place: usize) -> Option<(usize, TrialSpec)> {
        let n = self.begun;
        let ask = self.asks.get(n).filter(|_| self.stop.is_none())?;
        self.begun += 1;
        let current = self.begun - self.ended;
        Some((n, self.runner.begun(ask, self.first + n as u32, place, current)))
    }

    fn ended(&mut self, n: usize, result: Result<TrialResult>) {
        self.ended += 1;
        match self.runner.ended(self.first + n as u32, &self.asks[n], result) {
            Ok(answer) => self.answers[n] = answer,
            Err(e) => self.stop = self.stop.take().or(Some(e)),
        }
    }
}
