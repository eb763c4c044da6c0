//! Stalls: a time in which no request got anything while requests waited.
//!
//! Whatever holds an engine up for seconds once (a neighbour on the GPU, a page that comes from the disk, a kernel that is
//! compiled at its first use) decides a run that would have taken not much longer, and with it a candidate. Such a run is
//! made again before it counts.

use crate::load::Row;
use crate::units::Nanos;

/// Shorter ones are told by no clause: a long prefill may take as long.
const SHORTEST_S: f64 = 1.0;
/// Share of the run below which its figures hardly move.
const SHARE: f64 = 0.05;
/// A stall is so many times as long as the third longest silence of its run: what comes more often is how the engine works.
const TIMES: f64 = 10.0;

/// Seconds of a stall that may have decided the run; None where none did.
pub(super) fn stall(rows: &[Row]) -> Option<f64> {
    let end = rows.iter().map(|r| r.ended).max()?;
    let mut silences = silences(rows);
    silences.sort_unstable_by(|a, b| b.cmp(a));
    let longest = silences.first()?.secs();
    let usual = silences.get(2).map_or(0.0, |s| s.secs());
    let decides = longest >= SHORTEST_S && longest >= SHARE * end.secs() && longest >= TIMES * usual;
    decides.then_some(longest)
}

/// What happened to a request.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
enum Happened {
    Token,
    Ended,
    Sent,
}

/// The stretches between two signs of life, each from when a request was waiting.
fn silences(rows: &[Row]) -> Vec<Nanos> {
    let mut all: Vec<(Nanos, Happened)> = Vec::new();
    for row in rows {
        all.push((row.sent, Happened::Sent));
        all.extend(row.chunks.iter().map(|t| (*t, Happened::Token)));
        all.push((row.ended, Happened::Ended));
    }
    all.sort_unstable();
    let (mut waiting, mut since) = (0u64, Nanos(0));
    let mut silences = Vec::new();
    for (at, happened) in all {
        match happened {
            Happened::Sent => {
                if waiting == 0 {
                    since = at;
                }
                waiting += 1;
            }
            Happened::Token | Happened::Ended => {
                silences.push(at.saturating_sub(since));
                since = at;
                waiting = waiting.saturating_sub(u64::from(happened == Happened::Ended));
            }
        }
    }
    silences
}

#[cfg(test)]
mod tests {
    use super::*;

    fn ms(n: u64) -> Nanos {
        Nanos(n * 1_000_000)
    }

    /// Requests one after another in `lanes` lanes, a token each 20 ms; at `stop` everything waits for `long` ms.
    fn run(lanes: u64, requests: u64, stop: u64, long: u64) -> Vec<Row> {
        let shifted = |t: u64| ms(if t >= stop { t + long } else { t });
        let rows = (0..requests).flat_map(|n| {
            (0..lanes).map(move |lane| {
                let begin = n * 400 + lane;
                let chunks: Vec<Nanos> = (1..=19).map(|k| shifted(begin + k * 20)).collect();
                Row { sent: shifted(begin), ended: *chunks.last().unwrap(), chunks, ..Row::default() }
            })
        });
        rows.collect()
    }

    #[test]
    fn one_long_silence_is_a_stall_and_the_engines_own_pace_is_none() {
        assert_eq!(stall(&run(8, 20, 3_005, 20_000)).map(f64::round), Some(20.0));
        // In the very first answer: a kernel that is compiled.
        assert!(stall(&run(8, 20, 5, 5_000)).is_some());
        assert_eq!(stall(&run(8, 20, u64::MAX, 0)), None);
        // Half a second, and three seconds of five minutes: neither decides anything.
        assert_eq!(stall(&run(8, 20, 3_005, 500)), None);
        assert_eq!(stall(&run(8, 700, 3_005, 3_000)), None);
        assert_eq!(stall(&[]), None);
    }

    #[test]
    fn pauses_without_a_waiting_request_and_long_prefills_are_none() {
        // An open loop that sends nothing for a minute.
        let row = |at: u64| Row {
            sent: ms(at),
            chunks: vec![ms(at + 3_000), ms(at + 3_020)],
            ended: ms(at + 3_020),
            ..Row::default()
        };
        assert_eq!(stall(&[row(0), row(60_000), row(120_000), row(200_000)]), None);
    }
}
