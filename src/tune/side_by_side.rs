//! Launches side by side on one machine, each on GPUs of its own.

use super::events::Event;
use super::outcomes::unusable;
use super::runner::Runner;
use crate::search::{Answer, Ask, Evaluator, Stage, Stop};

impl Runner<'_> {
    /// With these GPUs for each place.
    #[must_use]
    pub fn on_devices(mut self, devices: Vec<Vec<u32>>) -> Self {
        self.side_by_side.devices = devices;
        self
    }

    /// With each launch on a node that it has to itself: nobody is beside it, so that nobody has to look.
    #[must_use]
    pub fn on_nodes_of_their_own(mut self) -> Self {
        if self.side_by_side.places > 1 {
            let places = self.side_by_side.places;
            let text = format!("Up to {places} launches ran at once, each on a node that it had to itself.");
            self.side_by_side.checked = Some(text);
        }
        self
    }

    /// What the report says of launches side by side.
    pub(super) fn neighbours_note(&self) -> Option<String> {
        self.side_by_side.checked.clone()
    }

    /// Launches at once what the record does not answer. Where nobody has looked yet whether neighbours disturb each other, a
    /// confirmation is made one launch at a time.
    pub(super) fn all_side_by_side(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, Stop> {
        let unchecked = self.side_by_side.checked.is_none();
        if asks.len() <= 1 || (unchecked && asks[0].stage == Stage::Confirm) {
            return asks.iter().map(|ask| self.evaluate(ask)).collect();
        }
        let mut answers: Vec<Option<Answer>> = asks.iter().map(|ask| self.replay(ask)).collect();
        let open: Vec<Ask> =
            asks.iter().zip(&answers).filter(|(_, a)| a.is_none()).map(|(ask, _)| ask.clone()).collect();
        let mut made = if open.is_empty() { Vec::new() } else { self.launch(&open)? }.into_iter();
        for (ask, answer) in asks.iter().zip(&mut answers) {
            let first = answer.take().or_else(|| made.next()).unwrap_or_default();
            // What is learned from the first of them waits for the word on their neighbours.
            if !unchecked {
                self.observe_last(ask);
            }
            *answer = Some(self.usable(ask, first)?);
        }
        self.levelled(asks, answers.into_iter().flatten().collect())
    }

    /// The answer, or that of one more launch where none of its runs can be used.
    fn usable(&mut self, ask: &Ask, answer: Answer) -> Result<Answer, Stop> {
        if answer.failure.is_some() || !answer.samples.is_empty() {
            return Ok(answer);
        }
        let mut again = match self.replay(ask) {
            Some(answer) => answer,
            None if !self.again_affordable(ask) => answer,
            None => self.launch(std::slice::from_ref(ask))?.remove(0),
        };
        if again.failure.is_none() && again.samples.is_empty() && ask.stage != Stage::Confirm {
            again.failure = self.trials.last().and_then(|line| unusable(&line.result));
        }
        Ok(again)
    }

    fn observe_last(&self, ask: &Ask) {
        if let Some(line) = self.trials.iter().rev().find(|t| t.answers(ask)) {
            self.observe(ask, line);
        }
    }

    pub(super) fn judge_neighbours(&mut self, asks: &[Ask], by: Option<f64>, disturbed: bool) {
        let gave = by.map_or("gave no score".to_owned(), |by| {
            format!("gave {:+.1} % against what they give alone", 100.0 * by.exp_m1())
        });
        let n = asks.len();
        let numbers = || asks.iter().filter_map(|ask| self.trials.iter().rev().find(|t| t.answers(ask)));
        let numbers: Vec<String> = numbers().map(|t| t.seq.to_string()).collect();
        let text = if disturbed {
            format!(
                "Launches side by side disturb each other here: one of {n} at once, the defaults {gave}. Trials {} are not \
                 compared, and all others ran one at a time.",
                numbers.join(", ")
            )
        } else {
            format!(
                "Up to {} launches ran side by side: one of {n} at once, the defaults {gave}, which is within the noise.",
                self.side_by_side.places
            )
        };
        self.watcher.event(&Event::Note(&text));
        for ask in asks {
            let at = self.trials.iter().rposition(|t| t.answers(ask));
            match at {
                Some(at) if disturbed => {
                    let mut line = self.trials.remove(at);
                    self.side_by_side.put_aside(line.result.wall_s);
                    line.apart = Some("launches side by side disturbed each other".to_owned());
                    self.apart.push(line);
                }
                Some(_) => self.observe_last(ask),
                None => {}
            }
        }
        if disturbed {
            self.side_by_side.places = 1;
        }
        self.side_by_side.checked = Some(text);
    }
}
