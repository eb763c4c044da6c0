//! The stages of a campaign, in order.

use super::conclude::{conclude, ruled};
use super::findings::Findings;
use super::forecaster::SimForecaster;
use super::outcomes::version_of;
use super::runner::Runner;
use super::spaces::Spaces;
use super::{prior, tries};
use crate::cost::Profile;
use crate::engine::steps;
use crate::error::Result;
use crate::launch::{Candidate, EngineKind};
use crate::search::{Ask, Evaluator, NoForecast, Runs, Search, Settings, Space, Stage, Stop, confirm};
use crate::space::OutputChange;
use crate::store::plan::Strategy;
use crate::store::{TrialLine, Verdict};

/// Engines whose defaults come within this (log scale) of the best are measured a second time before one
/// is chosen.
const CLOSE: f64 = 0.1;

/// How a campaign ended.
#[derive(Debug)]
pub enum Ended {
    Finished(Box<Verdict>),
    /// The record is safe; the verdict is what is known so far.
    Interrupted(Box<Verdict>),
    /// No candidate gave a score: classes with what they said.
    Infeasible(Box<Verdict>),
}

/// A campaign's end, the trials it used, and the cost model it fitted, if it did.
#[derive(Debug)]
pub struct Outcome {
    pub ended: Ended,
    pub trials: Vec<TrialLine>,
    pub profile: Option<Profile>,
}

pub struct Campaign<'a> {
    pub runner: Runner<'a>,
    pub spaces: &'a dyn Spaces,
}

impl Campaign<'_> {
    /// Runs every stage, answering from the record what it already holds, and writes the verdict.
    pub fn run(mut self) -> Result<Outcome> {
        let mut found = Findings { notes: self.runner.apart_notes().collect(), ..Findings::default() };
        let end = match self.stages(&mut found) {
            Ok(()) if found.baseline.is_none() => Ended::Infeasible,
            Ok(()) => Ended::Finished,
            Err(Stop::Interrupted) => Ended::Interrupted,
            Err(Stop::Error(e)) => return Err(e),
        };
        found.notes.extend(self.runner.neighbours_note());
        found.notes.extend(super::nodes::notes(&self.runner.trials));
        found.notes.extend(self.runner.level_notes());
        let mut verdict = conclude(self.runner.plan, &self.runner.trials, &found, self.spaces);
        let ended = end(Box::new(verdict.clone()));
        verdict.complete = !matches!(ended, Ended::Interrupted(_));
        self.runner.conclude(&verdict)?;
        let ended = match ended {
            Ended::Finished(_) => Ended::Finished(Box::new(verdict)),
            Ended::Interrupted(_) => Ended::Interrupted(Box::new(verdict)),
            Ended::Infeasible(_) => Ended::Infeasible(Box::new(verdict)),
        };
        Ok(Outcome { ended, trials: self.runner.trials, profile: found.profile })
    }

    fn stages(&mut self, found: &mut Findings) -> Result<(), Stop> {
        let Some(base) = self.baselines(found)? else { return Ok(()) };
        found.baseline = Some(base.clone());
        let space = self.space_of(&base)?;
        let combinations =
            space.knobs().iter().map(|k| k.values.len() + 1).fold(1usize, usize::saturating_mul);
        found.considered = u32::try_from(combinations).unwrap_or(u32::MAX);
        let left_out = self.runner.plan.allow_output_change != OutputChange::None
            && !super::spaces::is_text(&self.runner.plan.primary().spec);
        if left_out && base.engine != EngineKind::Emulated {
            found.notes.push(
                "Speculative decoding is left out: this workload sends random token ids, on which the acceptance of \
                 proposed tokens means nothing. Give text (--workload custom:FILE or sharegpt:FILE) to have it judged."
                    .to_owned(),
            );
        }
        let settings = Settings { seed: self.runner.plan.seed, ..self.runner.plan.settings.clone() };
        let winner = match self.runner.plan.strategy {
            Strategy::OneFactor => {
                let mut search = Search {
                    evaluator: &mut self.runner,
                    space: space.as_ref(),
                    base: &base,
                    ledger: &mut found.ledger,
                    settings: &settings,
                };
                let winner = search.one_factor()?;
                found.estimates = search.estimates(&mut NoForecast, &winner);
                winner
            }
            Strategy::Model => self.guided(found, space.as_ref(), &base, &settings)?,
        };
        if !self.runner.affordable() {
            found
                .notes
                .push("The budget ended the search before everything worth trying was tried.".to_owned());
        }
        found.winner = Some(winner.clone());
        if winner == base {
            self.other_workloads(&base)?;
            return Ok(());
        }
        found.comparison = confirm(&mut self.runner, &base, &winner, found.believed(&winner), &settings)?;
        Ok(())
    }

    /// Calibrates the cost model on the baseline and a few probes, then searches by its forecasts.
    fn guided(
        &mut self,
        found: &mut Findings,
        space: &dyn Space,
        base: &Candidate,
        settings: &Settings,
    ) -> Result<Candidate, Stop> {
        let probed = |t: &TrialLine| t.result.spec.candidate == *base && t.result.spec.measured_once > 0;
        if !self.runner.trials.iter().any(probed) {
            self.runner.expect(Stage::Calibrate, 1);
            let runs = Runs::probes();
            let ask = Ask { stage: Stage::Calibrate, candidate: base.clone(), launch: 0, runs };
            self.runner.evaluate(&ask)?;
        }
        let plan = self.runner.plan;
        let engine = base.engine;
        let version = version_of(&self.runner.trials, base);
        self.begin(found, space, base, version.as_deref())?;
        let mut forecaster = SimForecaster::new(plan, engine, version, self.runner.observed.clone())?;
        let mut search =
            Search { evaluator: &mut self.runner, space, base, ledger: &mut found.ledger, settings };
        let (winner, swept) = search.guided(&mut forecaster)?;
        found.estimates = search.estimates(&mut forecaster, &winner);
        found.ruled = Some(ruled(plan, &swept, forecaster.describe()));
        found.profile = forecaster.profile().cloned();
        Ok(winner)
    }

    /// What the search does not have to find out: earlier campaigns, and the candidates that are tried first.
    fn begin(
        &mut self,
        found: &mut Findings,
        space: &dyn Space,
        base: &Candidate,
        version: Option<&str>,
    ) -> Result<(), Stop> {
        let plan = self.runner.plan;
        for dir in &plan.prior {
            found.notes.push(prior::learn(plan, dir, base, version, &mut found.ledger)?);
        }
        if tries::offered(plan, base.engine).len() < plan.tries.len() {
            found.notes.push(format!(
                "Of the commands of --try only those for {} were launched: its defaults are the best of the engines.",
                base.engine
            ));
        }
        let first = tries::candidates(plan, base.engine);
        self.runner.expect(Stage::Search, first.len());
        for known in first {
            let candidate = base.together([&known]);
            if !space.admits(&candidate) {
                found.notes.push(format!("`{}` was not tried: the search space refuses it.", known.label()));
            } else if !found.ledger.tried(&candidate) && self.runner.affordable() {
                let runs = Runs::primary(0, plan.settings.repeats.clamp(1, 2));
                let ask = Ask { stage: Stage::Search, candidate, launch: 0, runs };
                found.ledger.run(&mut self.runner, &ask)?;
            }
        }
        Ok(())
    }

    /// Launches every engine with its defaults and returns the best one's baseline candidate.
    fn baselines(&mut self, found: &mut Findings) -> Result<Option<Candidate>, Stop> {
        let engines = self.runner.plan.engines.clone();
        let bases: Vec<Candidate> = engines.iter().map(|e| Candidate::baseline(*e)).collect();
        self.runner.expect(Stage::Baseline, bases.len() + 1);
        self.first_baselines(found, &bases)?;
        let level =
            |found: &Findings, c: &Candidate| found.ledger.get(c).and_then(|e| mean_score(&e.launches));
        let mut alive: Vec<(Candidate, f64)> =
            bases.iter().filter_map(|c| level(found, c).map(|s| (c.clone(), s))).collect();
        if alive.is_empty() {
            return self.rescue(found, &bases);
        }
        let best = alive.iter().map(|(_, s)| *s).fold(f64::NEG_INFINITY, f64::max);
        alive.retain(|(_, s)| *s >= best - CLOSE);
        let alone = alive.len() == 1;
        for (c, _) in &alive {
            let ask = self.second_baseline(c, alone);
            if !self.runner.trials.iter().any(|t| t.answers(&ask)) {
                found.ledger.run(&mut self.runner, &ask)?;
            }
        }
        if let [(only, _)] = alive.as_slice() {
            self.odd_launch(found, only)?;
        }
        let again = alive.into_iter().filter_map(|(c, _)| level(found, &c).map(|s| (c, s)));
        Ok(again.max_by(|a, b| a.1.total_cmp(&b.1)).map(|(c, _)| c))
    }

    /// The first launch of every engine; with one engine and places that do not disturb each other the second one beside it.
    fn first_baselines(&mut self, found: &mut Findings, bases: &[Candidate]) -> Result<(), Stop> {
        let runs = Runs::primary(0, self.runner.plan.settings.repeats);
        let first = |c: &Candidate| Ask { stage: Stage::Baseline, candidate: c.clone(), launch: 0, runs };
        let mut asks: Vec<Ask> = bases.iter().map(first).collect();
        if !self.runner.neighbours_known() {
            return asks.iter().try_for_each(|ask| found.ledger.run(&mut self.runner, ask).map(drop));
        }
        if let [base] = bases {
            asks.push(self.second_baseline(base, true));
            let more = 2..self.runner.first_launches();
            asks.extend(more.map(|launch| Ask { launch, ..first(base) }));
        }
        self.runner.evaluate_all(&asks)?;
        if self.runner.nodes_doubtful()
            && let [base] = bases
        {
            let from = asks.len() as u32;
            let more: Vec<Ask> = (from..2 * from).map(|launch| Ask { launch, ..first(base) }).collect();
            self.runner.evaluate_all(&more)?;
        }
        // What the nodes are is known only now.
        for (base, answer) in self.runner.calibrated() {
            found.ledger.book(Stage::Baseline, &base, &answer);
        }
        Ok(())
    }

    /// The defaults once more, with the probes where these ask for no launch of their own.
    fn second_baseline(&self, base: &Candidate, alone: bool) -> Ask {
        let repeats = self.runner.plan.settings.repeats;
        let runs = if alone && self.probes_ride_along(base) {
            Runs::primary_and_probes(0, repeats)
        } else {
            Runs::primary(0, repeats)
        };
        Ask { stage: Stage::Baseline, candidate: base.clone(), launch: 1, runs }
    }

    /// The probes need no launch of their own where the engine needs no other flags to tell of its steps.
    fn probes_ride_along(&self, base: &Candidate) -> bool {
        let version = version_of(&self.runner.trials, base);
        let flags = steps::flags(base.engine, version.as_deref());
        self.runner.plan.strategy == Strategy::Model && flags.is_none_or(<[&str]>::is_empty)
    }

    pub(super) fn baseline_launch(
        &mut self,
        found: &mut Findings,
        c: &Candidate,
        launch: u32,
    ) -> Result<(), Stop> {
        let runs = Runs::primary(0, self.runner.plan.settings.repeats);
        let ask = Ask { stage: Stage::Baseline, candidate: c.clone(), launch, runs };
        found.ledger.run(&mut self.runner, &ask)?;
        Ok(())
    }

    /// Nothing beats the defaults: the report still says what they give on every workload.
    fn other_workloads(&mut self, base: &Candidate) -> Result<(), Stop> {
        if self.runner.plan.workloads.len() > 1 {
            self.runner.expect(Stage::Confirm, 1);
            let runs = Runs::all(crate::search::confirm::FIRST_REPEAT, 1);
            let ask = Ask { stage: Stage::Confirm, candidate: base.clone(), launch: 0, runs };
            self.runner.evaluate(&ask)?;
        }
        Ok(())
    }

    pub(super) fn space_of(&self, base: &Candidate) -> Result<Box<dyn Space>> {
        let engine = base.engine;
        self.spaces.space(engine, version_of(&self.runner.trials, base).as_deref())
    }
}

fn mean_score(launches: &[Vec<crate::search::Sample>]) -> Option<f64> {
    let all: Vec<f64> = launches.iter().flatten().map(|s| s.score).collect();
    (!all.is_empty()).then(|| crate::stats::mean(&all))
}
