//! How late the event loop of a client thread is.
//!
//! A timer of the kernel's own (timerfd) wakes the loop just as arriving bytes do, exact to microseconds where the
//! runtime's timers are exact to two milliseconds. What passes between its expiry and its being seen is what any byte
//! that arrived then had to wait before its time stamp was taken. A long stall counts with every tick that fell into
//! it, so that the quantiles are shares of time.

use super::health::TICK as PERIOD;
use super::live::Live;
use rustix::time::{
    Itimerspec, TimerfdClockId, TimerfdFlags, TimerfdTimerFlags, Timespec, timerfd_create, timerfd_settime,
};
use std::os::fd::OwnedFd;
use std::time::{Duration, Instant};
use tokio::io::Interest;
use tokio::io::unix::AsyncFd;

/// Measures until `stop` resolves; one entry a tick, in microseconds. Whoever watches live is told too.
pub(super) async fn watch_lag(stop: impl Future<Output = ()>, lags_us: &mut Vec<u32>, live: Option<&Live>) {
    tokio::pin!(stop);
    let Some((timer, start)) = timer() else {
        stop.await;
        return;
    };
    let mut ticks: u64 = 0;
    loop {
        let expired = tokio::select! {
            () = &mut stop => return,
            expired = expiries(&timer) => expired,
        };
        let seen = start.elapsed();
        let before = lags_us.len();
        for _ in 0..expired {
            ticks += 1;
            let due = Duration::from_nanos((PERIOD.as_nanos() as u64).saturating_mul(ticks));
            lags_us.push(seen.saturating_sub(due).as_micros().min(u128::from(u32::MAX)) as u32);
        }
        if let Some(live) = live {
            live.lagged(&lags_us[before..]);
        }
        if expired == 0 {
            // A timer that cannot be read would spin.
            stop.await;
            return;
        }
    }
}

/// A running timer and the moment from which it counts.
fn timer() -> Option<(AsyncFd<OwnedFd>, Instant)> {
    let flags = TimerfdFlags::NONBLOCK | TimerfdFlags::CLOEXEC;
    let fd = timerfd_create(TimerfdClockId::Monotonic, flags).ok()?;
    let period = Timespec { tv_sec: 0, tv_nsec: i64::from(PERIOD.subsec_nanos()) };
    let start = Instant::now();
    let both = Itimerspec { it_interval: period, it_value: period };
    timerfd_settime(&fd, TimerfdTimerFlags::empty(), &both).ok()?;
    #[expect(
        deprecated,
        reason = "its successor is unsafe; a descriptor that is owned meets that one's terms"
    )]
    let fd = AsyncFd::with_interest(fd, Interest::READABLE).ok()?;
    Some((fd, start))
}

/// Expiries since the last call; 0 when the timer is broken.
async fn expiries(timer: &AsyncFd<OwnedFd>) -> u64 {
    loop {
        let Ok(mut ready) = timer.readable().await else { return 0 };
        let mut count = [0; 8];
        let read = ready.try_io(|fd| Ok(rustix::io::read(fd.get_ref(), &mut count)?));
        match read {
            Ok(Ok(8)) => return u64::from_ne_bytes(count),
            Ok(_) => return 0,
            // Not ready after all.
            Err(_) => {}
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_blocked_loop_is_seen_with_every_tick_it_missed() {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        let mut lags = Vec::new();
        let work = async {
            tokio::time::sleep(Duration::from_millis(30)).await;
            // The loop cannot run for this long.
            std::thread::sleep(Duration::from_millis(200));
            tokio::time::sleep(Duration::from_millis(30)).await;
        };
        runtime.block_on(watch_lag(work, &mut lags, None));
        // Ten ticks fell into the stall, the first of them 180 ms before its end or more.
        assert!(lags.len() >= 12, "{} ticks", lags.len());
        let late = lags.iter().filter(|&&us| us > 4000).count();
        assert!(late >= 10, "{late} late ticks: {lags:?}");
        assert!(lags.iter().any(|&us| us > 180_000), "{lags:?}");
    }
}
