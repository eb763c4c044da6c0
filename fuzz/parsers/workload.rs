//! Workloads: their command-line form, and the files they read.
//!
//! - no panic, and neither memory nor time without bound;
//! - what was parsed gives requests or says why not;
//! - lengths are positive, arrivals do not run backwards.

use super::file::holding;
use llm_dyno::workload::{Dataset, WorkloadSpec, generate, parse, shapes};

pub(crate) fn workload(input: &[u8]) {
    let text = String::from_utf8_lossy(input);
    let Ok(spec) = parse(&text) else { return };
    // A file of the user's own may be named here: it is not read.
    let reads = spec.path.is_some() || spec.parts().iter().any(|c| c.workload.path.is_some());
    if !reads && spec.num_prompts.is_none_or(|n| n <= 2000) {
        requests(&spec);
    }
}

fn requests(spec: &WorkloadSpec) {
    let Ok(shapes) = shapes(spec) else { return };
    // Turns of a chat stand by session.
    let chat = |s: &WorkloadSpec| s.dataset == Dataset::Chat;
    if !chat(spec) && !spec.parts().iter().any(|c| chat(&c.workload)) {
        assert!(shapes.is_sorted_by_key(|s| s.arrival), "arrivals run backwards: {spec:?}");
    }
    assert!(shapes.iter().all(|s| s.output_tokens > 0), "a request for nothing");
}

/// The file's first byte says as which kind of workload it is read.
pub(crate) fn trace(input: &[u8]) {
    let Some((kind, rest)) = input.split_first() else { return };
    let (_file, path) = holding(rest);
    let dataset = [Dataset::Trace, Dataset::Sharegpt, Dataset::Custom][usize::from(kind % 3)];
    let spec = WorkloadSpec {
        path: Some(path),
        num_prompts: Some(50),
        seed: Some(1),
        ..WorkloadSpec::empty(dataset)
    };
    requests(&spec);
    // Prompts are as long as the file says: only where that is little.
    if shapes(&spec).is_ok_and(|s| s.iter().map(|r| u64::from(r.input_tokens)).sum::<u64>() < 100_000) {
        let _ = generate(&spec, 512);
    }
}
