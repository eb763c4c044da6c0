//! Requests before their prompts are made, and the random streams that they are drawn from.

use super::{Dataset, Prompt, WorkloadSpec, chat, custom, lengths, sharegpt, trace};
use crate::error::Result;
use crate::units::Nanos;
use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;

// Numbers of the independent streams of a seed.
pub(super) const LENGTHS: u64 = 0;
pub(super) const ARRIVALS: u64 = 1;
pub(super) const PROMPTS: u64 = 2;
pub(super) const SHARED_PREFIX: u64 = 3;
pub(super) const PREFIX_CHOICE: u64 = 4;
pub(super) const HASHED_BLOCKS: u64 = 6;
/// Spreads the small numbers of a trace's blocks over all seeds (the golden ratio).
pub(super) const HASHED_STRIDE: u64 = 0x9e37_79b9_7f4a_7c15;
pub(super) const MIX: u64 = 5;

/// The `stream`-th independent generator of a seed.
pub(super) fn rng(seed: u64, stream: u64) -> ChaCha8Rng {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    rng.set_stream(stream);
    rng
}

/// One request before its prompt is made.
pub(super) struct Draft {
    /// None where the arrival is drawn.
    pub(super) arrival: Option<Nanos>,
    pub(super) input: u32,
    pub(super) output: u32,
    /// None where it is made of random ids.
    pub(super) prompt: Option<Prompt>,
    /// Which shared prefix it begins with.
    pub(super) prefix: Option<u32>,
    /// Hashes of its blocks in a trace: equal ones are equal tokens.
    pub(super) hash_ids: Vec<u64>,
    /// Session and turn of a chat, and the think time before the turn.
    pub(super) turn: Option<(u32, u32, Nanos)>,
    /// Which part of a mixture it belongs to.
    pub(super) part: usize,
}

impl Draft {
    fn lengths((input, output): (u32, u32)) -> Draft {
        Draft {
            arrival: None,
            input,
            output,
            prompt: None,
            prefix: None,
            hash_ids: Vec::new(),
            turn: None,
            part: 0,
        }
    }

    /// Whether it waits for the draft before it.
    pub(super) fn follows(&self) -> bool {
        self.turn.is_some_and(|t| t.1 > 0)
    }
}

/// `n` requests (chat: sessions) of a workload that is no mixture, in their own order.
pub(super) fn contents(spec: &WorkloadSpec, n: usize) -> Result<Vec<Draft>> {
    let seed = spec.seed.unwrap_or(0);
    let lengths = &mut rng(seed, LENGTHS);
    Ok(match (spec.dataset, spec.path.as_deref()) {
        (Dataset::Random, _) => {
            let prefixes = lengths::prefixes(spec, n, &mut rng(seed, PREFIX_CHOICE));
            let prefix_len = spec.random_prefix_len.unwrap_or(0);
            lengths::random(spec, n, lengths)
                .into_iter()
                .zip(prefixes)
                .map(|((input, output), prefix)| {
                    // The shared prefix comes on top of the request's own length.
                    let whole = input.saturating_add(if prefix.is_some() { prefix_len } else { 0 });
                    Draft { prefix, ..Draft::lengths((whole, output)) }
                })
                .collect()
        }
        (Dataset::Sharegpt, None) => {
            sharegpt::table(spec, n, lengths).into_iter().map(Draft::lengths).collect()
        }
        (Dataset::Sharegpt, Some(path)) => sharegpt::read(spec, path, n, lengths)?
            .into_iter()
            .map(|(text, input, output)| Draft {
                prompt: Some(Prompt::Text(text)),
                ..Draft::lengths((input, output))
            })
            .collect(),
        (Dataset::Trace, path) => trace::read(spec, path.unwrap_or_default())?
            .into_iter()
            .map(|e| Draft {
                arrival: Some(e.arrival),
                hash_ids: e.hash_ids,
                ..Draft::lengths((e.input, e.output))
            })
            .collect(),
        (Dataset::Custom, path) => custom::read(spec, path.unwrap_or_default())?
            .into_iter()
            .map(|e| Draft {
                arrival: e.arrival,
                prompt: Some(e.prompt),
                ..Draft::lengths((e.input, e.output))
            })
            .collect(),
        (Dataset::Chat, _) => chat::turns(spec, n, lengths)
            .into_iter()
            .map(|t| Draft {
                turn: Some((t.session, t.turn, t.think)),
                ..Draft::lengths((t.input, t.output))
            })
            .collect(),
        // Refused by the check: a mixture holds no mixture.
        (Dataset::Mix, _) => Vec::new(),
    })
}
