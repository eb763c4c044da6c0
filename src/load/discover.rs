//! What a running server says of itself, and waiting for one that starts.

use super::Cancel;
use super::options::Secret;
use crate::error::{Error, Kind, Result};
use serde::Deserialize;
use std::time::{Duration, Instant};

/// One model that a server serves.
#[derive(Debug, Clone, PartialEq, Eq, Deserialize)]
pub struct ServedModel {
    pub id: String,
    /// Directory or hub name behind the served name (vLLM and SGLang say it).
    #[serde(default)]
    pub root: Option<String>,
    #[serde(default)]
    pub max_model_len: Option<u32>,
}

#[derive(Deserialize)]
struct Models {
    data: Vec<ServedModel>,
}

/// The models at `/v1/models`.
pub fn served_models(base_url: &str, key: Option<&Secret>, timeout: Duration) -> Result<Vec<ServedModel>> {
    let url = format!("{}/v1/models", base_url.trim_end_matches('/'));
    let fail =
        |what: String| Error::failed(what).at(&url).hint("is the server running, and is this its address?");
    let text = get(&url, key, timeout)
        .map_err(|e| fail(format!("the server cannot be asked for its models: {e}")))?;
    let models: Models = serde_json::from_str(&text).map_err(|e| {
        fail(format!("this is not an OpenAI-compatible server: its list of models cannot be read ({e})"))
    })?;
    Ok(models.data)
}

/// The engine's version at `/version`, when it tells.
pub fn server_version(base_url: &str, timeout: Duration) -> Option<String> {
    #[derive(Deserialize)]
    struct Version {
        version: String,
    }
    let text = get(&format!("{}/version", base_url.trim_end_matches('/')), None, timeout).ok()?;
    serde_json::from_str::<Version>(&text).ok().map(|v| v.version)
}

/// Waits until `/v1/models` answers, at most `limit`; `alive` says whether the server still runs.
pub fn wait_ready(
    base_url: &str,
    key: Option<&Secret>,
    limit: Duration,
    cancel: &Cancel,
    alive: impl Fn() -> Option<String>,
) -> Result<Vec<ServedModel>> {
    let began = Instant::now();
    loop {
        if let Some(ended) = alive() {
            return Err(Error::failed(format!("the server ended before it was ready: {ended}")));
        }
        if cancel.is_cancelled() {
            return Err(Error::new(Kind::Interrupted, "interrupted while the server started"));
        }
        match served_models(base_url, key, Duration::from_secs(2)) {
            Ok(models) if !models.is_empty() => return Ok(models),
            _ if began.elapsed() > limit => {
                return Err(Error::failed(format!("the server was not ready after {} s", limit.as_secs())));
            }
            _ => std::thread::sleep(Duration::from_millis(250)),
        }
    }
}

/// One GET, as text.
fn get(url: &str, key: Option<&Secret>, timeout: Duration) -> std::result::Result<String, String> {
    let runtime =
        tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
    runtime.block_on(async {
        let client = reqwest::Client::builder()
            .no_proxy()
            .timeout(timeout)
            .build()
            .map_err(|e| e.without_url().to_string())?;
        let mut request = client.get(url);
        if let Some(key) = key {
            request = request.bearer_auth(key.reveal());
        }
        let response = request.send().await.map_err(|e| describe(&e.without_url()))?;
        let status = response.status();
        if !status.is_success() {
            return Err(format!("status {status}"));
        }
        response.text().await.map_err(|e| e.without_url().to_string())
    })
}

/// The whole chain of causes in one line.
fn describe(e: &reqwest::Error) -> String {
    let mut text = e.to_string();
    let mut source = std::error::Error::source(e);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
