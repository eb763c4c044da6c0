//! Weighted mixtures: each request is of one of several workloads.
//!
//! The parts get their shares of the requests exactly (largest remainders), in a random order; number, arrivals and
//! seed are those of the whole, and each part draws its lengths from a seed of its own that follows from that one. Of
//! a chat a session counts as one, and its turns stay together.

use super::draft::{Draft, MIX, contents, rng};
use super::{Component, Dataset, RequestRate, WorkloadSpec};
use crate::error::{Error, Problem, Result};
use rand::RngExt;
use rand::seq::SliceRandom;

/// The workloads of a mixture, each with its own seed; any other workload is its own only part.
pub(super) fn parts(spec: &WorkloadSpec) -> Vec<WorkloadSpec> {
    if spec.dataset != Dataset::Mix {
        return vec![spec.clone()];
    }
    let mut seeds = rng(spec.seed.unwrap_or(0), MIX);
    let own = |c: &Component| WorkloadSpec { seed: Some(seeds.random()), ..c.workload.clone() };
    spec.parts().iter().map(own).collect()
}

/// How many of `n` each part gets: its share, the largest remainders rounded up (the first of equal ones).
fn counts(components: &[Component], n: usize) -> Vec<usize> {
    let total: f64 = components.iter().map(|c| c.weight).sum();
    let exact: Vec<f64> = components.iter().map(|c| c.weight / total * n as f64).collect();
    let mut counts: Vec<usize> = exact.iter().map(|x| (x + 1e-9).floor() as usize).collect();
    let mut order: Vec<usize> = (0..components.len()).collect();
    order.sort_by(|&a, &b| (exact[b] - counts[b] as f64).total_cmp(&(exact[a] - counts[a] as f64)));
    let left = n.saturating_sub(counts.iter().sum());
    for &i in order.iter().cycle().take(left) {
        counts[i] += 1;
    }
    counts
}

/// The requests of a mixture in their order.
pub(super) fn drafts(spec: &WorkloadSpec, n: usize) -> Result<Vec<Draft>> {
    let counts = counts(spec.parts(), n);
    let mut order: Vec<usize> =
        counts.iter().enumerate().flat_map(|(part, &count)| std::iter::repeat_n(part, count)).collect();
    // The first draws of this stream are the seeds of the parts.
    let mut rng = rng(spec.seed.unwrap_or(0), MIX);
    let parts: Vec<WorkloadSpec> = parts(spec);
    for _ in &parts {
        let _: u64 = rng.random();
    }
    order.shuffle(&mut rng);
    let mut queues = parts
        .iter()
        .zip(&counts)
        .enumerate()
        .map(|(i, (part, &count))| Ok(units(part, i, count)?.into_iter()))
        .collect::<Result<Vec<_>>>()?;
    Ok(order.into_iter().filter_map(|part| queues[part].next()).flatten().collect())
}

/// What a part sends, each entry a request or a whole session.
fn units(part: &WorkloadSpec, index: usize, count: usize) -> Result<Vec<Vec<Draft>>> {
    // A file is read only as far as it is needed.
    let limited = WorkloadSpec { num_prompts: Some(count.max(1) as u32), ..part.clone() };
    let mut units: Vec<Vec<Draft>> = Vec::new();
    for mut draft in contents(&limited, count)? {
        (draft.part, draft.arrival) = (index, None);
        match units.last_mut() {
            Some(session) if draft.follows() => session.push(draft),
            _ => units.push(vec![draft]),
        }
    }
    if units.len() < count {
        let path = part.path.as_deref().unwrap_or_default();
        let message = format!("holds {} requests; its part of the mixture needs {count}", units.len());
        return Err(Error::problems("the mixture cannot be made", vec![Problem::new(path, "", message)])
            .hint("a smaller n, a smaller weight, or a longer file"));
    }
    Ok(units)
}

/// What is wrong with the parts of a mixture, or with a workload that has parts and is none.
pub(super) fn problems(spec: &WorkloadSpec, place: &str) -> Vec<Problem> {
    let parts = spec.parts();
    let mut problems = Vec::new();
    let mut bad = |key: String, message: &str| problems.push(Problem::new(place, key, message));
    if spec.dataset != Dataset::Mix {
        if spec.components.is_some() {
            bad("components".into(), "belong to dataset mix only");
        }
        return problems;
    }
    if parts.is_empty() {
        bad("components".into(), "are missing; a mixture needs at least one");
    }
    let contents = [
        ("path", spec.path.is_some()),
        ("input_len", spec.input_len.is_some()),
        ("output_len", spec.output_len.is_some()),
        ("random_range_ratio", spec.random_range_ratio.is_some()),
        ("random_prefix_len", spec.random_prefix_len.is_some()),
        ("turns", spec.turns.is_some()),
        ("time_scale", spec.time_scale.is_some()),
    ];
    for (key, _) in contents.iter().filter(|c| c.1) {
        bad((*key).into(), "belongs to a part of the mixture, not to the whole");
    }
    for (i, c) in parts.iter().enumerate() {
        let key = |k: &str| format!("components[{i}].{k}");
        if !(c.weight > 0.0 && c.weight.is_finite()) {
            bad(key("weight"), "must be a positive number");
        }
        if c.workload.dataset == Dataset::Mix {
            bad(key("workload.dataset"), "is a mixture inside a mixture");
        }
        let whole = [
            ("num_prompts", c.workload.num_prompts.is_some()),
            ("seed", c.workload.seed.is_some()),
            ("request_rate", c.workload.request_rate != RequestRate::Inf),
            ("burstiness", c.workload.burstiness.is_some()),
            ("arrivals", c.workload.arrivals.is_some()),
            ("stages", c.workload.stages.is_some()),
            ("max_concurrency", c.workload.max_concurrency.is_some()),
            ("time_scale", c.workload.time_scale.is_some()),
        ];
        for (k, _) in whole.iter().filter(|w| w.1) {
            bad(key(&format!("workload.{k}")), "is the mixture's to set, not a part's");
        }
    }
    for (i, c) in parts.iter().enumerate().filter(|(_, c)| c.workload.dataset != Dataset::Mix) {
        let own = c.workload.problems(place);
        problems.extend(
            own.into_iter().map(|p| Problem { key: format!("components[{i}].workload.{}", p.key), ..p }),
        );
    }
    problems
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Prompt, generate, generate_run, parse, part_of_each, shapes};

    #[test]
    fn parts_get_their_exact_shares_in_a_random_order_that_follows_from_the_seed() {
        let spec = parse("mix:0.7*random:10/2+0.3*random:200/50,n=200,seed=3").unwrap();
        let parts = part_of_each(&spec).unwrap();
        assert_eq!(parts.iter().filter(|&&p| p == 1).count(), 60);
        let changes = parts.windows(2).filter(|w| w[0] != w[1]).count();
        assert!((50..120).contains(&changes), "{changes} changes: neither blocks nor a pattern");
        for (shape, part) in shapes(&spec).unwrap().iter().zip(&parts) {
            let want = [(10, 2), (200, 50)][*part];
            assert_eq!((shape.input_tokens, shape.output_tokens), want);
        }
        assert_eq!(generate(&spec, 500).unwrap(), generate(&spec, 500).unwrap());
        let other = WorkloadSpec { seed: Some(4), ..spec.clone() };
        assert_ne!(part_of_each(&other).unwrap(), parts);
        let again = generate_run(&spec, 500, 1).unwrap();
        for (a, b) in generate(&spec, 500).unwrap().iter().zip(&again) {
            assert_eq!((a.arrival, a.input_tokens), (b.arrival, b.input_tokens));
            assert_ne!(a.prompt, b.prompt);
        }
        // 3 : 2 : 2 of 10, remainders 0.29, 0.86, 0.86.
        let spec = parse("mix:3*short+2*medium+2*long,n=10").unwrap();
        let parts = part_of_each(&spec).unwrap();
        assert_eq!([0, 1, 2].map(|k| parts.iter().filter(|&&p| p == k).count()), [4, 3, 3]);
    }

    #[test]
    fn parts_keep_their_own_settings_and_the_whole_has_the_arrivals() {
        let spec = parse("mix:1*random:8/2;prefix=16+1*chat;turns=3;context=20-40,n=20,rate=5").unwrap();
        let requests = generate(&spec, 500).unwrap();
        // Ten requests, and ten sessions of three turns.
        assert_eq!(requests.len(), 40);
        let parts = part_of_each(&spec).unwrap();
        let mut prefix: Option<&[u32]> = None;
        for (r, part) in requests.iter().zip(&parts) {
            let Prompt::TokenIds(ids) = &r.prompt else { panic!("{:?}", r.prompt) };
            if *part == 0 {
                assert_eq!(ids.len(), 24);
                assert_eq!(*prefix.get_or_insert(&ids[..16]), &ids[..16]);
            } else if let Some(f) = r.follows {
                assert_eq!((f.id, parts[f.id as usize]), (r.id - 1, 1));
            }
        }
        let last = requests.iter().map(|r| r.arrival).max().unwrap();
        assert!((last.secs() - 4.0).abs() < 1e-6, "20 arrivals at 5 a second end at {} s", last.secs());
        assert!(spec.shares_prompts() && !parse("mix:1*short+1*long").unwrap().shares_prompts());
    }

    #[test]
    fn the_text_and_the_json_form_say_the_same() {
        let spec = parse("mix:0.7*sharegpt:/data/a+b.json+0.3*random:2000/100,n=200").unwrap();
        assert_eq!(spec.parts()[0].workload.path.as_deref(), Some("/data/a+b.json"));
        assert_eq!(spec.label(), "mix:0.7*sharegpt:a+b.json+0.3*medium");
        let json = serde_json::to_string(&spec).unwrap();
        assert!(json.contains(r#"{"weight":0.3,"workload":{"dataset":"random","input_len":2000"#), "{json}");
        assert!(!json.contains(r#"100,"request_rate""#), "{json}");
        assert_eq!(serde_json::from_str::<WorkloadSpec>(&json).unwrap(), spec);
        let record = format!(r#"{{"engine":"vllm","model":"m","hardware":"cpu","workload":{json}}}"#);
        assert!(serde_json::from_str::<serde_json::Value>(&record).is_ok());
    }

    #[test]
    fn bad_mixtures_are_refused_with_every_problem() {
        for (text, problems) in [
            ("mix:", 1),
            ("mix", 1),
            ("mix:sharegpt+short", 1),
            ("mix:0*short+1*long", 1),
            ("mix:1*nope+1*random:3", 2),
            ("mix:1*short;n=5+1*long;rate=3", 2),
            ("mix:1*short;range=2+1*trace", 1),
            ("mix:1*short;range=2+1*long;prefix-share=3", 2),
            ("mix:1*mix:1*short", 1),
            ("mix:1*short,output=5,turns=2", 2),
        ] {
            let e = parse(text).unwrap_err();
            assert_eq!((e.kind.exit_code(), e.problems.len()), (2, problems), "{text}: {e}");
        }
        let mut spec = parse("short").unwrap();
        spec.components = Some(Vec::new());
        assert!(shapes(&spec).is_err());
    }
}
