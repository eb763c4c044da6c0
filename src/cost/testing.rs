//! Models and devices for the tests of this room, from their public config.json and data sheets.

use crate::hardware::Hardware;
use crate::model::Model;

fn model(json: &str) -> Model {
    serde_json::from_str(json).expect("a model literal")
}

pub(crate) fn llama_8b() -> Model {
    model(
        r#"{"id":"llama-3.1-8b","layers":32,"hidden":4096,"q_heads":32,"kv_heads":8,"head_dim":128,"ffn":14336,
            "vocab":128256,"max_position":131072,"precision":"bf16","source":"config.json"}"#,
    )
}

pub(crate) fn gpt_oss_20b() -> Model {
    model(
        r#"{"id":"gpt-oss-20b","layers":24,"hidden":2880,"q_heads":64,"kv_heads":8,"head_dim":64,"ffn":2880,
            "vocab":201088,"max_position":131072,"precision":"mxfp4","attention_sinks":true,
            "moe":{"experts":32,"top_k":4,"expert_ffn":2880},"sliding":{"window":128,"layers":12},
            "source":"config.json"}"#,
    )
}

pub(crate) fn a100() -> Hardware {
    serde_json::from_str(
        r#"{"id":"a100-sxm-80gb","name":"NVIDIA A100-SXM4-80GB","vendor":"nvidia","sm":80,"memory_gb":80,"memory_mib":81920,
            "bandwidth_gbps":2039,"bf16_tflops":312,"int8_tops":624,"link_gbps":300,"source":"data sheet"}"#,
    )
    .expect("a hardware literal")
}

pub(crate) fn rtx_4090() -> Hardware {
    serde_json::from_str(
        r#"{"id":"rtx-4090-24gb","name":"NVIDIA GeForce RTX 4090","vendor":"nvidia","sm":89,"memory_gb":24,"memory_mib":24564,
            "bandwidth_gbps":1008,"bf16_tflops":165.2,"fp8_tflops":330.3,"link_gbps":32,"source":"data sheet"}"#,
    )
    .expect("a hardware literal")
}
