//! Requests and answers in the shapes that each engine gives them.

use crate::pace::Engine;
use crate::script::Flavour;
use axum::body::Bytes;
use axum::http::StatusCode;
use serde_json::{Map, Value, json};
use std::sync::atomic::Ordering;

/// Fields that TensorRT-LLM's request models know; any other is refused.
const TRTLLM_FIELDS: &[&str] = &[
    "model",
    "prompt",
    "messages",
    "max_tokens",
    "max_completion_tokens",
    "min_tokens",
    "temperature",
    "top_p",
    "top_k",
    "n",
    "stream",
    "stream_options",
    "stop",
    "seed",
    "ignore_eos",
    "detokenize",
    "user",
    "logprobs",
    "frequency_penalty",
    "presence_penalty",
    "repetition_penalty",
    "add_special_tokens",
    "echo",
];

/// A generating request, checked.
#[derive(Debug)]
pub(crate) struct Ask {
    pub(crate) chat: bool,
    pub(crate) stream: bool,
    pub(crate) include_usage: bool,
    continuous_usage: bool,
    token_ids: bool,
    pub(crate) max_tokens: u64,
    /// Ids, or a number for each word of a text.
    pub(crate) prompt: Vec<u64>,
}

/// What one chunk carries: token `k` and those held back before it, `n` in all.
pub(crate) struct Piece {
    pub(crate) k: u64,
    pub(crate) n: u64,
    pub(crate) last: bool,
}

impl Ask {
    pub(crate) fn read(engine: &Engine, request: &Value, chat: bool) -> Result<Ask, (StatusCode, String)> {
        let bad = |message: String| (StatusCode::BAD_REQUEST, message);
        let fields = request.as_object().ok_or_else(|| bad("Input should be a valid dictionary".into()))?;
        if engine.is(Flavour::Trtllm)
            && let Some(field) = fields.keys().find(|k| !TRTLLM_FIELDS.contains(&k.as_str()))
        {
            return Err(bad(format!(
                "[{{'type': 'extra_forbidden', 'loc': ('body', '{field}'), 'msg': 'Extra inputs are not permitted'}}]"
            )));
        }
        let model = request["model"].as_str().unwrap_or_default();
        if engine.is(Flavour::Vllm) && model != engine.launch.served_name {
            return Err((StatusCode::NOT_FOUND, format!("The model `{model}` does not exist.")));
        }
        let prompt = if chat { messages(&request["messages"]) } else { prompt(&request["prompt"]) }
            .ok_or_else(|| bad("Either prompt or prompt_embeds must be provided and non-empty.".into()))?;
        let limit = u64::from(engine.launch.max_len);
        let len = prompt.len() as u64;
        let asked = request["max_completion_tokens"].as_u64().or(request["max_tokens"].as_u64());
        let max_tokens = asked.unwrap_or(16);
        if len + max_tokens > limit {
            return Err(bad(format!(
                "This model's maximum context length is {limit} tokens. However, you requested {max_tokens} output tokens and your prompt contains {len} input tokens, for a total of {} tokens.",
                len + max_tokens
            )));
        }
        let stream = request["stream"].as_bool().unwrap_or(false);
        let options = &request["stream_options"];
        if !stream && options.is_object() {
            return Err(bad("Stream options can only be defined when `stream=True`.".into()));
        }
        // vLLM's own default changed with 0.18; TensorRT-LLM says yes.
        let default_usage = match engine.script.flavour {
            Flavour::Vllm => options.is_object() && engine.script.version() < (0, 18, 0),
            Flavour::Sglang => false,
            Flavour::Trtllm => options.is_object(),
        };
        let has_ids = match engine.script.flavour {
            Flavour::Vllm => true,
            Flavour::Sglang => engine.script.version() >= (0, 5, 17),
            Flavour::Trtllm => false,
        };
        Ok(Ask {
            chat,
            stream,
            include_usage: options["include_usage"].as_bool().unwrap_or(default_usage),
            continuous_usage: options["continuous_usage_stats"].as_bool().unwrap_or(false),
            token_ids: has_ids && request["return_token_ids"].as_bool().unwrap_or(false),
            max_tokens,
            prompt,
        })
    }

    fn usage(&self, engine: &Engine, done: u64, cached: u64) -> Value {
        let told = match engine.script.flavour {
            Flavour::Vllm => engine.launch.is_on("enable-prompt-tokens-details"),
            Flavour::Sglang => engine.launch.is_on("enable-cache-report"),
            Flavour::Trtllm => true,
        };
        let prompt = self.prompt.len() as u64;
        json!({"prompt_tokens": prompt, "completion_tokens": done, "total_tokens": prompt + done,
               "prompt_tokens_details": if told { json!({"cached_tokens": cached}) } else { Value::Null }})
    }

    fn frame(&self, engine: &Engine, nth: u64, choices: Value) -> Map<String, Value> {
        let (id, object) =
            if self.chat { ("chatcmpl", "chat.completion.chunk") } else { ("cmpl", "text_completion") };
        let mut map = Map::new();
        map.insert("id".into(), json!(format!("{id}-{nth:08x}")));
        map.insert("object".into(), json!(object));
        map.insert("created".into(), json!(1_795_000_000u64));
        map.insert("model".into(), json!(engine.launch.served_name));
        map.insert("choices".into(), choices);
        map
    }

    pub(crate) fn role_chunk(&self, engine: &Engine, nth: u64) -> Bytes {
        let choice =
            json!([{"index": 0, "delta": {"role": "assistant", "content": ""}, "finish_reason": null}]);
        event(self.frame(engine, nth, choice))
    }

    /// The chunk of a piece.
    pub(crate) fn token_chunk(&self, engine: &Engine, nth: u64, piece: Piece, cached: u64) -> Bytes {
        let Piece { k, n, last } = piece;
        // Every third token has no text yet, as pieces of a character have.
        let text = if n == 1 && k % 3 == 2 { String::new() } else { " a".repeat(n as usize) };
        let finish = if last { json!("length") } else { Value::Null };
        let mut choice = if self.chat {
            json!({"index": 0, "delta": {"content": text}, "logprobs": null, "finish_reason": finish})
        } else {
            json!({"index": 0, "text": text, "logprobs": null, "finish_reason": finish})
        };
        if self.token_ids {
            choice["token_ids"] = json!((0..n).map(|i| 100 + k - i).collect::<Vec<u64>>());
        }
        let mut map = self.frame(engine, nth, json!([choice]));
        if self.continuous_usage {
            map.insert("usage".into(), self.usage(engine, k + 1, cached));
        }
        event(map)
    }

    pub(crate) fn usage_chunk(&self, engine: &Engine, nth: u64, cached: u64) -> Bytes {
        let mut map = self.frame(engine, nth, json!([]));
        map.insert("usage".into(), self.usage(engine, self.max_tokens, cached));
        event(map)
    }

    /// The answer to a request that does not stream.
    pub(crate) fn whole(&self, engine: &Engine, nth: u64, cached: u64) -> Bytes {
        let text = " a".repeat(self.max_tokens as usize);
        let choice = if self.chat {
            json!({"index": 0, "message": {"role": "assistant", "content": text}, "finish_reason": "length"})
        } else {
            json!({"index": 0, "text": text, "finish_reason": "length"})
        };
        let mut map = self.frame(engine, nth, json!([choice]));
        if self.chat {
            map.insert("object".into(), json!("chat.completion"));
        }
        map.insert("usage".into(), self.usage(engine, self.max_tokens, cached));
        Value::Object(map).to_string().into()
    }
}

fn event(map: Map<String, Value>) -> Bytes {
    format!("data: {}\n\n", Value::Object(map)).into()
}

/// A text or a list of ids.
fn prompt(value: &Value) -> Option<Vec<u64>> {
    match value {
        Value::String(text) => Some(words(text)),
        Value::Array(ids) => ids.iter().map(Value::as_u64).collect(),
        _ => None,
    }
    .filter(|p: &Vec<u64>| !p.is_empty())
}

/// The words of all messages, and eight tokens of template.
fn messages(value: &Value) -> Option<Vec<u64>> {
    let list = value.as_array().filter(|l| !l.is_empty())?;
    let mut all = vec![1; 8];
    for message in list {
        all.extend(words(message["content"].as_str().unwrap_or_default()));
    }
    Some(all)
}

fn words(text: &str) -> Vec<u64> {
    let number = |w: &str| w.bytes().fold(7u64, |h, b| h.wrapping_mul(31).wrapping_add(b.into()));
    text.split_whitespace().map(number).collect()
}

pub(crate) fn models(engine: &Engine) -> Value {
    let mut card = json!({"id": engine.launch.served_name, "object": "model", "created": 1_795_000_000u64,
                          "owned_by": "contract", "root": engine.launch.model});
    if !engine.is(Flavour::Trtllm) {
        card["max_model_len"] = json!(engine.launch.max_len);
    }
    json!({"object": "list", "data": [card]})
}

/// SGLang's resolved values: some of them are not what was asked for.
pub(crate) fn server_info(engine: &Engine) -> Value {
    let l = &engine.launch;
    json!({
        "version": engine.script.version,
        "model_path": l.model,
        "page_size": l.number("page-size").map_or(1, |p| p as u64),
        "attention_backend": l.text("attention-backend").unwrap_or("flashinfer"),
        "chunked_prefill_size": l.number("chunked-prefill-size").map_or(8192, |c| c as i64),
        "max_running_requests": l.slots,
        "max_total_num_tokens": engine.script.kv_tokens,
        "context_length": l.max_len,
        "kv_cache_dtype": l.text("kv-cache-dtype").unwrap_or("auto"),
        "mem_fraction_static": l.number("mem-fraction-static").unwrap_or(0.88),
        "disable_overlap_schedule": l.is_on("disable-overlap-schedule"),
        "disable_radix_cache": l.is_on("disable-radix-cache"),
        "schedule_policy": l.text("schedule-policy").unwrap_or("fcfs"),
        "internal_states": [{"last_gen_throughput": 0.0}],
    })
}

/// One entry of TensorRT-LLM's iteration statistics, when they are on.
pub(crate) fn count_step(engine: &Engine) {
    if !engine.is(Flavour::Trtllm) || !engine.launch.is_on("enable-iter-perf-stats") {
        return;
    }
    let mut steps = engine.unread_steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    if steps.len() < 1000 {
        steps.push(json!({
            "iter": engine.generated.load(Ordering::Relaxed),
            "numActiveRequests": engine.running.load(Ordering::Relaxed),
            "kvCacheStats": {"maxNumBlocks": engine.script.kv_tokens / 32, "tokensPerBlock": 32,
                             "cacheHitRate": 0.0},
        }));
    }
}

pub(crate) fn prometheus(engine: &Engine) -> String {
    let n = |a: &std::sync::atomic::AtomicU64| a.load(Ordering::Relaxed);
    let name = &engine.launch.served_name;
    let (running, waiting) = (n(&engine.running), n(&engine.waiting));
    let (prompt, generated) = (n(&engine.prompt_tokens), n(&engine.generated));
    let (queries, hits) = (n(&engine.cache_queries), n(&engine.cache_hits));
    let rows: Vec<(String, u64)> = match engine.script.flavour {
        Flavour::Vllm => vec![
            ("vllm:num_requests_running".into(), running),
            ("vllm:num_requests_waiting".into(), waiting),
            ("vllm:kv_cache_usage_perc".into(), 0),
            ("vllm:prompt_tokens_total".into(), prompt),
            ("vllm:generation_tokens_total".into(), generated),
            ("vllm:num_preemptions_total".into(), 0),
            ("vllm:prefix_cache_queries_total".into(), queries),
            ("vllm:prefix_cache_hits_total".into(), hits),
        ],
        Flavour::Sglang => vec![
            ("sglang:num_running_reqs".into(), running),
            ("sglang:num_queue_reqs".into(), waiting),
            ("sglang:token_usage".into(), 0),
            ("sglang:prompt_tokens_total".into(), prompt),
            ("sglang:generation_tokens_total".into(), generated),
            ("sglang:cached_tokens_total".into(), hits),
        ],
        Flavour::Trtllm => vec![
            ("trtllm_kv_cache_reused_blocks_total".into(), hits / 32),
            ("trtllm_kv_cache_missed_blocks_total".into(), (queries - hits) / 32),
            ("trtllm_kv_cache_utilization".into(), 0),
        ],
    };
    let mut text = String::new();
    for (metric, value) in rows {
        text.push_str(&format!("# TYPE {metric} gauge\n{metric}{{model_name=\"{name}\"}} {value}.0\n"));
    }
    if engine.is(Flavour::Vllm) {
        let caching =
            if engine.launch.text("enable-prefix-caching") == Some("false") { "False" } else { "True" };
        let tokens = engine.script.kv_tokens;
        let newer = if engine.script.version() >= (0, 24, 0) {
            format!(",kv_cache_size_tokens=\"{tokens}\"")
        } else {
            String::new()
        };
        text.push_str(&format!(
            "vllm:cache_config_info{{block_size=\"16\",cache_dtype=\"auto\",enable_prefix_caching=\"{caching}\",gpu_memory_utilization=\"0.9\",num_gpu_blocks=\"{}\"{newer}}} 1.0\n",
            tokens / 16
        ));
    }
    text
}
