//! Speculation: rows one by one against rows as sums, and what acceptance brings.

use super::*;
use crate::engine::{Drafter, Speculation};
use crate::scenario::Key;
use crate::sim::step::{StepCost, StepShape, StepTime};
use crate::sim::{Demand, Load, Screen, SimOptions, simulate};
use crate::units::Nanos;
use crate::workload::RequestShape;

/// A speculation that proposes nothing.
fn nothing() -> Speculation {
    let mut s = Speculation::new(Drafter::Ngram, 1);
    (s.verified, s.acceptance.by_position) = (0, Vec::new());
    s
}

fn speculating(config: &EngineConfig, s: Speculation) -> EngineConfig {
    EngineConfig { speculative: Some(s), ..config.clone() }
}

/// A step's shape, and of every token its request, its number, and whether it is the last.
type Taken = (StepShape, Vec<(u64, u32, bool)>);

/// The shapes of all steps and the tokens of each, one step at a time.
fn steps(config: &EngineConfig, case: &Case) -> Vec<Taken> {
    let mut scheduler = build(config, &case.layout, None);
    let mut coming: VecDeque<_> = case.requests.clone().into();
    let (mut out, mut wait) = (Vec::new(), 0);
    loop {
        while coming.front().is_some_and(|(after, _)| wait >= *after) {
            let Some((_, r)) = coming.pop_front() else { break };
            wait = 0;
            let _ = scheduler.add(r);
        }
        wait += 1;
        let Some(step) = scheduler.schedule() else {
            if coming.is_empty() {
                return out;
            }
            continue;
        };
        let mut events = Vec::new();
        scheduler.complete(step.ticket, &mut events);
        let mut tokens: Vec<_> = events.iter().map(|e| (e.id, e.index, e.finished)).collect();
        tokens.sort_unstable();
        out.push((step.shape, tokens));
        assert!(out.len() < 100_000, "no progress");
    }
}

proptest! {
    #![proptest_config(ProptestConfig { cases: drawn_cases(100), failure_persistence: None, ..ProptestConfig::default() })]

    /// With nothing proposed a step is the same whether its rows are kept as sums or one by one.
    #[test]
    fn rows_one_by_one_are_rows_as_sums(case in cases(), window in prop::bool::ANY) {
        let mut case = case;
        case.config.overlap = false;
        if !window {
            case.layout.sliding_groups = 0;
        }
        // Requests that end in one step give their blocks back in another order, and so other prefixes are lost first;
        // what a preempted request of a model with windows finds of itself is not modelled in either.
        if case.layout.sliding_groups > 0 || case.config.prefix_caching {
            case.layout.blocks = 100_000;
        }
        // Rows past their end are scheduled once more by some releases, which a row by itself does not repeat.
        case.config.version = (0, 33, 0).into();
        let whole: Vec<_> = steps(&case.config, &case).into_iter().map(|(mut s, t)| { s.finished = 0; (s, t) }).collect();
        let rows: Vec<_> = steps(&speculating(&case.config, nothing()), &case).into_iter().map(|(mut s, t)| { s.finished = 0; (s, t) }).collect();
        prop_assert_eq!(rows, whole);
    }

    /// Every promise of a policy holds under speculation: tokens in order, once, all of them, nothing leaked.
    #[test]
    fn every_promise_holds_under_speculation(
        case in cases(), tokens in 1u32..8, rate in 0.0f64..1.0, method in 0usize..3,
    ) {
        let method = [Drafter::Ngram, Drafter::Mtp, Drafter::Eagle3][method];
        let s = Speculation::new(method, tokens).told(&crate::scenario::AcceptanceInput::Rate(rate));
        let mut case = Case { config: speculating(&case.config, s), ..case };
        // SGLang row_changes it off under speculation.
        case.config.mixed_chunk = false;
        let drawn = drive(&case, false);
        for (_, r) in &case.requests {
            if let Some(&n) = drawn.get(&r.id) {
                prop_assert_eq!(n, r.output_tokens);
            }
        }
        prop_assert_eq!(drive(&case, true), drawn);
    }
}

/// One millisecond a step and a little by token.
struct Flat;
impl StepTime for Flat {
    fn step(&self, s: &StepShape) -> StepCost {
        StepCost { device: 1_000_000 + 1_000 * u64::from(s.tokens()), host: 0, launch: 0 }
    }
    fn frontend(&self, _: u32) -> u64 {
        0
    }
    fn emit(&self, _: u32) -> u64 {
        0
    }
    fn window(&self) -> Option<u32> {
        None
    }
}

#[test]
fn acceptance_brings_its_mean_number_of_tokens_a_step_and_the_screen_agrees() {
    let shapes: Vec<RequestShape> = (0..64)
        .map(|_| RequestShape { arrival: Nanos::ZERO, input_tokens: 50, output_tokens: 601 })
        .collect();
    let layout = KvLayout::dense(16, 10_000);
    let run = |speculative: Option<Speculation>| {
        let config = EngineConfig { max_num_seqs: 16, speculative, ..EngineConfig::default() };
        let options = SimOptions { max_concurrency: Some(16), ..SimOptions::default() };
        let simulated = simulate(&shapes, build(&config, &layout, None).as_mut(), &Flat, &options);
        let screened = Screen::new(&config, &layout, &Flat, Demand::of(&shapes)).run(Load::Closed(16));
        (simulated, screened)
    };
    let told = crate::scenario::AcceptanceInput::ByPosition(vec![0.8, 0.5, 0.2]);
    let s = Speculation::new(Drafter::Eagle3, 3).told(&told);
    let ((plain, _), (fast, screened)) = (run(None), run(Some(s)));
    let a = &fast.breakdown;
    // 64 first tokens come from prompts; the others from decode rows, 2.5 a row but for the last step of a request.
    let brought = 64.0 * 600.0 / a.decode_rows as f64;
    assert!((brought / 2.5 - 1.0).abs() < 0.02, "{brought}");
    assert_eq!(a.speculative_tokens, 3 * a.decode_rows);
    assert_eq!(fast.metrics.get(Key::TotalOutputTokens), plain.metrics.get(Key::TotalOutputTokens));
    let gain = plain.metrics.get(Key::MeanTpotMs).unwrap() / fast.metrics.get(Key::MeanTpotMs).unwrap();
    // Steps of 1.064 ms instead of 1.016.
    assert!((gain / (2.5 * 1.016 / 1.064) - 1.0).abs() < 0.03, "{gain}");
    let tpot = fast.metrics.get(Key::MeanTpotMs).unwrap();
    assert!((screened.tpot / 1e6 / tpot - 1.0).abs() < 0.05, "{} {tpot}", screened.tpot / 1e6);
    // A gap between chunks, not between tokens.
    let itl = fast.metrics.get(Key::MeanItlMs).unwrap();
    assert!((itl / 1.07 - 1.0).abs() < 0.05, "{itl}");
}
