//! Logs that are cut, spliced, repeated and damaged: the reader of logs neither panics nor names a line that is not
//! there, and a log of any size is read in bounded memory.

use llm_dyno::engine::failure::{Excerpt, assess, speed_warnings};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::path::Path;

fn corpus() -> Vec<Vec<u8>> {
    let root = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/corpus");
    let mut logs = Vec::new();
    for dir in ["open", "vllm", "sglang", "trtllm", "healthy"] {
        for entry in std::fs::read_dir(root.join(dir)).expect("a directory") {
            let path = entry.expect("an entry").path();
            if path.extension().is_some_and(|e| e == "log") {
                logs.push(std::fs::read(path).expect("a log"));
            }
        }
    }
    logs.sort();
    logs
}

/// One log made from others: a part of each of up to three, bytes changed, lines doubled.
fn mutant(logs: &[Vec<u8>], rng: &mut ChaCha8Rng) -> Vec<u8> {
    let mut made = Vec::new();
    for _ in 0..rng.random_range(1..=3) {
        let log = &logs[rng.random_range(0..logs.len())];
        let from = rng.random_range(0..=log.len() / 2);
        let to = rng.random_range(from..=log.len());
        made.extend_from_slice(&log[from..to]);
    }
    for _ in 0..rng.random_range(0..20) {
        if made.is_empty() {
            break;
        }
        let at = rng.random_range(0..made.len());
        made[at] = [rng.random(), b'\n', b'\r', 0x1b, b'{', 0xff][rng.random_range(0..6)];
    }
    made
}

#[test]
fn damaged_logs_are_read_without_panic_and_their_lines_exist() {
    let logs = corpus();
    let mut rng = ChaCha8Rng::seed_from_u64(16);
    for n in 0..40 {
        let bytes = mutant(&logs, &mut rng);
        let text = String::from_utf8_lossy(&bytes);
        let verdict = assess(&Excerpt::whole(&text), None);
        let streamed = Excerpt::read(bytes.as_slice()).expect("bytes in memory");
        assert_eq!(verdict, assess(&streamed, None), "mutant {n}");
        if let Some(v) = verdict {
            let lines = text.split('\n').count();
            assert!(v.line.is_none_or(|l| (1..=lines).contains(&l)), "mutant {n}: {v:?} of {lines} lines");
        }
        let _ = speed_warnings(&streamed);
    }
}

#[test]
fn a_verdict_does_not_grow_with_the_log() {
    let mut log =
        b"(APIServer pid=1) INFO 11-02 [api_server.py:1839] vLLM API server version 0.11.0\nValueError: "
            .to_vec();
    log.extend(std::iter::repeat_n(b'x', 30 << 20));
    log.extend_from_slice(b"\nRuntimeError: Engine core initialization failed. See root cause above.\n");
    let excerpt = Excerpt::read(log.as_slice()).expect("bytes in memory");
    let v = assess(&excerpt, None).expect("a failure");
    assert!(v.root_cause.len() < 20_000 && v.next.len() < 20_000);
}
