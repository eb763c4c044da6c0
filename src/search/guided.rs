//! The search by forecasts and group tests: physics says what it knows, launches teach the rest, several flags at a time, and
//! each launch is the one that teaches most of the time it takes.

use super::additive::{Point, Value, values_of};
use super::beliefs::{
    Beliefs, DRAWS, EncodedSpace, Modelled, PROVEN, SUSPECT, best_on_average, considered, usable_knobs,
};
use super::choose;
use super::command::Choice;
use super::confirm::pairs_to_tell;
use super::evaluator::{Stage, Stop};
use super::forecasts::{Coverage, Forecaster, Forecasts};
use super::space::cross_product;
use super::task::Search;
use crate::launch::Candidate;
use crate::stats::Interval;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// Most combinations of modelled knobs that are forecast; of a larger space those of many flags are left out.
const MOST_FORECAST: usize = 20_000;

/// Contenders drawn, and random designs looked at, for each launch.
const CONTENDERS: usize = 80;
const DESIGNS: usize = 200;

/// A launch must be expected to bring this part of the least gain that is worth a flag.
const WORTH: f64 = 0.2;

/// Launches after which the defaults are measured again, so that a drift of the machine is seen and not taken for an effect.
const REMEASURE: usize = 8;

/// With no more launches left than this the defaults are not measured again: the confirmation does that, in turns with the winner.
const LATE: usize = 4;

/// A winner that is less likely than this to fail needs no launch of its own before the confirmation.
const SURE_TO_RUN: f64 = 0.03;

/// Most launches without a budget.
const MOST_LAUNCHES: usize = 40;

/// One launch with what was forecast of it.
#[derive(Debug, Clone, PartialEq)]
pub struct ForecastedLaunch {
    pub candidate: Candidate,
    /// Log gain with its central 90 % interval (the measurement's own noise included).
    pub predicted: Interval,
    /// Log gain; `None` when the launch failed.
    pub measured: Option<f64>,
    /// What the prediction rests on, in words; `None` where the cost model said nothing.
    pub standing: Option<&'static str>,
}

/// Why a search ended.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Default, serde::Serialize, serde::Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Ending {
    /// A further launch is not expected to bring what a flag must.
    #[default]
    NothingToGain,
    /// The budget keeps no launch beside those of the confirmation.
    Budget,
    /// As many launches as a search without a budget makes.
    MostLaunches,
}

/// What became of the space.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct SpaceOutcome {
    pub considered: usize,
    pub cut: bool,
    pub coverage: Coverage,
    /// Candidates that were dropped: refused by physics, or holding what fails.
    pub dropped: usize,
    pub left: usize,
    pub launches: Vec<ForecastedLaunch>,
    /// Whether neighbours disturb each other is known: the defaults were launched beside others, or no launch has neighbours.
    pub neighbours_checked: bool,
    pub ending: Ending,
    /// Expected log gain that the search leaves on the table.
    pub regret: f64,
    /// Unmodelled values that no launch tried.
    pub untried: Vec<(String, String)>,
    /// Single changes that are proven to make launches fail, and so are in no further candidate.
    pub blamed: Vec<Candidate>,
    /// Single changes that are more likely than not to make launches fail, without proof: they may still
    /// be launched.
    pub suspected: Vec<Candidate>,
}

impl Search<'_> {
    /// Searches from the base, which the ledger already holds; returns the incumbent and what became of the space.
    pub fn guided(&mut self, forecaster: &mut dyn Forecaster) -> Result<(Candidate, SpaceOutcome), Stop> {
        let knobs = usable_knobs(self.space, self.base);
        let modelled =
            Modelled { space: self.space, knobs: knobs.iter().filter(|k| k.modelled).cloned().collect() };
        let (pool, cut) = cross_product(&modelled, self.base, MOST_FORECAST);
        let base = self.base.clone();
        let forecasts = Forecasts::new(&base, forecaster, pool);
        let mut g =
            EncodedSpace { knobs, forecasts, base: base.clone(), neutral: Vec::new(), encoded: Vec::new() };
        g.find_neutral();
        let considered = considered(&g.knobs);
        let neighbours_checked = self.evaluator.neighbours_known();
        let mut swept = SpaceOutcome { considered, cut, neighbours_checked, ..SpaceOutcome::default() };
        self.evaluator.covered(swept.considered, &g.forecasts.coverage());
        let winner = self.launches(&mut g, &mut swept)?;
        let (refused, all) = g.forecasts.counts();
        let tried = self.ledger.entries().count();
        swept.dropped = (considered as f64 * refused as f64 / all.max(1) as f64) as usize;
        swept.left = considered.saturating_sub(swept.dropped + tried);
        swept.coverage = g.forecasts.coverage();
        Ok((winner, swept))
    }

    fn launches(&mut self, g: &mut EncodedSpace<'_>, swept: &mut SpaceOutcome) -> Result<Candidate, Stop> {
        loop {
            let step = self.step(g, swept.launches.len() as u64, DRAWS);
            let worlds = step.worlds();
            let best = step.best(self.space, g);
            swept.regret = choose::regret(&step.contenders);
            let untried = g.untried(self.space, &step);
            let now = worlds.contender(&best.point, best.forecast);
            let noise = Some((step.posterior.sigma(), self.ledger.launch_df()));
            self.evaluator.reserve(pairs_to_tell(now.mean, noise, self.settings));
            let done = swept.launches.len();
            let left = self.evaluator.launches_left();
            if !self.evaluator.affordable() || left == Some(0) {
                swept.ending = Ending::Budget;
            } else if done >= MOST_LAUNCHES {
                swept.ending = Ending::MostLaunches;
            } else if let Some((stage, point)) = self.next(g, &step, &best, &untried, left) {
                let first = g.planned(&step, stage, point);
                let batch = self.beside(g, first, done as u64, left);
                self.launch_batch(batch, swept)?;
                g.forecasts.learn();
                g.find_neutral();
                self.evaluator.incumbent(&g.candidate(&best.point), now.mean);
                continue;
            } else {
                swept.ending = Ending::NothingToGain;
            }
            swept.untried = untried.iter().map(|(k, v)| g.named(*k, *v)).collect();
            swept.untried.sort();
            (swept.blamed, swept.suspected) = g.blamed(&step);
            return Ok(g.candidate(&best.point));
        }
    }

    /// The launch that is expected to teach most beside those under way; `None` when none is worth it.
    pub(super) fn next(
        &self,
        g: &mut EncodedSpace<'_>,
        step: &Beliefs,
        best: &Choice,
        untried: &BTreeSet<Value>,
        left: Option<usize>,
    ) -> Option<(Stage, Point)> {
        let base: Point = vec![0; g.knobs.len()];
        let since = self.ledger.launches_since(self.base);
        let goes = |p: &Point| step.under_way.contains(p);
        if since >= REMEASURE && !goes(&base) && left.is_none_or(|l| l > LATE) {
            return Some((Stage::Recheck, base));
        }
        let launched = step.posterior.launched(&best.point);
        // The last launch before the confirmation shows that the winner starts, where that is not as good as known.
        if left == Some(1) && !launched && step.worlds().failure(&best.point) > SURE_TO_RUN {
            return Some((Stage::Search, best.point.clone()));
        }
        // Leave-one-out on the winner: what a flag brings in company, seen by itself.
        let doubtful = best.doubtful.as_ref().filter(|p| {
            let less = g.candidate(p);
            self.ledger.count(Stage::Neighbours, &less) < 2 && !goes(p)
        });
        if let (Some(1), Some(less)) = (left, doubtful) {
            return Some((Stage::Neighbours, less.clone()));
        }
        let worlds = step.worlds();
        let spread = step.posterior.spread();
        let table = choose::Table::new(&step.contenders);
        let mut top: Option<(f64, Point)> = None;
        let mut top_untried: Option<(f64, Point)> = None;
        for point in &step.designs {
            let Some(forecast) = g.forecast_of(point) else { continue };
            let worth = choose::knowledge_gradient(&worlds, &worlds.raw(point, forecast), spread, &table);
            if top.as_ref().is_none_or(|t| worth > t.0) {
                top = Some((worth, point.clone()));
            }
            let fresh = values_of(point).filter(|v| untried.contains(v)).count();
            if fresh > 0 && top_untried.as_ref().is_none_or(|t| worth > t.0) {
                top_untried = Some((worth, point.clone()));
            }
        }
        let least = WORTH * self.settings.min_gain;
        let stage = |p: &Point| if step.posterior.launched(p) { Stage::Recheck } else { Stage::Search };
        match (top, top_untried) {
            (Some((worth, point)), _) if worth > least => Some((stage(&point), point)),
            // Every value that physics does not know is tried once before the search may stop.
            (_, Some((_, point))) => Some((stage(&point), point)),
            _ if !launched && best.point != base => Some((Stage::Search, best.point.clone())),
            _ => doubtful.map(|less| (Stage::Neighbours, less.clone())),
        }
    }

    /// Everything that the launches so far say, and what may be launched next.
    fn step(&self, g: &mut EncodedSpace<'_>, number: u64, draws: usize) -> Beliefs {
        let seed = self.settings.seed.wrapping_mul(1009).wrapping_add(number);
        let mut step = Beliefs::read(g, self.ledger, &[], seed, draws);
        self.contend(g, &mut step, seed);
        step
    }

    /// Fills in the contenders and the designs.
    pub(super) fn contend(&self, g: &mut EncodedSpace<'_>, step: &mut Beliefs, seed: u64) {
        let free = g.free();
        let untried = g.untried(self.space, step);
        let starts = g.starts(step);
        let base: Point = vec![0; g.knobs.len()];
        let mut points: Vec<Point> = vec![base];
        points.extend(step.ran.iter().cloned());
        points.extend(starts.iter().map(|s| s.0.clone()));
        let worlds = step.worlds();
        let n = step.posterior.draws.len();
        for k in 0..CONTENDERS {
            let world = k * n / CONTENDERS;
            let draw = &step.posterior.draws[world];
            let of = |s: &(Point, f64)| {
                let fails = step.blames[world].fails(&s.0);
                if fails { -1.0 } else { step.posterior.gain_at(draw, &s.0, s.1, None) }
            };
            let Some(start) = starts.iter().max_by(|a, b| of(a).total_cmp(&of(b))) else { break };
            points.push(worlds.best_in(world, &start.0, &free));
        }
        if let Some(p) = best_on_average(&worlds, &starts, &free) {
            points.push(p);
        }
        let mut seen = BTreeSet::new();
        let mut contenders = Vec::new();
        for p in points {
            let Some(p) = g.admitted(self.space, p) else { continue };
            if !seen.insert(p.clone()) {
                continue;
            }
            let Some(f) = g.forecast_of(&p) else { continue };
            contenders.push(worlds.contender(&p, f));
        }
        contenders.sort_by(|a, b| b.mean.total_cmp(&a.mean));
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x5eed);
        let from: Vec<Point> = contenders.iter().take(4).map(|c| c.point.clone()).collect();
        let designs = choose::designs(&from, &free, &untried, DESIGNS, &mut rng);
        let mut all: Vec<Point> = contenders.iter().map(|c| c.point.clone()).collect();
        for d in designs {
            let Some(d) = g.admitted(self.space, d) else { continue };
            if seen.insert(d.clone()) {
                all.push(d);
            }
        }
        // What is known to fail teaches nothing. What is only suspected waits until everything else was tried once; then its chance
        // to start enters what a launch of it is worth.
        let likeliest = if untried.is_empty() { PROVEN } else { SUSPECT };
        all.retain(|p| worlds.failure(p) < likeliest);
        (step.contenders, step.designs) = (contenders, all);
    }
}

#[cfg(test)]
mod tests {
    use super::super::estimates::Estimates;
    use super::super::evaluator::{Ask, Evaluator, Runs};
    use super::super::fake::{FakeEvaluator, FakeSpace};
    use super::super::forecasts::NoForecast;
    use super::super::ledger::Ledger;
    use super::super::settings::Settings;
    use super::*;
    use crate::launch::{EngineKind, FlagValue};

    fn value(c: &Candidate, flag: &str) -> f64 {
        match c.flags.get(flag) {
            Some(FlagValue::Int(i)) => *i as f64,
            _ => 0.0,
        }
    }

    /// Physics knows `async`, `seqs` and `dead`; `backend` is for launches to tell, and its value 3 does not start.
    fn truth(c: &Candidate) -> Option<f64> {
        let physics = 0.25 * value(c, "async") - 0.02 * (value(c, "seqs") - 2.0).powi(2) + 0.08;
        let backend = [0.0, -0.05, 0.09].get(value(c, "backend") as usize)?;
        Some(physics + backend)
    }

    /// Forecasts the effects that physics knows `factor` times too large.
    struct Off(f64);
    impl Forecaster for Off {
        fn score(&mut self, c: &Candidate) -> Option<f64> {
            Some(5.0 + self.0 * truth(&c.without("backend", &Candidate::baseline(EngineKind::Emulated)))?)
        }
        fn learn(&mut self) -> bool {
            false
        }
    }

    fn space() -> FakeSpace {
        let mut space =
            FakeSpace::new(&[("async", 1), ("seqs", 4), ("dead", 3), ("backend", 3), ("dull", 2)]);
        for k in &mut space.knobs {
            k.modelled = !matches!(k.flag.as_str(), "backend" | "dull");
        }
        space
    }

    fn search(
        ev: &mut dyn Evaluator,
        space: &FakeSpace,
        forecaster: &mut dyn Forecaster,
        settings: &Settings,
    ) -> (Candidate, SpaceOutcome, Estimates) {
        let base = Candidate::baseline(EngineKind::Emulated);
        let mut ledger = Ledger::default();
        for launch in 0..2 {
            let runs = Runs::primary(0, 3);
            let ask = Ask { stage: Stage::Baseline, candidate: base.clone(), launch, runs };
            ledger.run(ev, &ask).unwrap();
        }
        let mut s = Search { evaluator: ev, space, base: &base, ledger: &mut ledger, settings };
        let (winner, swept) = s.guided(forecaster).unwrap();
        let estimates = s.estimates(forecaster, &winner);
        (winner, swept, estimates)
    }

    #[test]
    fn what_physics_does_not_know_is_found_although_the_forecast_is_off_and_a_value_fails() {
        for (i, factor) in [0.7, 1.0, 1.4].into_iter().enumerate() {
            let settings = Settings { seed: i as u64, ..Settings::default() };
            let mut ev = FakeEvaluator::new(0.006, i as u64, truth);
            let (winner, swept, estimates) = search(&mut ev, &space(), &mut Off(factor), &settings);
            assert!(truth(&winner).unwrap() > 0.39, "{factor}: {}", winner.label());
            assert_eq!(value(&winner, "dull") + value(&winner, "dead"), 0.0, "{}", winner.label());
            assert!(swept.launches.len() <= 22, "{factor}: {}", swept.launches.len());
            assert!(swept.untried.is_empty() && swept.ending == Ending::NothingToGain, "{swept:?}");
            let backend = &estimates.flags["backend"];
            assert!(
                backend.gain.low > 0.0 && backend.gain.low < 0.09 && backend.gain.high > 0.09,
                "{backend:?}"
            );
        }
    }

    #[test]
    fn a_budget_is_kept_and_said() {
        let mut ev = FakeEvaluator::new(0.006, 1, truth);
        ev.most = 7;
        let (_, swept, _) = search(&mut ev, &space(), &mut Off(1.0), &Settings::default());
        assert_eq!((swept.ending, swept.launches.len()), (Ending::Budget, 5));
    }

    #[test]
    fn an_earlier_campaign_saves_launches() {
        let base = Candidate::baseline(EngineKind::Emulated);
        let run = |earlier: Option<&Ledger>, seed: u64| {
            let mut ev = FakeEvaluator::new(0.006, seed, truth);
            let mut ledger = Ledger::default();
            for launch in 0..2 {
                let runs = Runs::primary(0, 3);
                let ask = Ask { stage: Stage::Baseline, candidate: base.clone(), launch, runs };
                ledger.run(&mut ev, &ask).unwrap();
            }
            if let Some(earlier) = earlier {
                assert!(ledger.learn_from(earlier, &base) > 5);
            }
            let (space, settings) = (space(), Settings { seed, ..Settings::default() });
            let mut s = Search {
                evaluator: &mut ev,
                space: &space,
                base: &base,
                ledger: &mut ledger,
                settings: &settings,
            };
            let (winner, swept) = s.guided(&mut Off(1.0)).unwrap();
            assert!(truth(&winner).unwrap() > 0.39, "{}", winner.label());
            (ledger, swept.launches.len())
        };
        let (first, cold) = run(None, 1);
        let (_, warm) = run(Some(&first), 2);
        assert!(2 * warm <= cold, "{warm} after {cold}");
    }

    #[test]
    fn nothing_to_gain_keeps_the_base_and_tries_every_value() {
        let space = FakeSpace::new(&[("a", 2), ("b", 2)]);
        let kept = (0..10u64).filter(|&seed| {
            let settings = Settings { seed, ..Settings::default() };
            let mut ev = FakeEvaluator::new(0.01, seed, |_| Some(0.0));
            let (winner, swept, _) = search(&mut ev, &space, &mut NoForecast, &settings);
            assert!(swept.untried.is_empty());
            winner.flags.is_empty()
        });
        assert!(kept.count() >= 9);
    }
}
