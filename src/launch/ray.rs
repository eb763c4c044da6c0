//! Ray Serve's `LLMConfig`: the engine's flags as keyword arguments of a Python program, or as a document.

use super::python::{Reader, assigned};
use serde_json::{Map, Value};

/// The command that a mapping with `model_loading_config` and `engine_kwargs` stands for.
pub(super) fn command(config: &Map<String, Value>) -> Option<Vec<String>> {
    let model = config.get("model_loading_config")?;
    let args = config.get("engine_kwargs").and_then(Value::as_object);
    let given = |name: &str| args.and_then(|a| a.get(name));
    let name = |v: &Value| v.as_str().map(str::to_owned);
    // `model_source` may be a table of a bucket.
    let own = ["model_path", "model"].iter().find_map(|k| name(given(k)?));
    let model = own.or_else(|| name(model.get("model_source")?)).or_else(|| name(model.get("model_id")?))?;
    let engine = config.get("llm_engine").and_then(Value::as_str).unwrap_or_default();
    let sglang =
        engine.eq_ignore_ascii_case("sglang") || given("tp_size").is_some() || given("model_path").is_some();
    let program: &[&str] =
        if sglang { &["python3", "-m", "sglang.launch_server", "--model-path"] } else { &["vllm", "serve"] };
    let mut out: Vec<String> = program.iter().map(|w| (*w).to_owned()).collect();
    out.push(model);
    for (key, value) in args.into_iter().flatten().filter(|(k, _)| *k != "model_path" && *k != "model") {
        let flag = key.replace('_', "-");
        match value {
            Value::Null => {}
            Value::Bool(true) => out.push(format!("--{flag}")),
            Value::Bool(false) => out.push(format!("--no-{flag}")),
            Value::String(text) => out.push(format!("--{flag}={text}")),
            other => out.push(format!("--{flag}={other}")),
        }
    }
    Some(out)
}

/// How many replicas a configuration starts at first.
pub(super) fn replicas(config: &Map<String, Value>) -> Option<u64> {
    let deployment = config.get("deployment_config")?;
    let count = |v: &Value| v.as_u64();
    deployment
        .get("num_replicas")
        .and_then(count)
        .or_else(|| deployment.get("autoscaling_config")?.get("min_replicas").and_then(count))
}

/// The words of a Python program that makes an `LLMConfig`, and what is to be told of it.
pub(super) fn program(text: &str) -> Option<(Vec<String>, Vec<String>)> {
    let calls: Vec<usize> = text.match_indices("LLMConfig(").map(|(i, m)| i + m.len()).collect();
    let names = assigned(text);
    let configs: Vec<Map<String, Value>> = calls
        .iter()
        .filter_map(|&at| Reader::new(&text[at..], &names).entries(')'))
        .filter(|m| m.contains_key("model_loading_config"))
        .collect();
    let config = configs.first()?;
    let mut problems = Vec::new();
    if let Some(n) = replicas(config).filter(|n| *n > 1) {
        problems.push(format!("the program starts {n} replicas; one of them is read"));
    }
    if configs.len() > 1 {
        problems
            .push(format!("{} LLMConfigs of the program start an engine; the first is read", configs.len()));
    }
    let mut line = command(config)?;
    if let Some(Value::Object(env)) = config.get("runtime_env").and_then(|r| r.get("env_vars")) {
        let set = env.iter().filter_map(|(k, v)| Some(format!("{k}={}", v.as_str()?)));
        line.splice(0..0, set);
    }
    Some((line, problems))
}

#[cfg(test)]
mod tests {
    use crate::launch::{EngineKind, GpuLayout, Launch};

    #[test]
    fn a_program_of_ray_serve_is_read() {
        let text = "import os\nfrom ray.serve.llm import LLMConfig, build_openai_app\n\nTP = 4\n\nllm_config = LLMConfig(\n    \
                    model_loading_config=dict(\n        model_id=\"my-llama\",\n        model_source=\"unsloth/Llama\",  # ungated\n    ),\n    \
                    accelerator_type=\"A10G\",\n    deployment_config={\"autoscaling_config\": {\"min_replicas\": 2}},\n    \
                    ### token=os.environ.get(\"HF_TOKEN\")\n    engine_kwargs=dict(\n        max_model_len=8_192,\n        \
                    tensor_parallel_size=TP, # GPUs\n        enable_prefix_caching=False,\n        hf_token=os.environ[\"HF_TOKEN\"],\n        \
                    pipeline_parallel_size=int(os.environ.get(\"PP\", \"1\")),\n    ),\n)\napp = build_openai_app({\"llm_configs\": [llm_config]})\n";
        let l = Launch::parse(text);
        assert_eq!((l.engine, l.model.as_deref()), (Some(EngineKind::Vllm), Some("unsloth/Llama")), "{l:?}");
        assert_eq!(
            (l.integer(&["tensor-parallel-size"]), l.integer(&["max-model-len"])),
            (Some(4), Some(8192))
        );
        assert_eq!((l.switch(&["enable-prefix-caching"]), GpuLayout::of(&l).known), (Some(false), false));
        assert!(l.problems.iter().any(|p| p.contains("2 replicas")), "{:?}", l.problems);
    }

    #[test]
    fn a_document_of_ray_serve_is_read() {
        let text = "applications:\n- args:\n    llm_configs:\n    - model_loading_config:\n        model_id: m\n        model_source: Qwen/Qwen2.5-7B\n      \
                    engine_kwargs:\n        tensor_parallel_size: 2\n        enable_chunked_prefill: true\n      deployment_config:\n        num_replicas: 3\n  \
                    import_path: ray.serve.llm:build_openai_app\n";
        let l = Launch::parse(text);
        assert_eq!((l.model.as_deref(), GpuLayout::of(&l).gpus()), (Some("Qwen/Qwen2.5-7B"), 2), "{l:?}");
        assert!(l.problems.iter().any(|p| p.contains("3 replicas")), "{:?}", l.problems);
    }
}
