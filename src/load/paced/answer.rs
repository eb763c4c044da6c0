//! One answer: which bytes are due when.

use super::Pace;
use serde_json::Value;
use std::fmt::Write as _;
use std::time::Duration;

/// What a request asked for.
#[derive(Debug, Clone)]
pub(super) struct Asked {
    pub(super) chat: bool,
    pub(super) tokens: u32,
    pub(super) prompt_tokens: u32,
    pub(super) usage: bool,
    pub(super) running_usage: bool,
    pub(super) token_ids: bool,
}

impl Asked {
    pub(super) fn read(chat: bool, body: &[u8]) -> Option<Asked> {
        let body: Value = serde_json::from_slice(body).ok()?;
        let number = |key: &str| body.get(key).and_then(Value::as_u64);
        let option = |key: &str| body.pointer(&format!("/stream_options/{key}")) == Some(&Value::Bool(true));
        let prompt_tokens = match body.get("prompt") {
            Some(Value::Array(ids)) => ids.len(),
            Some(Value::String(text)) => text.split_whitespace().count(),
            _ => body.get("messages").map_or(0, |m| m.to_string().split_whitespace().count()),
        };
        Some(Asked {
            chat,
            tokens: number("max_completion_tokens").or(number("max_tokens")).unwrap_or(16) as u32,
            prompt_tokens: prompt_tokens as u32,
            usage: option("include_usage"),
            running_usage: option("continuous_usage_stats"),
            token_ids: body.get("return_token_ids") == Some(&Value::Bool(true)),
        })
    }
}

/// How an answer ends before its time.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub(super) enum Early {
    No,
    Cut,
    InBandError,
}

/// The stream of one request: asked step by step for what is due next.
#[derive(Debug)]
pub(super) struct Answer {
    id: u64,
    asked: Asked,
    pace: std::sync::Arc<Pace>,
    early: Early,
    total: u32,
    sent: u32,
}

impl Answer {
    pub(super) fn new(id: u64, asked: Asked, pace: std::sync::Arc<Pace>, early: Early) -> Answer {
        let total = pace.early_stop.map_or(asked.tokens, |s| asked.tokens.min(s)).max(1);
        Answer { id, asked, pace, early, total, sent: 0 }
    }

    /// What is sent at once, before any token: the role of a chat.
    pub(super) fn opening(&self) -> Option<String> {
        (self.asked.chat && self.pace.role_chunk).then(|| {
            let mut text = String::new();
            self.event(&mut text, r#""delta":{"role":"assistant","content":""}"#, None, 0);
            text
        })
    }

    /// Tokens of the next write.
    fn next_tokens(&self) -> u32 {
        let write = self.pace.tokens_per_chunk.max(1) * self.pace.burst.max(1);
        write.min(self.total - self.sent)
    }

    /// When the next write is due, after the arrival of the request: when its last token exists, the first
    /// token at TTFT. With one chunk a write, a chunk is due with its first token.
    pub(super) fn due(&self) -> Duration {
        let held = if self.pace.burst > 1 { self.next_tokens() - 1 } else { 0 };
        self.pace.ttft + self.pace.itl * (self.sent + held)
    }

    /// The next write; None in the second place when it was the last.
    pub(super) fn step(&mut self) -> (String, u32, bool) {
        let tokens = self.next_tokens();
        let mut text = String::with_capacity(256 * self.pace.burst.max(1) as usize);
        if self.early == Early::InBandError && self.sent + tokens > self.total / 2 {
            text.push_str("data: {\"error\":{\"message\":\"the engine died\",\"code\":500}}\n\n");
            return (text, 0, true);
        }
        let mut left = tokens;
        while left > 0 {
            let n = left.min(self.pace.tokens_per_chunk.max(1));
            left -= n;
            self.sent += n;
            self.chunk(&mut text, n);
        }
        if self.early == Early::Cut && self.sent >= self.total / 2 {
            return (text, tokens, true);
        }
        let last = self.sent == self.total;
        if last {
            self.closing(&mut text);
        }
        (text, tokens, last)
    }

    fn chunk(&self, text: &mut String, tokens: u32) {
        if self.pace.keep_alive {
            text.push_str(": keep-alive\n\n");
        }
        let word = if self.pace.empty_text { "" } else { " a" };
        let words = word.repeat(tokens as usize);
        let carrier = if !self.asked.chat {
            format!(r#""text":"{words}""#)
        } else if self.sent <= self.pace.reasoning {
            format!(r#""delta":{{"{}":"{words}"}}"#, self.pace.reasoning_key)
        } else {
            format!(r#""delta":{{"content":"{words}"}}"#)
        };
        let finish = (self.sent == self.total && !self.pace.separate_finish).then_some("length");
        self.event(text, &carrier, finish, tokens);
    }

    fn closing(&self, text: &mut String) {
        if self.pace.separate_finish {
            let nothing = if self.asked.chat { r#""delta":{}"# } else { r#""text":"""# };
            self.event(text, nothing, Some("length"), 0);
        }
        if self.asked.usage && !self.pace.no_usage {
            let _ = write!(text, "data: {{{},\"choices\":[],", self.head());
            self.usage(text);
            text.push_str("}\n\n");
        }
        text.push_str("data: [DONE]\n\n");
    }

    fn head(&self) -> String {
        let (prefix, object) =
            if self.asked.chat { ("chatcmpl", "chat.completion.chunk") } else { ("cmpl", "text_completion") };
        format!(
            r#""id":"{prefix}-{:032x}","object":"{object}","created":1700000000,"model":"paced""#,
            self.id
        )
    }

    fn usage(&self, text: &mut String) {
        let (p, c) = (self.asked.prompt_tokens, self.sent);
        let _ = write!(
            text,
            r#""usage":{{"prompt_tokens":{p},"total_tokens":{},"completion_tokens":{c}}}"#,
            p + c
        );
    }

    fn event(&self, text: &mut String, carrier: &str, finish: Option<&str>, tokens: u32) {
        let finish = finish.map_or("null".to_owned(), |f| format!("\"{f}\""));
        let ids = if self.asked.token_ids {
            format!(",\"token_ids\":{:?}", vec![7; tokens as usize])
        } else {
            String::new()
        };
        let _ = write!(
            text,
            "data: {{{},\"choices\":[{{\"index\":0,{carrier},\"logprobs\":null,\"finish_reason\":{finish}{ids}}}]",
            self.head()
        );
        if self.asked.running_usage {
            text.push(',');
            self.usage(text);
        }
        text.push_str("}\n\n");
    }
}
