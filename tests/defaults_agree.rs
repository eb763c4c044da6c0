//! What the search spaces say of an engine's defaults is what the simulator and the cost model assume.

use llm_dyno::engine::resolve_launch;
use llm_dyno::launch::{EngineKind, FlagValue, Launch};
use llm_dyno::space::{Context, Space};
use llm_dyno::{hardware, model};

#[test]
fn defaults_of_the_tables_are_those_of_the_resolved_configuration() {
    let parts = hardware::Catalog::load(None).unwrap();
    let model = model::Catalog::load(None).unwrap().find("Qwen/Qwen3-8B").unwrap();
    let mut compared = 0;
    for (engine, versions, flags) in [
        (
            EngineKind::Vllm,
            ["0.11.0", "0.19.1", "0.33.0"],
            &[
                "max-num-seqs",
                "max-num-batched-tokens",
                "gpu-memory-utilization",
                "async-scheduling",
                "block-size",
            ][..],
        ),
        (
            EngineKind::Sglang,
            ["0.5.3", "0.5.12", "0.5.23"],
            &["chunked-prefill-size", "max-prefill-tokens"][..],
        ),
        (EngineKind::Trtllm, ["1.0.0", "1.2.0", "1.3.0"], &["max_batch_size", "max_num_tokens"][..]),
    ] {
        let space = Space::load(engine, None).unwrap();
        for part in parts.iter().filter(|h| engine == EngineKind::Vllm || h.is_gpu()) {
            for version in versions {
                let launch =
                    Launch { engine: Some(engine), version: version.parse().ok(), ..Launch::default() };
                let config = resolve_launch(&launch, None, part, &model).unwrap();
                let ctx = Context { version: version.parse().ok(), ..Context::new(part, &model) };
                for flag in flags {
                    let resolved = match *flag {
                        "max-num-seqs" | "max_batch_size" => f64::from(config.max_num_seqs),
                        "max-num-batched-tokens" | "max-prefill-tokens" | "max_num_tokens" => {
                            f64::from(config.max_num_batched_tokens)
                        }
                        "gpu-memory-utilization" => config.gpu_memory_utilization,
                        "chunked-prefill-size" => f64::from(config.chunk_tokens),
                        "block-size" => f64::from(config.block_size),
                        "async-scheduling" => f64::from(u8::from(config.overlap)),
                        other => panic!("{other}"),
                    };
                    let table = match space.default_of(space.flag(flag).unwrap(), &ctx) {
                        Some(FlagValue::Int(i)) => i as f64,
                        Some(FlagValue::Float(x)) => x,
                        Some(FlagValue::Bool(b)) => f64::from(u8::from(b)),
                        // The table may leave a default open; it may not say another one.
                        _ => continue,
                    };
                    assert!(
                        (table - resolved).abs() < 1e-9,
                        "{engine} {version} {} --{flag}: {table} in the table, {resolved} resolved",
                        part.id
                    );
                    compared += 1;
                }
            }
        }
    }
    assert!(compared > 300, "only {compared} defaults were compared");
}
