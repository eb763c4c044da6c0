//! The log, in the wording and with the prefixes of the release that is played.

use crate::args::Launch;
use crate::script::{Flavour, Phase, Script};
use std::io::Write;
use std::time::{SystemTime, UNIX_EPOCH};

/// Hours, minutes and seconds of the day.
fn clock() -> String {
    let s = SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs()) % 86400;
    format!("{:02}:{:02}:{:02}", s / 3600, s / 60 % 60, s % 60)
}

/// Writes lines as they are.
pub(crate) fn raw(text: &str) {
    let mut out = std::io::stdout().lock();
    let _ = writeln!(out, "{text}");
    let _ = out.flush();
}

fn front(script: &Script, text: &str) {
    match script.flavour {
        Flavour::Vllm => {
            raw(&format!("(APIServer pid={}) INFO 11-22 {} [api.py:10] {text}", std::process::id(), clock()));
        }
        Flavour::Sglang => raw(&format!("[2026-11-22 {}] {text}", clock())),
        Flavour::Trtllm => raw(&format!("[11/22/2026-{}] [TRT-LLM] [I] {text}", clock())),
    }
}

fn core(script: &Script, text: &str) {
    match script.flavour {
        Flavour::Vllm => {
            let name = if script.version() < (0, 12, 0) { "EngineCore_DP0" } else { "EngineCore" };
            let pid = std::process::id() + 1;
            raw(&format!("({name} pid={pid}) INFO 11-22 {} [core.py:77] {text}", clock()));
        }
        Flavour::Sglang => raw(&format!("[2026-11-22 {}] {text}", clock())),
        Flavour::Trtllm => raw(&format!("[TensorRT-LLM][INFO] {text}")),
    }
}

/// What the engine says when it enters a phase.
pub(crate) fn enter(script: &Script, launch: &Launch, phase: Phase) {
    match script.flavour {
        Flavour::Vllm => vllm(script, launch, phase),
        Flavour::Sglang => sglang(script, launch, phase),
        Flavour::Trtllm => trtllm(script, launch, phase),
    }
    for line in script.log.iter().filter(|l| l.phase == phase) {
        raw(&line.text);
    }
}

fn vllm(script: &Script, launch: &Launch, phase: Phase) {
    let v = script.version();
    match phase {
        Phase::Start => {
            front(script, &format!("vLLM API server version {}", script.version));
            front(script, "Resolved architecture: LlamaForCausalLM");
            front(script, &format!("Using max model len {}", launch.max_len));
            let batched = launch.number("max-num-batched-tokens").unwrap_or(2048.0);
            front(script, &format!("Chunked prefill is enabled with max_num_batched_tokens={batched}."));
            core(script, &format!("Initializing a V1 LLM engine (v{}) with config: ...", script.version));
        }
        Phase::Load => core(script, "Starting to load model ..."),
        Phase::KvCache => {
            core(script, "Loading weights took 0.02 seconds");
            let word = if v < (0, 20, 0) { "GiB and" } else { "GiB memory and" };
            core(script, &format!("Model loading took 12.8000 {word} 0.040000 seconds"));
            core(script, "Available KV cache memory: 40.00 GiB");
        }
        Phase::Warmup => {
            let tokens = thousands(script.kv_tokens);
            let most = script.kv_tokens as f64 / f64::from(launch.max_len);
            let room = format!(
                "Maximum concurrency for {} tokens per request: {most:.2}x",
                thousands(launch.max_len.into())
            );
            if v < (0, 28, 0) {
                core(script, &format!("GPU KV cache size: {tokens} tokens"));
                core(script, &room);
            } else {
                core(script, &format!("GPU KV cache size: {tokens} tokens, {room}"));
            }
            core(script, "Graph capturing finished in 0.01 secs, took 0.10 GiB");
            let took = if v < (0, 20, 0) { "took 0.05 seconds" } else { "took 0.05 s (compilation: 0.00 s)" };
            core(script, &format!("init engine (profile, create kv cache, warmup model) {took}"));
        }
        Phase::Run => {
            let at = format!("http://127.0.0.1:{}", launch.port);
            let what = if v < (0, 18, 0) { "vLLM API server 0" } else { "vLLM server" };
            front(script, &format!("Starting {what} on {at}"));
            raw("INFO:     Application startup complete.");
        }
        Phase::Stop => raw("INFO:     Shutting down"),
    }
}

fn sglang(script: &Script, launch: &Launch, phase: Phase) {
    match phase {
        Phase::Start => {
            front(script, &format!("server_args=ServerArgs(model_path='{}', tp_size=1)", launch.model));
            let word =
                if script.version() < (0, 5, 20) { "not explicitly specified" } else { "not specified" };
            front(script, &format!("Attention backend {word}. Use flashinfer backend by default."));
        }
        Phase::Load => core(script, "Load weight begin. avail mem=78.52 GB"),
        Phase::KvCache => {
            let took = if script.version() < (0, 5, 20) { "" } else { "elapsed=0.04 s, " };
            core(
                script,
                &format!(
                    "Load weight end. {took}type=LlamaForCausalLM, dtype=torch.bfloat16, avail mem=65.10 GB, mem usage=13.42 GB."
                ),
            );
            core(script, "Using KV cache dtype: torch.bfloat16");
        }
        Phase::Warmup => {
            core(script, "Memory pool end. avail mem=8.11 GB");
            core(script, "Capture cuda graph begin. This can take up to several minutes. avail mem=8.01 GB");
            core(
                script,
                "Capture cuda graph end. Time elapsed: 0.01 s. mem usage=0.52 GB. avail mem=7.49 GB.",
            );
            core(
                script,
                &format!(
                    "max_total_num_tokens={}, chunked_prefill_size={}, max_prefill_tokens=16384, max_running_requests={}, context_len={}, available_gpu_mem=7.49 GB",
                    script.kv_tokens,
                    launch.number("chunked-prefill-size").unwrap_or(8192.0),
                    launch.slots,
                    launch.max_len,
                ),
            );
        }
        Phase::Run => {
            raw(&format!(
                "INFO:     Uvicorn running on http://127.0.0.1:{} (Press CTRL+C to quit)",
                launch.port
            ));
            front(script, "The server is fired up and ready to roll!");
        }
        Phase::Stop => {
            front(script, "Gracefully exiting... Remaining number of requests 0. Remaining requests [].");
        }
    }
}

fn trtllm(script: &Script, launch: &Launch, phase: Phase) {
    match phase {
        Phase::Start => {
            raw(&format!("[TensorRT-LLM] TensorRT LLM version: {}", script.version));
            front(script, "Using LLM with PyTorch backend");
        }
        Phase::Load => front(script, "Prefetching 13.42GB checkpoint files."),
        Phase::KvCache => {
            core(script, "Number of tokens per block: 32.");
            core(script, "[MemUsageChange] Allocated 0.33 GiB for max tokens in paged KV cache (8224).");
        }
        Phase::Warmup => {
            core(script, "Number of tokens per block: 32.");
            core(
                script,
                &format!(
                    "[MemUsageChange] Allocated 40.10 GiB for max tokens in paged KV cache ({}).",
                    script.kv_tokens
                ),
            );
            front(
                script,
                &format!(
                    "max_seq_len={}, max_num_requests={}, max_num_tokens=8192, max_batch_size={}",
                    launch.max_len, launch.slots, launch.slots
                ),
            );
            front(script, "[Autotuner] Autotuning process starts ...");
            front(script, "[Autotuner] Autotuning process ends");
        }
        Phase::Run => {
            raw("INFO:     Application startup complete.");
            raw(&format!(
                "INFO:     Uvicorn running on http://127.0.0.1:{} (Press CTRL+C to quit)",
                launch.port
            ));
        }
        Phase::Stop => raw("INFO:     Shutting down"),
    }
}

fn thousands(n: u64) -> String {
    let digits = n.to_string();
    let mut out = String::new();
    for (i, c) in digits.chars().enumerate() {
        if i > 0 && (digits.len() - i).is_multiple_of(3) {
            out.push(',');
        }
        out.push(c);
    }
    out
}
