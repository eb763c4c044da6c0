//! Launches side by side: which go together, and whether they disturb each other.
//!
//! The first of a batch is the launch that teaches most. Each further one is the launch that teaches most if those before it
//! give what is expected of them (they enter the beliefs with their expected result), and the batch ends where none is worth
//! its time any more: places stay empty rather than be filled with what nobody needs.

use super::additive::NOISE_BEFORE;
use super::beliefs::{Beliefs, DRAWS, EncodedSpace, Planned};
use super::evaluator::{Answer, Ask, Runs, Stage, Stop};
use super::guided::{ForecastedLaunch, SpaceOutcome};
use super::ledger::{Launch, Ledger};
use super::settings::Settings;
use super::task::Search;
use crate::launch::Candidate;
use crate::stats::{Interval, t_critical};

/// Chance at which undisturbed neighbours are held for disturbed ones.
const FALSE_ALARM: f64 = 0.01;

impl Search<'_> {
    /// `first`, and what goes beside it.
    pub(super) fn beside(
        &self,
        g: &mut EncodedSpace<'_>,
        first: Planned,
        number: u64,
        left: Option<usize>,
    ) -> Vec<Planned> {
        let most = self.evaluator.in_flight().min(left.unwrap_or(usize::MAX));
        let mut batch = vec![first];
        while batch.len() < most {
            let seed = self.settings.seed.wrapping_mul(1009).wrapping_add(number);
            let seed = seed.wrapping_add(7919 * batch.len() as u64);
            let mut step = Beliefs::read(g, self.ledger, &batch, seed, DRAWS);
            self.contend(g, &mut step, seed);
            let best = step.best(self.space, g);
            let untried = g.untried(self.space, &step);
            let left = left.map(|l| l - batch.len());
            let Some((stage, point)) = self.next(g, &step, &best, &untried, left) else { break };
            batch.push(g.planned(&step, stage, point));
        }
        batch
    }

    /// Makes the launches and books what they gave, in their order. In the first batch the defaults run beside the others: what
    /// they give there, held against what they gave alone, says whether neighbours disturb each other. Where they do, nothing
    /// of the batch is booked, and from then on launches run one at a time.
    pub(super) fn launch_batch(
        &mut self,
        mut batch: Vec<Planned>,
        swept: &mut SpaceOutcome,
    ) -> Result<(), Stop> {
        let checks = batch.len() > 1 && !swept.neighbours_checked;
        if checks && !batch.iter().any(|p| p.candidate == *self.base) {
            let at = batch.len() - 1;
            let (point, candidate) = (vec![0; batch[at].point.len()], self.base.clone());
            let predicted = Interval::exact(0.0);
            batch[at] = Planned { stage: Stage::Recheck, point, candidate, predicted, standing: None };
        }
        let asks = self.asks(&batch);
        self.evaluator.expect(batch[0].stage, asks.len());
        let answers = self.evaluator.evaluate_all(&asks)?;
        if let Some(at) = asks.iter().position(|a| checks && a.candidate == *self.base) {
            swept.neighbours_checked = true;
            let by = self.over_the_base(&asks[at], &answers[at]);
            let disturbed = by.is_none_or(|by| by.abs() > tolerance(self.ledger, self.base, self.settings));
            self.evaluator.neighbours(&asks, by, disturbed);
            if disturbed {
                return Ok(());
            }
        }
        for (planned, answer) in batch.into_iter().zip(answers) {
            self.ledger.book(planned.stage, &planned.candidate, &answer);
            let measured = self.ledger.last_gain(self.base);
            let Planned { candidate, predicted, standing, .. } = planned;
            swept.launches.push(ForecastedLaunch { candidate, predicted, measured, standing });
        }
        Ok(())
    }

    /// Log gain of an answer over the launches of the base so far.
    fn over_the_base(&self, ask: &Ask, answer: &Answer) -> Option<f64> {
        let (candidate, samples) = (ask.candidate.clone(), answer.samples.clone());
        let launch = Launch { candidate, stage: ask.stage, at: 0, samples, failure: None };
        self.ledger.gain_of(&launch, self.base)
    }

    fn asks(&self, batch: &[Planned]) -> Vec<Ask> {
        let mut asks: Vec<Ask> = Vec::new();
        for p in batch {
            let same = |a: &&Ask| a.stage == p.stage && a.candidate == p.candidate;
            let before = asks.iter().filter(same).count() as u32;
            let launch = self.ledger.count(p.stage, &p.candidate) + before;
            // Starting an engine costs more than a second run in the same launch.
            let runs = Runs::primary(0, self.settings.repeats.clamp(1, 2));
            asks.push(Ask { stage: p.stage, candidate: p.candidate.clone(), launch, runs });
        }
        asks
    }
}

/// How far (log scale) the defaults among neighbours may lie from the defaults alone: Student's bound for one more launch. The
/// scatter of launches is what the baseline's own say, pooled with what is believed of machines before.
fn tolerance(ledger: &Ledger, base: &Candidate, settings: &Settings) -> f64 {
    let n = ledger.get(base).map_or(1, |e| e.launches.len().max(1)) as f64;
    let (sigma, df) = ledger.noise().launch.unwrap_or((0.0, 0.0));
    let (before, weight) = NOISE_BEFORE;
    let variance = (df * sigma * sigma + weight * before * before) / (df + weight);
    let bound = t_critical(df + weight, FALSE_ALARM) * (variance * (1.0 + 1.0 / n)).sqrt();
    bound.max(settings.min_gain)
}
