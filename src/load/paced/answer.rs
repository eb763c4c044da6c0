//! One answer: which bytes are due when.

use super::Pace;
use serde_json::Value;
use std::fmt::Write as _;
use std::io::Write as _;
use std::sync::Arc;
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
    pace: Arc<Pace>,
    early: Early,
    /// The connection is broken off at the end: the body gets no end of its own.
    breaks: bool,
    total: u32,
    sent: u32,
    over: bool,
    /// The last write that may come again, and what it depends on.
    before: Option<((u32, bool), Vec<u8>)>,
}

/// Appends `text` as one chunk of a chunked body.
pub(super) fn frame(text: &str, out: &mut Vec<u8>) {
    let _ = write!(out, "{:x}\r\n{text}\r\n", text.len());
}

impl Answer {
    pub(super) fn new(id: u64, asked: Asked, pace: Arc<Pace>, early: Early, breaks: bool) -> Answer {
        let total = pace.early_stop.map_or(asked.tokens, |s| asked.tokens.min(s)).max(1);
        Answer { id, asked, pace, early, breaks, total, sent: 0, over: false, before: None }
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

    /// Nothing more will come.
    pub(super) fn over(&self) -> bool {
        self.over
    }

    /// Appends the next write, framed as a chunk of an HTTP body, to `out`; returns the tokens in it.
    pub(super) fn step(&mut self, out: &mut Vec<u8>) -> u32 {
        let tokens = self.next_tokens();
        let alike = self.alike(tokens);
        match (&self.before, alike) {
            (Some((key, bytes)), Some(now)) if *key == now => {
                out.extend_from_slice(bytes);
                self.sent += tokens;
                return tokens;
            }
            _ => {}
        }
        let mut text = String::with_capacity(256 * self.pace.burst.max(1) as usize);
        let tokens = self.render(tokens, &mut text);
        let begin = out.len();
        frame(&text, out);
        if let Some(key) = alike {
            self.before = Some((key, out[begin..].to_vec()));
        }
        if self.over && !self.breaks {
            out.extend_from_slice(b"0\r\n\r\n");
        }
        tokens
    }

    /// What the bytes of the next write depend on, where the same may come again: most writes are those before
    /// them once more, and need not be put together anew.
    fn alike(&self, tokens: u32) -> Option<(u32, bool)> {
        let ends = self.sent + tokens == self.total || self.early != Early::No;
        let mixed = self.sent < self.pace.reasoning && self.sent + tokens > self.pace.reasoning;
        let alike = !ends && !mixed && !self.asked.running_usage;
        alike.then_some((tokens, self.sent < self.pace.reasoning))
    }

    fn render(&mut self, tokens: u32, text: &mut String) -> u32 {
        if self.early == Early::InBandError && self.sent + tokens > self.total / 2 {
            text.push_str("data: {\"error\":{\"message\":\"the engine died\",\"code\":500}}\n\n");
            self.over = true;
            return 0;
        }
        let mut left = tokens;
        while left > 0 {
            let n = left.min(self.pace.tokens_per_chunk.max(1));
            left -= n;
            self.sent += n;
            self.chunk(text, n);
        }
        if self.early == Early::Cut && self.sent >= self.total / 2 {
            self.over = true;
        } else if self.sent == self.total {
            self.closing(text);
            self.over = true;
        }
        tokens
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
