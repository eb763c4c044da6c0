//! The pseudo-tokenizer: no vocabulary file, yet counts that a client can rely on.
//!
//! Text becomes one token for each four bytes of UTF-8 (the last one may be shorter); the id is a hash of
//! those bytes, so that equal prefixes give equal ids and the prefix cache works on text too. A generated
//! token becomes four ASCII bytes, a space and a syllable, so that the text of n tokens counts n tokens
//! again. Token counts therefore differ from the real model's tokenizer: send token ids where exact
//! lengths matter.

/// Bytes of text that make one token.
pub const BYTES_PER_TOKEN: usize = 4;

const FIRST: &[u8; 16] = b"bdfghjklmnprstvz";
const VOWEL: &[u8; 5] = b"aeiou";
const LAST: &[u8; 16] = b"bdfgklmnprstvxyz";

/// A 64-bit finaliser with good avalanche (the constants of splitmix64).
pub fn mix(mut x: u64) -> u64 {
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

/// Token ids of a text under a vocabulary of `vocab` entries.
pub fn encode(text: &str, vocab: u32) -> Vec<u32> {
    text.as_bytes()
        .chunks(BYTES_PER_TOKEN)
        .map(|c| {
            let word = c.iter().fold(1u64, |w, b| (w << 8) | u64::from(*b));
            (mix(word) % u64::from(vocab.max(1))) as u32
        })
        .collect()
}

/// The four ASCII bytes shown for a generated token; none needs escaping in JSON.
pub fn decode(id: u32) -> [u8; 4] {
    let h = mix(u64::from(id));
    let pick = |set: &[u8], shift: u32| set[((h >> shift) as usize) % set.len()];
    [b' ', pick(FIRST, 0), pick(VOWEL, 16), pick(LAST, 32)]
}

/// The output token at `index` (from 1) that follows the prompt with this fingerprint.
pub fn generated(fingerprint: u64, index: u32, vocab: u32) -> u32 {
    (mix(fingerprint ^ mix(u64::from(index))) % u64::from(vocab.max(1))) as u32
}

/// A hash of the whole prompt.
pub fn fingerprint(seed: u64, tokens: &[u32]) -> u64 {
    tokens.iter().fold(mix(seed ^ 0x9e37_79b9_7f4a_7c15), |h, t| mix(h.rotate_left(5) ^ u64::from(*t)))
}

/// Chained hashes of the prompt's full blocks, for the prefix cache; `salt` separates caches.
pub fn block_hashes(tokens: &[u32], block_size: u32, salt: &str) -> Vec<u64> {
    let mut h = salt.bytes().fold(0x51_7c_c1_b7, |h, b| mix(h ^ u64::from(b)));
    tokens
        .chunks_exact(block_size.max(1) as usize)
        .map(|block| {
            h = fingerprint(h, block);
            h
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(64))]
        #[test]
        fn text_of_n_tokens_counts_n_tokens(ids in proptest::collection::vec(0u32..200_000, 0..64)) {
            let text: String = ids.iter().flat_map(|i| decode(*i)).map(char::from).collect();
            prop_assert_eq!(encode(&text, 1000).len(), ids.len());
            prop_assert!(!text.contains(['"', '\\']));
        }

        #[test]
        fn equal_prefixes_give_equal_blocks_and_different_ones_do_not(
            a in proptest::collection::vec(0u32..1000, 64..65), at in 0usize..64
        ) {
            let mut b = a.clone();
            b[at] += 1;
            let (x, y) = (block_hashes(&a, 16, ""), block_hashes(&b, 16, ""));
            for block in 0..4 {
                prop_assert_eq!(x[block] == y[block], block < at / 16);
            }
            prop_assert_ne!(block_hashes(&a, 16, "salt")[0], x[0]);
        }
    }

    #[test]
    fn ids_stay_inside_the_vocabulary() {
        assert!(encode("any text at all, ümlaut", 50).iter().all(|i| *i < 50));
        assert!((1..500).all(|i| generated(9, i, 50) < 50));
    }
}
