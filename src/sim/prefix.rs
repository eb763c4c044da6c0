//! Block hashes of prompts that are known by what they share, as the engines chain them over full blocks.

use crate::workload::Span;

/// Chained hashes of the full blocks of a prompt of `tokens` tokens, as far as its spans go.
///
/// The hash of a block is that of the block before and of the pieces of content in it; so two prompts have a hash
/// in common exactly where they are equal from their beginning to the end of that block. Of the blocks that lie wholly in
/// one piece of content the first is scattered to the beginning of a page of [`super::names`], and the others count on from it.
pub fn block_hashes(spans: &[Span], tokens: u32, block_size: u32) -> Vec<u64> {
    let block_size = block_size.max(1);
    let known: u32 = spans.iter().map(|s| s.tokens).fold(0, u32::saturating_add).min(tokens);
    let mut hashes = Vec::with_capacity((known / block_size) as usize);
    let mut chain = 0x51_7c_c1_b7;
    let (mut span, mut offset) = (0, 0);
    let mut whole_of = None;
    for _ in 0..known / block_size {
        let mut missing = block_size;
        let whole = spans.get(span).is_some_and(|s| s.tokens - offset >= block_size);
        let counts_on = whole && whole_of == Some(span);
        whole_of = whole.then_some(span);
        let before = chain;
        while missing > 0 {
            let Some(s) = spans.get(span) else { return hashes };
            let piece = missing.min(s.tokens - offset);
            chain = mix(chain ^ mix(s.content ^ u64::from(offset).rotate_left(32)) ^ u64::from(piece));
            missing -= piece;
            offset += piece;
            if offset == s.tokens {
                (span, offset) = (span + 1, 0);
            }
        }
        if counts_on {
            chain = before.wrapping_add(1);
        } else if whole {
            chain &= !PAGE_BITS;
        }
        hashes.push(chain);
    }
    hashes
}

/// The bits of a hash within its page; a run of blocks longer than a page counts on into the next.
const PAGE_BITS: u64 = 0x1f;

/// A bijection of 64 bits that scatters (the finalizer of splitmix64).
fn mix(mut x: u64) -> u64 {
    x = x.wrapping_add(0x9e37_79b9_7f4a_7c15);
    x = (x ^ (x >> 30)).wrapping_mul(0xbf58_476d_1ce4_e5b9);
    x = (x ^ (x >> 27)).wrapping_mul(0x94d0_49bb_1331_11eb);
    x ^ (x >> 31)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn span(content: u64, tokens: u32) -> Span {
        Span { content, tokens }
    }

    #[test]
    fn blocks_are_equal_as_far_as_prompts_are() {
        let hashes = |spans: &[Span], tokens| block_hashes(spans, tokens, 16);
        let a = hashes(&[span(1, 40), span(2, 60)], 100);
        let b = hashes(&[span(1, 40), span(3, 60)], 100);
        assert_eq!(a.len(), 6);
        assert_eq!((a[..2] == b[..2], a[2] == b[2]), (true, false));
        // A later turn of the same session, and a prompt whose end is its own.
        assert_eq!(hashes(&[span(9, 500)], 500)[..6], hashes(&[span(9, 100)], 100)[..]);
        assert_eq!(hashes(&[span(1, 40)], 100)[..], a[..2]);
        // The chain tells the same content after another beginning apart.
        assert!(hashes(&[span(5, 16), span(1, 32)], 48)[1..] != hashes(&[span(6, 16), span(1, 32)], 48)[1..]);
        assert!(hashes(&[span(1, 40)], 10).is_empty());
    }
}
