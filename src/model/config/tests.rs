use super::*;
use crate::model::Catalog;
use crate::model::{Precision, check_config};
use proptest::prelude::*;
use serde_json::json;

fn read(config: Value) -> Model {
    parse("config.json", &config.to_string(), None, "x").unwrap_or_else(|p| panic!("{p:?}"))
}

/// The architecture alone: what must equal the catalogue's entry.
fn same_sizes(read: &Model, id: &str) {
    let known = Catalog::load(None).unwrap().find(id).unwrap();
    let (a, b) = (read.params().total() as f64, known.params().total() as f64);
    assert!((a / b - 1.0).abs() < 0.001, "{id}: {a} against {b}");
    assert_eq!(read.kv_per_token(2.0), known.kv_per_token(2.0), "{id}");
    assert_eq!((read.precision, read.max_position), (known.precision, known.max_position), "{id}");
}

#[test]
fn llama_and_qwen_layouts() {
    let llama = read(json!({"architectures": ["LlamaForCausalLM"], "model_type": "llama",
        "num_hidden_layers": 32, "hidden_size": 4096, "num_attention_heads": 32, "num_key_value_heads": 8,
        "intermediate_size": 14336, "vocab_size": 128256, "max_position_embeddings": 131072,
        "tie_word_embeddings": false, "torch_dtype": "bfloat16"}));
    same_sizes(&llama, "meta-llama/Llama-3.1-8B-Instruct");
    let qwen = read(json!({"model_type": "qwen3", "num_hidden_layers": 64, "hidden_size": 5120,
        "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 25600,
        "vocab_size": 151936, "max_position_embeddings": 40960, "tie_word_embeddings": false,
        "sliding_window": null, "max_window_layers": 64, "use_sliding_window": false}));
    same_sizes(&qwen, "Qwen/Qwen3-32B");
    let moe = read(json!({"model_type": "qwen3_moe", "num_hidden_layers": 48, "hidden_size": 2048,
        "num_attention_heads": 32, "num_key_value_heads": 4, "head_dim": 128, "intermediate_size": 6144,
        "moe_intermediate_size": 768, "num_experts": 128, "num_experts_per_tok": 8, "decoder_sparse_step": 1,
        "mlp_only_layers": [], "vocab_size": 151936, "max_position_embeddings": 40960,
        "tie_word_embeddings": false}));
    same_sizes(&moe, "Qwen/Qwen3-30B-A3B");
}

#[test]
fn gpt_oss_gemma3_and_llama4_layouts() {
    let oss = read(json!({"model_type": "gpt_oss", "num_hidden_layers": 24, "hidden_size": 2880,
        "num_attention_heads": 64, "num_key_value_heads": 8, "head_dim": 64, "intermediate_size": 2880,
        "num_local_experts": 32, "num_experts_per_tok": 4, "sliding_window": 128, "vocab_size": 201088,
        "max_position_embeddings": 131072, "tie_word_embeddings": false,
        "layer_types": (["sliding_attention", "full_attention"].repeat(12)),
        "quantization_config": {"quant_method": "mxfp4"}}));
    assert!(oss.attention_sinks);
    same_sizes(&oss, "openai/gpt-oss-20b");
    let gemma = read(json!({"architectures": ["Gemma3ForConditionalGeneration"], "model_type": "gemma3",
        "torch_dtype": "bfloat16", "text_config": {"model_type": "gemma3_text", "num_hidden_layers": 62,
        "hidden_size": 5376, "num_attention_heads": 32, "num_key_value_heads": 16, "head_dim": 128,
        "intermediate_size": 21504, "sliding_window": 1024, "vocab_size": 262208}}));
    same_sizes(&gemma, "google/gemma-3-27b-it");
    let scout = read(json!({"model_type": "llama4", "text_config": {"model_type": "llama4_text",
        "num_hidden_layers": 48, "hidden_size": 5120, "num_attention_heads": 40, "num_key_value_heads": 8,
        "head_dim": 128, "intermediate_size": 8192, "intermediate_size_mlp": 16384, "num_local_experts": 16,
        "num_experts_per_tok": 1, "interleave_moe_layer_step": 1, "attention_chunk_size": 8192,
        "vocab_size": 202048, "max_position_embeddings": 10485760, "tie_word_embeddings": false}}));
    same_sizes(&scout, "meta-llama/Llama-4-Scout-17B-16E-Instruct");
}

#[test]
fn deepseek_and_glm_layouts() {
    let r1 = read(json!({"model_type": "deepseek_v3", "num_hidden_layers": 61, "hidden_size": 7168,
        "num_attention_heads": 128, "num_key_value_heads": 128, "intermediate_size": 18432,
        "moe_intermediate_size": 2048, "n_routed_experts": 256, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "first_k_dense_replace": 3, "moe_layer_freq": 1, "kv_lora_rank": 512,
        "q_lora_rank": 1536, "qk_rope_head_dim": 64, "qk_nope_head_dim": 128, "v_head_dim": 128,
        "vocab_size": 129280, "max_position_embeddings": 163840, "tie_word_embeddings": false,
        "quantization_config": {"quant_method": "fp8", "weight_block_size": [128, 128]}}));
    same_sizes(&r1, "deepseek-ai/DeepSeek-R1");
    let air = read(json!({"model_type": "glm4_moe", "num_hidden_layers": 46, "hidden_size": 4096,
        "num_attention_heads": 96, "num_key_value_heads": 8, "head_dim": 128, "intermediate_size": 10944,
        "moe_intermediate_size": 1408, "n_routed_experts": 128, "n_shared_experts": 1,
        "num_experts_per_tok": 8, "first_k_dense_replace": 1, "vocab_size": 151552,
        "max_position_embeddings": 131072, "tie_word_embeddings": false}));
    same_sizes(&air, "zai-org/GLM-4.5-Air");
}

#[test]
fn mixtral_mistral_gemma2_phi3_and_gpt2_layouts() {
    let mixtral = read(json!({"model_type": "mixtral", "num_hidden_layers": 32, "hidden_size": 4096,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "num_local_experts": 8, "num_experts_per_tok": 2, "sliding_window": null, "vocab_size": 32000,
        "max_position_embeddings": 32768, "tie_word_embeddings": false}));
    assert!((mixtral.params().total() as f64 / 46.7e9 - 1.0).abs() < 0.01);
    let mistral = read(json!({"model_type": "mistral", "num_hidden_layers": 32, "hidden_size": 4096,
        "num_attention_heads": 32, "num_key_value_heads": 8, "intermediate_size": 14336,
        "sliding_window": 4096, "vocab_size": 32000, "max_position_embeddings": 32768}));
    assert_eq!(mistral.sliding_layers(), 32);
    let gemma2 = read(json!({"model_type": "gemma2", "num_hidden_layers": 42, "hidden_size": 3584,
        "num_attention_heads": 16, "num_key_value_heads": 8, "head_dim": 256, "intermediate_size": 14336,
        "sliding_window": 4096, "vocab_size": 256000, "max_position_embeddings": 8192}));
    assert_eq!((gemma2.sliding_layers(), gemma2.tied_embeddings), (21, true));
    assert!((gemma2.params().total() as f64 / 9.24e9 - 1.0).abs() < 0.01);
    let phi3 = read(json!({"model_type": "phi3", "num_hidden_layers": 32, "hidden_size": 3072,
        "num_attention_heads": 32, "num_key_value_heads": 32, "intermediate_size": 8192,
        "vocab_size": 32064, "max_position_embeddings": 4096, "tie_word_embeddings": false}));
    assert!((phi3.params().total() as f64 / 3.82e9 - 1.0).abs() < 0.01);
    let gpt2 = read(json!({"model_type": "gpt2", "n_layer": 12, "n_embd": 768, "n_head": 12,
        "vocab_size": 50257, "n_positions": 1024}));
    assert_eq!((gpt2.ffn, gpt2.gated_ffn, gpt2.kv_heads), (3072, false, 12));
}

/// The quantisation of a small Llama with that `quantization_config`.
fn quantised(q: &Value) -> (Precision, Vec<String>) {
    let m = read_with(json!({"model_type": "llama", "quantization_config": q}), None);
    (m.precision, m.quantisation.notes)
}

fn read_with(config: Value, beside: Option<Value>) -> Model {
    let beside = beside.map(|b| b.to_string());
    parse("config.json", &config.to_string(), beside.as_deref(), "x").unwrap_or_else(|p| panic!("{p:?}"))
}

#[test]
fn quantisation_configs() {
    for (q, p) in [
        (json!({"quant_method": "gptq", "bits": 8}), Precision::Int8),
        (json!({"quant_method": "awq", "bits": 4}), Precision::Int4),
        (json!({"quant_method": "bitsandbytes", "load_in_4bit": true}), Precision::Int4),
        (json!({"quant_method": "modelopt", "quant_algo": "NVFP4"}), Precision::Nvfp4),
        (
            json!({"quant_method": "compressed-tensors",
                "config_groups": {"group_0": {"weights": {"type": "float", "num_bits": 8}}}}),
            Precision::Fp8,
        ),
    ] {
        assert_eq!(quantised(&q), (p, vec![]), "{q}");
    }
    let (p, notes) = quantised(&json!({"quant_method": "new"}));
    assert!(p == Precision::Bf16 && notes[0].contains("no known form"));
}

#[test]
fn every_missing_or_wrong_key_is_reported_at_once() {
    let keys: Vec<String> =
        check_config("c", r#"{"hidden_size": "big", "num_experts": 8}"#).into_iter().map(|p| p.key).collect();
    assert_eq!(
        keys,
        [
            "num_hidden_layers",
            "hidden_size",
            "num_attention_heads",
            "vocab_size",
            "moe_intermediate_size",
            "num_experts_per_tok",
            "max_position_embeddings",
        ]
    );
    assert!(check_config("c", "{")[0].message.contains("not JSON"));
    assert_eq!(check_config("c", "[]").len(), 1);
}

#[test]
fn directories_and_the_hub_cache_are_found_and_their_faults_named() {
    let dir = tempfile::tempdir().unwrap();
    let config = json!({"model_type": "llama", "num_hidden_layers": 2, "hidden_size": 64,
        "num_attention_heads": 4, "intermediate_size": 128, "vocab_size": 1000,
        "max_position_embeddings": 2048});
    let snapshot = dir.path().join("models--acme--tiny/snapshots/abc");
    std::fs::create_dir_all(&snapshot).unwrap();
    std::fs::write(snapshot.join("config.json"), config.to_string()).unwrap();
    std::fs::write(snapshot.join("model.safetensors"), [0u8; 1000]).unwrap();
    let catalog = Catalog::load(None).unwrap().with_hub_cache(Some(dir.path().to_owned()));
    let m = catalog.find("acme/tiny").unwrap();
    assert_eq!((m.id.as_str(), m.layers, m.weights_gb), ("acme/tiny", 2, Some(1e-6)));
    let local = catalog.find(snapshot.to_str().unwrap()).unwrap();
    assert_eq!(local.hidden, 64);

    let empty = dir.path().join("models--acme--tiny");
    let e = catalog.find(empty.to_str().unwrap()).unwrap_err();
    assert!(e.kind.exit_code() == 2 && e.to_string().contains("no readable config.json"), "{e}");
    std::fs::write(snapshot.join("config.json"), "{\"a\": 1}").unwrap();
    let e = catalog.find(snapshot.to_str().unwrap()).unwrap_err();
    assert!(e.problems.len() >= 5, "{e}");
    let e = catalog.find("./no/such/dir").unwrap_err();
    assert!(e.to_string().contains("does not exist"), "{e}");
}

#[test]
fn no_layers_are_a_problem_however_they_are_written() {
    for none in [json!(0), json!(0.0), json!(-0.0)] {
        let config = json!({"model_type": "llama", "num_hidden_layers": none, "hidden_size": 64,
            "num_attention_heads": 4, "intermediate_size": 64, "vocab_size": 100, "max_position_embeddings": 64});
        let problems = parse("c", &config.to_string(), None, "x").unwrap_err();
        assert!(problems.iter().any(|p| p.key.contains("num_hidden_layers")), "{problems:?}");
    }
}

/// Values that a config.json may hold by mistake or malice.
fn any_value() -> impl Strategy<Value = Value> {
    prop_oneof![
        3 => (0u64..70_000).prop_map(Value::from),
        1 => any::<u64>().prop_map(Value::from),
        1 => any::<i64>().prop_map(Value::from),
        1 => any::<f64>().prop_map(|x| json!(x)),
        1 => Just(Value::Null),
        1 => any::<bool>().prop_map(Value::from),
        1 => Just(json!("x")),
        1 => Just(json!([1, "sliding_attention", null])),
        1 => Just(json!({"quant_method": "compressed-tensors", "config_groups": {}})),
    ]
}

const KEYS: &[&str] = &[
    "num_hidden_layers",
    "hidden_size",
    "num_attention_heads",
    "num_key_value_heads",
    "head_dim",
    "intermediate_size",
    "moe_intermediate_size",
    "vocab_size",
    "max_position_embeddings",
    "num_experts",
    "n_shared_experts",
    "num_experts_per_tok",
    "first_k_dense_replace",
    "decoder_sparse_step",
    "kv_lora_rank",
    "q_lora_rank",
    "qk_rope_head_dim",
    "qk_nope_head_dim",
    "v_head_dim",
    "sliding_window",
    "sliding_window_pattern",
    "max_window_layers",
    "layer_types",
    "quantization_config",
];

proptest! {
    #![proptest_config(ProptestConfig { cases: 300, failure_persistence: None, ..ProptestConfig::default() })]

    #[test]
    fn no_config_makes_it_panic(
        values in proptest::collection::vec(any_value(), KEYS.len()),
        good in proptest::collection::vec(1u64..200, KEYS.len()),
        keep in proptest::collection::vec(0u8..8, KEYS.len()),
        kind in prop_oneof![Just("llama"), Just("gemma3"), Just("llama4"), Just("gpt2"), Just("qwen3_moe")],
    ) {
        let mut config = serde_json::Map::from_iter([("model_type".to_owned(), json!(kind))]);
        for (i, key) in KEYS.iter().enumerate() {
            match keep[i] {
                0 => {}
                1 => { config.insert((*key).to_owned(), values[i].clone()); }
                _ => { config.insert((*key).to_owned(), json!(good[i])); }
            }
        }
        if let Ok(m) = parse("c", &Value::Object(config).to_string(), None, "x") {
            prop_assert!(m.params().total() >= m.params_active());
            prop_assert!(m.weight_bytes() > 0);
            prop_assert!(m.kv_per_token(2.0).bytes(100) > 0.0);
            prop_assert!(m.expected_experts(8.0) <= f64::from(m.moe.as_ref().map_or(0, |e| e.experts)) + 1e-6);
        }
    }
}
