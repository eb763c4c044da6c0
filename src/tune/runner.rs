//! The evaluator that launches: answers from the record where it can, else runs a trial and writes it down
//! before anything else happens.

use super::cancel::Cancel;
use super::events::{Event, Progress, Watcher};
use super::fixed_args::fixed_args;
use super::gate::{Gate, gated};
use super::observed::{Observed, probes};
use super::outcomes::{all_runs, answer, mean_value, unusable, version_of};
use super::places::{Level, SideBySide};
use super::queue::Queue;
use crate::cost::steps::StepLog;
use crate::engine::steps;
use crate::error::{Error, Result};
use crate::launch::Candidate;
use crate::search::{Answer, Ask, Coverage, Evaluator, Scope, Stage, Stop};
use crate::store::{Journal, Line, Plan, TrialLine, Verdict};
use crate::trial::{Outcome, TrialResult, TrialSpec};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};

/// Runs one trial to its end. The real one starts an engine; tests have an honest fake.
pub trait Launcher {
    /// `Ok` also for a launch that failed: that is a result. `Err` when nothing can be said of the
    /// candidate (interrupted, disk full).
    fn launch(&mut self, spec: &TrialSpec) -> Result<TrialResult>;

    /// Nodes that trials shall keep away from, all of them; false where that cannot be said to whoever places them.
    fn avoid(&mut self, _nodes: &[String]) -> bool {
        false
    }

    /// Runs the trials of a queue, so many at a time: the next begins as soon as one has ended.
    fn launch_all(&mut self, _in_flight: usize, queue: &mut dyn Queue) {
        while let Some((n, spec)) = queue.next(0) {
            queue.ended(n, self.launch(&spec));
        }
    }
}

/// Launches of one candidate whose runs were all invalid (cache hits, starved client) before it is given up.
const ATTEMPTS: usize = 2;

pub struct Runner<'a> {
    pub plan: &'a Plan,
    pub(super) dir: PathBuf,
    journal: Journal,
    /// Trials of an earlier, interrupted process.
    pub(super) recorded: Vec<TrialLine>,
    /// Trials of the record that are no part of the comparison.
    pub(super) apart: Vec<TrialLine>,
    /// Trials that this campaign has used, in order.
    pub trials: Vec<TrialLine>,
    /// Absent only while it runs.
    pub(super) launcher: Option<&'a mut dyn Launcher>,
    pub watcher: &'a mut dyn Watcher,
    pub(super) cancel: Cancel,
    /// Launches still expected in the current stage.
    expected: usize,
    /// What the cost model learns from.
    pub observed: Observed,
    /// Absent where the tables cannot be read; the campaign then ends before its first launch.
    gate: Option<Gate>,
    pub(super) side_by_side: SideBySide,
    pub(super) level: Level,
    /// Pairs that the search expects the confirmation to need; not known before its first step, none once it runs.
    kept_pairs: Option<u32>,
}

impl<'a> Runner<'a> {
    pub fn new(
        plan: &'a Plan,
        dir: &Path,
        (journal, recorded): (Journal, Vec<TrialLine>),
        launcher: &'a mut dyn Launcher,
        watcher: &'a mut dyn Watcher,
        cancel: Cancel,
    ) -> Runner<'a> {
        let (apart, recorded) = recorded.into_iter().partition(|t| t.apart.is_some());
        Runner {
            plan,
            dir: dir.to_owned(),
            journal,
            recorded,
            apart,
            trials: Vec::new(),
            launcher: Some(launcher),
            watcher,
            cancel,
            expected: 0,
            observed: Observed::default(),
            gate: Gate::new(plan).ok(),
            side_by_side: SideBySide::new(plan),
            level: Level::default(),
            kept_pairs: None,
        }
    }

    /// Seconds of trials so far; the budget's clock, so that a resumed campaign decides as the first did.
    pub fn spent_s(&self) -> f64 {
        self.trials.iter().map(|t| t.result.wall_s).sum::<f64>() + self.side_by_side.set_aside_s
    }

    /// What the report says of trials that were measured and are not compared.
    pub fn apart_notes(&self) -> impl Iterator<Item = String> + '_ {
        self.apart.iter().map(|t| {
            let (label, why) = (t.result.spec.candidate.label(), t.apart.as_deref().unwrap_or_default());
            format!("Trial {} (`{label}`) was measured and is not compared: {why}.", t.seq)
        })
    }

    pub fn note(&mut self, text: &str) {
        self.watcher.event(&Event::Note(text));
    }

    pub fn conclude(&mut self, verdict: &Verdict) -> Result<()> {
        self.journal.append(&Line::Verdict(Box::new(verdict.clone())))
    }

    /// Launches so far, those that were set aside among them.
    fn made(&self) -> usize {
        self.trials.len() + self.side_by_side.set_aside
    }

    /// Launches that are kept for the confirmation.
    fn kept(&self) -> usize {
        2 * self.kept_pairs.unwrap_or(self.plan.settings.repeats.max(2)) as usize
    }

    /// Launches that the budget would still hold with so many kept for the confirmation, where it is known.
    fn left_beside(&self, kept: usize) -> Option<usize> {
        let by_number = self.plan.max_trials.map(|most| (most as usize).saturating_sub(self.made() + kept));
        let by_time = self.plan.budget_s.zip(self.mean_wall_s()).map(|(budget, launch)| {
            // A launch of the confirmation runs every workload.
            let confirm = launch * self.plan.workloads.len() as f64;
            let next = if self.kept_pairs == Some(0) { confirm } else { launch };
            ((budget - self.spent_s() - confirm * kept as f64) / next.max(1e-3)).max(0.0) as usize
        });
        by_number.into_iter().chain(by_time).min()
    }

    /// The budget has a launch for one that gave nothing to be made again: what the confirmation needs is not touched by the
    /// search, while without the defaults there is no campaign.
    pub(super) fn again_affordable(&self, ask: &Ask) -> bool {
        let kept = match ask.stage {
            Stage::Baseline | Stage::Calibrate | Stage::Confirm => 0,
            _ => self.kept(),
        };
        self.plan.max_trials.is_none_or(|most| self.made() + kept < most as usize)
    }

    fn mean_wall_s(&self) -> Option<f64> {
        (!self.trials.is_empty()).then(|| self.spent_s() / self.trials.len() as f64)
    }

    pub(super) fn progress(&self, current: usize) -> Progress {
        let confirming = self.trials.last().is_some_and(|t| t.stage == Stage::Confirm);
        let left = self.expected + if confirming { 0 } else { self.kept() };
        let done = self.trials.len();
        let most = self.plan.max_trials.map_or(usize::MAX, |m| m as usize);
        let total = (done + left).max(done + current).min(most.max(done + current));
        let places = self.side_by_side.places() as f64;
        let mut eta_s = self.mean_wall_s().map(|w| w * (total - done) as f64 / places);
        if let (Some(eta), Some(budget)) = (eta_s, self.plan.budget_s) {
            eta_s = Some(eta.min((budget - self.spent_s()).max(0.0)));
        }
        Progress { done, total, eta_s }
    }

    pub(super) fn spec(&self, ask: &Ask, seq: u32) -> TrialSpec {
        let plan = self.plan;
        let id = format!("{seq:03}-{}", ask.candidate.id());
        let planned = |n: usize| plan.workloads[..n].iter().map(|w| w.spec.clone()).collect();
        let fixed_args = self.launch_args(ask);
        let limits = super::race::limits(plan, &self.trials, ask, &fixed_args);
        TrialSpec {
            dir: self.dir.join("trials").join(&id).display().to_string(),
            id,
            candidate: ask.candidate.clone(),
            model: ask.candidate.variant().unwrap_or(&plan.model).to_owned(),
            served_model_name: None,
            hardware: plan.hardware.clone(),
            num_gpus: plan.num_gpus,
            devices: Vec::new(),
            fixed_args,
            fixed_env: BTreeMap::new(),
            program: plan.engine_command.clone(),
            nodes: plan.nodes.clone(),
            ssh_options: plan.ssh_options.clone(),
            router: plan.router.clone(),
            container: plan.container.clone(),
            workloads: match ask.runs.scope {
                Scope::Primary => planned(1),
                Scope::All => planned(plan.workloads.len()),
                Scope::Probes => probes(plan.seed),
                Scope::PrimaryAndProbes => [planned(1), probes(plan.seed)].concat(),
            },
            measured_once: if ask.runs.scope == Scope::PrimaryAndProbes {
                probes(plan.seed).len()
            } else {
                0
            },
            repeats: ask.runs.repeats,
            first_repeat: ask.runs.first_repeat,
            ready_timeout_s: plan.ready_timeout_s,
            run_timeout_s: plan.run_timeout_s,
            stop_grace_s: None,
            data_dir: self.plan.data_dir.clone(),
            figures: figures(plan),
            give_up_s: limits.give_up_s,
            best_s: limits.best_s,
            quality: self.gate.as_ref().and_then(|g| g.asks(plan, &self.dir, &self.answered(), ask)),
        }
    }

    /// The probes run in a launch of their own, which also tells of its steps where the engine can: its runs are
    /// compared with no candidate's.
    fn launch_args(&self, ask: &Ask) -> Vec<String> {
        let engine = ask.candidate.engine;
        let mut args = fixed_args(self.plan, engine);
        if ask.runs.scope == Scope::Probes {
            let version = version_of(&self.trials, &ask.candidate);
            let flags = steps::flags(engine, version.as_deref()).unwrap_or_default();
            args.extend(
                flags
                    .iter()
                    .filter(|f| !self.plan.fixed_args.contains(&(**f).to_owned()))
                    .map(|f| (*f).to_owned()),
            );
        }
        args
    }

    /// What the launch told of its steps, from its log.
    fn learn_steps(&self, line: &TrialLine) {
        let launch = all_runs(&line.result).first().map(|m| m.observation.clone());
        let Some(launch) = launch else { return };
        let engine = line.result.spec.candidate.engine;
        let log = self.dir.join("trials").join(&line.result.spec.id).join("engine.log");
        // Without its log (a record that was copied alone) the observations still stand.
        let Ok(log) = std::fs::File::open(&log) else { return };
        let pieces = crate::host::Pieces::of(log).map_while(std::io::Result::ok);
        let rows = pieces.flat_map(|text| steps::read(engine, &String::from_utf8_lossy(&text))).collect();
        self.observed.add_steps(StepLog { launch, rows });
    }

    pub(super) fn replay(&mut self, ask: &Ask) -> Option<Answer> {
        let at = self.recorded.iter().position(|t| t.answers(ask))?;
        let line = self.recorded.remove(at);
        self.watcher.event(&Event::Replayed { line: &line });
        let answer = gated(answer(&line.result, self.plan), line.quality.as_ref(), &ask.candidate);
        self.trials.push(line);
        Some(answer)
    }

    /// A disk that filled up or a GPU that went away since this engine ran here is no candidate's fault: every further
    /// launch would meet it.
    fn machine_unchanged(&self, result: &TrialResult) -> Result<()> {
        let Outcome::Failed { failure, .. } = &result.outcome else { return Ok(()) };
        let engine = result.spec.candidate.engine;
        let ran = |t: &TrialLine| {
            t.result.spec.candidate.engine == engine && matches!(t.result.outcome, Outcome::Measured { .. })
        };
        if failure.class.of_machine() && self.trials.iter().any(ran) {
            let what = format!("the machine has changed ({}): {}", failure.class, failure.root_cause);
            return Err(Error::failed(what)
                .at(&result.spec.dir)
                .hint(format!("{}; then go on with --resume", failure.hint)));
        }
        Ok(())
    }

    pub(super) fn next_seq(&self) -> u32 {
        self.journal.next_seq()
    }

    /// Books a launch that has ended.
    pub(super) fn ended(&mut self, seq: u32, ask: &Ask, result: Result<TrialResult>) -> Result<Answer, Stop> {
        // A trial that was cut short says nothing of its candidate: it is not recorded.
        if self.cancel.requested() {
            return Err(Stop::Interrupted);
        }
        let result = result?;
        self.machine_unchanged(&result)?;
        let mut line =
            TrialLine { seq, stage: ask.stage, launch: ask.launch, quality: None, apart: None, result };
        let unlike = self.unlike(&line);
        line.apart = self.other_engine(&line).or(unlike);
        if line.apart.is_none() {
            line.quality = self.gate.as_ref().and_then(|g| g.check(self.plan, &line));
        }
        self.journal.append(&Line::Trial(Box::new(line.clone())))?;
        if let Some(why) = line.apart.clone() {
            self.keep_apart(&line, &why)?;
            self.apart.push(line);
            return Ok(Answer::default());
        }
        self.expected = self.expected.saturating_sub(1);
        let answer = gated(answer(&line.result, self.plan), line.quality.as_ref(), &ask.candidate);
        self.trials.push(line);
        let progress = self.progress(0);
        if let Some(line) = self.trials.last() {
            let value = mean_value(&line.result, self.plan);
            self.watcher.event(&Event::Finished { line, value, progress });
        }
        Ok(answer)
    }
}

impl Runner<'_> {
    /// What the cost model learns from a launch; the confirmation is kept from it.
    pub(super) fn observe(&self, ask: &Ask, line: &TrialLine) {
        if ask.stage == Stage::Confirm {
            return;
        }
        let valid = all_runs(&line.result).iter().filter(|m| m.invalid.is_empty());
        valid.for_each(|m| self.observed.add(&m.observation));
        if matches!(ask.runs.scope, Scope::Probes | Scope::PrimaryAndProbes) {
            self.learn_steps(line);
        }
    }
}

impl Evaluator for Runner<'_> {
    fn evaluate(&mut self, ask: &Ask) -> Result<Answer, Stop> {
        let mut last = Answer::default();
        for attempt in 0..ATTEMPTS {
            last = match self.replay(ask) {
                Some(answer) => answer,
                None if attempt > 0 && !self.again_affordable(ask) => break,
                None => self.launch(std::slice::from_ref(ask))?.remove(0),
            };
            if let Some(line) = self.trials.last() {
                self.observe(ask, line);
            }
            if last.failure.is_some() || !last.samples.is_empty() || ask.runs.scope == Scope::Probes {
                break;
            }
        }
        // Not measured, and never taken for measured: the search sees a failure with its reason. In a confirmation
        // one pair is then missing, which is no fault of the candidate's.
        if last.failure.is_none() && last.samples.is_empty() && ask.stage != Stage::Confirm {
            last.failure = self.trials.last().and_then(|line| unusable(&line.result));
        }
        Ok(self.levelled(std::slice::from_ref(ask), vec![last])?.remove(0))
    }

    fn in_flight(&self) -> usize {
        self.side_by_side.places().saturating_sub(self.avoided().len()).max(1)
    }

    fn evaluate_all(&mut self, asks: &[Ask]) -> Result<Vec<Answer>, Stop> {
        self.all_side_by_side(asks)
    }

    fn neighbours_known(&self) -> bool {
        self.side_by_side.checked.is_some()
    }

    fn neighbours(&mut self, asks: &[Ask], by: Option<f64>, disturbed: bool) {
        self.judge_neighbours(asks, by, disturbed);
    }

    fn affordable(&self) -> bool {
        let kept = self.kept();
        let trials = self.plan.max_trials.is_none_or(|m| self.made() + 1 + kept <= m as usize);
        let time = self.plan.budget_s.is_none_or(|budget| {
            let launch = self.mean_wall_s().unwrap_or(0.0);
            // A launch of the confirmation runs every workload.
            let confirm = launch * self.plan.workloads.len() as f64 * kept as f64;
            self.spent_s() + launch + confirm <= budget
        });
        trials && time && !self.cancel.requested()
    }

    fn launches_left(&self) -> Option<usize> {
        self.left_beside(self.kept())
    }

    fn reserve(&mut self, pairs: u32) {
        let least = self.plan.settings.repeats.max(2);
        let mut pairs = pairs;
        // A pair of which the budget holds but one launch is not kept: that one is of more use to the search.
        while pairs > least && self.left_beside(2 * pairs as usize - 1) == Some(0) {
            pairs -= 1;
        }
        self.kept_pairs = Some(pairs);
    }

    fn expect(&mut self, stage: Stage, launches: usize) {
        self.expected = launches;
        if launches > 0 {
            self.watcher.event(&Event::Stage { stage, launches });
        }
    }

    fn covered(&mut self, considered: usize, c: &Coverage) {
        let text = format!(
            "{considered} candidates: {} simulated, {} screened out ({:.1} % above the closed-form screen, they would \
             still be behind)",
            c.simulated,
            c.screened_out,
            100.0 * c.band.exp_m1()
        );
        self.watcher.event(&Event::Note(&text));
    }

    fn incumbent(&mut self, candidate: &Candidate, gain: f64) {
        let improvement = self.plan.objective.improvement(gain);
        self.watcher.event(&Event::Incumbent { label: &candidate.label(), improvement });
    }
}

/// The figures on which the campaign decides: the objective and the SLO's.
fn figures(plan: &Plan) -> Vec<String> {
    let clauses = plan.slo.0.iter().map(|clause| clause.key);
    std::iter::once(plan.objective.key()).chain(clauses).map(|key| key.name().to_owned()).collect()
}
