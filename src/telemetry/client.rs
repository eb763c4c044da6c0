//! The control client of one engine: health, models, one probe request, metrics, cache reset.
//!
//! Every call blocks and carries its own time limit; nothing here is part of a measurement.

use super::http::{Http, brief};
use crate::engine::{Endpoints, Samples};
use crate::error::{Error, Result};
use serde::Deserialize;
use serde_json::{Value, json};
use std::time::Duration;

/// Limit of a call that an idle engine answers at once.
const SHORT: Duration = Duration::from_secs(10);

/// Talks to one engine; not for use inside an async runtime.
#[derive(Debug)]
pub struct EngineClient {
    http: Http,
    /// Further engines of the same kind under one load: what is asked of one is asked of all.
    others: Vec<EngineClient>,
    endpoints: Endpoints,
    /// It stands before engines. SGLang's router takes prompts as text alone.
    router: bool,
}

/// A model as `/v1/models` lists it.
#[derive(Debug, Clone, PartialEq, Eq, Default, Deserialize)]
pub struct ServedModel {
    pub id: String,
    /// Directory or hub name behind the served name (vLLM and SGLang say it).
    #[serde(default)]
    pub root: Option<String>,
    #[serde(default)]
    pub max_model_len: Option<u64>,
}

#[derive(Deserialize)]
struct Models {
    data: Vec<ServedModel>,
}

/// Answer to the probe request.
#[derive(Debug, Clone, PartialEq, Eq)]
pub enum Probe {
    /// A token was generated; the fingerprint tells two configurations apart (vLLM).
    Token { fingerprint: Option<String> },
    /// The server answered, but not with a token: what it said.
    Refused(String),
    /// No answer in time, or none at all.
    Silent(String),
}

impl EngineClient {
    /// For an engine on this machine.
    pub fn new(port: u16, endpoints: Endpoints, api_key: Option<String>) -> Result<EngineClient> {
        EngineClient::at(&format!("http://127.0.0.1:{port}"), endpoints, api_key)
    }

    /// For an engine at any address.
    pub fn at(base_url: &str, endpoints: Endpoints, api_key: Option<String>) -> Result<EngineClient> {
        let fail = |e: String| Error::failed("the control client cannot be made").source(e);
        let http = Http::at(base_url, api_key).map_err(fail)?;
        Ok(EngineClient { http, others: Vec::new(), endpoints, router: false })
    }

    /// For several engines of the same kind under one load.
    #[must_use]
    pub fn beside(mut self, others: Vec<EngineClient>) -> EngineClient {
        self.others = others;
        self
    }

    /// For a router before engines: it answers requests, and its own counters are none of theirs.
    #[must_use]
    pub fn as_router(mut self) -> EngineClient {
        self.router = true;
        self.endpoints = Endpoints { metrics: None, reset_cache: None, ..self.endpoints };
        self
    }

    /// Whether the health endpoint answers 200. A server without one is asked no further.
    pub fn healthy(&self) -> bool {
        let own = self.get(self.endpoints.health, SHORT);
        own.is_ok_and(|(status, _)| matches!(status, 200 | 404 | 405))
            && self.others.iter().all(Self::healthy)
    }

    /// The first model served.
    pub fn model(&self) -> Option<ServedModel> {
        self.models().ok()?.into_iter().next()
    }

    /// The models at `/v1/models`.
    pub fn models(&self) -> Result<Vec<ServedModel>> {
        let url = format!("{}{}", self.http.base(), self.endpoints.models);
        let fail = |what: String| Error::failed(what).at(&url);
        match self.get(self.endpoints.models, SHORT) {
            Err(e) => Err(fail(format!("the server cannot be asked for its models: {e}"))),
            Ok((200, text)) => match serde_json::from_str::<Models>(&text) {
                Ok(models) => Ok(models.data),
                Err(e) => Err(fail(format!(
                    "this is not an OpenAI-compatible server: its list of models cannot be read ({e})"
                ))),
            },
            Ok((status, _)) => {
                Err(fail(format!("the server cannot be asked for its models: status {status}")))
            }
        }
    }

    /// Asks for one token. Only this proves that the engine works: a front end may answer `/health` while
    /// nothing behind it generates.
    pub fn probe(&self, model: &str, limit: Duration) -> Probe {
        let prompt = if self.router { json!("one two three") } else { json!([11, 12, 13, 14]) };
        let body = json!({
            "model": model, "prompt": prompt, "max_tokens": 1, "temperature": 0.0, "stream": false
        });
        let own = match self.post("/v1/completions", Some(&body), limit) {
            Err(e) => Probe::Silent(e),
            Ok((200, text)) => generated(&text),
            Ok((status, text)) => Probe::Refused(format!("HTTP {status}: {}", brief(&text))),
        };
        let failed = |probe: &Probe| !matches!(probe, Probe::Token { .. });
        // The first that fails speaks for all.
        if failed(&own) {
            return own;
        }
        self.others.iter().map(|other| other.probe(model, limit)).find(failed).unwrap_or(own)
    }

    /// Sends one completion request and gives its choices.
    ///
    /// Errors: what the server said instead.
    pub fn complete(&self, body: &Value, limit: Duration) -> Result<Vec<Value>, String> {
        let (status, text) = self.post("/v1/completions", Some(body), limit)?;
        if status != 200 {
            return Err(format!("HTTP {status}: {}", brief(&text)));
        }
        let answer: Value = serde_json::from_str(&text).map_err(|e| e.to_string())?;
        answer["choices"].as_array().cloned().ok_or_else(|| format!("no choices: {}", brief(&text)))
    }

    /// The engine's counters and gauges now; `None` when it has no metrics or does not answer.
    pub fn scrape(&self) -> Option<Samples> {
        let (status, text) = self.get(self.endpoints.metrics?, SHORT).ok()?;
        let mut own = (status == 200).then(|| Samples::parse(&text)).filter(|s| !s.is_empty())?;
        for other in self.others.iter().filter(|o| o.endpoints.metrics.is_some()) {
            own.join(other.scrape()?);
        }
        Some(own)
    }

    /// Empties the prefix cache. False when the engine has no way to, or refuses.
    pub fn reset_cache(&self) -> bool {
        let others: Vec<bool> =
            self.others.iter().filter(|o| o.endpoints.reset_cache.is_some()).map(Self::reset_cache).collect();
        self.reset_own_cache() && others.into_iter().all(|done| done)
    }

    fn reset_own_cache(&self) -> bool {
        let Some(path) = self.endpoints.reset_cache else { return false };
        match self.post(path, None, SHORT) {
            // Newer vLLM says in the body whether it did; older ones answer with nothing.
            Ok((200, text)) => serde_json::from_str::<Value>(&text)
                .ok()
                .and_then(|v| v.get("success").and_then(Value::as_bool))
                .unwrap_or(true),
            _ => false,
        }
    }

    pub fn version(&self) -> Option<String> {
        let v = self.get_json(self.endpoints.version?)?;
        v.get("version").and_then(Value::as_str).map(str::to_owned)
    }

    pub fn server_info(&self) -> Option<Value> {
        self.get_json(self.endpoints.server_info?)
    }

    fn get_json(&self, path: &str) -> Option<Value> {
        let (status, text) = self.get(path, SHORT).ok()?;
        if status == 200 { serde_json::from_str(&text).ok() } else { None }
    }

    fn get(&self, path: &str, limit: Duration) -> Result<(u16, String), String> {
        self.http.get(path, limit)
    }

    fn post(&self, path: &str, body: Option<&Value>, limit: Duration) -> Result<(u16, String), String> {
        self.http.post(path, body, limit)
    }
}

fn generated(text: &str) -> Probe {
    // Some servers stream whatever they are asked for: the first event is the answer then.
    let first = text.lines().find_map(|l| l.strip_prefix("data:")).unwrap_or(text);
    let Ok(v) = serde_json::from_str::<Value>(first) else {
        return Probe::Refused(format!("the answer is not JSON: {}", brief(text)));
    };
    let choices = v.get("choices").and_then(Value::as_array).map_or(0, Vec::len);
    let tokens = v.pointer("/usage/completion_tokens").and_then(Value::as_u64);
    if choices == 0 || tokens == Some(0) {
        return Probe::Refused(format!("no token in the answer: {}", brief(text)));
    }
    let fingerprint = v.get("system_fingerprint").and_then(Value::as_str).map(str::to_owned);
    Probe::Token { fingerprint }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn only_a_generated_token_is_a_token() {
        let ok = r#"{"choices":[{"text":""}],"usage":{"completion_tokens":1},"system_fingerprint":"f"}"#;
        assert_eq!(generated(ok), Probe::Token { fingerprint: Some("f".into()) });
        let streamed = "data: {\"choices\":[{\"text\":\" a\"}]}\n\ndata: [DONE]\n\n";
        assert_eq!(generated(streamed), Probe::Token { fingerprint: None });
        for bad in
            ["<html>", "{}", r#"{"choices":[]}"#, r#"{"choices":[{}],"usage":{"completion_tokens":0}}"#]
        {
            assert!(matches!(generated(bad), Probe::Refused(_)), "{bad}");
        }
    }
}
