//! The client's watch over itself: could it have distorted what it measured?

use super::socket::{no_delays, take_read_delays};
use crate::scenario::client_report::rounded;
use crate::stats::{mean, quantile_sorted};
use hdrhistogram::Histogram;
use procfs::FromRead as _;
use procfs::process::{Schedstat, Stat};
use std::collections::BTreeMap;
use std::time::{Duration, Instant, SystemTime};

/// Period of the ticks by which the lag of a client thread is measured ([`super::lag`]).
/// Rarely enough that an idle client is not woken for its own watch; no multiple of usual gaps between tokens, so that the
/// ticks wander through them.
pub(super) const TICK: Duration = Duration::from_micros(19_370);

/// A distribution of lateness, milliseconds.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub struct Late {
    pub mean: f64,
    pub median: f64,
    pub p90: f64,
    pub p95: f64,
    pub p99: f64,
    pub samples: u64,
}

/// What the client needed and how late it was.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct ClientHealth {
    pub threads: usize,
    /// Seconds of CPU of the client threads while the load ran; None where the system does not say.
    pub cpu_s: Option<f64>,
    /// CPU seconds a million tokens received.
    pub cpu_s_per_million_tokens: Option<f64>,
    /// Share of the busiest client thread's time on the CPU.
    pub utilization: Option<f64>,
    /// Share of the time that the worst-off thread was ready to run and did not get a core.
    pub waiting_for_cpu: Option<f64>,
    /// How long arrived bytes lay in their sockets before a client thread read them, milliseconds. It does not enter
    /// the time stamps, which are the kernel's; None where the kernel gave none and the clock after the read was taken.
    pub read_delay: Option<Late>,
    pub read_delay_max_ms: Option<f64>,
    /// Tokens a second at which these threads would have no idle time left, at the CPU time a token that they needed.
    pub saturates_at_tokens_per_s: Option<f64>,
    /// How late a timer of the kernel's was seen on the client threads ([`super::lag`]), milliseconds.
    pub lag: Late,
    pub lag_max_ms: f64,
    /// Time in which the worst-off client thread did not run at all, in stretches of more than
    /// `HELD_UP`: a stopped process, a throttled group, a suspended machine. Seconds: in all, longest.
    pub held_up_s: f64,
    pub held_up_max_s: f64,
    /// Length of the run by the client's clock, seconds.
    pub wall_s: f64,
    /// By how much the wall clock and the monotonic clock went apart during the run, seconds: the machine was
    /// suspended, or its clock was set.
    pub clock_jump_s: f64,
    /// Largest resident memory of this process so far, megabytes.
    pub peak_memory_mb: Option<f64>,
    /// Times that a client thread had to wait for a page from the disk: memory was short.
    pub major_faults: Option<f64>,
    /// Connections opened before the clock started, and how long that took.
    pub connections: usize,
    pub connect_s: f64,
    /// All client threads ran at real-time priority.
    pub real_time: bool,
}

impl ClientHealth {
    /// As it stands in the result under `client`.
    pub fn recorded(&self) -> BTreeMap<String, f64> {
        let mut map = BTreeMap::new();
        let mut put = |key: &str, value: Option<f64>| {
            if let Some(v) = value.and_then(rounded) {
                map.insert(key.to_owned(), v);
            }
        };
        put("threads", Some(self.threads as f64));
        put("cpu_s", self.cpu_s);
        put("cpu_s_per_million_tokens", self.cpu_s_per_million_tokens);
        put("utilization", self.utilization);
        put("waiting_for_cpu", self.waiting_for_cpu);
        put("read_delay_mean_ms", self.read_delay.map(|d| d.mean));
        put("read_delay_p99_ms", self.read_delay.map(|d| d.p99));
        put("read_delay_max_ms", self.read_delay_max_ms);
        put("saturates_at_tokens_per_s", self.saturates_at_tokens_per_s.map(f64::round));
        put("lag_mean_ms", Some(self.lag.mean));
        put("lag_median_ms", Some(self.lag.median));
        put("lag_p99_ms", Some(self.lag.p99));
        put("lag_max_ms", Some(self.lag_max_ms));
        put("held_up_s", Some(self.held_up_s));
        put("held_up_max_s", Some(self.held_up_max_s));
        put("clock_jump_s", Some(self.clock_jump_s));
        put("peak_memory_mb", self.peak_memory_mb);
        put("major_faults", self.major_faults);
        put("connections", Some(self.connections as f64));
        put("connect_s", Some(self.connect_s));
        put("real_time", Some(f64::from(u8::from(self.real_time))));
        map
    }
}

/// The watch of one client thread.
#[derive(Debug)]
pub(super) struct ThreadWatch {
    began: Instant,
    wall: SystemTime,
    cpu: Option<(f64, f64)>,
    faults: Option<f64>,
}

/// What one thread used.
#[derive(Debug, Clone, Default)]
pub(super) struct ThreadUse {
    wall_s: f64,
    clock_jump_s: f64,
    cpu_s: Option<f64>,
    wait_s: Option<f64>,
    faults: Option<f64>,
    pub(super) lags_us: Vec<u32>,
    delays_us: Option<Histogram<u32>>,
    real_time: bool,
}

impl ThreadWatch {
    /// Starts watching the thread that calls.
    pub(super) fn start() -> ThreadWatch {
        drop(take_read_delays());
        ThreadWatch {
            began: Instant::now(),
            wall: SystemTime::now(),
            cpu: thread_times(),
            faults: major_faults(),
        }
    }
    pub(super) fn stop(self, lags_us: Vec<u32>, real_time: bool) -> ThreadUse {
        let spent = self.cpu.zip(thread_times());
        let wall_s = self.began.elapsed().as_secs_f64();
        let by_wall = match self.wall.elapsed() {
            Ok(ahead) => ahead.as_secs_f64(),
            Err(back) => -back.duration().as_secs_f64(),
        };
        ThreadUse {
            wall_s,
            clock_jump_s: (by_wall - wall_s).abs(),
            cpu_s: spent.map(|(a, b)| b.0 - a.0),
            wait_s: spent.map(|(a, b)| b.1 - a.1),
            faults: self.faults.zip(major_faults()).map(|(a, b)| b - a),
            lags_us,
            delays_us: Some(take_read_delays()),
            real_time,
        }
    }
}

/// Seconds that this thread was on a CPU, and seconds that it waited for one.
fn thread_times() -> Option<(f64, f64)> {
    let times = Schedstat::from_file("/proc/thread-self/schedstat").ok()?;
    Some((times.sum_exec_runtime as f64 / 1e9, times.run_delay as f64 / 1e9))
}

/// Page faults of this thread that needed the disk.
fn major_faults() -> Option<f64> {
    Stat::from_file("/proc/thread-self/stat").ok().map(|s| s.majflt as f64)
}

/// `VmHWM` of this process.
fn peak_memory_mb() -> Option<f64> {
    let status = procfs::process::Process::myself().ok()?.status().ok()?;
    status.vmhwm.map(|kib| kib as f64 / 1024.0)
}

/// A thread that was away for longer than this was held up. A busy machine makes a thread wait for some milliseconds.
const HELD_UP: Duration = Duration::from_millis(25);

/// Seconds in which the thread was held up, in all and at most at once, from the lags of the ticks. Ticks that were
/// seen by one wake-up lie one period apart; the first of them tells how long the thread was away.
fn held_up(lags_us: &[u32]) -> (f64, f64) {
    let period = TICK.as_micros() as u32;
    let mut before = 0u32;
    let (mut sum, mut longest) = (0.0, 0.0f64);
    for &lag in lags_us {
        let same_wake = before.saturating_sub(period).abs_diff(lag) <= 2 && before > period;
        if !same_wake && Duration::from_micros(u64::from(lag)) > HELD_UP {
            let seconds = f64::from(lag) / 1e6;
            sum += seconds;
            longest = longest.max(seconds);
        }
        before = lag;
    }
    (sum, longest)
}

/// All threads together; `tokens` is how many were received.
pub(super) fn gather(uses: &[ThreadUse], tokens: f64, connections: usize, connect_s: f64) -> ClientHealth {
    let sum = |f: fn(&ThreadUse) -> Option<f64>| uses.iter().map(f).sum::<Option<f64>>();
    let worst = |f: fn(&ThreadUse) -> Option<f64>| {
        uses.iter().filter_map(|u| Some(f(u)? / u.wall_s.max(1e-9))).reduce(f64::max)
    };
    let mut lags: Vec<f64> = uses.iter().flat_map(|u| &u.lags_us).map(|&us| f64::from(us) / 1e3).collect();
    lags.sort_by(f64::total_cmp);
    let lag = |q: f64| if lags.is_empty() { 0.0 } else { quantile_sorted(&lags, q) };
    let cpu_s = sum(|u| u.cpu_s);
    let held: Vec<(f64, f64)> = uses.iter().map(|u| held_up(&u.lags_us)).collect();
    let most = |f: fn(&(f64, f64)) -> f64| held.iter().map(f).fold(0.0, f64::max);
    let longest = |f: fn(&ThreadUse) -> f64| uses.iter().map(f).fold(0.0, f64::max);
    let mut delays = no_delays();
    for of_thread in uses.iter().filter_map(|u| u.delays_us.as_ref()) {
        let _ = delays.add(of_thread);
    }
    let delay = |q: f64| (!delays.is_empty()).then(|| delays.value_at_quantile(q) as f64 / 1e3);
    ClientHealth {
        threads: uses.len(),
        cpu_s,
        cpu_s_per_million_tokens: cpu_s.filter(|_| tokens > 0.0).map(|s| s / tokens * 1e6),
        utilization: worst(|u| u.cpu_s),
        waiting_for_cpu: worst(|u| u.wait_s),
        read_delay: delay(0.5).map(|median| Late {
            mean: delays.mean() / 1e3,
            median,
            p90: delay(0.9).unwrap_or(0.0),
            p95: delay(0.95).unwrap_or(0.0),
            p99: delay(0.99).unwrap_or(0.0),
            samples: delays.len(),
        }),
        read_delay_max_ms: delay(1.0),
        saturates_at_tokens_per_s: cpu_s.filter(|&s| s > 0.0).map(|s| tokens / s * uses.len() as f64),
        lag: Late {
            mean: if lags.is_empty() { 0.0 } else { mean(&lags) },
            median: lag(0.5),
            p90: lag(0.9),
            p95: lag(0.95),
            p99: lag(0.99),
            samples: lags.len() as u64,
        },
        lag_max_ms: lag(1.0),
        held_up_s: most(|h| h.0),
        held_up_max_s: most(|h| h.1),
        wall_s: longest(|u| u.wall_s),
        clock_jump_s: longest(|u| u.clock_jump_s),
        peak_memory_mb: peak_memory_mb(),
        major_faults: sum(|u| u.faults),
        connections,
        connect_s,
        real_time: !uses.is_empty() && uses.iter().all(|u| u.real_time),
    }
}
