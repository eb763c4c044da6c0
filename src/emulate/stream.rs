//! The event stream of one request: chunks made when the reader gets to them, several to a write.

use super::reply::Reply;
use super::request::Ask;
use super::text;
use bytes::{Bytes, BytesMut};
use futures_util::Stream;
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::sync::atomic::{AtomicI64, AtomicU64, Ordering};
use std::task::{Context, Poll};

/// What a chunk is made of, besides the request.
#[derive(Debug, Clone)]
pub struct Shape {
    pub id: String,
    pub created: u64,
    pub model: String,
    pub fingerprint: String,
    pub vocab: u32,
    /// Tokens a chunk (`--stream-interval`); the first token is sent at once.
    pub interval: u32,
}

/// How late tokens were handed to the socket, summed over writes; early ones count negative.
#[derive(Debug, Default)]
pub struct WireLateness {
    nanos: AtomicI64,
    writes: AtomicU64,
}

impl WireLateness {
    fn add(&self, now: u64, due: u64) {
        self.nanos.fetch_add(now as i64 - due as i64, Ordering::Relaxed);
        self.writes.fetch_add(1, Ordering::Relaxed);
    }

    /// (nanoseconds, writes)
    pub fn read(&self) -> (i64, u64) {
        (self.nanos.load(Ordering::Relaxed), self.writes.load(Ordering::Relaxed))
    }
}

/// Streaming state of one generation.
struct Choice {
    sent: u32,
    closed: bool,
    /// Everything of a chunk up to the text, already JSON.
    head: Vec<u8>,
}

/// The body of a streaming answer. Dropped before its end (the client went away), it tells the engine.
pub struct EventStream {
    ask: Ask,
    shape: Shape,
    reply: Arc<Reply>,
    choices: Vec<Choice>,
    started: bool,
    ended: bool,
    /// Break off after the first token of the first generation (an injected fault).
    truncate: bool,
    now: Box<dyn Fn() -> u64 + Send>,
    lateness: Arc<WireLateness>,
    on_drop: Option<Box<dyn FnOnce() + Send>>,
}

/// What a stream needs of the server around it.
pub struct Wire {
    /// The engine's clock, in nanoseconds.
    pub now: Box<dyn Fn() -> u64 + Send>,
    /// Where the stream notes how late it wrote.
    pub lateness: Arc<WireLateness>,
    /// Called when the stream ends, whether its client read it to the end or went away.
    pub on_drop: Box<dyn FnOnce() + Send>,
}

impl EventStream {
    pub fn new(ask: Ask, shape: Shape, reply: Arc<Reply>, truncate: bool, wire: Wire) -> EventStream {
        let choices = (0..ask.generations.len())
            .map(|i| Choice { sent: 0, closed: false, head: head(&ask, &shape, i) })
            .collect();
        EventStream {
            ask,
            shape,
            reply,
            choices,
            started: false,
            ended: false,
            truncate,
            now: wire.now,
            lateness: wire.lateness,
            on_drop: Some(wire.on_drop),
        }
    }

    /// Appends every chunk that is due; true when all generations are closed.
    fn write_due(&mut self, out: &mut BytesMut) -> bool {
        if !self.started {
            self.started = true;
            if self.ask.chat {
                self.role_chunk(out);
            }
        }
        let mut all_closed = true;
        for i in 0..self.choices.len() {
            let p = self.reply.progress(i);
            let sent = self.choices[i].sent;
            let fresh = p.produced - sent;
            if fresh > 0 && (p.finished || sent == 0 || fresh >= self.shape.interval) {
                self.token_chunks(i, p.produced, p.finished, out);
            }
            self.choices[i].closed |= p.finished;
            all_closed &= self.choices[i].closed;
        }
        all_closed
    }

    /// Chunks for tokens sent+1..=upto of generation `i`, `interval` tokens each.
    fn token_chunks(&mut self, i: usize, upto: u32, finished: bool, out: &mut BytesMut) {
        let interval = self.shape.interval.max(1);
        while self.choices[i].sent < upto {
            let from = self.choices[i].sent;
            let n = if from == 0 { 1 } else { interval.min(upto - from) };
            let last = finished && from + n == upto;
            self.one_chunk(i, from + 1, from + n, last, out);
            self.choices[i].sent = from + n;
        }
    }

    fn one_chunk(&self, i: usize, first: u32, last: u32, is_end: bool, out: &mut BytesMut) {
        let g = &self.ask.generations[i];
        out.extend_from_slice(&self.choices[i].head);
        for index in first..=last {
            out.extend_from_slice(&text::decode(text::generated(g.fingerprint, index, self.shape.vocab)));
        }
        out.extend_from_slice(if self.ask.chat { b"\"},\"logprobs\":null" } else { b"\",\"logprobs\":null" });
        match is_end.then(|| g.finish_reason()) {
            Some(reason) => {
                out.extend_from_slice(b",\"finish_reason\":\"");
                out.extend_from_slice(reason.as_bytes());
                out.extend_from_slice(b"\",\"stop_reason\":null");
            }
            None => out.extend_from_slice(b",\"finish_reason\":null,\"stop_reason\":null"),
        }
        if self.ask.return_token_ids {
            let ids: Vec<u32> =
                (first..=last).map(|k| text::generated(g.fingerprint, k, self.shape.vocab)).collect();
            out.extend_from_slice(format!(",\"token_ids\":{}", json!(ids)).as_bytes());
            if first == 1 && !self.ask.chat {
                out.extend_from_slice(format!(",\"prompt_token_ids\":{}", json!(g.prompt)).as_bytes());
            }
        }
        out.extend_from_slice(b"}]");
        if self.ask.continuous_usage {
            let usage = usage(g.prompt.len() as u64, u64::from(last));
            out.extend_from_slice(format!(",\"usage\":{usage}").as_bytes());
        }
        out.extend_from_slice(b"}\n\n");
    }

    /// Chat streams begin with a chunk that names the role and carries no token.
    fn role_chunk(&self, out: &mut BytesMut) {
        let mut chunk = envelope(true, true, &self.shape);
        chunk["choices"] = json!([{"index": 0, "delta": {"role": "assistant", "content": ""}, "logprobs": null,
            "finish_reason": null}]);
        if self.ask.return_token_ids {
            chunk["prompt_token_ids"] = json!(self.ask.generations[0].prompt);
        }
        if self.ask.continuous_usage {
            chunk["usage"] = usage(self.ask.generations[0].prompt.len() as u64, 0);
        }
        out.extend_from_slice(format!("data: {chunk}\n\n").as_bytes());
    }

    fn end(&mut self, out: &mut BytesMut) {
        if self.ask.include_usage {
            let mut chunk = envelope(self.ask.chat, true, &self.shape);
            chunk["choices"] = json!([]);
            chunk["usage"] = total_usage(&self.ask);
            out.extend_from_slice(format!("data: {chunk}\n\n").as_bytes());
        }
        out.extend_from_slice(b"data: [DONE]\n\n");
        self.finish();
    }

    /// Nothing more will come and the engine need not be told.
    fn finish(&mut self) {
        self.ended = true;
        self.on_drop = None;
    }
}

impl Stream for EventStream {
    type Item = Result<Bytes, Infallible>;

    fn poll_next(mut self: Pin<&mut Self>, cx: &mut Context<'_>) -> Poll<Option<Self::Item>> {
        let this = &mut *self;
        if this.ended {
            return Poll::Ready(None);
        }
        this.reply.register(cx.waker());
        let mut out = BytesMut::with_capacity(if this.ask.include_usage { 1024 } else { 512 });
        let failed = this.reply.failure().map(str::to_owned);
        if let Some(why) = failed {
            let error =
                json!({"error": {"message": why, "type": "InternalServerError", "param": null, "code": 500}});
            out.extend_from_slice(format!("data: {error}\n\ndata: [DONE]\n\n").as_bytes());
            this.finish();
            return Poll::Ready(Some(Ok(out.freeze())));
        }
        let due = this.reply.due();
        if this.write_due(&mut out) {
            this.end(&mut out);
        } else if this.truncate && this.choices[0].sent > 0 {
            // Breaks off: the rest is aborted on drop.
            this.ended = true;
        }
        if out.is_empty() {
            return Poll::Pending;
        }
        if due > 0 {
            this.lateness.add((this.now)(), due);
        }
        Poll::Ready(Some(Ok(out.freeze())))
    }
}

impl Drop for EventStream {
    fn drop(&mut self) {
        if let Some(tell) = self.on_drop.take() {
            tell();
        }
    }
}

/// The first part of every chunk of one generation, up to the text.
fn head(ask: &Ask, shape: &Shape, index: usize) -> Vec<u8> {
    let envelope = envelope(ask.chat, true, shape).to_string();
    let open = envelope.trim_end_matches('}');
    let choice = if ask.chat {
        format!(",\"choices\":[{{\"index\":{index},\"delta\":{{\"content\":\"")
    } else {
        format!(",\"choices\":[{{\"index\":{index},\"text\":\"")
    };
    format!("data: {open}{choice}").into_bytes()
}

fn envelope(chat: bool, stream: bool, shape: &Shape) -> Value {
    let object = match (chat, stream) {
        (false, _) => "text_completion",
        (true, true) => "chat.completion.chunk",
        (true, false) => "chat.completion",
    };
    json!({"id": shape.id, "object": object, "created": shape.created, "model": shape.model,
        "system_fingerprint": shape.fingerprint})
}

fn usage(prompt: u64, completion: u64) -> Value {
    json!({"prompt_tokens": prompt, "total_tokens": prompt + completion, "completion_tokens": completion})
}

fn total_usage(ask: &Ask) -> Value {
    let prompt = ask.generations.iter().map(|g| g.prompt.len() as u64).sum();
    let completion = ask.generations.iter().map(|g| u64::from(g.output_tokens)).sum();
    usage(prompt, completion)
}

/// The whole answer of a request that does not stream, once everything is generated.
pub fn whole(ask: &Ask, shape: &Shape) -> Value {
    let choices: Vec<Value> = ask
        .generations
        .iter()
        .enumerate()
        .map(|(i, g)| {
            let ids: Vec<u32> =
                (1..=g.output_tokens).map(|k| text::generated(g.fingerprint, k, shape.vocab)).collect();
            let words: String = ids.iter().flat_map(|id| text::decode(*id)).map(char::from).collect();
            let mut choice = json!({"index": i, "logprobs": null, "finish_reason": g.finish_reason(),
                "stop_reason": null});
            if ask.chat {
                choice["message"] = json!({"role": "assistant", "content": words, "tool_calls": []});
            } else {
                choice["text"] = Value::from(words);
            }
            if ask.return_token_ids {
                choice["token_ids"] = json!(ids);
                choice["prompt_token_ids"] = json!(g.prompt);
            }
            choice
        })
        .collect();
    let mut answer = envelope(ask.chat, false, shape);
    answer["choices"] = Value::from(choices);
    answer["usage"] = total_usage(ask);
    answer
}
