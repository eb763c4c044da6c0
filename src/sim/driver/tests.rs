use super::*;
use crate::engine::EngineConfig;
use crate::launch::EngineKind;
use crate::scenario::Key;
use crate::sim::kv::KvLayout;
use crate::sim::step::{StepCost, StepShape};
use crate::sim::{FollowUp, drawn_cases, policy};
use crate::workload::RequestShape;
use proptest::prelude::*;

/// Affine step times with odd numbers, so that a step left out or counted twice shows.
pub(super) struct Affine {
    pub(super) window: Option<u32>,
    /// As on a host whose cores serve everything: a front end in rounds, host time after the step.
    pub(super) one_host: bool,
    /// The front end also sends the tokens.
    pub(super) sends: bool,
}

impl StepTime for Affine {
    fn step(&self, s: &StepShape) -> StepCost {
        let device = 1_000_003
            + u64::from(s.tokens()) * 1_009
            + s.decode_ctx * 3
            + s.decode_ctx_window * 7
            + s.prefill_ctx / 5
            + s.prefill_kv;
        StepCost {
            device,
            host: 400_009 + u64::from(s.rows()) * 20_011,
            launch: 50_003 * u64::from(s.prefill_rows),
        }
    }
    fn update(&self, s: &StepShape) -> u64 {
        if self.one_host { 200_003 + u64::from(s.rows()) * 11_003 } else { 0 }
    }
    fn shares_frontend(&self) -> bool {
        self.one_host
    }
    fn frontend(&self, input_tokens: u32) -> u64 {
        300_007 + u64::from(input_tokens) * 101
    }
    fn emit(&self, rows: u32) -> u64 {
        50_021 + u64::from(rows) * 503
    }
    fn emit_busy(&self, rows: u32) -> u64 {
        if self.sends { 3_001 * u64::from(rows) } else { 0 }
    }
    fn window(&self) -> Option<u32> {
        self.window
    }
}

fn config() -> EngineConfig {
    EngineConfig {
        version: (0, 19, 0).into(),
        max_num_seqs: 16,
        max_num_batched_tokens: 128,
        max_model_len: 4096,
        reserve_full_prompt: true,
        ..EngineConfig::default()
    }
}

/// A length limit that marks such a setting.
const ONE_HOST: u32 = 4095;

fn run(
    requests: &[Arrival],
    config: &EngineConfig,
    layout: &KvLayout,
    options: &SimOptions,
) -> (SimResult, crate::sim::scheduler::Gauges) {
    let window = (layout.sliding_groups > 0).then_some(layout.window);
    // Some engines of the drawn settings stand for such a host.
    let time = Affine {
        window,
        one_host: config.max_model_len == ONE_HOST,
        sends: config.max_num_batched_tokens.is_multiple_of(3),
    };
    let mut scheduler = policy::build(config, layout, time.window());
    let result = simulate(requests.to_vec(), scheduler.as_mut(), &time, options);
    (result, scheduler.gauges())
}

fn shape(at_us: u64, input: u32, output: u32) -> Arrival {
    RequestShape { arrival: Nanos(at_us * 1000), input_tokens: input, output_tokens: output }.into()
}

#[test]
fn one_request_takes_the_times_of_its_steps() {
    let options = SimOptions { per_request: true, ..SimOptions::default() };
    let (r, _) = run(&[shape(0, 200, 3)], &config(), &KvLayout::dense(16, 100), &options);
    let o = &r.requests[0];
    let step =
        |rows: u64, tokens: u64, rest: u64| 1_000_003 + tokens * 1_009 + rest + 400_009 + rows * 20_011;
    let chunk1 = step(1, 128, 128 * 129 / 2 / 5 + 128);
    let chunk2 = step(1, 72, (72 * 128 + 72 * 73 / 2) / 5 + 200);
    let front = 300_007 + 200 * 101;
    let emit = 50_021 + 503;
    assert_eq!(o.ttft().0, front + chunk1 + chunk2 + emit);
    let decode = |ctx: u64| step(1, 1, ctx * 10);
    assert_eq!(o.e2e().0 - o.ttft().0, decode(201) + decode(202));
    assert_eq!(r.metrics.get(Key::Completed), Some(1.0));
}

#[test]
fn overlap_hides_the_shorter_of_host_and_device() {
    let mut c = config();
    let serial = run(&[shape(0, 16, 400)], &c, &KvLayout::dense(16, 100), &SimOptions::default()).0;
    c.overlap = true;
    let options = SimOptions { overlap: true, ..SimOptions::default() };
    let overlapped = run(&[shape(0, 16, 400)], &c, &KvLayout::dense(16, 100), &options).0;
    let gap = |r: &SimResult| r.metrics.get(Key::MeanTpotMs).unwrap();
    // Host 0.42 ms hides behind the device's 1 ms.
    assert!((gap(&serial) - gap(&overlapped) - 0.420_020).abs() < 1e-6);
}

#[test]
fn a_closed_loop_sends_the_next_when_one_completes() {
    let requests: Vec<Arrival> = (0..6).map(|_| shape(0, 20, 10)).collect();
    let options = SimOptions { max_concurrency: Some(2), per_request: true, ..SimOptions::default() };
    let (r, _) = run(&requests, &config(), &KvLayout::dense(16, 100), &options);
    for i in 2..6 {
        assert!(r.requests[..i].iter().any(|o| o.finished == r.requests[i].arrival), "{i}");
    }
    assert_eq!(r.metrics.get(Key::MaxConcurrentRequests), Some(6.0));
}

#[test]
fn what_can_never_run_is_lost_and_counted() {
    let requests = [shape(0, 5000, 10), shape(0, 900, 10), shape(1, 100, 10)];
    let (r, g) = run(&requests, &config(), &KvLayout::dense(16, 20), &SimOptions::default());
    assert_eq!(r.metrics.get(Key::Failed), Some(2.0));
    assert_eq!(r.metrics.get(Key::Completed), Some(1.0));
    assert_eq!((g.running, g.waiting, g.kv_blocks_used), (0, 0, 0));
}

/// Block hashes of a prompt that shares its first 96 tokens with its family.
fn prompt(family: u64, own: u64, tokens: u32) -> Vec<u64> {
    (0..u64::from(tokens / 16)).map(|i| if i < 6 { family * 1000 + i } else { own << 16 | i }).collect()
}

fn workload() -> impl Strategy<Value = Vec<Arrival>> {
    let request = (0u64..40_000, 1u32..300, 1u32..120, 0u32..2, 0u64..4, 0u32..8);
    prop::collection::vec(request, 1..60).prop_map(|v| {
        let mut v: Vec<Arrival> = v
            .into_iter()
            .map(|(at, input, output, stops, family, turns)| {
                let mut a = shape(at, input, output);
                a.request.max_tokens += stops * 30;
                if family > 0 {
                    a.request.block_hashes = prompt(family, at, input);
                }
                // Every fourth begins a session of two or three turns.
                for turn in 1..turns.saturating_sub(4) {
                    let mut next = shape(0, input + 20 * turn, output).request;
                    next.block_hashes.clone_from(&a.request.block_hashes);
                    let think = Nanos(u64::from(turn) * 3_000_017);
                    a.follow_ups.push(FollowUp { think, request: next });
                }
                a
            })
            .collect();
        v.sort_by_key(|a| a.at);
        v
    })
}

#[test]
fn a_session_keeps_its_slot_and_each_turn_waits_for_the_one_before() {
    let mut session = shape(0, 64, 10);
    session.request.block_hashes = vec![1, 2, 3, 4];
    for turn in 1..3_u64 {
        let mut request = shape(0, 64 + 32 * turn as u32, 10).request;
        request.block_hashes = (1..5 + 2 * turn).collect();
        session.follow_ups.push(FollowUp { think: Nanos(5_000_000 * turn), request });
    }
    let requests = [session, shape(0, 20, 10), shape(0, 20, 10)];
    let options = SimOptions { max_concurrency: Some(2), per_request: true, ..SimOptions::default() };
    let (r, g) = run(&requests, &config(), &KvLayout::dense(16, 100), &options);
    let turns = &r.requests[..3];
    assert_eq!(turns[1].arrival, turns[0].finished + Nanos(5_000_000));
    assert_eq!(turns[2].arrival, turns[1].finished + Nanos(10_000_000));
    // The third opening does not get the session's slot while its user thinks.
    assert_eq!(r.requests[4].arrival, r.requests[3].finished);
    // Each turn finds the whole blocks of the one before.
    assert_eq!(g.prefix_hits, 64 + 96);
    // A turn that can never run ends its session, and the slot is free.
    let mut broken = requests.to_vec();
    broken[0].follow_ups[0].request.input_tokens = 9_000;
    let (r, _) = run(&broken, &config(), &KvLayout::dense(16, 100), &options);
    assert_eq!(r.requests.len(), 4, "the last turn is never sent");
    assert_eq!(r.metrics.get(Key::Failed), Some(1.0));
}

fn setting() -> impl Strategy<Value = (EngineConfig, KvLayout, SimOptions)> {
    let engine_kind = prop::sample::select(EngineKind::ALL.to_vec());
    let engine = (1u32..40, 40u32..200, prop::bool::ANY, prop::bool::ANY, prop::bool::ANY);
    let more =
        (0u32..2, 30u64..400, 0u32..3, 20u32..200, prop::option::of(1u32..30), prop::bool::weighted(0.8));
    (engine_kind, engine, more).prop_map(
        |(
            kind,
            (seqs, budget, overlap, reserve, caching),
            (long, blocks, groups, window, clients, chunked),
        )| {
            let mut c = config();
            c.engine = kind;
            c.chunked_prefill = chunked;
            c.max_num_seqs = seqs;
            // Kinds of their own: chunk size and mixing (SGLang), reservation (TensorRT-LLM).
            c.mixed_chunk = long > 0;
            c.reserve_output = reserve;
            if kind == EngineKind::Sglang && caching {
                c.version = (0, 5, 23).into();
            }
            c.max_num_batched_tokens = budget;
            if seqs % 3 == 0 {
                c.max_model_len = ONE_HOST;
            }
            c.chunk_tokens = long * 30;
            c.overlap = overlap;
            c.reserve_full_prompt = reserve;
            c.prefix_caching = caching;
            let layout = KvLayout { block_size: 16, blocks, full_groups: 1, sliding_groups: groups, window };
            let options =
                SimOptions { max_concurrency: clients, overlap, per_request: true, ..SimOptions::default() };
            (c, layout, options)
        },
    )
}

#[test]
fn a_shared_prefix_is_computed_once() {
    let mut first = shape(0, 128, 4);
    first.request.block_hashes = prompt(1, 1, 128);
    let mut second = shape(100_000, 128, 4);
    second.request.block_hashes = prompt(1, 2, 128);
    let mut c = config();
    let (r, g) = run(&[first.clone(), second.clone()], &c, &KvLayout::dense(16, 100), &SimOptions::default());
    assert_eq!((g.prefix_queries, g.prefix_hits), (256, 96));
    assert_eq!(r.breakdown.prefill_tokens, 256 - 96);
    // The same prompt again: the block of the last token is computed again.
    let again = Arrival { at: Nanos(200_000_000), ..second.clone() };
    let (r, _) =
        run(&[first.clone(), second.clone(), again], &c, &KvLayout::dense(16, 100), &SimOptions::default());
    assert_eq!(r.breakdown.prefill_tokens, 256 - 96 + 16);
    c.prefix_caching = false;
    let (r, _) = run(&[first, second], &c, &KvLayout::dense(16, 100), &SimOptions::default());
    assert_eq!(r.breakdown.prefill_tokens, 256);
}

#[test]
fn a_loss_in_a_shared_front_end_at_the_turn_of_a_second_is_the_same_by_jumping() {
    let c = EngineConfig { max_model_len: ONE_HOST, ..config() };
    let options = SimOptions { max_concurrency: Some(2), per_request: true, ..SimOptions::default() };
    let stepping = SimOptions { fast_forward: false, ..options.clone() };
    for at in (990_000..1_004_000).step_by(100) {
        // The second is too long, and the third is sent when that is found out.
        let requests = [shape(0, 1, 900), shape(at, 5000, 1), shape(at, 1, 1)];
        let jumped = run(&requests, &c, &KvLayout::dense(16, 100), &options).0;
        assert_eq!(jumped, run(&requests, &c, &KvLayout::dense(16, 100), &stepping).0);
        let third = &jumped.requests[2];
        assert_eq!((third.queued - third.arrival).0, 300_108, "it has the front end to itself");
    }
}

#[test]
fn a_loss_before_the_turn_of_a_second_counts_in_that_second_by_jumping() {
    let c = EngineConfig { max_num_seqs: 1, ..config() };
    let options = SimOptions { max_concurrency: Some(3), per_request: true, ..SimOptions::default() };
    let stepping = SimOptions { fast_forward: false, ..options.clone() };
    // While the second waits for the only place among the running, the third is lost, then the fourth, which is sent for it.
    let mut requests =
        vec![shape(0, 1, 1500), shape(0, 1, 1), shape(900_000, 5000, 1), shape(900_000, 5000, 1)];
    // The first runs for 2.1 s; the last comes in the same second in which it ends.
    requests.push(shape(2_300_000, 1, 1));
    let jumped = run(&requests, &c, &KvLayout::dense(16, 100), &options).0;
    assert_eq!(jumped, run(&requests, &c, &KvLayout::dense(16, 100), &stepping).0);
    assert_eq!(jumped.metrics.get(Key::MaxConcurrentRequests), Some(4.0));
}

#[test]
fn a_request_for_a_refused_one_comes_before_a_later_turn_of_a_session_by_jumping_too() {
    let c = EngineConfig { max_num_seqs: 2, ..config() };
    let options = SimOptions { max_concurrency: Some(4), per_request: true, ..SimOptions::default() };
    let stepping = SimOptions { fast_forward: false, ..options.clone() };
    let mut overtaken = 0;
    for at in (4_000..9_000).step_by(50) {
        // Two run, one waits; the fourth is refused while a later turn of the session is on its way.
        let mut session = shape(0, 1, 2);
        let request = session.request.clone();
        session.follow_ups.push(FollowUp { think: Nanos(4_000_000), request });
        let requests = [session, shape(0, 1, 900), shape(0, 1, 900), shape(at, 5000, 1), shape(0, 1, 5)];
        let jumped = run(&requests, &c, &KvLayout::dense(16, 100), &options).0;
        assert_eq!(jumped, run(&requests, &c, &KvLayout::dense(16, 100), &stepping).0);
        overtaken += u32::from(jumped.requests[4].arrival < jumped.requests[1].arrival);
    }
    assert!(overtaken > 0, "no case in which the order matters");
}

/// A request that waits for blocks and would find some idle ones in the cache; a decode row reuses those one by one.
fn waiting_on_idle_prefix() -> Vec<Arrival> {
    let mut leaves_prefix = shape(0, 64, 1);
    leaves_prefix.request.block_hashes = prompt(1, 1, 64);
    let mut waits = shape(10_000, 130, 1);
    waits.request.block_hashes = prompt(1, 2, 130);
    vec![shape(0, 1, 80), leaves_prefix, shape(0, 64, 1), waits]
}

/// The same by jumping and by stepping.
fn either_way(c: &EngineConfig, layout: &KvLayout) -> SimResult {
    let options = SimOptions { per_request: true, ..SimOptions::default() };
    let jumped = run(&waiting_on_idle_prefix(), c, layout, &options).0;
    let stepping = SimOptions { fast_forward: false, ..options };
    assert_eq!(jumped, run(&waiting_on_idle_prefix(), c, layout, &stepping).0);
    jumped
}

#[test]
fn a_jump_ends_where_a_lost_prefix_block_shortens_the_chunk_of_a_waiting_request() {
    let mut c = config();
    c.engine = EngineKind::Trtllm;
    c.max_num_batched_tokens = 70;
    let r = either_way(&c, &KvLayout::dense(16, 9));
    // Of 8 free blocks it asks for 9 (4 of the cache, 5 for its last 66 tokens); of 7 for 7 (3 of the cache, 4
    // for the next 64 tokens, as 82 are more than a step has).
    assert!(r.requests[3].scheduled < r.requests[0].finished);
    // Then a decode row needs its last block.
    assert_eq!((r.requests[3].preemptions, r.breakdown.preemptions), (1, 1));
}

#[test]
fn a_jump_ends_where_a_lost_prefix_makes_an_uncut_prompt_too_long_for_the_step() {
    for engine in [EngineKind::Vllm, EngineKind::Trtllm] {
        let mut c = config();
        c.engine = engine;
        c.chunked_prefill = false;
        c.max_num_batched_tokens = 130;
        let r = either_way(&c, &KvLayout::dense(16, 9));
        // Without its prefix it needs the whole step, of which the decode row has a token.
        assert!(r.breakdown.kv_full_steps > 0 && r.breakdown.budget_full_steps > 0, "{engine:?}");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: drawn_cases(120), failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn jumping_equals_stepping_to_the_nanosecond(requests in workload(), (c, layout, options) in setting()) {
        let (jumped, g) = run(&requests, &c, &layout, &options);
        let (stepped, _) = run(&requests, &c, &layout, &SimOptions { fast_forward: false, ..options.clone() });
        prop_assert_eq!(&jumped.requests, &stepped.requests);
        prop_assert_eq!(jumped.breakdown, stepped.breakdown);
        prop_assert_eq!(&jumped, &stepped);
        let (mut full, _) = run(&requests, &c, &layout, &SimOptions { itl: true, ..options });
        for r in &mut full.requests {
            let gaps = r.itl.take().unwrap_or_default();
            if !r.failed {
                prop_assert_eq!(gaps.len() as u32 + 1, r.output_tokens);
                prop_assert_eq!(gaps.into_iter().sum::<Nanos>(), r.finished - r.first_token);
            }
        }
        prop_assert_eq!(&full, &stepped);
        // Nothing leaks, nothing is lost that could run.
        prop_assert_eq!((g.running, g.waiting, g.kv_blocks_used), (0, 0, 0));
    }

    #[test]
    fn no_run_beats_physics_and_equal_runs_are_equal(requests in workload(), (c, layout, options) in setting()) {
        let (r, _) = run(&requests, &c, &layout, &options);
        let (again, _) = run(&requests, &c, &layout, &options);
        prop_assert_eq!(
            serde_json::to_string(&r.metrics).unwrap(),
            serde_json::to_string(&again.metrics).unwrap()
        );
        let a = &r.breakdown;
        prop_assert_eq!(a.device + a.host + a.frontend + a.idle, a.end, "every nanosecond has one cause");
        // No token for less than its share of the device, no request past the front end faster than it serves.
        prop_assert!(a.device.0 >= (a.prefill_tokens + a.decode_rows) * 1_009 + a.steps * 1_000_003);
        let get = |key| r.metrics.get(key).unwrap_or(0.0);
        prop_assert!(get(Key::RequestThroughput) <= 1e9 / 300_108.0);
        prop_assert!(get(Key::OutputThroughput) <= f64::from(c.max_num_seqs) * 1e9 / 1_000_003.0);
        let computed = (a.prefill_tokens + a.prefix_hits) as f64;
        prop_assert!(computed >= get(Key::TotalInputTokens), "every prompt token is computed or found");
        for o in r.requests.iter().filter(|o| !o.failed) {
            prop_assert!(o.arrival < o.queued && o.queued <= o.scheduled);
            prop_assert!(o.scheduled < o.first_token && o.first_token <= o.finished);
        }
    }
}
