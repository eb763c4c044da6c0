//! What a client may ask: bodies of `/v1/completions` and `/v1/chat/completions`, read and checked as vLLM
//! does, with its words for what is wrong.

use super::body::{ChatBody, CompletionBody, Prompt, Sampling, render};
use super::text;
use serde::Deserialize;

/// An error answer: HTTP status, OpenAI error type and message.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ApiError {
    pub status: u16,
    pub kind: &'static str,
    pub message: String,
}

impl ApiError {
    pub fn bad(message: impl Into<String>) -> ApiError {
        ApiError { status: 400, kind: "BadRequestError", message: message.into() }
    }
    pub fn internal(message: impl Into<String>) -> ApiError {
        ApiError { status: 500, kind: "InternalServerError", message: message.into() }
    }
    pub fn unknown_model(name: &str) -> ApiError {
        ApiError {
            status: 404,
            kind: "NotFoundError",
            message: format!("The model `{name}` does not exist."),
        }
    }
}

/// What the engine's limits are, for the checks.
#[derive(Debug, Clone)]
pub struct Limits {
    pub vocab: u32,
    pub max_model_len: u32,
    /// Priority scheduling is on.
    pub priority: bool,
    /// `stream_options.include_usage` when the client does not say.
    pub usage_by_default: bool,
    /// Mean output length of a request that may stop at an end-of-sequence token; `None`: it never comes.
    pub mean_output_tokens: Option<f64>,
    pub seed: u64,
}

/// One generation with all its numbers settled.
#[derive(Debug, Clone, PartialEq)]
pub struct Generation {
    pub prompt: Vec<u32>,
    pub fingerprint: u64,
    /// Tokens that come out.
    pub output_tokens: u32,
    /// The client's limit.
    pub max_tokens: u32,
}

impl Generation {
    /// `length` when cut by the limit, else `stop`.
    pub fn finish_reason(&self) -> &'static str {
        if self.output_tokens >= self.max_tokens { "length" } else { "stop" }
    }
}

/// A checked request.
#[derive(Debug, Clone, PartialEq)]
pub struct Ask {
    pub chat: bool,
    pub model: Option<String>,
    pub generations: Vec<Generation>,
    pub stream: bool,
    pub include_usage: bool,
    pub continuous_usage: bool,
    pub return_token_ids: bool,
    pub priority: i32,
    pub cache_salt: String,
}

/// Reads and checks a completions body. The model's name is left to the caller.
pub fn completion(body: &[u8], limits: &Limits) -> Result<Ask, ApiError> {
    let b: CompletionBody = parse(body)?;
    let prompts = match b.prompt {
        Prompt::Many(many) => many,
        one => vec![one],
    };
    let prompts = prompts.into_iter().map(|p| tokens(p, limits)).collect::<Result<Vec<_>, _>>()?;
    // The OpenAI default of this endpoint.
    settle(&b.sampling, prompts, Some(16), false, limits)
}

/// Reads and checks a chat body.
pub fn chat(body: &[u8], limits: &Limits) -> Result<Ask, ApiError> {
    let b: ChatBody = parse(body)?;
    if b.messages.is_empty() {
        return Err(ApiError::bad("messages must not be empty"));
    }
    let prompt = tokens(Prompt::Text(render(&b.messages)), limits)?;
    settle(&b.sampling, vec![prompt], None, true, limits)
}

fn parse<'a, T: Deserialize<'a>>(body: &'a [u8]) -> Result<T, ApiError> {
    serde_json::from_slice(body).map_err(|e| {
        ApiError::bad(match e.classify() {
            serde_json::error::Category::Data => format!("validation error: {e}"),
            _ => format!("JSON decode error: {e}"),
        })
    })
}

fn tokens(prompt: Prompt, limits: &Limits) -> Result<Vec<u32>, ApiError> {
    let ids = match prompt {
        Prompt::Text(t) => text::encode(&t, limits.vocab),
        Prompt::Ids(ids) => ids,
        Prompt::Many(_) => return Err(ApiError::bad("prompt is nested too deeply")),
    };
    if ids.is_empty() {
        return Err(ApiError::bad("The decoder prompt cannot be empty"));
    }
    if let Some(worst) = ids.iter().max().filter(|id| **id >= limits.vocab) {
        return Err(ApiError::bad(format!("Token id {worst} is out of vocabulary")));
    }
    Ok(ids)
}

fn settle(
    s: &Sampling,
    prompts: Vec<Vec<u32>>,
    default_max: Option<u32>,
    chat: bool,
    limits: &Limits,
) -> Result<Ask, ApiError> {
    if s.n.is_some_and(|n| n != 1) {
        return Err(ApiError::bad("n must be 1: the emulated engine generates one choice for each prompt"));
    }
    if let Some(t) = s.temperature.filter(|t| *t < 0.0) {
        return Err(ApiError::bad(format!("temperature must be non-negative, got {t}.")));
    }
    if s.priority.unwrap_or(0) != 0 && !limits.priority {
        return Err(ApiError::bad(
            "Got priority but Priority scheduling is not enabled. Use --scheduling-policy priority.",
        ));
    }
    if s.stream_options.is_some() && s.stream != Some(true) {
        return Err(ApiError::bad("Stream options can only be defined when `stream=True`."));
    }
    let asked = s.max_completion_tokens.filter(|_| chat).or(s.max_tokens);
    let generations = prompts
        .into_iter()
        .map(|p| lengths(s, p, asked, default_max, limits))
        .collect::<Result<Vec<_>, _>>()?;
    let options = s.stream_options.unwrap_or_default();
    Ok(Ask {
        chat,
        model: s.model.clone(),
        generations,
        stream: s.stream.unwrap_or(false),
        include_usage: match s.stream_options {
            Some(o) => o.include_usage.unwrap_or(limits.usage_by_default),
            None => false,
        },
        continuous_usage: options.continuous_usage_stats,
        return_token_ids: s.return_token_ids.unwrap_or(false),
        priority: s.priority.unwrap_or(0),
        cache_salt: s.cache_salt.clone().unwrap_or_default(),
    })
}

/// Settles the lengths of one generation against the context limit.
fn lengths(
    s: &Sampling,
    prompt: Vec<u32>,
    asked: Option<i64>,
    default_max: Option<u32>,
    limits: &Limits,
) -> Result<Generation, ApiError> {
    let (n, limit) = (prompt.len() as u64, u64::from(limits.max_model_len));
    if n >= limit {
        return Err(ApiError::bad(format!(
            "This model's maximum context length is {limit} tokens. However, your request has {n} input \
             tokens. Please reduce the length of the input messages."
        )));
    }
    let room = limit - n;
    if let Some(bad) = asked.filter(|m| *m < 1) {
        return Err(ApiError::bad(format!("max_tokens must be at least 1, got {bad}.")));
    }
    if let Some(big) = asked.filter(|m| *m as u64 > room) {
        return Err(ApiError::bad(format!(
            "'max_tokens' or 'max_completion_tokens' is too large: {big}. This model's maximum context \
             length is {limit} tokens and your request has {n} input tokens ({big} > {limit} - {n})."
        )));
    }
    let max_tokens = asked.map_or(default_max.map_or(room, |d| u64::from(d).min(room)), |m| m as u64) as u32;
    let min_tokens = s.min_tokens.unwrap_or(0);
    if min_tokens < 0 || min_tokens > i64::from(max_tokens) {
        return Err(ApiError::bad(format!(
            "min_tokens must be less than or equal to max_tokens={max_tokens}, got {min_tokens}."
        )));
    }
    let fingerprint = text::fingerprint(limits.seed, &prompt);
    // A chat without a limit would fill the whole context if no end ever came.
    let mean = limits.mean_output_tokens.or((asked.is_none() && default_max.is_none()).then_some(200.0));
    let output_tokens = match mean.filter(|_| s.ignore_eos != Some(true)) {
        Some(mean) => geometric(fingerprint, mean).clamp((min_tokens as u32).max(1), max_tokens),
        None => max_tokens,
    };
    Ok(Generation { prompt, fingerprint, output_tokens, max_tokens })
}

/// A length from the geometric distribution with this mean, by inversion of a hash of the prompt.
fn geometric(fingerprint: u64, mean: f64) -> u32 {
    let u = ((text::mix(fingerprint ^ 0xe05) >> 11) as f64 + 0.5) / (1u64 << 53) as f64;
    let p = (1.0 / mean.max(1.0)).min(1.0);
    if p >= 1.0 { 1 } else { ((u.ln() / (1.0 - p).ln()).floor() as u32).saturating_add(1) }
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;
    use serde_json::json;

    fn limits() -> Limits {
        Limits {
            vocab: 1000,
            max_model_len: 128,
            priority: false,
            usage_by_default: true,
            mean_output_tokens: None,
            seed: 1,
        }
    }

    fn ask(v: serde_json::Value) -> Result<Ask, ApiError> {
        completion(v.to_string().as_bytes(), &limits())
    }

    #[test]
    fn all_four_prompt_shapes_are_read() {
        for (prompt, counts) in [
            (json!("12345678"), vec![2]),
            (json!(["1234", "123456789"]), vec![1, 3]),
            (json!([1, 2, 3]), vec![3]),
            (json!([[1, 2], [3], [4, 5, 6]]), vec![2, 1, 3]),
        ] {
            let a = ask(json!({"prompt": prompt, "max_tokens": 5, "ignore_eos": true})).unwrap();
            assert_eq!(a.generations.iter().map(|g| g.prompt.len()).collect::<Vec<_>>(), counts);
            assert!(a.generations.iter().all(|g| g.output_tokens == 5 && g.finish_reason() == "length"));
        }
    }

    proptest! {
        #![proptest_config(ProptestConfig::with_cases(128))]
        #[test]
        fn no_body_makes_it_panic(
            prompt in "(\\[[-0-9, ]{0,12}\\]|\"[a-zé]{0,6}\"|\\{\\}|\\[\\[1\\],[0-9]\\]|null)",
            max in "(-?[0-9]{1,20}|null|1e3|\"x\")",
            rest in "\\PC{0,12}",
        ) {
            for body in [
                format!("{{\"prompt\": {prompt}, \"max_tokens\": {max}, \"min_tokens\": {max}}}"),
                format!("{{\"messages\": {prompt}, \"max_completion_tokens\": {max}}}"),
                rest.clone(),
            ] {
                for answer in [completion(body.as_bytes(), &limits()), chat(body.as_bytes(), &limits())] {
                    match answer {
                        Ok(a) => prop_assert!(a.generations.iter().all(|g| g.output_tokens >= 1
                            && g.output_tokens <= g.max_tokens
                            && g.prompt.len() as u32 + g.max_tokens <= 128)),
                        Err(e) => prop_assert_eq!(e.status, 400),
                    }
                }
            }
        }
    }

    #[test]
    fn bad_requests_are_refused_with_the_reason() {
        for (body, part) in [
            (json!({"prompt": [1, 1000]}), "Token id 1000 is out of vocabulary"),
            (json!({"prompt": [-1]}), "out of vocabulary"),
            (json!({"prompt": []}), "cannot be empty"),
            (json!({"prompt": [1, "a"]}), "mixes"),
            (json!({"prompt": 3}), "validation error"),
            (json!({"max_tokens": 3}), "prompt"),
            (json!({"prompt": [1], "max_tokens": 0}), "max_tokens must be at least 1, got 0."),
            (json!({"prompt": [1], "max_tokens": 128}), "(128 > 128 - 1)"),
            (json!({"prompt": vec![1; 128]}), "maximum context length is 128 tokens"),
            (json!({"prompt": [1], "max_tokens": 3, "min_tokens": 4}), "max_tokens=3, got 4."),
            (json!({"prompt": [1], "n": 2}), "n must be 1"),
            (json!({"prompt": [1], "temperature": -0.5}), "non-negative, got -0.5."),
            (json!({"prompt": [1], "priority": 3}), "Priority scheduling is not enabled"),
            (json!({"prompt": [1], "stream_options": {}}), "Stream options can only"),
        ] {
            let e = ask(body.clone()).unwrap_err();
            assert_eq!(e.status, 400);
            assert!(e.message.contains(part), "{body}: {}", e.message);
        }
        let e = completion(b"{\"prompt\": [1,", &limits()).unwrap_err();
        assert!(e.message.contains("JSON decode error"), "{}", e.message);
    }

    #[test]
    fn without_ignore_eos_lengths_scatter_around_the_stated_mean() {
        let limits = Limits { mean_output_tokens: Some(50.0), max_model_len: 4096, ..limits() };
        let total: u32 = (0..500)
            .map(|i| {
                let body = json!({"prompt": [i], "max_tokens": 2000, "min_tokens": 2}).to_string();
                let g = completion(body.as_bytes(), &limits).unwrap().generations.remove(0);
                assert!(g.output_tokens >= 2 && g.finish_reason() == "stop");
                g.output_tokens
            })
            .sum();
        assert!((20_000..30_000).contains(&total), "{total}");
    }

    #[test]
    fn chat_counts_its_template_and_takes_both_limits() {
        let body = json!({"messages": [{"role": "user", "content": [{"type": "text", "text": "hello"}]},
            {"role": "assistant", "content": null}], "max_completion_tokens": 7, "ignore_eos": true,
            "stream": true, "stream_options": {"include_usage": true}});
        let a = chat(body.to_string().as_bytes(), &limits()).unwrap();
        assert!(a.chat && a.stream && a.include_usage);
        assert_eq!(a.generations[0].output_tokens, 7);
        assert!(a.generations[0].prompt.len() > 5);
    }
}
