//! Data-parallel replicas: engines of their own, each with its scheduler, its KV blocks and its front end.
//!
//! Servers send a request to the replica with the fewest requests (vLLM counts a waiting one four times), which
//! keeps them level. Here requests are dealt out in turn, and a client's bound on those in flight is shared
//! out evenly: the same up to the scatter of lengths. The test in `emulate` compares both.

use super::client::Arrival;
use super::driver::{SimOptions, run};
use super::result::SimResult;
use super::scheduler::Scheduler;
use super::step::StepTime;
use super::totals::RunTotals;

/// Runs `requests` (arrivals ascending) through `replicas` engines, each with a scheduler of its own.
pub fn simulate_replicas<T>(
    requests: &[Arrival],
    replicas: u32,
    scheduler: &dyn Fn() -> Box<dyn Scheduler>,
    time: &T,
    options: &SimOptions,
) -> SimResult
where
    T: StepTime + ?Sized,
{
    // With fewer requests in flight than replicas some stand idle.
    let busy = options.max_concurrency.map_or(replicas, |n| n.min(replicas)).max(1);
    let parts = (0..busy).map(|k| part(requests, k, busy, scheduler, time, options));
    let all = parts.reduce(|mut sum: RunTotals, one| {
        sum.merge(one);
        sum
    });
    let Some(mut all) = all else { return SimResult::default() };
    let end = all.breakdown.end;
    all.breakdown.idle.0 += end.0 * u64::from(replicas.max(1) - busy);
    all.breakdown.average(u64::from(replicas.max(1)));
    all.result()
}

/// The run of replica `k` of `busy`.
fn part<T>(
    requests: &[Arrival],
    k: u32,
    busy: u32,
    scheduler: &dyn Fn() -> Box<dyn Scheduler>,
    time: &T,
    options: &SimOptions,
) -> RunTotals
where
    T: StepTime + ?Sized,
{
    let (k, n) = (k as usize, busy as usize);
    let slots = options.max_concurrency.map(|c| c / busy + u32::from((k as u32) < c % busy));
    let options = SimOptions { max_concurrency: slots, ..options.clone() };
    let own = requests.iter().skip(k).step_by(n).cloned();
    let mut totals = run(own, scheduler().as_mut(), time, &options);
    // From the order of this replica's plan to that of all.
    let mut first = 0;
    let mut numbers = Vec::new();
    for (i, a) in requests.iter().enumerate() {
        let turns = 1 + a.follow_ups.len();
        if i % n == k {
            numbers.extend(first..first + turns);
        }
        first += turns;
    }
    for (number, _) in &mut totals.outcomes {
        *number = numbers[*number];
    }
    totals
}
