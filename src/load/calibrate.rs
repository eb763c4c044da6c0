//! The client measures itself: its error at a planned load, against a server whose times are known.

use super::paced::{Pace, PacedServer};
use super::{RunOptions, Target, run};
use crate::error::Result;
use crate::scenario::Key;
use crate::scenario::client_report::ErrorFloor;
use crate::workload::{WorkloadSpec, generate};
use std::time::Duration;

const TTFT_MS: f64 = 100.0;
const ITL_MS: f64 = 10.0;
const TOKENS: u32 = 64;

/// Two waves of `in_flight` requests on a known-timing server of this process: about two seconds.
pub fn calibrate(in_flight: u32, options: &RunOptions) -> Result<ErrorFloor> {
    let in_flight = in_flight.max(1);
    let pace = Pace {
        ttft: Duration::from_secs_f64(TTFT_MS / 1e3),
        itl: Duration::from_secs_f64(ITL_MS / 1e3),
        ..Pace::default()
    };
    let server = PacedServer::start(0, pace, 1)?;
    let spec = WorkloadSpec {
        max_concurrency: Some(in_flight),
        ..WorkloadSpec::random(32, TOKENS, in_flight.saturating_mul(2), 0)
    };
    let options = RunOptions {
        max_concurrency: Some(in_flight),
        warmups: 0,
        run_timeout: Some(Duration::from_secs(60)),
        progress: std::sync::Arc::default(),
        live: false,
        ..options.clone()
    };
    let result = run(&Target::new(server.base_url(), "paced"), &generate(&spec, 512)?, &options)?;
    let sent = server.stats();
    // To a microsecond: what is finer is no measurement.
    let r = |v: f64| (v * 1e3).round() / 1e3;
    let off = |key, truth: f64| r(result.metrics.get(key).unwrap_or(f64::NAN) - truth);
    Ok(ErrorFloor {
        in_flight,
        mean_ttft_ms: off(Key::MeanTtftMs, TTFT_MS),
        p99_ttft_ms: off(Key::P99TtftMs, TTFT_MS),
        mean_itl_ms: off(Key::MeanItlMs, ITL_MS),
        p99_itl_ms: off(Key::P99ItlMs, ITL_MS),
        server_late_ms: r(sent.late.mean_ms),
        own_mean_ttft_ms: off(Key::MeanTtftMs, sent.ttft.mean_ms),
        own_p99_itl_ms: off(Key::P99ItlMs, sent.gap.p99_ms),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_floor_is_small_and_said_in_one_line() {
        let floor = calibrate(4, &RunOptions::default()).unwrap();
        // Never below the truth; how far above depends on what else the machine does.
        assert!(floor.mean_ttft_ms > 0.0 && floor.p99_ttft_ms >= floor.mean_ttft_ms, "{floor:?}");
        assert!(floor.summary().starts_with("error floor at 4 in flight: TTFT +"), "{}", floor.summary());
    }
}
