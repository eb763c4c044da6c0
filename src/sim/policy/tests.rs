//! Properties of every policy, checked step by step.

use super::*;
use crate::sim::drawn_cases;
use crate::sim::scheduler::{SimRequest, TokenEvent, Transition};
use proptest::prelude::*;
use std::collections::{BTreeMap, VecDeque};

mod speculation;

#[derive(Debug, Clone)]
struct Case {
    config: EngineConfig,
    layout: KvLayout,
    /// (steps to wait before it comes, request)
    requests: Vec<(u32, SimRequest)>,
}

fn cases() -> impl Strategy<Value = Case> {
    let kind = prop::sample::select(vec![EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm]);
    let switches = (prop::bool::ANY, prop::bool::ANY, prop::bool::ANY, prop::bool::ANY);
    let sizes = (1u32..20, 20u32..150, 20u64..200, 0u32..3, 16u32..100);
    let request = (0u32..4, 1u32..200, 1u32..60, 0u32..20, 0u64..3);
    (kind, switches, sizes, prop::collection::vec(request, 1..40)).prop_map(
        |(engine, (overlap, reserve, caching, mixed), (seqs, budget, blocks, groups, window), requests)| {
            let config = EngineConfig {
                engine,
                overlap,
                reserve_full_prompt: reserve,
                reserve_output: reserve,
                prefix_caching: caching,
                mixed_chunk: mixed,
                max_num_seqs: seqs,
                max_num_batched_tokens: budget,
                chunk_tokens: if engine == EngineKind::Sglang { budget } else { 0 },
                ..EngineConfig::default()
            };
            let layout = KvLayout { block_size: 16, blocks, full_groups: 1, sliding_groups: groups, window };
            let requests = requests
                .into_iter()
                .enumerate()
                .map(|(i, (wait, input, output, more, family))| {
                    let block_hashes = (0..u64::from(input / 16) * family.min(1))
                        .map(|b| if b < 4 { family << 32 | b } else { (i as u64) << 40 | b })
                        .collect();
                    let id = i as u64;
                    let max_tokens = output + more;
                    let r = SimRequest {
                        id,
                        input_tokens: input,
                        output_tokens: output,
                        max_tokens,
                        block_hashes,
                        priority: 0,
                    };
                    (wait, r)
                })
                .collect();
            Case { config, layout, requests }
        },
    )
}

/// Drives a scheduler as the engine's loop does and checks every step.
#[expect(clippy::too_many_lines, reason = "the loop of an engine with its checks")]
fn drive(case: &Case, notable: bool) -> BTreeMap<u64, u32> {
    let c = &case.config;
    let mut scheduler = build(c, &case.layout, None);
    let depth = if c.overlap { 2 } else { 1 };
    let mut coming: VecDeque<_> = case.requests.clone().into();
    let mut in_flight = VecDeque::new();
    let mut tokens: BTreeMap<u64, u32> = BTreeMap::new();
    let mut open: BTreeMap<u64, SimRequest> = BTreeMap::new();
    let mut admitted = Vec::new();
    let mut wait = 0;
    let mut rounds = 0;
    loop {
        rounds += 1;
        assert!(rounds < 200_000, "no progress");
        wait += 1;
        while coming.front().is_some_and(|(after, _)| wait > *after) {
            let Some((_, r)) = coming.pop_front() else { break };
            wait = 0;
            if scheduler.add(r.clone()).is_ok() {
                open.insert(r.id, r);
            }
        }
        let mut step = None;
        if in_flight.len() < depth {
            step = scheduler.schedule();
            admitted.extend(scheduler.transitions().iter().filter_map(|t| match t {
                Transition::Admitted { id } => Some(*id),
                Transition::Resumed { .. } | Transition::Preempted { .. } => None,
            }));
        }
        if let Some(step) = step {
            let g = scheduler.gauges();
            assert!(step.shape.rows() <= c.max_num_seqs.min(g.running), "{:?} {g:?}", step.shape);
            assert!(
                step.shape.tokens()
                    <= c.max_num_batched_tokens.max(step.shape.decode_rows + step.shape.speculative_tokens)
            );
            assert!(g.kv_blocks_used <= g.kv_blocks_total && g.kv_blocks_peak <= g.kv_blocks_total);
            in_flight.push_back(step);
            continue;
        }
        let mut events: Vec<TokenEvent> = Vec::new();
        let Some(step) = in_flight.pop_front() else {
            if coming.is_empty() {
                break;
            }
            continue;
        };
        if notable {
            scheduler.complete_notable(step.ticket, &mut events);
        } else {
            scheduler.complete(step.ticket, &mut events);
        }
        for e in events {
            let r = &open[&e.id];
            let seen = tokens.entry(e.id).or_default();
            assert!(
                if notable { e.index > *seen } else { e.index == *seen + e.tokens },
                "tokens come in order, once"
            );
            *seen = e.index;
            assert_eq!(e.finished, e.index == r.output_tokens);
            if e.finished {
                open.remove(&e.id);
            }
        }
    }
    let g = scheduler.gauges();
    assert!(open.is_empty(), "every request that was taken ends: {open:?}");
    assert_eq!((g.running, g.waiting, g.kv_blocks_used), (0, 0, 0), "nothing leaks");
    assert!(admitted.is_sorted(), "first come, first served");
    tokens
}

proptest! {
    #![proptest_config(ProptestConfig { cases: drawn_cases(100), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn every_policy_keeps_its_promises(case in cases()) {
        let tokens = drive(&case, false);
        for (_, r) in &case.requests {
            if let Some(&n) = tokens.get(&r.id) {
                prop_assert_eq!(n, r.output_tokens);
            }
        }
        prop_assert_eq!(drive(&case, true), tokens);
    }

    #[test]
    fn an_aborted_request_leaves_nothing(case in cases(), when in 1usize..60, which in 0u64..40) {
        let mut scheduler = build(&case.config, &case.layout, None);
        let depth = if case.config.overlap { 2 } else { 1 };
        for (_, r) in &case.requests {
            let _ = scheduler.add(r.clone());
        }
        let mut in_flight = VecDeque::new();
        for round in 0..100_000 {
            if round == when {
                let known = scheduler.abort(which);
                prop_assert!(!known || !scheduler.abort(which));
            }
            if in_flight.len() < depth && let Some(step) = scheduler.schedule() {
                in_flight.push_back(step);
                continue;
            }
            let Some(step) = in_flight.pop_front() else { break };
            let mut events = Vec::new();
            scheduler.complete(step.ticket, &mut events);
            prop_assert!(round < when || events.iter().all(|e| e.id != which || round < when));
        }
        let g = scheduler.gauges();
        prop_assert_eq!((g.running, g.waiting, g.kv_blocks_used), (0, 0, 0));
    }
}

#[test]
fn the_last_chunk_of_a_prompt_waits_for_a_page_in_every_group() {
    let request = |id, input_tokens, output_tokens, block_hashes| {
        let max_tokens = output_tokens;
        SimRequest { id, input_tokens, output_tokens, max_tokens, block_hashes, priority: 0 }
    };
    let config = EngineConfig {
        engine: EngineKind::Sglang,
        max_num_seqs: 2,
        max_num_batched_tokens: 20,
        chunk_tokens: 20,
        prefix_caching: true,
        ..EngineConfig::default()
    };
    let layout = KvLayout { block_size: 16, blocks: 31, full_groups: 1, sliding_groups: 2, window: 82 };
    let requests = [
        request(0, 1, 1, vec![]),
        request(1, 65, 2, vec![1, 2, 3, 4]),
        request(2, 97, 1, vec![1, 2, 3, 4, 5, 6]),
    ];
    // The last request has one prompt token left when two blocks are free: no page for each of the three groups.
    let tokens = drive(&Case { config, layout, requests: requests.map(|r| (0, r)).to_vec() }, false);
    assert_eq!(tokens, BTreeMap::from([(0, 1), (1, 2), (2, 1)]));
}

/// What vLLM's own scheduler did, by `scripts/record-vllm-schedule`.
#[derive(serde::Deserialize)]
struct Recording {
    cases: Vec<Recorded>,
}

#[derive(serde::Deserialize)]
struct Recorded {
    seqs: u32,
    budget: u32,
    blocks: u64,
    long: u32,
    caching: bool,
    overlap: bool,
    reserve: bool,
    sliding: u32,
    window: u32,
    /// Steps to wait, prompt, output, `max_tokens`, family of a shared prefix of four blocks.
    requests: Vec<(u32, u32, u32, u32, u64)>,
    steps: Vec<Line>,
}

/// Tokens, rows, running, waiting, KV blocks in use.
type Line = (u32, u32, u32, u32, u64);

/// Our scheduler under the same load, in the same record.
fn replay(r: &Recorded) -> (Vec<Line>, u64) {
    let config = EngineConfig {
        version: (0, 32, 0).into(),
        max_num_seqs: r.seqs,
        max_num_batched_tokens: r.budget,
        chunk_tokens: r.long,
        prefix_caching: r.caching,
        overlap: r.overlap,
        reserve_full_prompt: r.reserve,
        ..EngineConfig::default()
    };
    let layout = KvLayout {
        block_size: 16,
        blocks: r.blocks,
        full_groups: 1,
        sliding_groups: r.sliding,
        window: r.window,
    };
    let mut scheduler = build(&config, &layout, None);
    let mut coming: VecDeque<_> = r.requests.iter().copied().enumerate().collect();
    let (mut in_flight, mut steps, mut waited) = (VecDeque::new(), Vec::new(), 0);
    loop {
        waited += 1;
        while let Some(&(number, (wait, input, output, max_tokens, family))) = coming.front() {
            if waited <= wait {
                break;
            }
            coming.pop_front();
            waited = 0;
            let own = (number as u64 + 1) << 40;
            let blocks = if family > 0 { u64::from(input / 16) } else { 0 };
            let block_hashes = (0..blocks).map(|b| if b < 4 { family << 32 | b } else { own | b }).collect();
            let request = SimRequest {
                id: number as u64,
                input_tokens: input,
                output_tokens: output,
                max_tokens,
                block_hashes,
                priority: 0,
            };
            scheduler.add(request).expect("the recording took every request");
        }
        if in_flight.len() < if r.overlap { 2 } else { 1 }
            && let Some(step) = scheduler.schedule()
        {
            let g = scheduler.gauges();
            steps.push((step.shape.tokens(), step.shape.rows(), g.running, g.waiting, g.kv_blocks_used));
            in_flight.push_back(step);
            continue;
        }
        if let Some(step) = in_flight.pop_front() {
            scheduler.complete(step.ticket, &mut Vec::new());
        } else if coming.is_empty() {
            return (steps, scheduler.gauges().preemptions);
        }
    }
}

/// The one case in which a preempted request finds itself again by blocks that its sliding groups had given up before; we take those
/// for gone, and compute it anew.
const OLDER_WINDOW: usize = 40;

#[test]
fn every_step_equals_that_of_vllms_own_scheduler() {
    let recording: Recording =
        serde_json::from_str(include_str!("vllm-0.32.0-steps.json")).expect("a recording");
    let (mut steps, mut preemptions) = (0, 0);
    for (number, case) in recording.cases.iter().enumerate() {
        let (ours, preempted) = replay(case);
        if number == OLDER_WINDOW {
            let tokens = |steps: &[Line]| steps.iter().map(|s| f64::from(s.0)).sum::<f64>();
            assert!((tokens(&ours) / tokens(&case.steps) - 1.0).abs() < 0.06, "case {number}");
            assert_eq!(ours.len(), case.steps.len(), "case {number}");
            continue;
        }
        if let Some(at) = ours.iter().zip(&case.steps).position(|(a, b)| a != b) {
            panic!("case {number}, step {at}: ours {:?}, vLLM {:?}", ours[at], case.steps[at]);
        }
        assert_eq!(ours.len(), case.steps.len(), "case {number}");
        steps += ours.len();
        preemptions += preempted;
    }
    assert!(steps > 3000 && preemptions > 100, "{steps} steps with {preemptions} preemptions say little");
}
