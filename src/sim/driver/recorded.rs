//! Recorded results of two dozen scenarios, to the last bit: a change of structure leaves every one as it is.

use super::tests::Affine;
use super::*;
use crate::engine::EngineConfig;
use crate::launch::EngineKind;
use crate::sim::{KvLayout, RunBreakdown, policy};
use crate::workload::RequestShape;
use std::fmt::Write;

/// A fixed sequence of numbers that look random.
struct Draws(u64);

impl Draws {
    fn below(&mut self, n: u64) -> u64 {
        self.0 = self.0.wrapping_mul(6_364_136_223_846_793_005).wrapping_add(1_442_695_040_888_963_407);
        (self.0 >> 33) % n
    }
}

fn requests(seed: u64) -> Vec<Arrival> {
    let mut draws = Draws(seed);
    let mut at = 0;
    (0..240)
        .map(|_| {
            at += draws.below(30_000_000);
            let input = 1 + draws.below(400) as u32;
            let output = 1 + draws.below(150) as u32;
            let mut a = Arrival::from(RequestShape {
                arrival: Nanos(at),
                input_tokens: if draws.below(60) == 0 { 9_000 } else { input },
                output_tokens: output,
            });
            a.request.max_tokens += 40 * draws.below(2) as u32;
            let family = draws.below(4);
            if family > 0 {
                let block = |i| if i < 6 { family * 1000 + i } else { at << 16 | i };
                a.request.block_hashes = (0..u64::from(input / 16)).map(block).collect();
            }
            a
        })
        .collect()
}

/// FNV-1a of a text.
fn digest(text: &str) -> u64 {
    text.bytes().fold(0xcbf2_9ce4_8422_2325, |h, b| (h ^ u64::from(b)).wrapping_mul(0x0100_0000_01b3))
}

fn one(out: &mut String, name: &str, config: &EngineConfig, sliding: u32, options: &SimOptions) {
    let layout =
        KvLayout { block_size: 16, blocks: 150, full_groups: 1, sliding_groups: sliding, window: 64 };
    let window = (sliding > 0).then_some(64);
    let one_host = options.frontend_from.0 == 1;
    let time = Affine { window, one_host, sends: one_host };
    let mut scheduler = policy::build(config, &layout, window);
    let r = simulate(requests(7), scheduler.as_mut(), &time, options);
    let metrics = serde_json::to_string(&r.metrics).unwrap();
    let outcomes: String = r.requests.iter().map(|o| format!("{:?};", outcome_numbers(o))).collect();
    writeln!(
        out,
        "{name}\n  {metrics}\n  {}\n  outcomes {:016x}",
        breakdown(&r.breakdown),
        digest(&outcomes)
    )
    .unwrap();
}

fn outcome_numbers(o: &RequestOutcome) -> ([u64; 5], [u32; 3], Option<Vec<u64>>, bool) {
    let times = [o.arrival, o.queued, o.scheduled, o.first_token, o.finished].map(|t| t.0);
    let itl = o.itl.as_ref().map(|gaps| gaps.iter().map(|g| g.0).collect());
    (times, [o.input_tokens, o.output_tokens, o.preemptions], itl, o.failed)
}

fn breakdown(a: &RunBreakdown) -> String {
    format!(
        "device {} host {} frontend {} idle {} busy {} end {} steps {} host-bound {} decode-only {} prefill {} \
         {} {} decode {} {} blocked {} {} {} preempted {} peaks {} {} {} prefix {} {}",
        a.device.0,
        a.host.0,
        a.frontend.0,
        a.idle.0,
        a.frontend_busy.0,
        a.end.0,
        a.steps,
        a.host_bound_steps,
        a.decode_only_steps,
        a.prefill_device.0,
        a.prefill_tokens,
        a.prefill_rows,
        a.decode_rows,
        a.decode_ctx,
        a.max_num_seqs_steps,
        a.kv_full_steps,
        a.budget_full_steps,
        a.preemptions,
        a.peak_running,
        a.peak_waiting,
        a.peak_kv_blocks,
        a.prefix_queries,
        a.prefix_hits
    )
}

#[test]
fn recorded_scenarios_give_the_same_to_the_last_bit() {
    let mut out = String::new();
    for engine in [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm] {
        for (load, clients) in [("open", None), ("closed", Some(24))] {
            for overlap in [false, true] {
                for (host, from) in [("plain", 0), ("one host", 1)] {
                    let config = EngineConfig {
                        engine,
                        version: if overlap { (0, 32, 0).into() } else { (0, 5, 0).into() },
                        max_num_seqs: 16,
                        max_num_batched_tokens: 160,
                        chunk_tokens: if engine == EngineKind::Sglang { 96 } else { 0 },
                        max_model_len: 4096,
                        overlap,
                        reserve_full_prompt: overlap,
                        reserve_output: !overlap,
                        mixed_chunk: from == 1,
                        ..EngineConfig::default()
                    };
                    let options = SimOptions {
                        max_concurrency: clients,
                        overlap,
                        per_request: true,
                        itl: overlap && from == 1,
                        frontend_from: Nanos(from),
                        ..SimOptions::default()
                    };
                    let sliding = u32::from(clients.is_some());
                    one(
                        &mut out,
                        &format!("{engine:?}, {load}, overlap {overlap}, {host}"),
                        &config,
                        sliding,
                        &options,
                    );
                }
            }
        }
    }
    insta::assert_snapshot!(out);
}
