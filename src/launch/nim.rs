//! NVIDIA NIM: containers whose environment is the launch.
//!
//! From release 2 on a NIM for LLMs serves with vLLM and hands the words behind the image on to it. Before that a profile picks
//! the engine and the GPUs, by what the machine has, so that only a profile with a readable name tells them.
//! Source: NVIDIA's documents «Configure your NIM» (1.12) and «Environment variables» (2.1).

use super::Version;
use std::collections::BTreeMap;

/// Variables that are flags of vLLM.
const FLAGS: [(&str, &str); 6] = [
    ("NIM_TENSOR_PARALLEL_SIZE", "--tensor-parallel-size"),
    ("NIM_PIPELINE_PARALLEL_SIZE", "--pipeline-parallel-size"),
    ("NIM_MAX_MODEL_LEN", "--max-model-len"),
    ("NIM_SERVED_MODEL_NAME", "--served-model-name"),
    ("NIM_KVCACHE_PERCENT", "--gpu-memory-utilization"),
    ("NIM_MAX_NUM_SEQS", "--max-num-seqs"),
];

/// How a launch says that it is a NIM whose engine is not told.
pub(super) const UNTOLD: &str = "is an NVIDIA NIM whose profile picks the engine and the GPUs";

/// Whether an image is a NIM.
pub(super) fn is_nim(image: &str) -> bool {
    image.contains("nvcr.io/nim/") || image.starts_with("nim/")
}

/// The engine's words of a NIM, or what is to be told where its engine is not known.
pub(super) fn words(
    image: &str,
    release: Option<&Version>,
    rest: &[String],
    env: &BTreeMap<String, String>,
) -> Result<Vec<String>, String> {
    let profile = env.get("NIM_MODEL_PROFILE").map_or("", String::as_str);
    let named = |engine: &str| profile.starts_with(engine);
    let second = release.is_some_and(|v| v.0 >= 2);
    let mut out: Vec<String> = match () {
        () if named("vllm") || second => vec!["vllm".into(), "serve".into()],
        () if named("tensorrt_llm") => vec!["trtllm-serve".into()],
        () if named("sglang") => {
            ["python3", "-m", "sglang.launch_server", "--model-path"].map(str::to_owned).to_vec()
        }
        () => {
            return Err(format!(
                "{image} {UNTOLD}, which the command does not name; give the engine's own command (the container's log has it)"
            ));
        }
    };
    let model = env
        .get("NIM_MODEL_PATH")
        .or_else(|| env.get("NIM_MODEL_NAME"))
        .map(|m| m.trim_start_matches("hf://").to_owned());
    out.push(model.unwrap_or_else(|| own_model(image).to_owned()));
    for (name, flag) in FLAGS {
        out.extend(env.get(name).map(|v| format!("{flag}={v}")));
    }
    // `tensorrt_llm-h100-fp8-tp2-pp1-latency`: sizes that no variable gives.
    for (part, name, flag) in
        [("tp", FLAGS[0].0, "--tensor-parallel-size"), ("pp", FLAGS[1].0, "--pipeline-parallel-size")]
    {
        let size = profile.split('-').find_map(|w| w.strip_prefix(part)?.parse::<u32>().ok());
        let flag = if named("tensorrt_llm") { format!("--{part}_size") } else { flag.to_owned() };
        out.extend(size.filter(|_| !env.contains_key(name)).map(|n| format!("{flag}={n}")));
    }
    if env.get("NIM_ENABLE_KV_CACHE_REUSE").is_some_and(|v| v == "1") {
        out.extend(second.then(|| "--enable-prefix-caching".to_owned()));
    }
    out.extend(env.get("NIM_PASSTHROUGH_ARGS").into_iter().flat_map(|a| super::words::split(a).0));
    out.extend(rest.iter().filter(|w| *w != "nim-serve").cloned());
    Ok(out)
}

/// `nvcr.io/nim/meta/llama-3.1-8b-instruct:1.3.0` serves meta/llama-3.1-8b-instruct.
fn own_model(image: &str) -> &str {
    let path = image.split_once("nim/").map_or(image, |(_, path)| path);
    path.split(':').next().unwrap_or(path)
}

#[cfg(test)]
mod tests {
    use crate::launch::{EngineKind, GpuLayout, Launch};

    #[test]
    fn a_nim_is_read_by_its_environment_or_refused_by_name() {
        let run = "docker run --gpus all --shm-size=16GB -e NGC_API_KEY=k -u $(id -u) -p 8000:8000";
        let l = Launch::parse(&format!(
            "{run} -e NIM_TENSOR_PARALLEL_SIZE=4 -e NIM_MAX_MODEL_LEN=8192 nvcr.io/nim/meta/llama-3.1-70b-instruct:2.0.1 --max-num-seqs 64"
        ));
        assert_eq!(
            (l.engine, l.model.as_deref()),
            (Some(EngineKind::Vllm), Some("meta/llama-3.1-70b-instruct"))
        );
        assert_eq!(
            (GpuLayout::of(&l).gpus(), l.integer(&["max-model-len"]), l.integer(&["max-num-seqs"])),
            (4, Some(8192), Some(64))
        );
        // The tag is the release of the NIM, not that of the engine in it.
        assert_eq!(l.version, None);
        let l = Launch::parse(&format!(
            "{run} -e NIM_MODEL_PROFILE=tensorrt_llm-h100-fp8-tp2-pp1-latency nvcr.io/nim/meta/llama3-70b-instruct:1.0.0"
        ));
        assert_eq!((l.engine, GpuLayout::of(&l).gpus()), (Some(EngineKind::Trtllm), 2));
        let l = Launch::parse(&format!("{run} nvcr.io/nim/meta/llama3-8b-instruct:1.0.0"));
        assert_eq!((l.engine, GpuLayout::of(&l).known), (None, false));
        assert!(l.problems.iter().any(|p| p.contains("NVIDIA NIM")), "{:?}", l.problems);
    }
}
