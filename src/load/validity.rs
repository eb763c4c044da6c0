//! Whether the client was well, and which figures its own lateness can have moved.
//!
//! What arrives while a client thread is busy, or has no core, is read late: the delays of the reads say by how much, and
//! where the kernel gives none, the lag of the event loop ([`super::lag`]). A run is invalid when a client that late, with
//! time stamps of its own, would have moved a figure by more than both 2 ms and 5 % of it:
//! - mean, median, p90 … of TTFT and E2E by the same statistic of the delay;
//! - a quantile of the gaps between tokens by the same quantile;
//! - the mean gap and TPOT by the delays of first and last token, over the number of gaps: nearly nothing;
//! - throughput in a closed loop by mean delay and mean lateness of the sends, once a request, over its duration.
//!
//! That is strict: with the kernel's arrival stamps a late read moves nothing until it is so late that the next token has
//! come too, for then both get the later stamp. So the figures that are really in doubt are told apart from the
//! verdict on the client: counts of requests, tokens and losses always stand. What exceeds 5 % but not 2 ms is a doubt.

use super::ClientHealth;
use super::health::Late;
use crate::scenario::{Key, Metrics};

/// Share of a figure that the client may have added.
const TOLERANCE: f64 = 0.05;
/// What the client may always have added to a latency, milliseconds.
const FLOOR_MS: f64 = 2.0;
/// Below this nothing is said.
const DOUBT_MS: f64 = 0.5;
/// Reads later than this share of a gap may have found the next token too.
const NEXT_TOKEN: f64 = 0.5;
/// Fewer reads than this have no 99th percentile.
const ENOUGH: u64 = 100;
/// A client thread that is busier than this has no time left.
const BUSY: f64 = 0.95;

/// What the client's lateness did to the figures.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct Distortion {
    /// Why figures are not to be trusted; empty when all are.
    pub reasons: Vec<String>,
    /// The figures that may be off by more than the tolerance.
    pub untrusted: Vec<Key>,
    /// Where the client may have added something that is still tolerable, or is near its limits.
    pub doubts: Vec<String>,
}

/// The latencies, each with its mean, median, p90, p95 and p99.
const LATENCIES: [[Key; 5]; 4] = [
    [Key::MeanTtftMs, Key::MedianTtftMs, Key::P90TtftMs, Key::P95TtftMs, Key::P99TtftMs],
    [Key::MeanE2elMs, Key::MedianE2elMs, Key::P90E2elMs, Key::P95E2elMs, Key::P99E2elMs],
    [Key::MeanItlMs, Key::MedianItlMs, Key::P90ItlMs, Key::P95ItlMs, Key::P99ItlMs],
    [Key::MeanTpotMs, Key::MedianTpotMs, Key::P90TpotMs, Key::P95TpotMs, Key::P99TpotMs],
];
const THROUGHPUTS: [Key; 3] = [Key::RequestThroughput, Key::OutputThroughput, Key::TotalTokenThroughput];
/// What the summary says something of.
const HEADLINES: [(Key, &str); 7] = [
    (Key::OutputThroughput, "throughput"),
    (Key::MeanTtftMs, "mean TTFT"),
    (Key::P99TtftMs, "p99 TTFT"),
    (Key::MeanTpotMs, "mean TPOT"),
    (Key::MedianItlMs, "median ITL"),
    (Key::P99ItlMs, "p99 ITL"),
    (Key::MeanE2elMs, "mean E2EL"),
];

impl ClientHealth {
    /// How late the client was: by its reads where there are enough of them, else by its event loop.
    pub fn lateness(&self) -> Late {
        self.read_delay.filter(|d| d.samples >= ENOUGH).unwrap_or(self.lag)
    }
}

/// Judges a run by the lateness of its client. `closed` when a request waits for the end of another.
pub fn judge(health: &ClientHealth, metrics: &Metrics, closed: bool) -> Distortion {
    let mut found = Distortion::default();
    let late = health.lateness();
    let kernel = health.read_delay.is_some_and(|d| d.samples >= ENOUGH);
    // Gaps are the first to tell whether a read may have found two tokens.
    let gap = metrics.get(Key::MedianItlMs).filter(|g| *g > 0.0).unwrap_or(f64::INFINITY);
    let (mut starved, mut mild) = (false, None::<(Key, f64, f64)>);
    for (key, shift, value) in shifts(&late, metrics, closed) {
        let latency = !THROUGHPUTS.contains(&key);
        let beyond = |least: f64| shift > least.max(TOLERANCE * value);
        if beyond(if latency { FLOOR_MS } else { 0.0 }) {
            starved = true;
            let stands = latency && kernel && shift < NEXT_TOKEN * gap;
            if !stands && !found.untrusted.contains(&key) {
                found.untrusted.push(key);
            }
        } else if latency && beyond(DOUBT_MS) && mild.is_none_or(|(_, s, v)| shift / value > s / v) {
            mild = Some((key, shift, value));
        }
    }
    held_up(health, metrics, &mut found);
    let text = format!("the client read late ({:.2} ms on average, {:.1} ms at p99)", late.mean, late.p99);
    if starved {
        found.reasons.push(format!("{text}: it was starved; {}", trust(&found.untrusted, metrics, kernel)));
        if let Some(faults) = health.major_faults.filter(|&f| f > 0.0) {
            found.reasons.push(format!("the client waited {faults:.0} times for memory from the disk"));
        }
    } else if let Some((key, shift, value)) = mild {
        let own = format!("up to {shift:.1} of the {value:.1} ms of {}", key.name());
        let whose =
            if kernel { "would be its own without the kernel's time stamps" } else { "may be its own" };
        found.doubts.push(format!("{text}: {own} {whose}"));
    }
    if let Some(share) = health.utilization.filter(|&u| u > BUSY) {
        let text =
            format!("a client thread was busy {:.0} % of the time: it is the bottleneck", share * 100.0);
        found.doubts.push(text);
    }
    found
}

/// Share of a run in which the client may have been held up without a word.
const HELD_UP: f64 = 0.02;
/// What the wall clock may differ from the monotonic clock over a run, seconds.
const CLOCK_JUMP: f64 = 0.25;

/// A client that did not run sent nothing: the engine had another load than the plan says, and what came next came at
/// once. No time stamp of the kernel's mends that. With more than [`HELD_UP`] of the run lost no figure but the counts
/// stands; below it a mean is moved by about the share times the longest stretch, and a quantile by the stretch where
/// the share reaches half of what lies beyond it.
fn held_up(health: &ClientHealth, metrics: &Metrics, found: &mut Distortion) {
    let share = health.held_up_s / health.wall_s.max(1e-9);
    let stretch_ms = health.held_up_max_s * 1e3;
    let mut moved: Vec<Key> = Vec::new();
    if share > HELD_UP || health.clock_jump_s > CLOCK_JUMP {
        moved.extend(LATENCIES.iter().flatten().chain(&THROUGHPUTS));
    } else {
        let reach = [share, 0.0, 0.0, 0.0, if share > 0.005 { 1.0 } else { 0.0 }];
        for (key, reach) in LATENCIES[..2].iter().flat_map(|keys| keys.iter().zip(reach)) {
            if metrics.get(*key).is_some_and(|v| stretch_ms * reach > FLOOR_MS.max(TOLERANCE * v)) {
                moved.push(*key);
            }
        }
    }
    moved.retain(|k| metrics.get(*k).is_some());
    if moved.is_empty() {
        return;
    }
    let why = if health.clock_jump_s > CLOCK_JUMP {
        format!(
            "the wall clock and the client's own went apart by {:.1} s: the machine was suspended, or its clock set",
            health.clock_jump_s
        )
    } else {
        format!(
            "the client was held up for {:.1} of {:.1} s, up to {:.2} s at once: what it sent was not what was planned",
            health.held_up_s, health.wall_s, health.held_up_max_s
        )
    };
    found.untrusted.extend(moved);
    found.untrusted.sort_unstable();
    found.untrusted.dedup();
    found.reasons.push(format!("{why}; {}", trust(&found.untrusted, metrics, false)));
}

/// Which figures still stand, in words.
fn trust(untrusted: &[Key], metrics: &Metrics, kernel: bool) -> String {
    let names = |stands: bool| -> String {
        let wanted = |k: &Key| metrics.get(*k).is_some() && untrusted.contains(k) != stands;
        HEADLINES.iter().filter(|(k, _)| wanted(k)).map(|h| h.1).collect::<Vec<_>>().join(", ")
    };
    let because = if kernel { " (their time stamps are the kernel's)" } else { "" };
    let stand = match names(true) {
        none if none.is_empty() => "to be trusted are only the counts of tokens and losses".to_owned(),
        some => format!("to be trusted are the counts of tokens and losses and {some}{because}"),
    };
    match names(false) {
        none if none.is_empty() => stand,
        some => format!("off by more than {:.0} % may be {some}; {stand}", TOLERANCE * 100.0),
    }
}

/// Each figure that there is, with what the client would have added to it.
fn shifts(late: &Late, m: &Metrics, closed: bool) -> Vec<(Key, f64, f64)> {
    let delays = [late.mean, late.median, late.p90, late.p95, late.p99];
    let per_request = m.get(Key::TotalOutputTokens).zip(m.get(Key::Completed)).map_or(1.0, |(t, n)| t / n);
    let gaps = (per_request - 1.0).max(1.0);
    let mut all = Vec::new();
    for (i, keys) in LATENCIES.iter().enumerate() {
        for (key, delay) in keys.iter().zip(delays) {
            let telescopes = i == 3 || *key == Key::MeanItlMs;
            let shift = if telescopes { delay / gaps } else { delay };
            all.extend(m.get(*key).map(|value| (*key, shift, value)));
        }
    }
    if let (true, Some(e2e)) = (closed, m.get(Key::MeanE2elMs).filter(|e| *e > 0.0)) {
        let send_late = m.client.send_late.map_or(0.0, |late| late.mean_ms);
        let share = (late.mean + send_late) / e2e;
        all.extend(THROUGHPUTS.iter().filter_map(|k| m.get(*k).map(|v| (*k, share * v, v))));
    }
    all
}

#[cfg(test)]
mod tests {
    use super::*;

    fn metrics(ttft: f64, itl: f64) -> Metrics {
        let mut m = Metrics::default();
        for (key, v) in [
            (Key::Completed, 100.0),
            (Key::TotalOutputTokens, 6400.0),
            (Key::OutputThroughput, 5000.0),
            (Key::MeanTtftMs, ttft),
            (Key::P99TtftMs, ttft * 1.1),
            (Key::MeanItlMs, itl),
            (Key::MedianItlMs, itl),
            (Key::P99ItlMs, itl * 1.4),
            (Key::MeanTpotMs, itl),
            (Key::MeanE2elMs, ttft + 63.0 * itl),
        ] {
            m.set(key, v);
        }
        m
    }

    fn late(mean: f64, p99: f64, samples: u64) -> Late {
        Late { mean, median: mean / 2.0, p90: mean * 2.0, p95: mean * 3.0, p99, samples }
    }

    /// A client without the kernel's stamps.
    fn own(mean: f64, p99: f64) -> ClientHealth {
        ClientHealth { lag: late(mean, p99, 1000), ..ClientHealth::default() }
    }

    fn stamped(mean: f64, p99: f64) -> ClientHealth {
        ClientHealth { read_delay: Some(late(mean, p99, 6400)), ..own(90.0, 90.0) }
    }

    #[test]
    fn a_starved_client_is_told_with_the_figures_it_can_have_moved() {
        assert_eq!(judge(&own(0.1, 0.4), &metrics(100.0, 10.0), true), Distortion::default());
        // A core shared with something else: slices of 3 ms.
        let starved = judge(&own(0.8, 3.2), &metrics(100.0, 10.0), true);
        assert_eq!(starved.untrusted, [Key::P99ItlMs]);
        let text = &starved.reasons[0];
        assert!(text.contains("off by more than 5 % may be p99 ITL; to be trusted are the counts"), "{text}");
        assert!(text.contains("throughput, mean TTFT, p99 TTFT, mean TPOT"), "{text}");
        // The same lag beside gaps of 100 ms is nothing.
        assert_eq!(judge(&own(0.8, 3.2), &metrics(100.0, 100.0), true), Distortion::default());
        // A client that hardly ran: only what telescopes and what is counted remains.
        let stopped = judge(&own(80.0, 400.0), &metrics(100.0, 10.0), true);
        let all = [Key::MeanTtftMs, Key::OutputThroughput];
        assert!(all.iter().all(|k| stopped.untrusted.contains(k)), "{:?}", stopped.untrusted);
        assert!(!stopped.untrusted.contains(&Key::MeanTpotMs), "{:?}", stopped.untrusted);
        // In an open loop a late client does not lower the load.
        let open = judge(&own(80.0, 400.0), &metrics(100.0, 10.0), false);
        assert!(!open.untrusted.contains(&Key::OutputThroughput));
    }

    #[test]
    fn the_kernels_stamps_keep_figures_of_a_starved_client_until_tokens_run_together() {
        assert_eq!(judge(&stamped(0.1, 0.4), &metrics(100.0, 10.0), true), Distortion::default());
        let starved = judge(&stamped(0.8, 3.2), &metrics(100.0, 10.0), true);
        assert!(starved.reasons[0].contains("it was starved; to be trusted are the counts"), "{starved:?}");
        assert_eq!(starved.untrusted, []);
        // Reads later than a gap find two tokens with one stamp.
        let stopped = judge(&stamped(80.0, 400.0), &metrics(100.0, 10.0), true);
        assert!(stopped.untrusted.contains(&Key::P99ItlMs), "{stopped:?}");
        // Too few reads to have a percentile: the event loop's own lag speaks.
        let few = ClientHealth { read_delay: Some(late(0.1, 0.4, 12)), ..own(0.8, 3.2) };
        assert_eq!(judge(&few, &metrics(100.0, 10.0), true).untrusted, [Key::P99ItlMs]);
    }

    #[test]
    fn a_client_that_did_not_run_is_told_whatever_the_kernels_stamps_say() {
        let held = |all: f64, longest: f64| ClientHealth {
            held_up_s: all,
            held_up_max_s: longest,
            wall_s: 20.0,
            ..stamped(0.1, 0.4)
        };
        assert_eq!(judge(&held(0.03, 0.03), &metrics(100.0, 10.0), true), Distortion::default());
        // Stopped once for two seconds, or half of the time in slices.
        for client in [held(2.0, 2.0), held(9.0, 0.05)] {
            let found = judge(&client, &metrics(100.0, 10.0), true);
            for key in [Key::OutputThroughput, Key::MeanTtftMs, Key::P99ItlMs, Key::MeanTpotMs] {
                assert!(found.untrusted.contains(&key), "{key:?}");
            }
            assert!(found.reasons[0].contains("held up"), "{found:?}");
            assert!(found.reasons[0].contains("only the counts"), "{found:?}");
        }
        // One short stretch in a long run moves the tail and not the mean.
        let once = judge(&held(0.15, 0.15), &metrics(100.0, 10.0), true);
        assert_eq!(once.untrusted, [Key::P99TtftMs], "{once:?}");
        let suspended = ClientHealth { clock_jump_s: 3.0, wall_s: 20.0, ..stamped(0.1, 0.4) };
        assert!(judge(&suspended, &metrics(100.0, 10.0), true).reasons[0].contains("suspended"));
    }

    #[test]
    fn mild_lateness_and_a_busy_thread_are_doubts() {
        // Engine and client on the same two cores.
        let mild = judge(&own(0.2, 1.7), &metrics(30.0, 3.0), true);
        assert!(mild.reasons.is_empty() && mild.untrusted.is_empty());
        assert!(mild.doubts[0].contains("up to 1.7 of the 4.2 ms of p99_itl_ms"), "{:?}", mild.doubts);
        let busy = ClientHealth { utilization: Some(0.98), ..own(0.1, 0.4) };
        assert!(judge(&busy, &metrics(100.0, 10.0), true).doubts[0].contains("bottleneck"));
    }
}
