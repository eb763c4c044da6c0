//! Synthetic prompts as token ids.

use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// The range of ordinary token ids of a vocabulary: a margin at either end keeps clear of the special tokens
/// (begin, end, padding; image and tool markers), which tokenizers place first or last.
fn ordinary(vocab: u32) -> (u32, u32) {
    let vocab = vocab.max(1);
    let low = (vocab / 16).min(1024);
    let high = vocab - vocab / 8;
    if high > low { (low, high) } else { (0, vocab) }
}

/// `n` random ids valid for this vocabulary. Independent draws, so that no two prompts share a whole block of
/// the prefix cache by accident: the chance at 16 tokens of a vocabulary of only 100 ids is below 1e-28 a pair.
pub(super) fn token_ids(n: u32, vocab: u32, rng: &mut ChaCha8Rng) -> Vec<u32> {
    let (low, high) = ordinary(vocab);
    (0..n).map(|_| rng.random_range(low..high)).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::draft::rng;

    #[test]
    fn ids_are_inside_any_vocabulary() {
        for vocab in [1, 2, 3, 7, 100, 512, 32000, 201_088] {
            let ids = token_ids(500, vocab, &mut rng(5, 2));
            assert_eq!(ids.len(), 500);
            assert!(ids.iter().all(|&t| t < vocab), "{vocab}");
        }
    }
}
