//! The client's watch over itself: could it have distorted what it measured?

use super::socket::{no_delays, take_read_delays};
use crate::stats::quantile_sorted;
use hdrhistogram::Histogram;
use serde_json::{Map, Value, json};
use std::time::{Duration, Instant};

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
    pub read_delay_p99_ms: Option<f64>,
    pub read_delay_max_ms: Option<f64>,
    /// Tokens a second at which these threads would have no idle time left, at the CPU time a token that they needed.
    pub saturates_at_tokens_per_s: Option<f64>,
    /// Lateness of a 20 ms timer on the client threads (the timer itself is up to 1 ms coarse), milliseconds.
    pub lag_median_ms: f64,
    pub lag_p99_ms: f64,
    pub lag_max_ms: f64,
    /// Largest resident memory of this process so far, megabytes.
    pub peak_memory_mb: Option<f64>,
    /// Connections opened before the clock started, and how long that took.
    pub connections: usize,
    pub connect_s: f64,
    /// All client threads ran at real-time priority.
    pub real_time: bool,
}

impl ClientHealth {
    /// As it stands in the result under `client`.
    pub fn to_json(&self) -> Value {
        let mut map = Map::new();
        let mut put = |key: &str, value: Option<f64>| {
            if let Some(v) = value.filter(|v| v.is_finite()) {
                map.insert(key.to_owned(), json!((v * 1e4).round() / 1e4));
            }
        };
        put("threads", Some(self.threads as f64));
        put("cpu_s", self.cpu_s);
        put("cpu_s_per_million_tokens", self.cpu_s_per_million_tokens);
        put("utilization", self.utilization);
        put("waiting_for_cpu", self.waiting_for_cpu);
        put("read_delay_p99_ms", self.read_delay_p99_ms);
        put("read_delay_max_ms", self.read_delay_max_ms);
        put("saturates_at_tokens_per_s", self.saturates_at_tokens_per_s.map(f64::round));
        put("lag_median_ms", Some(self.lag_median_ms));
        put("lag_p99_ms", Some(self.lag_p99_ms));
        put("lag_max_ms", Some(self.lag_max_ms));
        put("peak_memory_mb", self.peak_memory_mb);
        put("connections", Some(self.connections as f64));
        put("connect_s", Some(self.connect_s));
        put("real_time", Some(f64::from(u8::from(self.real_time))));
        Value::Object(map)
    }
}

/// The watch of one client thread.
#[derive(Debug)]
pub(super) struct ThreadWatch {
    began: Instant,
    cpu: Option<(f64, f64)>,
}

/// What one thread used.
#[derive(Debug, Clone, Default)]
pub(super) struct ThreadUse {
    wall_s: f64,
    cpu_s: Option<f64>,
    wait_s: Option<f64>,
    pub(super) lags_us: Vec<u32>,
    delays_us: Option<Histogram<u32>>,
    real_time: bool,
}

impl ThreadWatch {
    /// Starts watching the thread that calls.
    pub(super) fn start() -> ThreadWatch {
        drop(take_read_delays());
        ThreadWatch { began: Instant::now(), cpu: thread_times() }
    }
    pub(super) fn stop(self, lags_us: Vec<u32>, real_time: bool) -> ThreadUse {
        let spent = self.cpu.zip(thread_times());
        ThreadUse {
            wall_s: self.began.elapsed().as_secs_f64(),
            cpu_s: spent.map(|(a, b)| b.0 - a.0),
            wait_s: spent.map(|(a, b)| b.1 - a.1),
            lags_us,
            delays_us: Some(take_read_delays()),
            real_time,
        }
    }
}

/// Seconds that this thread was on a CPU, and seconds that it waited for one.
fn thread_times() -> Option<(f64, f64)> {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").ok()?;
    let mut fields = text.split_whitespace().map(|f| f.parse::<f64>().map(|ns| ns / 1e9));
    Some((fields.next()?.ok()?, fields.next()?.ok()?))
}

/// `VmHWM` of this process.
fn peak_memory_mb() -> Option<f64> {
    let text = std::fs::read_to_string("/proc/self/status").ok()?;
    let line = text.lines().find(|l| l.starts_with("VmHWM:"))?;
    line.split_whitespace().nth(1)?.parse::<f64>().ok().map(|kb| kb / 1024.0)
}

/// Rarely enough that an idle client is not woken for its own watch.
const PERIOD: Duration = Duration::from_millis(20);

/// Measures the lateness of a timer on this thread until `stop` resolves, in microseconds.
pub(super) async fn watch_lag(stop: impl Future<Output = ()>, lags_us: &mut Vec<u32>) {
    tokio::pin!(stop);
    loop {
        let due = Instant::now() + PERIOD;
        tokio::select! {
            () = &mut stop => return,
            () = tokio::time::sleep_until(due.into()) => {
                lags_us.push(Instant::now().saturating_duration_since(due).as_micros().min(u128::from(u32::MAX)) as u32);
            }
        }
    }
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
        read_delay_p99_ms: delay(0.99),
        read_delay_max_ms: delay(1.0),
        saturates_at_tokens_per_s: cpu_s.filter(|&s| s > 0.0).map(|s| tokens / s * uses.len() as f64),
        lag_median_ms: lag(0.5),
        lag_p99_ms: lag(0.99),
        lag_max_ms: lag(1.0),
        peak_memory_mb: peak_memory_mb(),
        connections,
        connect_s,
        real_time: !uses.is_empty() && uses.iter().all(|u| u.real_time),
    }
}

/// Why the client itself may have distorted the latencies, if it may have.
///
/// The lag of its event loop bounds what it adds to a time stamp. It is held against what was measured: the run
/// is marked when the 99th percentile of the lag exceeds 5 ms and also a tenth of the median TTFT or of the median gap
/// between tokens, or when a thread had no idle time left.
pub(super) fn starved(health: &ClientHealth, ttft_ms: Option<f64>, itl_ms: Option<f64>) -> Vec<String> {
    let mut reasons = Vec::new();
    let lag = health.lag_p99_ms;
    for (what, value) in [("time to first token", ttft_ms), ("gap between tokens", itl_ms)] {
        if let Some(value) = value.filter(|v| lag > 5.0 && lag > 0.1 * v) {
            reasons.push(format!(
                "the client's event loop was {lag:.1} ms late (p99), too much for a median {what} of {value:.1} ms"
            ));
        }
    }
    if let Some(share) = health.utilization.filter(|&u| u > 0.95) {
        reasons.push(format!(
            "a client thread was busy {:.0} % of the time: it is the bottleneck",
            share * 100.0
        ));
    }
    reasons
}
