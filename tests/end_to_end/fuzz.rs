//! Every parser holds its promises (`fuzz/parsers`) on its seeds and on seeded mutations of them. `scripts/fuzz` does the same
//! guided by coverage; what it finds becomes a seed.

#[path = "../../fuzz/parsers/mod.rs"]
mod parsers;

use rand::seq::IndexedRandom;
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

/// Longest seed that is mutated: a longer one is slow and finds no more.
const LONGEST: usize = 16 << 10;

/// Inputs a parser gets, or as many as the variable says.
fn cases() -> usize {
    std::env::var("DYNO_FUZZ_CASES").ok().and_then(|n| n.parse().ok()).unwrap_or(25)
}

fn files(dir: &Path, into: &mut Vec<Vec<u8>>) {
    let mut paths: Vec<_> =
        std::fs::read_dir(dir).into_iter().flatten().flatten().map(|e| e.path()).collect();
    paths.sort();
    for path in paths {
        if path.is_dir() {
            files(&path, into);
        } else {
            into.push(std::fs::read(&path).unwrap());
        }
    }
}

/// Words at which parsers break.
const WORDS: [&[u8]; 20] = [
    b"\0",
    b"\xff\xfe",
    b"\n",
    b"\r\n",
    b"\"",
    b"{",
    b"[[[[[[[[",
    b"}",
    b"-1",
    b"NaN",
    b"Infinity",
    b"1e999",
    b"4294967296",
    b"18446744073709551616",
    b"-9223372036854775809",
    b"null",
    b"((((((((",
    b"\xc3\xa9\xcc\x81",
    b"data: ",
    b"<script>",
];

fn mutated(seed: &[u8], other: &[u8], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut bytes = seed.to_vec();
    for _ in 0..rng.random_range(1..=6) {
        let at = rng.random_range(0..=bytes.len());
        let end = (at + rng.random_range(0..40)).min(bytes.len());
        match rng.random_range(0..6) {
            0 => drop(bytes.splice(at..end, [])),
            1 => drop(bytes.splice(at..at, WORDS.choose(rng).unwrap().iter().copied())),
            2 => drop(bytes.splice(at..end, WORDS.choose(rng).unwrap().iter().copied())),
            3 => {
                let piece = bytes[at..end].to_vec();
                let to = rng.random_range(0..=bytes.len());
                bytes.splice(to..to, piece);
            }
            4 if at < bytes.len() => bytes[at] ^= 1 << rng.random_range(0..8),
            _ => {
                let from = rng.random_range(0..=other.len());
                let to = (from + rng.random_range(0..200)).min(other.len());
                bytes.splice(at..at, other[from..to].iter().copied());
            }
        }
    }
    bytes
}

#[test]
fn every_parser_holds_its_promises_on_mutated_seeds() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    for (n, (name, target, more)) in parsers::TARGETS.iter().enumerate() {
        let mut seeds = Vec::new();
        files(&root.join("fuzz/seeds").join(name), &mut seeds);
        more.iter().for_each(|dir| files(&root.join(dir), &mut seeds));
        assert!(!seeds.is_empty(), "no seeds for {name}");
        target(b"");
        for seed in &seeds {
            target(seed);
        }
        seeds.retain(|s| s.len() <= LONGEST);
        let mut rng = ChaCha8Rng::seed_from_u64(16_000 + n as u64);
        for case in 0..cases() {
            let (seed, other) = (seeds.choose(&mut rng).unwrap(), seeds.choose(&mut rng).unwrap());
            let input = mutated(seed, other, &mut rng);
            let held = std::panic::catch_unwind(|| target(&input));
            assert!(held.is_ok(), "{name}, case {case}: {:?}", String::from_utf8_lossy(&input));
        }
    }
}
