//! Sends all requests of a workload and gathers the result.

use super::client::{Cut, Senders};
use super::health::{ThreadUse, ThreadWatch, gather};
use super::lag::watch_lag;
use super::live::Live;
use super::options::{Progress, RunOptions, Target};
use super::outcome::{ErrorCount, ErrorKind, LoadResult, Oddity, Row};
use super::plan::{Plan, connections, raise_file_limit, threads_for};
use super::stream::StreamState;
use super::summarize;
use crate::error::{Error, Result};
use crate::units::Nanos;
use crate::workload::PlannedRequest;
use std::collections::BTreeMap;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::{Duration, Instant};
use tokio::task::JoinSet;

/// Sends every request to the target and measures. Blocks until the last stream has ended, the run's time is
/// over or it is cancelled. An error is returned only when nothing could be measured at all; lost requests are
/// rows with an error.
pub fn run(target: &Target, requests: &[PlannedRequest], options: &RunOptions) -> Result<LoadResult> {
    if requests.is_empty() {
        return Err(Error::usage("the workload has no requests"));
    }
    let connections = connections(requests, options);
    raise_file_limit(connections)?;
    let threads = options.threads.unwrap_or_else(|| threads_for(connections)).max(1);
    Senders::new(target, options)?;
    let plan = Arc::new(Plan::new(target, requests, options, threads));
    options.progress.planned.fetch_add(requests.len() as u64, Ordering::Relaxed);
    if let Some(live) = Live::of(options) {
        live.run_begins(&options.progress);
    }
    let shards: Vec<Shard> = (0..threads)
        .map(|index| {
            Ok(Shard {
                index,
                connections: connections / threads + usize::from(index < connections % threads),
                sender: Senders::new(target, options)?,
                plan: plan.clone(),
            })
        })
        .collect::<Result<_>>()?;
    let parts: Vec<Result<Part>> = std::thread::scope(|scope| {
        let handles: Vec<_> = shards.into_iter().map(|s| scope.spawn(move || s.work())).collect();
        handles
            .into_iter()
            .map(|h| h.join().unwrap_or_else(|_| Err(Error::failed("a client thread broke down"))))
            .collect()
    });
    let parts = parts.into_iter().collect::<Result<Vec<Part>>>()?;
    Ok(conclude(parts, &plan, options, connections))
}

/// What one client thread brings back.
struct Part {
    rows: Vec<(usize, Row)>,
    usage: ThreadUse,
    connect_s: f64,
}

/// The work of one client thread.
struct Shard {
    index: usize,
    connections: usize,
    sender: Senders,
    plan: Arc<Plan>,
}

impl Shard {
    fn work(self) -> Result<Part> {
        let real_time = self.plan.options.real_time && super::priority::raise();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let prepared = Instant::now();
        if let Ok(runtime) = &runtime {
            runtime.block_on(self.prepare());
        }
        let connect_s = prepared.elapsed().as_secs_f64();
        // Every thread comes here, also one without a runtime: the others wait for it.
        self.plan.barrier.wait();
        let start = *self.plan.start.get_or_init(Instant::now);
        let runtime =
            runtime.map_err(|e| Error::failed("a client thread cannot start its event loop").source(e))?;
        let watch = ThreadWatch::start();
        let (rows, lags) = runtime.block_on(self.drive(start));
        Ok(Part { rows, usage: watch.stop(lags, real_time), connect_s })
    }

    /// Warm-up requests and connections, before the clock starts.
    async fn prepare(&self) {
        let cancel = &self.plan.options.cancel;
        if self.index == 0 {
            for body in &self.plan.warmups {
                let (mut row, mut stream) = (Row::default(), StreamState::default());
                let unseen = Progress::default();
                tokio::select! {
                    _ = self.sender.nth(0).send(body.clone(), Instant::now(), &unseen, &mut row, &mut stream) => {}
                    () = cancel.cancelled() => return,
                    () = tokio::time::sleep(self.plan.options.request_timeout) => return,
                }
            }
        }
        if self.plan.options.preconnect {
            let mut opening = JoinSet::new();
            for n in 0..self.connections {
                let sender = self.sender.nth(n).clone();
                opening.spawn(async move { sender.preconnect().await });
            }
            tokio::select! {
                _ = opening.join_all() => {}
                () = cancel.cancelled() => {}
                () = tokio::time::sleep(self.plan.options.connect_timeout) => {}
            }
        }
    }

    async fn drive(&self, start: Instant) -> (Vec<(usize, Row)>, Vec<u32>) {
        let mut lags = Vec::new();
        let (over, ended) = tokio::sync::oneshot::channel::<()>();
        let work = async {
            let rows = self.dispatch(start).await;
            drop(over);
            rows
        };
        let ended = async {
            let _ = ended.await;
        };
        let (rows, ()) = tokio::join!(work, watch_lag(ended, &mut lags, Live::of(&self.plan.options)));
        (rows, lags)
    }

    /// Starts the sessions in their order, each when it is due and a slot is free.
    async fn dispatch(&self, start: Instant) -> Vec<(usize, Row)> {
        let mut running: JoinSet<Vec<(usize, Row)>> = JoinSet::new();
        let cancel = &self.plan.options.cancel;
        loop {
            let k = self.plan.next.fetch_add(1, Ordering::SeqCst);
            let Some(session) = self.plan.sessions.get(k) else { break };
            let due = start + Duration::from(self.plan.rows[session[0]].intended);
            let ready = async {
                if due > Instant::now() {
                    tokio::time::sleep_until(due.into()).await;
                }
                match &self.plan.slots {
                    Some(slots) => slots.take().await,
                    None => Nanos::ZERO,
                }
            };
            let over = async {
                match self.plan.deadline(start) {
                    Some(at) => tokio::time::sleep_until(at.into()).await,
                    None => std::future::pending().await,
                }
            };
            let free = tokio::select! {
                biased;
                () = cancel.cancelled() => break,
                () = over => break,
                free = ready => free,
            };
            let (sender, plan) = (self.sender.clone(), self.plan.clone());
            running.spawn(async move {
                let rows = run_session(&sender, &plan, k, start, free).await;
                if let Some(slots) = &plan.slots {
                    slots.give(rows.last().map_or(Nanos::from(start.elapsed()), |(_, row)| row.ended));
                }
                rows
            });
            // Lets the request just started reach its socket before the next one takes the thread, so that the
            // send time stamp is the time of the write also in a burst.
            tokio::task::yield_now().await;
            tokio::task::yield_now().await;
        }
        let mut rows = Vec::new();
        while let Some(session) = running.join_next().await {
            rows.extend(session.unwrap_or_default());
        }
        rows
    }
}

/// The requests of one session, one after the other; stops at the first that fails.
/// In a closed loop the first is due since its slot was free.
async fn run_session(
    sender: &Senders,
    plan: &Plan,
    k: usize,
    start: Instant,
    free: Nanos,
) -> Vec<(usize, Row)> {
    let mut rows: Vec<(usize, Row)> = Vec::new();
    for &i in &plan.sessions[k] {
        let mut row = plan.rows[i].clone();
        if let Some((_, before)) = rows.last() {
            let due = before.ended + Nanos::from(plan.think[i]);
            row.intended = row.intended.max(due);
            tokio::select! {
                () = tokio::time::sleep_until((start + Duration::from(row.intended)).into()) => {}
                () = plan.options.cancel.cancelled() => break,
            }
        } else if plan.closed_loop {
            row.intended = free;
        }
        send_one(sender, plan, i, start, &mut row).await;
        let completed = row.completed();
        rows.push((i, row));
        if !completed {
            break;
        }
    }
    rows
}

async fn send_one(sender: &Senders, plan: &Plan, i: usize, start: Instant, row: &mut Row) {
    let options = &plan.options;
    let limit = Instant::now() + options.request_timeout;
    let limit = plan.deadline(start).map_or(limit, |d| d.min(limit));
    let mut stream = StreamState::of(plan.rows[i].output_tokens);
    let cut: Option<Cut> = tokio::select! {
        // In this order: nearly every wake is bytes.
        biased;
        cut = sender.nth(i).send(plan.bodies[i].clone(), start, &options.progress, row, &mut stream) => cut,
        () = tokio::time::sleep_until(limit.into()) => {
            Some((ErrorKind::Timeout, "no end of the answer within the time allowed".into()))
        }
        () = options.cancel.cancelled() => Some((ErrorKind::Cancelled, "the run was stopped".into())),
    };
    let ended = if cut.is_none() { row.ended } else { Nanos::from(start.elapsed()) };
    stream.finish(ended, cut, row);
    let counter = if row.completed() { &options.progress.completed } else { &options.progress.failed };
    Progress::add(counter, 1);
    if let Some(live) = Live::of(options) {
        live.request_ended(row);
    }
}

fn conclude(parts: Vec<Part>, plan: &Plan, options: &RunOptions, connections: usize) -> LoadResult {
    let mut measured: BTreeMap<usize, Row> = BTreeMap::new();
    let mut uses = Vec::new();
    let mut connect_s: f64 = 0.0;
    for part in parts {
        measured.extend(part.rows);
        uses.push(part.usage);
        connect_s = connect_s.max(part.connect_s);
    }
    let duration = measured.values().map(|r| r.ended).max().unwrap_or_default();
    let cancelled = options.cancel.is_cancelled();
    let mut rows: Vec<Row> = Vec::with_capacity(plan.rows.len());
    for (i, planned) in plan.rows.iter().enumerate() {
        match measured.remove(&i) {
            Some(row) => rows.push(row),
            // A stopped run says so as a whole; otherwise what was not sent is a loss.
            None if cancelled => {}
            None => rows.push(unsent(planned, duration)),
        }
    }
    rows.sort_by_key(|r| (r.intended, r.id));
    let tokens: f64 = rows.iter().map(|r| f64::from(r.output_tokens)).sum();
    let health = gather(&uses, tokens, if options.preconnect { connections } else { 0 }, connect_s);
    let mut metrics = summarize(&rows, duration, options.goodput);
    let mut errors: BTreeMap<ErrorKind, ErrorCount> = BTreeMap::new();
    for (kind, why) in rows.iter().filter_map(|r| r.error.as_ref()) {
        let entry = errors.entry(*kind).or_insert_with(|| ErrorCount { count: 0, first: why.clone() });
        entry.count += 1;
    }
    metrics.client.errors = errors.iter().map(|(k, c)| (k.to_string(), c.count)).collect();
    metrics.client.steady = super::steady(&rows);
    metrics.client.health = health.recorded();
    let invalid = verdict(&rows, plan, cancelled);
    let mut distortion = super::judge(&health, &metrics, plan.slots.is_some());
    distortion.doubts.extend(oddities(&rows));
    metrics.client.invalid = invalid.iter().chain(&distortion.reasons).cloned().collect();
    metrics.client.doubts.clone_from(&distortion.doubts);
    metrics.client.untrusted = distortion.untrusted.iter().map(|k| k.name().to_owned()).collect();
    LoadResult { metrics, rows, errors, health, invalid, distortion, cancelled }
}

/// A request that was never sent: the run's time was over, or the turn before it had failed.
fn unsent(planned: &Row, at: Nanos) -> Row {
    let why = "not sent: the run's time was over or the turn before it had failed";
    Row {
        sent: at,
        ended: at,
        output_tokens: 0,
        error: Some((ErrorKind::Timeout, why.into())),
        ..planned.clone()
    }
}

/// Reasons for which the figures must not be used.
fn verdict(rows: &[Row], plan: &Plan, cancelled: bool) -> Vec<String> {
    let mut reasons = Vec::new();
    if cancelled {
        reasons.push("the run was stopped before its end".to_owned());
    }
    let uncounted = rows.iter().filter(|r| r.completed() && !r.counted).count();
    if uncounted > 0 {
        reasons.push(format!(
            "{uncounted} answers came without usage or token ids: their tokens are counts of chunks"
        ));
    }
    let asked: BTreeMap<u64, u32> = plan.rows.iter().map(|r| (r.id, r.output_tokens)).collect();
    let beyond = |r: &&Row| r.completed() && asked.get(&r.id).is_some_and(|&n| r.output_tokens > n);
    if let Some(first) = rows.iter().find(beyond) {
        reasons.push(format!(
            "{} answers hold more tokens than were asked for (the first: {} for {}): the server ignores max_tokens or \
             counts wrongly",
            rows.iter().filter(beyond).count(),
            first.output_tokens,
            asked[&first.id]
        ));
    }
    let after = rows.iter().filter(|r| r.oddity == Some(Oddity::AfterDone)).count();
    if after > 0 {
        reasons.push(format!("in {after} answers tokens came after `[DONE]`; they are not counted"));
    }
    reasons
}

/// What was odd and does not matter for the figures.
fn oddities(rows: &[Row]) -> Option<String> {
    let plain = rows.iter().filter(|r| r.oddity == Some(Oddity::NoFinishReason)).count();
    (plain > 0).then(|| format!("{plain} answers ended with `[DONE]` and usage but gave no finish reason"))
}
