//! One request over HTTP, timed.

use super::options::{Progress, RunOptions, Target};
use super::outcome::{ErrorKind, Row};
use super::stream::StreamState;
use crate::error::{Error, Result};
use crate::units::Nanos;
use bytes::Bytes;
use reqwest::header::{AUTHORIZATION, CONTENT_TYPE, HeaderMap, HeaderValue};
use reqwest::{Client, Url};
use std::io;
use std::time::Instant;

/// A client with its own connections, for one thread.
#[derive(Debug, Clone)]
pub(super) struct Sender {
    client: Client,
    url: Url,
    health: Url,
    headers: HeaderMap,
}

impl Sender {
    pub(super) fn new(target: &Target, options: &RunOptions) -> Result<Sender> {
        let parse = |path: &str| {
            Url::parse(&format!("{}{path}", target.base_url.trim_end_matches('/'))).map_err(|e| {
                Error::usage(format!("`{}` is not the address of a server: {e}", target.base_url))
                    .hint("such as http://127.0.0.1:8000")
            })
        };
        let mut headers = HeaderMap::new();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/json"));
        if let Some(key) = &target.api_key {
            let mut value = HeaderValue::from_str(&format!("Bearer {}", key.reveal()))
                .map_err(|_| Error::usage("the API key holds characters that no header can carry"))?;
            value.set_sensitive(true);
            headers.insert(AUTHORIZATION, value);
        }
        let client = Client::builder()
            .no_proxy()
            .http1_only()
            .tcp_nodelay(true)
            .pool_max_idle_per_host(usize::MAX)
            .redirect(reqwest::redirect::Policy::none())
            .connect_timeout(options.connect_timeout)
            .build()
            .map_err(|e| Error::failed("the HTTP client cannot be set up").source(e))?;
        Ok(Sender { client, url: parse(target.endpoint.path())?, health: parse("/health")?, headers })
    }

    /// Opens a connection and leaves it in the pool; whatever is answered will do.
    pub(super) async fn preconnect(&self) {
        if let Ok(response) = self.client.get(self.health.clone()).headers(self.headers.clone()).send().await
        {
            let _ = response.bytes().await;
        }
    }

    /// Sends the request and reads its stream to the end; returns what broke it off, if anything did. Times
    /// count from `start`. The state of the stream stays with the caller, so that what had arrived survives a
    /// timeout that drops this future.
    pub(super) async fn send(
        &self,
        body: Bytes,
        start: Instant,
        progress: &Progress,
        row: &mut Row,
        stream: &mut StreamState,
    ) -> Option<Cut> {
        let request = self.client.post(self.url.clone()).headers(self.headers.clone()).body(body);
        row.sent = since(start);
        Progress::add(&progress.sent, 1);
        let mut response = match request.send().await {
            Ok(response) => response,
            Err(e) => return Some((before_answer(&e), describe(&e))),
        };
        row.headers = Some(since(start));
        if response.status() != reqwest::StatusCode::OK {
            let status = response.status().as_u16();
            let text = response.text().await.unwrap_or_default();
            return Some((ErrorKind::Http(status), text.chars().take(400).collect()));
        }
        loop {
            match response.chunk().await {
                Ok(Some(bytes)) => Progress::add(&progress.chunks, stream.push(since(start), &bytes)),
                Ok(None) => return None,
                Err(e) => return Some((inside_answer(&e), describe(&e))),
            }
        }
    }
}

/// What ended a stream before its time.
pub(super) type Cut = (ErrorKind, String);

pub(super) fn since(start: Instant) -> Nanos {
    Nanos::from(start.elapsed())
}

fn before_answer(e: &reqwest::Error) -> ErrorKind {
    if e.is_connect() {
        ErrorKind::Connect
    } else if e.is_timeout() {
        ErrorKind::Timeout
    } else {
        ErrorKind::Reset
    }
}

/// A body that ends too early without a reset is truncated.
fn inside_answer(e: &reqwest::Error) -> ErrorKind {
    let mut source = std::error::Error::source(e);
    while let Some(cause) = source {
        if let Some(io) = cause.downcast_ref::<io::Error>() {
            return match io.kind() {
                io::ErrorKind::ConnectionReset
                | io::ErrorKind::ConnectionAborted
                | io::ErrorKind::BrokenPipe => ErrorKind::Reset,
                _ => ErrorKind::Truncated,
            };
        }
        source = cause.source();
    }
    ErrorKind::Truncated
}

/// The whole chain of causes in one line.
pub(super) fn describe(e: &reqwest::Error) -> String {
    let mut text = e.to_string();
    let mut source = std::error::Error::source(e);
    while let Some(cause) = source {
        text = format!("{text}: {cause}");
        source = cause.source();
    }
    text
}
