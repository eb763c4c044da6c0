//! The bytes of a request.

use super::options::{Counting, Endpoint, Target};
use crate::workload::{PlannedRequest, Prompt};
use bytes::Bytes;
use serde_json::{Map, Value, json};

/// The JSON body of one request. The prompt is written last and by hand: a long list of ids need not become a
/// tree of JSON values first.
pub(super) fn body(target: &Target, request: &PlannedRequest) -> Bytes {
    let mut fields = Map::new();
    fields.insert("model".into(), json!(target.model));
    fields.insert("stream".into(), json!(true));
    fields.insert("temperature".into(), json!(0.0));
    let limit = match target.endpoint {
        Endpoint::Completions => "max_tokens",
        Endpoint::Chat => "max_completion_tokens",
    };
    fields.insert(limit.into(), json!(request.output_tokens));
    let mut stream_options = json!({"include_usage": true});
    match target.counting {
        Counting::Usage => {}
        Counting::Continuous => stream_options["continuous_usage_stats"] = json!(true),
        Counting::TokenIds => {
            fields.insert("return_token_ids".into(), json!(true));
        }
    }
    fields.insert("stream_options".into(), stream_options);
    if target.ignore_eos {
        fields.insert("ignore_eos".into(), json!(true));
    }
    for (key, value) in &target.extra_body {
        fields.insert(key.clone(), value.clone());
    }
    let mut text = serde_json::to_string(&Value::Object(fields)).unwrap_or_default();
    text.pop();
    let (key, prompt) = prompt_field(target.endpoint, &request.prompt);
    text.push_str(",\"");
    text.push_str(key);
    text.push_str("\":");
    text.push_str(&prompt);
    text.push('}');
    Bytes::from(text)
}

fn prompt_field(endpoint: Endpoint, prompt: &Prompt) -> (&'static str, String) {
    match (endpoint, prompt) {
        (Endpoint::Completions, Prompt::TokenIds(ids)) => {
            ("prompt", serde_json::to_string(ids).unwrap_or_default())
        }
        (Endpoint::Completions, Prompt::Text(text)) => ("prompt", json!(text).to_string()),
        (Endpoint::Completions, Prompt::Chat(turns)) => {
            let text: Vec<&str> = turns.iter().map(|(_, content)| content.as_str()).collect();
            ("prompt", json!(text.join("\n")).to_string())
        }
        (Endpoint::Chat, Prompt::Chat(turns)) => {
            let messages: Vec<Value> =
                turns.iter().map(|(role, content)| json!({"role": role, "content": content})).collect();
            ("messages", Value::Array(messages).to_string())
        }
        (Endpoint::Chat, Prompt::Text(text)) => {
            ("messages", json!([{"role": "user", "content": text}]).to_string())
        }
        (Endpoint::Chat, Prompt::TokenIds(ids)) => {
            ("messages", json!([{"role": "user", "content": words(ids)}]).to_string())
        }
    }
}

/// A text of about as many tokens as ids: one short common word for each. Chat routes take no ids; the exact
/// count then comes back in `usage`.
fn words(ids: &[u32]) -> String {
    const WORDS: [&str; 32] = [
        "the", "of", "and", "to", "in", "is", "for", "that", "on", "with", "as", "was", "by", "at", "from",
        "are", "this", "be", "or", "an", "have", "not", "which", "one", "had", "but", "all", "were", "when",
        "we", "there", "can",
    ];
    let mut text = String::with_capacity(ids.len() * 5);
    for (i, id) in ids.iter().enumerate() {
        if i > 0 {
            text.push(' ');
        }
        text.push_str(WORDS[*id as usize % WORDS.len()]);
    }
    text
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::units::Nanos;

    fn request(prompt: Prompt) -> PlannedRequest {
        PlannedRequest {
            id: 0,
            arrival: Nanos::ZERO,
            prompt,
            input_tokens: 3,
            output_tokens: 8,
            follows: None,
        }
    }

    #[test]
    fn bodies_hold_what_engines_expect() {
        let mut target = Target::new("http://x", "m");
        target.extra_body.insert("temperature".into(), json!(0.5));
        let b: Value =
            serde_json::from_slice(&body(&target, &request(Prompt::TokenIds(vec![1, 2])))).unwrap();
        assert_eq!(
            b,
            json!({"model": "m", "stream": true, "temperature": 0.5, "max_tokens": 8, "ignore_eos": true,
                   "stream_options": {"include_usage": true}, "prompt": [1, 2]})
        );
        target.endpoint = Endpoint::Chat;
        target.counting = Counting::Continuous;
        let b: Value =
            serde_json::from_slice(&body(&target, &request(Prompt::Text("\"hi\"".into())))).unwrap();
        assert_eq!(b["messages"], json!([{"role": "user", "content": "\"hi\""}]));
        assert_eq!(b["stream_options"]["continuous_usage_stats"], true);
        assert_eq!(b["max_completion_tokens"], 8);
    }
}
