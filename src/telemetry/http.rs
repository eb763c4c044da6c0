//! A plain HTTP client for questions to servers: engines under test, clusters. Every call blocks and has its own time limit;
//! nothing here is part of a measurement.

use serde_json::Value;
use std::time::Duration;
use tokio::runtime::{Builder, Runtime};

/// Longest answer that is read: the metrics of an engine with hundreds of ranks take a few megabytes.
const LONGEST: usize = 32 << 20;

/// Status and body of an answer.
pub(super) type Answer = (u16, String);

/// Talks to one server; not for use inside an async runtime.
#[derive(Debug)]
pub struct Http {
    http: reqwest::Client,
    runtime: Runtime,
    base: String,
    /// Sent as a bearer token.
    token: Option<String>,
}

impl Http {
    /// Errors: what the system or the TLS library says.
    pub fn at(base_url: &str, token: Option<String>) -> Result<Http, String> {
        let http = encrypted(reqwest::Client::builder())?
            .connect_timeout(Duration::from_secs(5))
            .no_proxy()
            // A server speaks for itself: what another one says would be booked on it.
            .redirect(reqwest::redirect::Policy::none())
            .pool_max_idle_per_host(1)
            .build()
            .map_err(|e| e.to_string())?;
        let runtime = Builder::new_current_thread().enable_all().build().map_err(|e| e.to_string())?;
        Ok(Http { http, runtime, base: base_url.trim_end_matches('/').to_owned(), token })
    }

    /// The server's address, without a slash at its end.
    pub fn base(&self) -> &str {
        &self.base
    }

    /// Errors: no answer, and why.
    pub fn get(&self, path: &str, limit: Duration) -> Result<Answer, String> {
        self.send(self.http.get(format!("{}{path}", self.base)), limit)
    }

    /// Errors: no answer, and why.
    pub fn post(&self, path: &str, body: Option<&Value>, limit: Duration) -> Result<Answer, String> {
        let request = self.http.post(format!("{}{path}", self.base));
        self.send(if let Some(b) = body { request.json(b) } else { request }, limit)
    }

    fn send(&self, request: reqwest::RequestBuilder, limit: Duration) -> Result<Answer, String> {
        let request = match &self.token {
            Some(token) => request.bearer_auth(token),
            None => request,
        };
        self.runtime.block_on(async {
            let answer = request.timeout(limit).send().await.map_err(|e| describe(&e))?;
            let status = answer.status().as_u16();
            let text = bounded(answer).await?;
            Ok((status, text))
        })
    }
}

/// The start of an answer, for a message.
pub fn brief(text: &str) -> String {
    let text = text.trim();
    // An answer may hold anything; a terminal shall not act on it.
    let printable = |c: char| if c.is_control() { ' ' } else { c };
    if text.is_empty() { "(empty)".to_owned() } else { text.chars().take(300).map(printable).collect() }
}

/// With the TLS that the measuring client speaks, where it is built in.
#[cfg(feature = "tls")]
fn encrypted(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, String> {
    let client = crate::host::tls_client()?;
    Ok(builder.tls_backend_preconfigured((*client.config).clone()))
}

#[cfg(not(feature = "tls"))]
#[expect(clippy::unnecessary_wraps, reason = "with TLS it can fail")]
fn encrypted(builder: reqwest::ClientBuilder) -> Result<reqwest::ClientBuilder, String> {
    Ok(builder)
}

/// The body as text, as far as it is no longer than any honest answer.
async fn bounded(mut answer: reqwest::Response) -> Result<String, String> {
    let mut body = Vec::new();
    while let Some(piece) = answer.chunk().await.map_err(|e| describe(&e))? {
        if body.len() + piece.len() > LONGEST {
            return Err(format!("the answer is longer than {} MiB", LONGEST >> 20));
        }
        body.extend_from_slice(&piece);
    }
    Ok(String::from_utf8_lossy(&body).into_owned())
}

fn describe(e: &reqwest::Error) -> String {
    if e.is_timeout() {
        return "no answer in time".to_owned();
    }
    let causes = || std::iter::successors(std::error::Error::source(e), |c| c.source());
    let refused = |c: &(dyn std::error::Error + 'static)| {
        c.downcast_ref::<std::io::Error>().is_some_and(|e| e.kind() == std::io::ErrorKind::ConnectionRefused)
    };
    match causes().last() {
        _ if e.is_connect() && causes().any(refused) => "connection refused".to_owned(),
        // The innermost says it: a name that is not known, a certificate that nobody trusts.
        Some(cause) if e.is_connect() => format!("no connection: {cause}"),
        Some(_) => format!("{e}: {}", causes().next().map(ToString::to_string).unwrap_or_default()),
        None => e.to_string(),
    }
}
