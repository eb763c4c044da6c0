//! The launcher that gives trials to an executor: each is a job on some node, and comes back as a result.

use super::cancel::Cancel;
use super::launcher::twice_where_due;
use super::queue::{Queue, side_by_side};
use super::runner::Launcher;
use crate::error::{Error, Kind, Result};
use crate::executor::{Executor, Job, JobState, Order, Report, job};
use crate::host::{unix_now, write_private};
use crate::trial::{Event, LostAttempt, Observer, Outcome, Placement, TrialResult, TrialSpec};
use std::collections::BTreeMap;
use std::path::Path;
use std::time::{Duration, Instant};

/// Between two looks at a job.
const LOOK: Duration = Duration::from_millis(500);
/// The scheduler may be silent for so long (its head restarts, the network is gone) before the campaign ends.
const PATIENCE: Duration = Duration::from_secs(300);
/// Attempts of one trial that may be lost: more say that something takes every node away.
const MOST_LOST: usize = 4;
/// Jobs that were asked to end get so long until the campaign ends without having seen it.
const END: Duration = Duration::from_secs(30);
/// The output may come after the word that the job has ended.
const OUTPUT: Duration = Duration::from_secs(20);

/// Runs trials on the nodes of an executor.
pub struct RemoteLauncher<'a> {
    pub executor: &'a dyn Executor,
    /// Programs to try as dyno on a node, in this order.
    pub programs: Vec<String>,
    /// The campaign's id.
    pub run_id: String,
    pub cancel: Cancel,
    /// Told how jobs stand.
    pub observer: &'a dyn Observer,
}

/// The beginning of the names of a campaign's jobs.
fn prefix(run_id: &str) -> String {
    format!("dyno-{run_id}-")
}

impl Launcher for RemoteLauncher<'_> {
    fn launch(&mut self, spec: &TrialSpec) -> Result<TrialResult> {
        self.trial(spec)
    }

    fn avoid(&mut self, nodes: &[String]) -> bool {
        self.executor.avoid(nodes)
    }

    fn launch_all(&mut self, in_flight: usize, queue: &mut dyn Queue) {
        let this = &*self;
        side_by_side(in_flight, queue, &|spec| this.trial(spec));
    }
}

/// How one job went.
enum Attempt {
    Done(Box<TrialResult>),
    Lost(LostAttempt),
    /// It never began.
    NotPlaced(String),
}

impl RemoteLauncher<'_> {
    /// Ends the jobs that an earlier process of this campaign left; their names.
    pub fn stop_left(&self) -> Result<Vec<String>> {
        let left = self.executor.alive(&prefix(&self.run_id))?;
        for id in &left {
            self.executor.stop(id)?;
        }
        Ok(left)
    }

    fn trial(&self, spec: &TrialSpec) -> Result<TrialResult> {
        twice_where_due(spec, &self.cancel, &|s| self.until_it_ran(s))
    }

    /// Places the trial until a node has run it to its end.
    fn until_it_ran(&self, spec: &TrialSpec) -> Result<TrialResult> {
        let mut lost = Vec::new();
        loop {
            match self.attempt(spec)? {
                Attempt::Done(mut result) => {
                    if let Some(placement) = &mut result.placement {
                        placement.lost = lost;
                    }
                    return Ok(*result);
                }
                Attempt::Lost(attempt) => {
                    lost.push(attempt);
                    if lost.len() >= MOST_LOST {
                        return Err(self.too_often(spec, &lost));
                    }
                }
                // Places may have gone with their nodes: without any this ends with the executor's own words.
                Attempt::NotPlaced(why) => {
                    self.tell(0.0, &why);
                    self.executor.places(spec.num_gpus)?;
                }
            }
        }
    }

    fn too_often(&self, spec: &TrialSpec, lost: &[LostAttempt]) -> Error {
        let said: Vec<String> = lost.iter().map(told).collect();
        Error::failed(format!(
            "trial {} was lost {} times and not measured: {}",
            spec.id,
            lost.len(),
            said.join("; ")
        ))
        .at(self.executor.name())
        .hint("look at those nodes; go on with --resume")
    }

    fn attempt(&self, spec: &TrialSpec) -> Result<Attempt> {
        let order = Order {
            job: format!("{}{}-{:x}", prefix(&self.run_id), spec.id, (unix_now() * 1e3) as u64),
            dyno_version: env!("CARGO_PKG_VERSION").to_owned(),
            spec: abroad(spec),
            files: carried(spec)?,
        };
        let job = job(&self.programs, &order)?;
        let id = self.executor.submit(&job)?;
        let began = Instant::now();
        let mut silent_since: Option<Instant> = None;
        let mut seen_on = None;
        loop {
            if self.cancel.requested() {
                self.end(&id);
                return Err(Error::new(Kind::Interrupted, "the trial was interrupted"));
            }
            match self.executor.state(&id) {
                Err(e) => {
                    let since = *silent_since.get_or_insert_with(Instant::now);
                    if since.elapsed() > PATIENCE {
                        return Err(e);
                    }
                }
                Ok(state) => {
                    silent_since = None;
                    if let JobState::Running { node: Some(node) } = &state {
                        seen_on = Some(node.clone());
                    }
                    let state = with_node(state, seen_on.as_ref());
                    if let Some(attempt) = self.judged(&job, &id, spec, state, began)? {
                        return Ok(attempt);
                    }
                }
            }
            std::thread::sleep(LOOK);
        }
    }

    /// What a state says of the attempt; nothing while the job goes on.
    fn judged(
        &self,
        job: &Job,
        id: &str,
        spec: &TrialSpec,
        state: JobState,
        began: Instant,
    ) -> Result<Option<Attempt>> {
        let elapsed_s = began.elapsed().as_secs_f64();
        match state {
            JobState::Waiting { why } => self.tell(elapsed_s, &why),
            JobState::Running { node } => {
                self.tell(elapsed_s, &format!("on {}", node.as_deref().unwrap_or("a node")));
            }
            JobState::NotPlaced { why } => return Ok(Some(Attempt::NotPlaced(why))),
            JobState::Lost { node, why } => {
                // Where only the connection was lost, it may still run there.
                let _ = self.executor.stop(id);
                return Ok(Some(Attempt::Lost(LostAttempt { node, why })));
            }
            JobState::Ended { node } => return self.ended(job, id, spec, node).map(Some),
        }
        Ok(None)
    }

    /// The report of a job whose script has ended.
    fn ended(&self, job: &Job, id: &str, spec: &TrialSpec, node: Option<String>) -> Result<Attempt> {
        let deadline = Instant::now() + OUTPUT;
        let (output, report) = loop {
            // Ray prints the command as well, somewhere between the lines of the command.
            let output = self.executor.output(id).unwrap_or_default().replace(&job.script(), "");
            let report = Report::read(&job.name, &output);
            if report.result.is_some() || Instant::now() > deadline || self.cancel.requested() {
                break (output, report);
            }
            std::thread::sleep(LOOK);
        };
        if let Some(why) = report.refused {
            return Err(self.not_begun(node, &why));
        }
        let Some(hello) = report.hello else {
            if output.trim().is_empty() {
                let why = "the job has ended and its output cannot be had".to_owned();
                return Ok(Attempt::Lost(LostAttempt { node, why }));
            }
            return Err(self.not_begun(node, &last_words(&output)));
        };
        let Some(mut result) = report.result else {
            let why = format!("the job ended without a result: {}", last_words(&output));
            return Ok(Attempt::Lost(LostAttempt { node, why }));
        };
        std::fs::create_dir_all(&spec.dir)
            .map_err(|e| Error::failed("the trial's directory cannot be made").at(&spec.dir).source(e))?;
        for file in &report.files {
            // Only a name: a file of the node never lands outside of the trial's directory.
            let Some(name) = Path::new(&file.name).file_name() else { continue };
            write_private(&Path::new(&spec.dir).join(name), file.text.as_bytes())
                .map_err(|e| Error::failed("the trial's files cannot be written").at(&spec.dir).source(e))?;
        }
        at_home(&mut result, spec);
        result.placement = Some(Placement {
            executor: self.executor.name(),
            job: id.to_owned(),
            node,
            host: hello.host,
            machine: hello.machine,
            lost: Vec::new(),
        });
        Ok(Attempt::Done(result))
    }

    /// dyno did not begin there: no node of that kind will ever run a trial.
    fn not_begun(&self, node: Option<String>, why: &str) -> Error {
        let node = node.unwrap_or_else(|| "a node".to_owned());
        Error::failed(format!("`dyno trial` did not begin on {node}: {why}")).at(self.executor.name()).hint(
            format!(
                "install dyno {} on every node, and say where with --executor-program",
                env!("CARGO_PKG_VERSION")
            ),
        )
    }

    /// Asks the job to end, and waits until it has.
    fn end(&self, id: &str) {
        let deadline = Instant::now() + END;
        let mut asked = false;
        while Instant::now() < deadline {
            // A scheduler that gives no answer now may give one at the next look.
            asked = asked || self.executor.stop(id).is_ok();
            let alive = !matches!(
                self.executor.state(id),
                Ok(JobState::Ended { .. } | JobState::Lost { .. } | JobState::NotPlaced { .. })
            );
            if asked && !alive {
                return;
            }
            std::thread::sleep(LOOK);
        }
    }

    fn tell(&self, elapsed_s: f64, last_line: &str) {
        self.observer.event(&Event::Waiting { elapsed_s, last_line });
    }
}

/// A loss with the node on which the job was seen, where the scheduler does not say it any more.
fn with_node(state: JobState, seen: Option<&String>) -> JobState {
    match state {
        JobState::Lost { node: None, why } => JobState::Lost { node: seen.cloned(), why },
        state => state,
    }
}

/// Where and why an attempt was lost.
pub(super) fn told(lost: &LostAttempt) -> String {
    format!("{} ({})", lost.node.as_deref().unwrap_or("a node"), lost.why)
}

/// The specification for a process that starts in another directory, with the GPUs that it finds given to it.
fn abroad(spec: &TrialSpec) -> TrialSpec {
    let absolute = |path: &String| {
        let here = Path::new(path).exists();
        let whole = std::path::absolute(path).ok().filter(|_| here);
        whole.map_or_else(|| path.clone(), |p| p.display().to_string())
    };
    let mut spec = TrialSpec { devices: Vec::new(), ..spec.clone() };
    spec.model = absolute(&spec.model);
    spec.data_dir = spec.data_dir.as_ref().map(absolute);
    for workload in &mut spec.workloads {
        workload.path = workload.path.as_ref().map(absolute);
        for part in workload.components.iter_mut().flatten() {
            part.workload.path = part.workload.path.as_ref().map(absolute);
        }
    }
    if let Some(quality) = &mut spec.quality {
        quality.eval = quality.eval.as_ref().map(absolute);
    }
    spec
}

/// Files of the campaign's own directory that the trial reads.
fn carried(spec: &TrialSpec) -> Result<BTreeMap<String, String>> {
    let mut files = BTreeMap::new();
    if let Some(reference) = spec.quality.as_ref().and_then(|q| q.reference.as_ref()) {
        let text = std::fs::read_to_string(reference).map_err(|e| {
            Error::failed("the answers of the baseline cannot be read").at(reference).source(e)
        })?;
        files.insert(reference.clone(), text);
    }
    Ok(files)
}

/// The result with the tuner's own names for the trial's directory and files.
fn at_home(result: &mut TrialResult, spec: &TrialSpec) {
    let there = std::mem::replace(&mut result.spec.dir, spec.dir.clone());
    result.spec.model.clone_from(&spec.model);
    result.spec.workloads.clone_from(&spec.workloads);
    result.spec.data_dir.clone_from(&spec.data_dir);
    result.spec.quality.clone_from(&spec.quality);
    if let Outcome::Failed { failure, .. } = &mut result.outcome {
        failure.log = failure.log.take().map(|log| log.replacen(&there, &spec.dir, 1));
    }
}

/// What the job's own script says last, else the last line that says anything.
fn last_words(output: &str) -> String {
    let lines = || output.lines().rev().map(str::trim).filter(|l| !l.is_empty());
    let own = lines().find_map(|l| l.strip_prefix("dyno-job: "));
    let line = own.or_else(|| lines().next()).unwrap_or("it printed nothing");
    line.trim().chars().take(300).collect()
}
