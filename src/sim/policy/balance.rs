//! TensorRT-LLM's balance of prompts over ranks of data-parallel attention.

use crate::engine::{AttentionBalance, EngineConfig};

/// Whether an iteration leaves its prompts waiting (`_balance_adp_requests` of `py_executor.py`, 1.0 to 1.3): as long as some rank
/// has none, for `timeout_iters` iterations at most, which are counted whether a prompt waits or not; once all have one, for
/// `batching_wait_iters` more. Nothing waits while some rank has nothing to decode.
#[derive(Debug, Clone)]
pub(super) struct Balance {
    ranks: u32,
    timeout: u32,
    batching: u32,
    /// Waiting prompts with which every rank is taken to have one.
    enough: usize,
    /// Iterations since prompts were last let through, and since every rank has one.
    alone: u32,
    gathered: u32,
}

impl Balance {
    pub(super) fn of(config: &EngineConfig) -> Option<Balance> {
        let AttentionBalance::On { timeout_iters, batching_wait_iters } = config.attention_balance else {
            return None;
        };
        let ranks = config.attention_parallel;
        (ranks > 1).then(|| Balance {
            ranks,
            timeout: timeout_iters.max(1),
            batching: batching_wait_iters,
            enough: enough(ranks),
            alone: 0,
            gathered: 0,
        })
    }

    /// Whether this iteration's prompts wait; called once an iteration.
    pub(super) fn holds(&mut self, waiting: usize, decoding: u32) -> bool {
        let busy = decoding >= self.ranks;
        if waiting >= self.enough {
            self.alone = 0;
            if busy && self.gathered < self.batching {
                self.gathered += 1;
                return true;
            }
            self.gathered = 0;
            return false;
        }
        self.alone += 1;
        if self.alone >= self.timeout || !busy {
            self.alone = 0;
            return false;
        }
        true
    }

    /// Iterations in which nothing waited.
    pub(super) fn pass(&mut self, iterations: u32) {
        self.alone = (self.alone + iterations) % self.timeout;
    }
}

/// A request goes to the rank with the fewest, which is where one has just ended: ranks get theirs in random order, and so many
/// have come in the mean until the last one has its first, `ranks × (1 + 1/2 + … + 1/ranks)`.
fn enough(ranks: u32) -> usize {
    let harmonic: f64 = (1..=ranks).map(|n| 1.0 / f64::from(n)).sum();
    (f64::from(ranks) * harmonic).round() as usize
}

#[cfg(test)]
mod tests {
    use super::*;

    fn balance() -> Balance {
        let on = AttentionBalance::On { timeout_iters: 5, batching_wait_iters: 2 };
        let config = EngineConfig { attention_parallel: 4, attention_balance: on, ..EngineConfig::default() };
        Balance::of(&config).unwrap()
    }

    #[test]
    fn a_single_prompt_waits_for_the_timeout_and_many_for_the_batch() {
        let mut b = balance();
        assert_eq!((0..10).map(|_| b.holds(1, 40)).filter(|held| !held).count(), 2);
        // Eight: 4 x (1 + 1/2 + 1/3 + 1/4) = 8.3.
        let mut b = balance();
        assert_eq!([b.holds(8, 40), b.holds(8, 40), b.holds(8, 40)], [true, true, false]);
        // The clock runs while nothing waits.
        b.pass(3);
        assert_eq!([b.holds(1, 40), b.holds(1, 40)], [true, false]);
    }

    #[test]
    fn nothing_waits_while_a_rank_has_nothing_to_decode() {
        assert!(!balance().holds(1, 3));
        assert!(Balance::of(&EngineConfig { attention_parallel: 4, ..EngineConfig::default() }).is_none());
    }
}
