//! When tokens come, and what the engine counts meanwhile.

use crate::args::Launch;
use crate::script::{Flavour, How, Phase, Script};
use std::collections::HashSet;
use std::sync::Mutex;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Semaphore;

/// Tokens in a block of the prefix cache.
const BLOCK: usize = 16;

/// The engine behind the HTTP front end.
#[derive(Debug)]
pub(crate) struct Engine {
    pub(crate) script: Script,
    pub(crate) launch: Launch,
    /// Seconds to the first token and between tokens, after the effects of the flags.
    ttft_s: f64,
    tpot_s: f64,
    pub(crate) slots: Semaphore,
    pub(crate) started: AtomicU64,
    pub(crate) running: AtomicU64,
    pub(crate) waiting: AtomicU64,
    pub(crate) prompt_tokens: AtomicU64,
    pub(crate) generated: AtomicU64,
    pub(crate) cache_queries: AtomicU64,
    pub(crate) cache_hits: AtomicU64,
    /// Blocks of prompts seen since the last reset.
    cache: Mutex<HashSet<u64>>,
    /// JSON lines of steps that nobody has read yet (TensorRT-LLM).
    pub(crate) unread_steps: Mutex<Vec<serde_json::Value>>,
    pub(crate) dead: AtomicBool,
    pub(crate) stopping: AtomicBool,
}

impl Engine {
    pub(crate) fn new(script: Script, launch: Launch) -> Engine {
        let (mut ttft, mut tpot, mut slots) = (script.ttft_ms, script.tpot_ms, f64::from(launch.slots));
        for e in script.effects.iter().filter(|e| launch.fits(&e.when)) {
            ttft *= e.ttft;
            tpot *= e.tpot;
            slots *= e.slots;
        }
        Engine {
            ttft_s: ttft / 1e3,
            tpot_s: tpot / 1e3,
            slots: Semaphore::new((slots as usize).max(1)),
            started: AtomicU64::new(0),
            running: AtomicU64::new(0),
            waiting: AtomicU64::new(0),
            prompt_tokens: AtomicU64::new(0),
            generated: AtomicU64::new(0),
            cache_queries: AtomicU64::new(0),
            cache_hits: AtomicU64::new(0),
            cache: Mutex::default(),
            unread_steps: Mutex::default(),
            dead: AtomicBool::new(false),
            stopping: AtomicBool::new(false),
            script,
            launch,
        }
    }

    /// Time from the free slot to token `k` (from 0) of a request, the `nth` that was started.
    pub(crate) fn due(&self, prompt_tokens: u64, k: u64, nth: u64) -> Duration {
        let prefill = self.script.prefill_us * 1e-6 * prompt_tokens as f64;
        let slower = match self.trouble(nth) {
            Some(How::SlowDeath) => {
                let over = nth - self.trouble_after().unwrap_or(nth) + 1;
                2f64.powi(over.min(12) as i32)
            }
            _ => 1.0,
        };
        Duration::from_secs_f64((self.ttft_s + prefill + self.tpot_s * k as f64) * slower)
    }

    /// What goes wrong with the `nth` generating request (from 1).
    pub(crate) fn trouble(&self, nth: u64) -> Option<How> {
        self.run_failure().filter(|f| nth > f.after).map(|f| f.how)
    }

    fn trouble_after(&self) -> Option<u64> {
        self.run_failure().map(|f| f.after + 1)
    }

    pub(crate) fn run_failure(&self) -> Option<&crate::script::Failure> {
        failure(&self.script, &self.launch, Phase::Run)
    }

    /// Looks the prompt up in the prefix cache and adds it; whole blocks only, as engines do.
    pub(crate) fn look_up(&self, prompt: &[u64]) -> u64 {
        self.cache_queries.fetch_add(prompt.len() as u64, Ordering::Relaxed);
        self.prompt_tokens.fetch_add(prompt.len() as u64, Ordering::Relaxed);
        let off = self.launch.text("enable-prefix-caching") == Some("false")
            || self.launch.is_on("disable-radix-cache")
            || self.launch.text("kv-cache-config.enable-block-reuse") == Some("false");
        if off {
            return 0;
        }
        let mut hash = 0xcbf2_9ce4_8422_2325_u64;
        let mut hits = 0;
        let mut cache = self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
        for block in prompt.chunks_exact(BLOCK) {
            for token in block {
                hash = (hash ^ token).wrapping_mul(0x0100_0000_01b3).rotate_left(5);
            }
            if !cache.insert(hash) {
                hits += BLOCK as u64;
            }
        }
        // The last block is computed again so that there is a token to sample from.
        let hits = hits.min((prompt.len() as u64).saturating_sub(1) / BLOCK as u64 * BLOCK as u64);
        self.cache_hits.fetch_add(hits, Ordering::Relaxed);
        hits
    }

    pub(crate) fn empty_cache(&self) {
        self.cache.lock().unwrap_or_else(std::sync::PoisonError::into_inner).clear();
    }

    /// Tokens that the server puts into one chunk.
    pub(crate) fn stream_interval(&self) -> u64 {
        self.launch.number("stream-interval").map_or(1, |n| n as u64).max(1)
    }

    pub(crate) fn is(&self, flavour: Flavour) -> bool {
        self.script.flavour == flavour
    }
}

/// The failure of a phase that fits this launch.
pub(crate) fn failure<'a>(
    script: &'a Script,
    launch: &Launch,
    phase: Phase,
) -> Option<&'a crate::script::Failure> {
    script.failures.iter().find(|f| f.phase == phase && f.when.as_deref().is_none_or(|w| launch.fits(w)))
}
