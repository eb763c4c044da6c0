//! One run of the load while the engine is watched: is it alive, does it answer, what do its own counters say?

use super::pace::Pace;
use super::session::Session;
use super::{Event, Failure};
use crate::engine::{Class, Samples};
use crate::load::{self, Cancel, LoadResult, Progress, RunOptions, Target};
use crate::scenario::client_report::EngineCounts;
use crate::telemetry::Sampler;
use crate::telemetry::sampler::{Deltas, Peaks};
use crate::workload::{PlannedRequest, WorkloadSpec};
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};

/// Largest share of prompt tokens from the prefix cache that a workload of unrelated prompts may show.
pub const CLEAN_HIT_RATIO: f64 = 0.01;
const POLL: Duration = Duration::from_millis(20);
/// Longer than any prefill takes without a token of any request; far shorter than a run may take.
const STALL: Duration = Duration::from_secs(300);

/// What is to be sent, and how it is watched.
pub struct RunPlan<'r> {
    pub requests: &'r [PlannedRequest],
    pub target: Target,
    /// Its `cancel` and `progress` are the run's own where the session watches.
    pub options: RunOptions,
    /// Longer than this, the candidate has lost.
    pub give_up: Option<Duration>,
    /// Seconds of the best candidate's run: one whose pace is a fraction of that has lost before its time is over.
    pub best_s: Option<f64>,
    /// So much of the longest standstill does not count for that: what held the engine up may lie outside.
    pub forgiven: Duration,
    /// The engine's gauges are read this often; its front end does the work.
    pub pace: Duration,
    /// A run that is stopped, or whose engine dies, is given back as far as it came.
    pub keep_partial: bool,
}

/// A run and what the engine said of itself meanwhile.
pub struct WatchedRun {
    pub result: LoadResult,
    pub deltas: Deltas,
    pub peaks: Peaks,
    /// The engine's metrics right before and right after the run.
    pub ends: (Option<Samples>, Option<Samples>),
    /// Of an engine that failed in a run that was kept.
    pub failure: Option<Box<Failure>>,
}

impl WatchedRun {
    /// Share of prompt tokens from the prefix cache: by the engine's counters, else by the answers' usage.
    pub fn hit_ratio(&self) -> Option<f64> {
        self.deltas.hit_ratio().or_else(|| self.result.cached_share())
    }

    /// Why the run was not cold, where its prompts have nothing in common.
    pub fn warm_cache(&self, workload: &WorkloadSpec) -> Option<String> {
        warm_cache(self.hit_ratio(), workload)
    }
}

/// Why a run with this share of prompt tokens from the prefix cache was not cold.
pub(super) fn warm_cache(hits: Option<f64>, workload: &WorkloadSpec) -> Option<String> {
    let ratio = hits.filter(|r| *r > CLEAN_HIT_RATIO && !workload.shares_prompts())?;
    Some(format!("{:.1} % of the prompt tokens came from the prefix cache", ratio * 100.0))
}

/// What is looked at while the load runs, and what was seen.
struct Eyes<'s, 'f> {
    sampler: Option<Sampler<'s>>,
    /// Gets the engine's metrics each time they are read.
    seen: &'f mut dyn FnMut(&Samples),
    /// The engine was found stopped by a signal.
    stopped: bool,
}

impl Session<'_> {
    /// Sends the requests and watches. `seen` gets the engine's metrics each time they are read.
    pub fn run(
        &mut self,
        plan: RunPlan<'_>,
        seen: &mut dyn FnMut(&Samples),
    ) -> Result<WatchedRun, Box<Failure>> {
        let inner = Cancel::new();
        let progress = Arc::clone(&plan.options.progress);
        let options = RunOptions { cancel: inner.clone(), ..plan.options.clone() };
        let client = Arc::clone(&self.server.client);
        let sampler = self.metrics.then(|| Sampler::start(&client, self.server.adapter.metric_names()));
        let mut eyes = Eyes { sampler, seen, stopped: false };
        let (watched, result) = std::thread::scope(|scope| {
            let work = scope.spawn(|| load::run(&plan.target, plan.requests, &options));
            let watched = self.watch(&work, &progress, &plan, &mut eyes);
            if watched.is_err() {
                inner.cancel();
            }
            (watched, work.join())
        });
        let failure = match watched {
            Ok(()) => None,
            Err(failure) if plan.keep_partial => Some(failure),
            Err(failure) => return Err(failure),
        };
        let failing = &self.server.failing;
        let mut result = result
            .map_err(|_| failing.of(Class::Unknown, "run", "the load generator failed inside", ""))?
            .map_err(|e| {
                // Nothing could be sent at all: the client's own limits, not the engine.
                failing.of(Class::Unknown, "client", &e.to_string(), e.hint.as_deref().unwrap_or(""))
            })?;
        let (deltas, peaks, ends) = eyes.sampler.map_or_else(Default::default, Sampler::finish);
        if eyes.stopped {
            result.invalid.push("the engine was stopped (SIGSTOP) during the run".to_owned());
        }
        engine_figures(&mut result, &deltas, &peaks);
        Ok(WatchedRun { result, deltas, peaks, ends, failure })
    }

    /// Until the load is done: is the engine alive, does it answer within the limit?
    fn watch<T>(
        &mut self,
        work: &std::thread::ScopedJoinHandle<'_, T>,
        progress: &Progress,
        plan: &RunPlan<'_>,
        eyes: &mut Eyes<'_, '_>,
    ) -> Result<(), Box<Failure>> {
        let began = Instant::now();
        let mut sampled = began;
        let (mut told, mut looked) = (began, began);
        let mut still = Standstill::since(began);
        let mut race = Race::new(plan);
        // The load cuts its own requests at the limit; what is still busy later than this is stuck.
        let hard = plan.options.run_timeout.map(|limit| limit.saturating_add(Duration::from_secs(15)));
        while !work.is_finished() {
            self.alive(true)?;
            let elapsed = began.elapsed();
            if hard.is_some_and(|hard| elapsed > hard) {
                let limit = plan.options.run_timeout.unwrap_or_default();
                let what = format!("the run did not end within {:.0} s", limit.as_secs_f64());
                return Err(self.server.failing.hung(Class::HangInRun, &what, self.last_line()));
            }
            if looked.elapsed() > Duration::from_millis(500) {
                looked = Instant::now();
                eyes.stopped |= self.server.processes().any(|p| p.running.tree().is_stopped());
            }
            let read = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
            let now = read(&progress.chunks) + read(&progress.failed);
            // Between two requests of a slow open loop nothing moves either.
            let waiting = read(&progress.sent) > read(&progress.completed) + read(&progress.failed);
            let lasted = still.look(now, waiting);
            if let Some(what) = race.lost(elapsed, still.longest, progress) {
                return Err(self.server.failing.of(Class::Outpaced, "run", &what, ""));
            }
            if lasted > STALL {
                let what = format!("no token for {:.0} s while requests wait", STALL.as_secs_f64());
                return Err(self.server.failing.hung(Class::HangInRun, &what, self.last_line()));
            }
            if sampled.elapsed() > plan.pace {
                if let Some(samples) = eyes.sampler.as_mut().and_then(Sampler::sample) {
                    (eyes.seen)(&samples);
                }
                sampled = Instant::now();
            }
            if told.elapsed() > Duration::from_secs(2) {
                told = Instant::now();
                self.observer.event(&Event::Running {
                    completed: read(&progress.completed),
                    failed: read(&progress.failed),
                    planned: read(&progress.planned),
                    elapsed_s: elapsed.as_secs_f64(),
                });
            }
            std::thread::sleep(POLL);
        }
        // An engine that died with the last request is told from one that finished.
        self.alive(true)
    }
}

/// The run beside the best candidate's.
struct Race<'p> {
    plan: &'p RunPlan<'p>,
    pace: Option<Pace>,
}

impl<'p> Race<'p> {
    fn new(plan: &'p RunPlan<'p>) -> Race<'p> {
        let tokens = plan.requests.iter().map(|r| u64::from(r.output_tokens)).sum();
        Race { plan, pace: plan.best_s.map(|best| Pace::new(best, plan.requests.len(), tokens)) }
    }

    /// Why the run cannot win any more, where that is so; `longest` is its longest standstill.
    fn lost(&mut self, elapsed: Duration, longest: Duration, progress: &Progress) -> Option<String> {
        let read = |c: &std::sync::atomic::AtomicU64| c.load(Ordering::Relaxed);
        let counted = elapsed.saturating_sub(longest.min(self.plan.forgiven));
        let (begun, chunks) = (read(&progress.begun), read(&progress.chunks));
        let least = self.pace.as_mut().and_then(|p| p.lost(counted.as_secs_f64(), begun, chunks));
        if least.is_none() && self.plan.give_up.is_none_or(|g| counted <= g) {
            return None;
        }
        let cut = format!(
            "cut after {:.1} s with {} of {} requests done",
            elapsed.as_secs_f64(),
            read(&progress.completed),
            read(&progress.planned)
        );
        Some(match least.zip(self.plan.best_s) {
            Some((least, best)) => {
                format!(
                    "{cut}: at its pace the run takes {least:.0} s or more, the best one took {best:.0} s"
                )
            }
            None => cut,
        })
    }
}

/// How long nothing has moved while requests wait.
struct Standstill {
    since: Instant,
    count: u64,
    longest: Duration,
}

impl Standstill {
    fn since(began: Instant) -> Standstill {
        Standstill { since: began, count: 0, longest: Duration::ZERO }
    }

    /// `count` goes up whenever something moves. Length of the standstill that lasts.
    fn look(&mut self, count: u64, waiting: bool) -> Duration {
        let lasted = if waiting { self.since.elapsed() } else { Duration::ZERO };
        // Also one that has just ended: who looks may have waited for the engine's metrics meanwhile.
        self.longest = self.longest.max(lasted);
        if count == self.count && waiting {
            return lasted;
        }
        (self.since, self.count) = (Instant::now(), count);
        Duration::ZERO
    }
}

/// What the engine counted, in the result beside the client's figures.
fn engine_figures(result: &mut LoadResult, deltas: &Deltas, peaks: &Peaks) {
    let finite = |value: Option<f64>| value.filter(|v| v.is_finite());
    result.metrics.client.engine = EngineCounts {
        preemptions: finite(deltas.preemptions),
        peak_running: finite(peaks.running),
        peak_waiting: finite(peaks.waiting),
        peak_kv_usage: finite(peaks.kv_usage),
    };
}
