//! Result files that other tools really wrote, read as observations: all saw the same server, so that all must say the
//! same within what such a client adds.

use llm_dyno::scenario::{Key, Record, read_records};
use llm_dyno::workload::{Dataset, RequestRate};
use std::path::Path;

fn read(name: &str) -> Record {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("tests/interchange").join(name);
    let mut records = read_records(&path).unwrap_or_else(|e| panic!("{name}: {e}"));
    assert_eq!(records.len(), 1, "{name}");
    records.remove(0)
}

const ALL: [&str; 5] = [
    "vllm-bench-serve-0.32.json",
    "guidellm-0.8.1.json",
    "aiperf-0.13.0.json",
    "fib.json",
    "fib-summary.json",
];

#[test]
fn every_tool_saw_the_same_server() {
    for name in ALL {
        let record = read(name);
        let m = record.result.as_ref().unwrap();
        let get = |key: Key| m.get(key).unwrap_or_else(|| panic!("{name}: no {}", key.name()));
        assert_eq!((get(Key::Completed), get(Key::TotalOutputTokens)), (12.0, 192.0), "{name}");
        // True first token after 40 ms, true gap 5 ms; no client sees less, these saw little more.
        assert!((40.0..45.0).contains(&get(Key::MeanTtftMs)), "{name}: {}", get(Key::MeanTtftMs));
        assert!((40.0..60.0).contains(&get(Key::P99TtftMs)), "{name}: {}", get(Key::P99TtftMs));
        assert!((4.9..5.5).contains(&get(Key::MeanTpotMs)), "{name}: {}", get(Key::MeanTpotMs));
        if name != "fib-summary.json" {
            assert!((115.0..125.0).contains(&get(Key::MeanE2elMs)), "{name}: {}", get(Key::MeanE2elMs));
        }
        if !name.starts_with("guidellm") {
            assert!((4.9..5.5).contains(&get(Key::MeanItlMs)), "{name}: {}", get(Key::MeanItlMs));
        }
        let duration = get(Key::Duration);
        for (key, total) in [(Key::RequestThroughput, 12.0), (Key::OutputThroughput, 192.0)] {
            // aiperf's own rates are kept as they stand in its file: its duration has a part that they leave out.
            let off = if name.starts_with("aiperf") { 0.02 } else { 1e-6 };
            assert!((get(key) * duration / total - 1.0).abs() < off, "{name}: {}", key.name());
        }
        assert!(m.extra.values().all(|v| !v.is_array()), "{name}: lists belong to the requests");
    }
}

#[test]
fn what_was_sent_is_read_where_the_file_says_it() {
    for (name, model, in_flight) in [
        ("vllm-bench-serve-0.32.json", Some("paced"), Some(4)),
        ("guidellm-0.8.1.json", Some("paced"), Some(4)),
        ("aiperf-0.13.0.json", Some("paced"), Some(4)),
        ("fib.json", None, None),
        ("fib-summary.json", None, None),
    ] {
        let record = read(name);
        let w = record.workload.as_ref().unwrap();
        assert_eq!((record.model.as_deref(), w.max_concurrency), (model, in_flight), "{name}");
        assert_eq!((w.num_prompts, w.request_rate), (Some(12), RequestRate::Inf), "{name}");
        assert!(w.total_input_tokens.is_some_and(|t| t > 0.0), "{name}");
        // Files with single requests have their exact lengths; of the others the means are known, which is said.
        let detailed = record.requests.is_some();
        assert_eq!(w.dataset == Dataset::Random, !detailed, "{name}");
        assert_eq!(w.note.is_some(), !detailed, "{name}");
        assert_eq!(
            w.note.as_ref().is_some_and(|n| n.contains("does not say the request rate")),
            name.starts_with("fib"),
            "{name}"
        );
        if name == "fib.json" {
            assert_eq!(w.input_len, Some(30), "FIB's server counted 30 for each");
        }
    }
}

#[test]
fn single_requests_are_read_with_their_times() {
    for (name, gaps) in [("vllm-bench-serve-0.32.json", true), ("guidellm-0.8.1.json", false)] {
        let rows = read(name).requests.unwrap();
        assert_eq!((rows.len(), rows[0].arrival_s), (12, 0.0), "{name}");
        assert!(rows.windows(2).all(|w| w[0].arrival_s <= w[1].arrival_s), "{name}");
        for r in &rows {
            assert!((0.039..0.06).contains(&r.ttft_s.unwrap()), "{name}: {r:?}");
            assert!((0.114..0.13).contains(&r.e2e_s.unwrap()), "{name}: {r:?}");
            assert_eq!((r.output_tokens, r.itl_s.as_ref().map(Vec::len)), (16, gaps.then_some(15)), "{name}");
        }
        // Four in flight, each for some 115 ms: the last of three waves starts after two of them.
        assert!((0.2..0.3).contains(&rows[11].arrival_s), "{name}: {}", rows[11].arrival_s);
    }
    // What these files hold has no times of sending.
    assert!(read("fib.json").requests.is_none() && read("aiperf-0.13.0.json").requests.is_none());
}
