//! The KV cache of a launch as the engine would tell of it, so that a user can hold the estimate beside the log.

use super::{Coefficients, Setup};
use crate::launch::EngineKind;
use crate::units::thousands;
use std::fmt;

/// Room for KV of one replica.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct KvRoom {
    pub engine: EngineKind,
    /// Tokens that the engine's log would name.
    pub tokens: u64,
    /// Bytes on each device.
    pub gib: f64,
    pub max_model_len: u32,
    /// Requests of `max_model_len` tokens that fit at once.
    pub max_concurrency: f64,
    /// Ranks of data-parallel attention, each of which has such a pool of its own.
    pub ranks: u32,
}

impl KvRoom {
    pub fn of(setup: &Setup, c: &Coefficients) -> KvRoom {
        let (m, config) = (&setup.memory, &setup.config);
        let blocks = setup.kv_blocks(c) as f64;
        let tokens = setup.kv_pool_tokens(c);
        let length = config.max_model_len.max(1);
        // vLLM divides its blocks by those that one request of the whole length takes over all groups of layers.
        let max_concurrency = match m.least_blocks {
            0 => tokens as f64 / f64::from(length),
            n => blocks / n as f64,
        };
        let gib = blocks * m.block_bytes / f64::from(1 << 30);
        KvRoom {
            engine: config.engine,
            tokens,
            gib,
            max_model_len: length,
            max_concurrency,
            ranks: config.attention_parallel.max(1),
        }
    }
}

impl fmt::Display for KvRoom {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let KvRoom { gib, tokens, max_model_len, max_concurrency, .. } = *self;
        let (tokens, length) = (thousands(tokens), thousands(u64::from(max_model_len)));
        write!(
            f,
            "KV cache: {gib:.2} GiB on each GPU, {tokens} tokens, {max_concurrency:.2} requests of {length}"
        )?;
        if self.ranks > 1 {
            write!(f, ", on each of {} attention ranks", self.ranks)?;
        }
        match self.engine {
            EngineKind::Vllm => write!(
                f,
                " (its log: \"GPU KV cache size: {tokens} tokens\", \"Maximum concurrency for {length} tokens per request: \
                 {max_concurrency:.2}x\")"
            ),
            EngineKind::Sglang => write!(f, " (its log: \"max_total_num_tokens={}\")", self.tokens),
            EngineKind::Trtllm => {
                write!(
                    f,
                    " (its log: \"Allocated {gib:.2} GiB for max tokens in paged KV cache ({})\")",
                    self.tokens
                )
            }
            EngineKind::Emulated => Ok(()),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_words_are_those_of_the_engine() {
        let room = KvRoom {
            engine: EngineKind::Vllm,
            tokens: 1_391_552,
            gib: 106.17,
            max_model_len: 8192,
            max_concurrency: 169.868,
            ranks: 1,
        };
        let said = room.to_string();
        assert!(said.contains("GPU KV cache size: 1,391,552 tokens"), "{said}");
        assert!(said.contains("Maximum concurrency for 8,192 tokens per request: 169.87x"), "{said}");
        let said = KvRoom { engine: EngineKind::Sglang, ..room }.to_string();
        assert!(said.contains("max_total_num_tokens=1391552"), "{said}");
        let said = KvRoom { engine: EngineKind::Trtllm, ..room }.to_string();
        assert!(said.contains("for max tokens in paged KV cache (1391552)"), "{said}");
    }
}
