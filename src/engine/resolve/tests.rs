use super::*;

fn hardware(id: &str, memory_gb: f64, bandwidth: f64) -> Hardware {
    let text = format!(
        "{{\"id\":\"{id}\",\"name\":\"{id}\",\"vendor\":\"nvidia\",\"memory_gb\":{memory_gb},\
         \"bandwidth_gbps\":{bandwidth},\"bf16_tflops\":312,\"link_gbps\":300,\"source\":\"test\"}}"
    );
    serde_json::from_str(&text).unwrap()
}

fn model() -> Model {
    serde_json::from_str(
        "{\"id\":\"m\",\"layers\":32,\"hidden\":4096,\"q_heads\":32,\"kv_heads\":8,\"head_dim\":128,\
         \"ffn\":14336,\"vocab\":128256,\"max_position\":131072,\"precision\":\"bf16\",\"source\":\"test\"}",
    )
    .unwrap()
}

fn record(version: &str, command: &str) -> Record {
    Record { engine_version: Some(version.into()), serve_command: Some(command.into()), ..Record::default() }
}

#[test]
fn vllm_defaults_follow_the_memory_tier_and_the_release() {
    let a100 = hardware("a100-sxm-80gb", 80.0, 2039.0);
    let h100 = hardware("h100-sxm-80gb", 80.0, 3350.0);
    let c = resolve(&record("0.11.0", "vllm serve m"), &a100, &model()).unwrap();
    assert_eq!((c.max_num_batched_tokens, c.max_num_seqs), (2048, 256));
    assert!(!c.overlap && !c.reserve_full_prompt && c.max_graph_size == 512);
    let c = resolve(&record("0.19.1", "vllm serve m -tp 2"), &h100, &model()).unwrap();
    assert_eq!((c.max_num_batched_tokens, c.max_num_seqs, c.tensor_parallel), (8192, 1024, 2));
    assert!(c.overlap && c.reserve_full_prompt);
    let c = resolve(&record("0.22.1", "vllm serve m --no-async-scheduling --foo-bar 3"), &h100, &model())
        .unwrap();
    assert!(!c.overlap && (c.gpu_memory_utilization - 0.92).abs() < 1e-9);
    assert_eq!(c.unmodelled, ["--foo-bar"]);
}

#[test]
fn the_other_engines_have_their_own_defaults() {
    let h100 = hardware("h100-sxm-80gb", 80.0, 3350.0);
    let c = resolve(
        &record("0.5.4.post2", "python3 -m sglang.launch_server --model-path m --tp 4"),
        &h100,
        &model(),
    )
    .unwrap();
    assert_eq!((c.chunk_tokens, c.max_graph_size, c.block_size, c.tensor_parallel), (8192, 512, 1, 4));
    assert!(c.gpu_memory_utilization > 0.8 && c.gpu_memory_utilization < 0.9);
    let c = resolve(&record("1.2.0rc1", "trtllm-serve m --max_batch_size=64 --tp_size 2"), &h100, &model())
        .unwrap();
    assert_eq!((c.max_num_seqs, c.max_num_batched_tokens, c.block_size), (64, 8192, 32));
    assert!(c.reserve_output && !c.chunked_prefill);
}

#[test]
fn facts_from_the_engine_win() {
    let gpu = hardware("rtx-4090-24gb", 24.0, 1008.0);
    let mut r = record("0.19.0", "vllm serve m --max-num-seqs 256 --gpu-memory-utilization=0.8");
    r.resolved =
        serde_json::from_str("{\"num_gpu_blocks\":2588,\"block_size\":16,\"async_scheduling\":false}")
            .unwrap();
    let c = resolve(&r, &gpu, &model()).unwrap();
    assert_eq!((c.num_kv_blocks, c.block_size, c.overlap), (Some(2588), 16, false));
    r.resolved = serde_json::from_str("{\"num_kv_tokens\":41408}").unwrap();
    assert_eq!(resolve(&r, &gpu, &model()).unwrap().num_kv_blocks, Some(2588));
}

#[test]
fn releases_and_precisions_are_read_from_their_names() {
    assert_eq!(precision_named("fp8_block"), Some(Precision::Fp8));
    assert_eq!(precision_named("awq_marlin"), Some(Precision::Int4));
    assert!(resolve(&Record::default(), &hardware("x", 80.0, 2000.0), &model()).is_err());
}
