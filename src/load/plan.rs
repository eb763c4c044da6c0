//! What all client threads share: bodies, sessions, slots.

use super::options::{RunOptions, Target};
use super::outcome::Row;
use super::request;
use crate::error::{Error, Result};
use crate::units::Nanos;
use crate::workload::{PlannedRequest, Prompt};
use bytes::Bytes;
use std::collections::{HashMap, VecDeque};
use std::sync::atomic::AtomicUsize;
use std::sync::{Barrier, Mutex, MutexGuard, OnceLock, PoisonError};
use std::time::{Duration, Instant};
use tokio::sync::Semaphore;

/// Connections that the run will need at once, as far as the plan tells.
pub(super) fn connections(requests: &[PlannedRequest], options: &RunOptions) -> usize {
    let heads = requests.iter().filter(|r| r.follows.is_none()).count().max(1);
    // In an open loop: what arrives in the fullest second, as a first guess; more open on demand.
    let mut seconds: HashMap<u64, usize> = HashMap::new();
    for r in requests.iter().filter(|r| r.follows.is_none()) {
        *seconds.entry(r.arrival.0 / 1_000_000_000).or_default() += 1;
    }
    let fullest = seconds.into_values().max().unwrap_or(1);
    options.max_concurrency.map_or(fullest, |c| fullest.min(c as usize)).min(heads)
}

/// One thread carries 512 streams with ease; beyond that one more for each 512, up to half of the cores.
pub(super) fn threads_for(connections: usize) -> usize {
    let cores = std::thread::available_parallelism().map_or(1, std::num::NonZero::get);
    connections.div_ceil(512).min((cores / 2).max(1))
}

/// Raises the soft limit of open files to what the run needs; refuses a run that the hard limit cannot carry.
pub fn raise_file_limit(connections: usize) -> Result<()> {
    use rustix::process::{Resource, Rlimit, getrlimit, setrlimit};
    let needed = connections as u64 + 128;
    let limit = getrlimit(Resource::Nofile);
    if limit.current.is_none_or(|c| c >= needed) {
        return Ok(());
    }
    let wanted = Rlimit { current: Some(limit.maximum.map_or(needed, |m| m.min(needed))), ..limit };
    if limit.maximum.is_some_and(|m| m < needed) || setrlimit(Resource::Nofile, wanted).is_err() {
        return Err(Error::usage(format!(
            "{connections} connections need {needed} open files, more than allowed"
        ))
        .hint(format!("run `ulimit -n {needed}` first, or lower the concurrency")));
    }
    Ok(())
}

/// The places of a fixed number in flight, each with the time at which it became free.
pub(super) struct Slots {
    free: Semaphore,
    since: Mutex<VecDeque<Nanos>>,
}

impl Slots {
    pub(super) fn new(count: u32) -> Slots {
        let count = count.max(1) as usize;
        Slots { free: Semaphore::new(count), since: Mutex::new(vec![Nanos::ZERO; count].into()) }
    }

    fn times(&self) -> MutexGuard<'_, VecDeque<Nanos>> {
        self.since.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// Waits for a free place; says since when it was free.
    pub(super) async fn take(&self) -> Nanos {
        if let Ok(permit) = self.free.acquire().await {
            permit.forget();
        }
        self.times().pop_front().unwrap_or_default()
    }

    pub(super) fn give(&self, at: Nanos) {
        self.times().push_back(at);
        self.free.add_permits(1);
    }
}

/// What all client threads share.
pub(super) struct Plan {
    pub(super) bodies: Vec<Bytes>,
    pub(super) warmups: Vec<Bytes>,
    pub(super) rows: Vec<Row>,
    /// Indices of requests that follow each other; the first entry is due at its arrival.
    pub(super) sessions: Vec<Vec<usize>>,
    /// Think time before each request (zero for the first of a session).
    pub(super) think: Vec<Duration>,
    /// Next session to be sent.
    pub(super) next: AtomicUsize,
    pub(super) slots: Option<Slots>,
    pub(super) closed_loop: bool,
    pub(super) options: RunOptions,
    pub(super) barrier: Barrier,
    pub(super) start: OnceLock<Instant>,
}

impl Plan {
    pub(super) fn new(
        target: &Target,
        requests: &[PlannedRequest],
        options: &RunOptions,
        threads: usize,
    ) -> Plan {
        let rows = requests
            .iter()
            .map(|r| Row {
                id: r.id,
                intended: r.arrival,
                input_tokens: r.input_tokens,
                // As asked for, until the answer says how many there are.
                output_tokens: r.output_tokens,
                ..Row::default()
            })
            .collect();
        Plan {
            bodies: requests.iter().map(|r| request::body(target, r)).collect(),
            warmups: requests
                .iter()
                .cycle()
                .take(options.warmups as usize)
                .map(|r| request::body(target, &warmup(r)))
                .collect(),
            rows,
            sessions: sessions(requests),
            think: requests.iter().map(|r| r.follows.map_or(Duration::ZERO, |f| f.think.into())).collect(),
            next: AtomicUsize::new(0),
            slots: options.max_concurrency.map(Slots::new),
            closed_loop: options.max_concurrency.is_some()
                && requests.iter().all(|r| r.arrival == Nanos::ZERO),
            options: options.clone(),
            barrier: Barrier::new(threads),
            start: OnceLock::new(),
        }
    }

    /// Time left of the whole run at `start`-relative now.
    pub(super) fn deadline(&self, start: Instant) -> Option<Instant> {
        self.options.run_timeout.map(|t| start + t)
    }
}

/// Groups of requests of which each waits for the one before, ordered by the arrival of the first.
fn sessions(requests: &[PlannedRequest]) -> Vec<Vec<usize>> {
    let index: HashMap<u64, usize> = requests.iter().enumerate().map(|(i, r)| (r.id, i)).collect();
    let mut next: HashMap<usize, usize> = HashMap::new();
    let mut heads = Vec::new();
    for (i, r) in requests.iter().enumerate() {
        match r.follows.and_then(|f| index.get(&f.id)) {
            Some(&before) if before != i && !next.contains_key(&before) => {
                next.insert(before, i);
            }
            _ => heads.push(i),
        }
    }
    heads.sort_by_key(|&i| (requests[i].arrival, i));
    heads
        .into_iter()
        .map(|head| std::iter::successors(Some(head), |i| next.get(i).copied()).collect())
        .collect()
}

/// A request like this one with a prompt of its own, so that the measured prompt is not in the prefix cache.
fn warmup(request: &PlannedRequest) -> PlannedRequest {
    let prompt = match &request.prompt {
        Prompt::TokenIds(ids) => Prompt::TokenIds(ids.iter().rev().copied().collect()),
        Prompt::Text(text) => Prompt::Text(format!("warm-up: {text}")),
        Prompt::Chat(turns) => {
            Prompt::Chat(turns.iter().map(|(r, c)| (r.clone(), format!("warm-up: {c}"))).collect())
        }
    };
    PlannedRequest { prompt, ..request.clone() }
}
