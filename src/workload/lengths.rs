//! Lengths of random requests, with `vllm bench serve`'s meaning of range ratio and prefix.

use super::WorkloadSpec;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// `n` (input, output) lengths: each uniform over the integers of `[floor(L(1-r)), ceil(L(1+r))]`, at least
/// 1; the shared prefix comes on top of the input length. `r = 0` gives fixed lengths.
pub(super) fn random(spec: &WorkloadSpec, n: usize, rng: &mut ChaCha8Rng) -> Vec<(u32, u32)> {
    let ratio = spec.random_range_ratio.unwrap_or(0.0);
    let prefix = spec.random_prefix_len.unwrap_or(0);
    let mut draw = |len: u32| {
        let len = f64::from(len);
        let low = ((len * (1.0 - ratio)).floor() as u32).max(1);
        let high = ((len * (1.0 + ratio)).ceil() as u32).max(low);
        rng.random_range(low..=high)
    };
    let (input, output) = (spec.input_len.unwrap_or(1), spec.output_len.unwrap_or(1));
    (0..n).map(|_| (draw(input).saturating_add(prefix), draw(output))).collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{generate::rng, parse};

    #[test]
    fn range_is_inclusive_on_both_sides_and_prefix_is_added() {
        let spec = parse("random:10/4,range=0.25,prefix=100").unwrap();
        let lengths = random(&spec, 4000, &mut rng(1, 0));
        let inputs: std::collections::BTreeSet<u32> = lengths.iter().map(|l| l.0).collect();
        let outputs: std::collections::BTreeSet<u32> = lengths.iter().map(|l| l.1).collect();
        // floor(7.5) = 7, ceil(12.5) = 13; 3..=5.
        assert_eq!(inputs, (107..=113).collect());
        assert_eq!(outputs, (3..=5).collect());
        let fixed = random(&parse("random:10/4").unwrap(), 50, &mut rng(1, 0));
        assert!(fixed.iter().all(|&l| l == (10, 4)));
    }
}
