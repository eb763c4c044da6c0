//! Published config.json files (shortened) with what is true of them: parameters, KV bytes a token, or why they are
//! refused. Sources of the truth: counts of the modules that transformers builds, model cards.

use llm_dyno::model::{Catalog, Model, Precision};

fn read(name: &str) -> Result<Model, String> {
    let dir = format!("{}/tests/models/{name}", env!("CARGO_MANIFEST_DIR"));
    Catalog::load(None).unwrap().with_hub_cache(None).find(&dir).map_err(|e| e.to_string())
}

/// Case, G parameters of the language model, KV bytes a token (16 bits) in full and in local layers.
const TRUE: &[(&str, f64, f64, f64)] = &[
    ("kv-r1-distill-14b-4090x2", 14.77, 196_608.0, 0.0),
    ("nemotron3-super-120b", 120.67, 8_192.0, 0.0),
    ("nemotron3-ultra-550b", 549.3, 12_288.0, 0.0),
    ("qwen3-next-80b", 79.67, 24_576.0, 0.0),
    ("qwen3-32b-fp8-static", 32.76, 262_144.0, 0.0),
    ("kimi-k25-int4-ignore", 1026.4, 70_272.0, 0.0),
    ("gemma4-26b-a4b", 25.2, 20_480.0, 204_800.0),
    ("gemma4-e2b", 5.08, 40_960.0, 102_400.0),
    ("deepseek-v4-flash", 284.3, 3_850.25, 1_168.0),
    ("glm5-dsa", 743.9, 100_152.0, 0.0),
    ("mixtral-8x7b", 46.7, 131_072.0, 0.0),
    ("jamba-v01", 51.57, 16_384.0, 0.0),
    ("zamba2-2.7b", 2.48, 184_320.0, 0.0),
    ("falcon-h1", 8.51, 131_072.0, 0.0),
    ("granite4-h-1b", 1.462, 8_192.0, 0.0),
    ("lfm2", 2.705, 81_920.0, 0.0),
    ("longcat-flash", 560.7, 64_512.0, 0.0),
    ("ernie45-21b-a3b", 21.83, 57_344.0, 0.0),
    ("gpt-bigcode-mqa", 1.124, 12_288.0, 0.0),
    ("llava15-sparse", 6.74, 524_288.0, 0.0),
    ("mistral-small-4", 118.97, 23_040.0, 0.0),
    ("minicpm3-4b", 4.074, 35_712.0, 0.0),
    ("phi-2-null-inner", 2.779, 327_680.0, 0.0),
    // Drawn afterwards, from published files; counted by transformers 5.19 on the meta device (EXAONE-4 by its card).
    ("deepseek-v2-lite", 15.706, 31_104.0, 0.0),
    ("moonlight-16b-a3b", 15.960, 31_104.0, 0.0),
    ("qwen15-moe-a27b", 14.316, 196_608.0, 0.0),
    // Its window is as long as its context.
    ("phi35-moe", 41.873, 0.0, 131_072.0),
    ("minimax-m27", 228.69, 253_952.0, 0.0),
    ("exaone4-32b", 32.003, 65_536.0, 196_608.0),
    ("exaone4-1.2b", 1.279, 61_440.0, 0.0),
    ("glm4-9b-0414", 9.400, 40_960.0, 0.0),
    ("olmoe-1b-7b", 6.919, 131_072.0, 0.0),
    ("granite4-h-small", 32.207, 16_384.0, 0.0),
    ("minimax-m1", 456.09, 40_960.0, 0.0),
    ("falcon-h1-7b", 7.586, 45_056.0, 0.0),
    // A third draw, counted by transformers 5.24 (Hunyuan-7B by the sum of its matrices); their sizes as published.
    ("smollm3-3b", 3.0751, 73_728.0, 0.0),
    ("hunyuan-7b", 8.0295, 131_072.0, 0.0),
    ("dots-llm1-mlx4", 142.7744, 1_015_808.0, 0.0),
    ("nemotron35-lightning-nvfp4", 31.5779, 6_144.0, 0.0),
    ("qwen36-27b-nvfp4", 26.896, 65_536.0, 0.0),
    ("qwen36-35b-nvfp4", 34.6606, 20_480.0, 0.0),
    ("minimax-m3-nvfp4", 426.1746, 122_880.0, 0.0),
    ("glm52-nvfp4", 743.377, 92_628.0, 0.0),
    ("command-a", 111.0576, 65_536.0, 196_608.0),
    ("olmo3-32b", 32.2335, 65_536.0, 196_608.0),
    ("afm-4.5b", 4.6192, 73_728.0, 0.0),
    ("bamba-9b", 9.7802, 12_288.0, 0.0),
    ("starcoder2-7b", 7.1739, 0.0, 65_536.0),
    ("apertus-8b", 8.0533, 131_072.0, 0.0),
    // A fourth draw.
    ("qwen35-122b-nvfp4", 122.1115, 24_576.0, 0.0),
    ("glm5-nvfp4", 743.9112, 100_152.0, 0.0),
    ("kimi-k27-nvfp4", 1026.4, 70_272.0, 0.0),
    ("qwen2-57b-a14b", 57.4087, 57_344.0, 0.0),
    ("olmo2-13b", 13.7162, 819_200.0, 0.0),
    ("command-r7b", 8.028, 32_768.0, 98_304.0),
    ("gemma3-270m", 0.2681, 3_072.0, 15_360.0),
    ("deepseek-v2.5", 235.7414, 69_120.0, 0.0),
    // A fifth draw; InternVL's language model is Qwen3-8B, whose head is not tied.
    ("falcon-h1-34b", 33.6422, 147_456.0, 0.0),
    ("glm45v", 106.8522, 188_416.0, 0.0),
    ("granite31-3b-a800m", 3.2988, 65_536.0, 0.0),
    ("internvl35-8b-hf", 8.1907, 147_456.0, 0.0),
    ("jamba-large-16", 398.5551, 36_864.0, 0.0),
    ("llama32-3b-awq-mlx8", 3.2127, 114_688.0, 0.0),
    ("mistral-small-32", 22.9013, 163_840.0, 0.0),
    ("stablelm2-12b", 12.1432, 204_800.0, 0.0),
    // A sixth draw, counted by their matrices.
    ("grok1-mixtral", 316.489, 262_144.0, 0.0),
    ("gemma2-9b", 9.2417, 172_032.0, 172_032.0),
    ("phi-1.5", 1.4183, 196_608.0, 0.0),
    ("llama-gqa8", 5.9331, 131_072.0, 0.0),
    // An eighth draw, counted by their matrices.
    ("llama31-70b", 70.5537, 327_680.0, 0.0),
    ("qwen3-30b-a3b-fp8", 30.5321, 98_304.0, 0.0),
    ("qwen3-vl-32b", 32.7621, 262_144.0, 0.0),
    ("qwen35-397b", 396.3464, 30_720.0, 0.0),
    ("kimi-k2", 1026.4082, 70_272.0, 0.0),
    ("nemotron-super-49b", 49.8671, 200_704.0, 0.0),
    ("nemotron-h-56b", 56.3244, 40_960.0, 0.0),
    ("gemma4-31b-nvfp4", 30.6973, 81_920.0, 819_200.0),
    // A ninth draw.
    ("minimax-m25", 228.6898, 253_952.0, 0.0),
    ("llama4-scout", 107.7699, 49_152.0, 147_456.0),
    ("qwen35-27b", 26.896, 65_536.0, 0.0),
    // An eleventh draw: the authors' own classes.
    ("qwen-7b", 7.7213, 524_288.0, 0.0),
    ("minicpm3-4b-own", 4.0739, 35_712.0, 0.0),
    ("chatglm2-6b", 6.2436, 28_672.0, 0.0),
    // A twelfth draw; the text's part without the towers.
    ("qwen2-vl-2b", 1.5437, 28_672.0, 0.0),
    ("llama32-11b-vision", 9.7753, 131_072.0, 0.0),
    ("lfm25-vl-1.6b", 1.1703, 12_288.0, 0.0),
    ("mimo-v2-flash", 308.7788, 23_040.0, 199_680.0),
    // Two further draws, counted by their matrices.
    ("opt-350m", 0.3312, 98_304.0, 0.0),
    ("mpt-7b", 6.6493, 524_288.0, 0.0),
    ("h2ogpt-6.9b", 6.8573, 524_288.0, 0.0),
    ("phi3-small", 7.3923, 131_072.0, 0.0),
    ("hunyuan-a13b", 80.3932, 131_072.0, 0.0),
    ("ling-mini", 16.2556, 40_960.0, 0.0),
    ("kimi-linear", 49.1227, 8_064.0, 0.0),
    ("falcon-mamba-7b", 7.2727, 0.0, 0.0),
    ("deepseek-vl2-tiny", 2.9347, 61_440.0, 0.0),
    ("glm53-int4-int8", 743.377, 92_628.0, 0.0),
    ("falcon-7b-old", 6.9217, 8_192.0, 0.0),
    ("falcon-40b", 41.3033, 122_880.0, 0.0),
    ("dbrx", 131.5965, 163_840.0, 0.0),
    ("minicpm-moe", 13.8733, 368_640.0, 0.0),
    ("glm47-flash", 29.9434, 54_144.0, 0.0),
    ("mamba-codestral", 7.2854, 0.0, 0.0),
    ("nemotron-nano-9b", 8.8882, 16_384.0, 0.0),
    ("lfm2-8b-a1b", 8.3399, 12_288.0, 0.0),
    ("laguna-xs2-fp8", 33.4426, 40_960.0, 122_880.0),
    ("deepseek-v32-nvfp4", 671.8779, 78_324.0, 0.0),
    ("kimi-k3", 2779.4845, 27_648.0, 0.0),
    ("qwen35-35b-gptq", 34.6606, 20_480.0, 0.0),
    // An eighteenth draw.
    ("phi-4", 14.6595, 204_800.0, 0.0),
    ("openpangu-7b", 8.0309, 139_264.0, 0.0),
    ("mimo-7b", 7.6226, 147_456.0, 0.0),
    ("exaone45-33b", 32.5275, 65_536.0, 196_608.0),
    ("phi-mini-moe", 7.6476, 0.0, 131_072.0),
    ("youtu-llm-2b", 1.9616, 36_864.0, 0.0),
    ("olmo-hybrid-7b", 7.4309, 122_880.0, 0.0),
    ("molmo-7b-nf4", 7.6161, 57_344.0, 0.0),
    ("qwen-vl-chat-int4", 7.7213, 524_288.0, 0.0),
];

#[test]
fn parameters_and_kv_are_those_of_the_built_models() {
    for (name, giga, full, local) in TRUE {
        let m = read(name).unwrap_or_else(|e| panic!("{name}: {e}"));
        let got = m.params().total() as f64 / 1e9;
        assert!((got / giga - 1.0).abs() < 0.005, "{name}: {got} G parameters, not {giga}");
        let kv = m.kv_per_token(2.0);
        assert_eq!((kv.full, kv.sliding), (*full, *local), "{name}");
    }
}

#[test]
fn quantisation_is_read_where_it_stands() {
    let gib = |m: &Model| m.weight_bytes() as f64 / f64::from(1 << 30);
    let fp8 = read("qwen3-32b-fp8-static").unwrap();
    assert_eq!((fp8.precision, fp8.quantisation.kv_cache), (Precision::Fp8, Some(Precision::Fp8)));
    assert!((gib(&fp8) - 32.0).abs() < 0.2, "{}", gib(&fp8));
    // 594 GB: INT4 experts, 16 bits in attention, shared experts and the dense layer.
    let kimi = read("kimi-k25-int4-ignore").unwrap();
    let bytes = kimi.weight_bytes() as f64;
    assert!((bytes / 594e9 - 1.0).abs() < 0.01, "{bytes}");
    let each = kimi.part_bytes();
    assert_eq!(
        (each.attention, each.shared_experts, each.dense_ffn, each.experts),
        (2.0, 2.0, 2.0, 4.5 / 8.0)
    );
}

/// Weights by groups with targets, lists of single matrices and `dynamic`; GiB of the language model, computed matrix by matrix.
#[test]
fn several_formats_in_one_checkpoint_are_each_counted() {
    for (name, wanted) in [
        ("glm53-int4-int8", 379.5),
        ("deepseek-v32-nvfp4", 361.43),
        ("qwen35-35b-gptq", 20.15),
        ("laguna-xs2-fp8", 32.88),
        ("kimi-k3", 1452.8),
    ] {
        let parts = read(name).unwrap().weight_parts();
        let gib = parts.total() as f64 / f64::from(1 << 30);
        assert!((gib / wanted - 1.0).abs() < 0.015, "{name}: {gib} GiB, not {wanted}");
    }
}

#[test]
fn states_stand_beside_the_cache() {
    let next = read("qwen3-next-80b").unwrap();
    assert_eq!((next.state_layers(), next.full_layers()), (36, 12));
    assert!(next.state_bytes(2.0) > 30e6);
    let hybrid = read("falcon-h1").unwrap();
    assert_eq!((hybrid.state_layers(), hybrid.full_layers(), hybrid.layers), (32, 32, 32));
}

#[test]
fn models_that_do_not_generate_are_refused_as_such() {
    let e = read("nomic-embed").unwrap_err();
    assert!(e.contains("encoder") && e.contains("NomicBertModel"), "{e}");
    let e = read("t5-whisper").unwrap_err();
    assert!(e.contains("encoder-decoder") && e.contains("Whisper"), "{e}");
    let e = read("clip-vit-b32").unwrap_err();
    assert!(e.contains("generates nothing") && e.contains("CLIPModel"), "{e}");
}
