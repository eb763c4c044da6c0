//! dstack's services: the environment of the whole is that of each of its groups, and the number of GPUs is a variable
//! (`DSTACK_GPUS_NUM`) that follows from the resources (dstack.ai, "Environment variables" and "Resources").

use super::part::{environment, scalar};
use serde_json::{Map, Value};

/// Variables that a group of a service has besides those that it names itself; `outer` is the service.
pub(super) fn variables(
    map: &Map<String, Value>,
    outer: Option<&Map<String, Value>>,
) -> Vec<(String, String)> {
    let Some(outer) = outer else { return Vec::new() };
    let mut out = if std::ptr::eq(map, outer) { Vec::new() } else { environment(outer) };
    let gpu = [map, outer].into_iter().find_map(|m| m.get("resources")?.get("gpu"));
    out.extend(gpu.and_then(count).map(|n| ("DSTACK_GPUS_NUM".to_owned(), n.to_string())));
    out
}

/// Whether a table is a configuration of dstack.
pub(super) fn is_one(map: &Map<String, Value>) -> bool {
    let kind = map.get("type").and_then(Value::as_str).unwrap_or_default();
    ["service", "task", "dev-environment"].contains(&kind)
}

/// GPUs of `H100:8`, `24GB:2`, `MI300X:192GB:4`, `H100`, `8` and `{name: H100, count: 8}`; of a range (`4..8`) the least.
fn count(gpu: &Value) -> Option<u64> {
    let least = |text: &str| text.split("..").next()?.parse::<u64>().ok();
    match gpu {
        Value::Number(n) => n.as_u64(),
        Value::Object(parts) => parts.get("count").map_or(Some(1), |n| least(&scalar(n)?)),
        Value::String(text) => {
            let counts: Vec<u64> = text.split(':').filter_map(least).collect();
            Some(counts.last().copied().unwrap_or(1))
        }
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use crate::launch::testing::read;
    use crate::launch::{EngineKind, Launch};

    #[test]
    fn the_number_of_gpus_and_the_environment_are_those_of_the_service() {
        let one = "type: service\nname: x\nenv:\n  - HF_TOKEN\n  - MODEL=org/m\nimage: rocm/vllm-dev:x\ncommands:\n  - |\n    vllm serve $MODEL \\\n      \
                   --tensor-parallel-size $DSTACK_GPUS_NUM\nresources:\n  gpu: MI300X:8\n  shm_size: 32GB\n";
        assert_eq!(read(one), (Some(EngineKind::Vllm), "org/m".into(), 8));
        for (gpu, n) in [("H100", 1), ("24GB:2", 2), ("H100:80GB:4", 4), ("{name: H100, count: 2..4}", 2)] {
            assert_eq!(read(&one.replace("MI300X:8", gpu)).2, n, "{gpu}");
        }
        let apart = "type: service\nname: x\nenv:\n  - MODEL_ID=org/m\nreplicas:\n  - count: 1\n    commands:\n      - smg launch --port 30000\n  - count: 1..2\n    \
                     commands:\n      - python3 -m sglang.launch_server --model $MODEL_ID --disaggregation-mode prefill --tp $DSTACK_GPUS_NUM\n    resources:\n      \
                     gpu: MI300X:8\n  - count: 2\n    commands:\n      - python3 -m sglang.launch_server --model $MODEL_ID --disaggregation-mode decode --tp $DSTACK_GPUS_NUM\n    \
                     resources:\n      gpu: MI300X:8\n";
        assert_eq!(read(apart), (Some(EngineKind::Sglang), "org/m".into(), 8));
        let told = Launch::parse(apart).problems;
        assert!(told.iter().any(|p| p.contains("24 GPUs")), "{told:?}");
    }
}
