//! Lengths of random requests, with `vllm bench serve`'s meaning of range ratio and prefix.

use super::WorkloadSpec;
use rand::RngExt;
use rand_chacha::ChaCha8Rng;

/// `n` (input, output) lengths, without the shared prefix: each uniform over the integers of
/// `[floor(L(1-r)), ceil(L(1+r))]`, at least 1 (`r = 0` gives fixed lengths), or of a range that is given.
pub(super) fn random(spec: &WorkloadSpec, n: usize, rng: &mut ChaCha8Rng) -> Vec<(u32, u32)> {
    let ratio = spec.random_range_ratio.unwrap_or(0.0);
    let around = |len: Option<u32>| {
        let len = f64::from(len.unwrap_or(1));
        let low = ((len * (1.0 - ratio)).floor() as u32).max(1);
        (low, ((len * (1.0 + ratio)).ceil() as u32).max(low))
    };
    let input = spec.input_range.unwrap_or_else(|| around(spec.input_len));
    let output = spec.output_range.unwrap_or_else(|| around(spec.output_len));
    let mut draw = |(low, high): (u32, u32)| rng.random_range(low.max(1)..=high.max(low).max(1));
    (0..n).map(|_| (draw(input), draw(output))).collect()
}

/// Which shared prefix each of `n` requests begins with; None for those without.
pub(super) fn prefixes(spec: &WorkloadSpec, n: usize, rng: &mut ChaCha8Rng) -> Vec<Option<u32>> {
    if spec.random_prefix_len.unwrap_or(0) == 0 {
        return vec![None; n];
    }
    let share = spec.prefix_share.unwrap_or(1.0);
    let groups = spec.prefix_groups.unwrap_or(1).max(1);
    (0..n)
        .map(|_| {
            let (with, group) = (rng.random::<f64>() < share, rng.random_range(0..groups));
            with.then_some(group)
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{draft::rng, parse};

    #[test]
    fn ranges_are_inclusive_on_both_sides() {
        let spec = parse("random:10/4,range=0.25").unwrap();
        let lengths = random(&spec, 4000, &mut rng(1, 0));
        let inputs: std::collections::BTreeSet<u32> = lengths.iter().map(|l| l.0).collect();
        let outputs: std::collections::BTreeSet<u32> = lengths.iter().map(|l| l.1).collect();
        // floor(7.5) = 7, ceil(12.5) = 13; 3..=5.
        assert_eq!(inputs, (7..=13).collect());
        assert_eq!(outputs, (3..=5).collect());
        let given = random(&parse("random:3-5/6-7").unwrap(), 500, &mut rng(1, 0));
        assert_eq!(given.iter().map(|l| l.0).collect::<std::collections::BTreeSet<_>>(), (3..=5).collect());
        assert_eq!(given.iter().map(|l| l.1).collect::<std::collections::BTreeSet<_>>(), (6..=7).collect());
        let fixed = random(&parse("random:10/4").unwrap(), 50, &mut rng(1, 0));
        assert!(fixed.iter().all(|&l| l == (10, 4)));
    }
}
