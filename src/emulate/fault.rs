//! Faults on request (`--fault`), so that a driver of engines can be tested against its failures.

use std::fmt;
use std::str::FromStr;

/// What shall go wrong.
#[derive(Debug, Clone, Copy, PartialEq, Default)]
pub enum Fault {
    #[default]
    None,
    /// Never becomes ready.
    StartHang,
    /// Ends with exit code 1 before it is ready.
    StartExit,
    /// Runs out of GPU memory while it starts.
    StartOom,
    /// The engine core dies when the N-th request arrives.
    DieAfter(u64),
    /// Runs out of GPU memory when the N-th request arrives.
    OomAfter(u64),
    /// No token comes any more once the N-th request has arrived; health still says well.
    StallAfter(u64),
    /// Completions are answered with something that is neither JSON nor an event stream.
    Garbage,
    /// This share of the completions, evenly spread, is answered with status 500.
    Http500Share(f64),
    /// This share of the streams, evenly spread, breaks off after its first token.
    TruncateShare(f64),
    /// SIGTERM and SIGINT are ignored once it is ready.
    IgnoreTerm,
}

/// Spellings of `--fault`, for the help and for messages.
pub const SPELLINGS: &str = "start-hang, start-exit, start-oom, die-after=N, oom-after=N, stall-after=N, garbage, \
                             http-500-share=X, truncate-share=X, ignore-term";

impl Fault {
    /// Why the engine dies now that `admitted` requests have come, if it does.
    pub fn death(self, admitted: u64) -> Option<String> {
        match self {
            Fault::DieAfter(n) if admitted >= n => Some(
                "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause."
                    .to_owned(),
            ),
            Fault::OomAfter(n) if admitted >= n => Some(
                "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 2.00 GiB. (emulated)".to_owned(),
            ),
            _ => None,
        }
    }

    pub fn stalls(self, admitted: u64) -> bool {
        matches!(self, Fault::StallAfter(n) if admitted >= n)
    }

    /// Whether the `index`-th completion (from 0) is hit by a share of `share`: evenly spread.
    pub fn hits(share: f64, index: u64) -> bool {
        ((index + 1) as f64 * share).floor() > (index as f64 * share).floor()
    }
}

impl FromStr for Fault {
    type Err = String;

    fn from_str(s: &str) -> Result<Fault, String> {
        let wrong = || format!("unknown fault `{s}` (one of {SPELLINGS})");
        let (name, value) = s.split_once('=').map_or((s, None), |(n, v)| (n, Some(v)));
        let count = || value.and_then(|v| v.parse::<u64>().ok()).filter(|n| *n > 0).ok_or_else(wrong);
        let share = || {
            value.and_then(|v| v.parse::<f64>().ok()).filter(|x| (0.0..=1.0).contains(x)).ok_or_else(wrong)
        };
        match (name, value.is_some()) {
            ("start-hang", false) => Ok(Fault::StartHang),
            ("start-exit", false) => Ok(Fault::StartExit),
            ("start-oom", false) => Ok(Fault::StartOom),
            ("garbage", false) => Ok(Fault::Garbage),
            ("ignore-term", false) => Ok(Fault::IgnoreTerm),
            ("die-after", _) => count().map(Fault::DieAfter),
            ("oom-after", _) => count().map(Fault::OomAfter),
            ("stall-after", _) => count().map(Fault::StallAfter),
            ("http-500-share", _) => share().map(Fault::Http500Share),
            ("truncate-share", _) => share().map(Fault::TruncateShare),
            _ => Err(wrong()),
        }
    }
}

impl fmt::Display for Fault {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Fault::None => f.write_str("none"),
            Fault::StartHang => f.write_str("start-hang"),
            Fault::StartExit => f.write_str("start-exit"),
            Fault::StartOom => f.write_str("start-oom"),
            Fault::DieAfter(n) => write!(f, "die-after={n}"),
            Fault::OomAfter(n) => write!(f, "oom-after={n}"),
            Fault::StallAfter(n) => write!(f, "stall-after={n}"),
            Fault::Garbage => f.write_str("garbage"),
            Fault::Http500Share(x) => write!(f, "http-500-share={x}"),
            Fault::TruncateShare(x) => write!(f, "truncate-share={x}"),
            Fault::IgnoreTerm => f.write_str("ignore-term"),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_spelling_reads_back_and_nonsense_is_refused() {
        for s in [
            "start-hang",
            "start-exit",
            "start-oom",
            "die-after=3",
            "oom-after=1",
            "stall-after=2",
            "garbage",
            "http-500-share=0.25",
            "truncate-share=1",
            "ignore-term",
        ] {
            assert_eq!(s.parse::<Fault>().unwrap().to_string(), s);
        }
        for s in ["", "die-after", "die-after=0", "http-500-share=2", "garbage=1", "explode"] {
            assert!(s.parse::<Fault>().unwrap_err().contains("one of start-hang"), "{s}");
        }
    }

    #[test]
    fn a_share_is_spread_evenly() {
        let hit: Vec<u64> = (0..12).filter(|i| Fault::hits(0.25, *i)).collect();
        assert_eq!(hit, [3, 7, 11]);
        assert!((0..5).all(|i| Fault::hits(1.0, i)) && !(0..5).any(|i| Fault::hits(0.0, i)));
    }
}
