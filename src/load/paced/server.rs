//! The HTTP side of the known-timing server.

use super::Pace;
use super::answer::{Answer, Asked, Early};
use super::pacer::{Job, Pacer, Piece};
use crate::error::{Error, Result};
use axum::Router;
use axum::body::Body;
use axum::extract::{DefaultBodyLimit, State};
use axum::http::StatusCode;
use axum::response::{IntoResponse, Response};
use axum::routing::{get, post};
use axum::serve::ListenerExt;
use bytes::Bytes;
use std::net::{SocketAddr, TcpListener};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::Instant;
use tokio::sync::{mpsc, oneshot};

/// A known-timing server on threads of this process; dropping it stops it.
pub struct PacedServer {
    pub address: SocketAddr,
    pacer: Arc<Pacer>,
    stop: Option<oneshot::Sender<()>>,
    threads: Vec<std::thread::JoinHandle<()>>,
}

/// What the server did so far.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct PacedStats {
    pub requests: u64,
    pub tokens: u64,
    pub writes: u64,
    /// How late the writes were against their deadlines.
    pub mean_late_ms: f64,
    pub max_late_ms: f64,
}

struct Serving {
    pace: Arc<Pace>,
    pacer: Arc<Pacer>,
    count: AtomicU64,
}

impl PacedServer {
    /// Binds to the loopback address (port 0 takes a free one) and serves until dropped.
    pub fn start(port: u16, pace: Pace, threads: usize) -> Result<PacedServer> {
        let place = format!("127.0.0.1:{port}");
        let fail = |e: std::io::Error| Error::failed("the server cannot listen").at(&place).source(e);
        let listener = TcpListener::bind(&place).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let runtime = tokio::runtime::Builder::new_multi_thread()
            .worker_threads(threads.max(1))
            .enable_all()
            .build()
            .map_err(fail)?;
        let pacer = Arc::new(Pacer::default());
        let serving =
            Arc::new(Serving { pace: Arc::new(pace), pacer: pacer.clone(), count: AtomicU64::new(0) });
        let (stop, stopped) = oneshot::channel();
        let pacing = pacer.clone();
        let threads = vec![
            std::thread::spawn(move || pacing.run()),
            std::thread::spawn(move || {
                runtime.block_on(async {
                    tokio::select! {
                        () = serve(listener, serving) => {}
                        _ = stopped => {}
                    }
                });
                runtime.shutdown_background();
            }),
        ];
        Ok(PacedServer { address, pacer, stop: Some(stop), threads })
    }

    pub fn base_url(&self) -> String {
        format!("http://{}", self.address)
    }

    pub fn stats(&self) -> PacedStats {
        stats(&self.pacer)
    }
}

impl Drop for PacedServer {
    fn drop(&mut self) {
        self.pacer.stop();
        drop(self.stop.take());
        for thread in self.threads.drain(..) {
            let _ = thread.join();
        }
    }
}

fn stats(pacer: &Pacer) -> PacedStats {
    let get = |n: &AtomicU64| n.load(Ordering::Relaxed);
    let sent = &pacer.sent;
    PacedStats {
        requests: get(&sent.requests),
        tokens: get(&sent.tokens),
        writes: get(&sent.writes),
        mean_late_ms: get(&sent.late_sum_ns) as f64 / 1e6 / (get(&sent.writes) as f64).max(1.0),
        max_late_ms: get(&sent.late_max_ns) as f64 / 1e6,
    }
}

async fn serve(listener: TcpListener, serving: Arc<Serving>) {
    let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
    let listener = listener.tap_io(|socket| {
        let _ = socket.set_nodelay(true);
    });
    let router = Router::new()
        .route("/health", get(|| async { "" }))
        .route("/v1/models", get(models))
        .route("/stats", get(show_stats))
        .route("/v1/completions", post(|s, b| answer(s, b, false)))
        .route("/v1/chat/completions", post(|s, b| answer(s, b, true)))
        .layer(DefaultBodyLimit::disable())
        .with_state(serving);
    let _ = axum::serve(listener, router).await;
}

async fn models() -> impl IntoResponse {
    let body = r#"{"object":"list","data":[{"id":"paced","object":"model","max_model_len":1048576}]}"#;
    ([("content-type", "application/json")], body)
}

async fn show_stats(State(serving): State<Arc<Serving>>) -> impl IntoResponse {
    let s = stats(&serving.pacer);
    let body = serde_json::json!({"requests": s.requests, "tokens": s.tokens, "writes": s.writes,
                                  "mean_late_ms": s.mean_late_ms, "max_late_ms": s.max_late_ms});
    ([("content-type", "application/json")], body.to_string())
}

async fn answer(State(serving): State<Arc<Serving>>, body: Bytes, chat: bool) -> Response {
    let started = Instant::now();
    let index = serving.count.fetch_add(1, Ordering::Relaxed);
    serving.pacer.sent.requests.fetch_add(1, Ordering::Relaxed);
    let pace = serving.pace.clone();
    if Pace::belongs(pace.hang_share, index) {
        std::future::pending::<()>().await;
    }
    if Pace::belongs(pace.error_share, index) {
        let status = StatusCode::from_u16(pace.error_status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR);
        return (status, r#"{"error":{"message":"refused on purpose"}}"#).into_response();
    }
    let event_stream = [("content-type", "text/event-stream; charset=utf-8")];
    if Pace::belongs(pace.garbage_share, index) {
        return (event_stream, "data: {\"choices\": oops\n\n<html>\n\n").into_response();
    }
    let Some(asked) = Asked::read(chat, &body) else {
        return (StatusCode::BAD_REQUEST, r#"{"error":{"message":"not JSON"}}"#).into_response();
    };
    let early = if Pace::belongs(pace.truncate_share, index) {
        Early::Cut
    } else if Pace::belongs(pace.in_band_error_share, index) {
        Early::InBandError
    } else {
        Early::No
    };
    let answer = Answer::new(index, asked, pace, early);
    let (to, mut from) = mpsc::unbounded_channel::<Piece>();
    if let Some(opening) = answer.opening() {
        let _ = to.send(Ok(Bytes::from(opening)));
    }
    // Half of the cut streams end properly but early, the other half break off.
    let breaks = early == Early::Cut && index % 4 >= 2;
    serving.pacer.add(Job { started, answer, to, breaks });
    let pieces = futures_util::stream::poll_fn(move |cx| from.poll_recv(cx));
    (event_stream, Body::from_stream(pieces)).into_response()
}
