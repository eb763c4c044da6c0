//! The HTTP front end: which routes exist, and how a generating request is paced.

use crate::pace::Engine;
use crate::script::{Flavour, How};
use crate::shapes::{self, Ask, Piece};
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::State;
use axum::http::{StatusCode, header};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use axum::serve::ListenerExt;
use serde_json::{Value, json};
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio::time::{Instant, sleep_until};

type Shared = State<Arc<Engine>>;

/// Serves the routes that this engine has; any other is 404.
pub(crate) async fn serve(listener: TcpListener, engine: Arc<Engine>) {
    let routes = Router::new()
        .route("/v1/completions", post(completions))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/health", get(health));
    let dev_mode = std::env::var("VLLM_SERVER_DEV_MODE").is_ok_and(|v| v == "1");
    let routes = match engine.script.flavour {
        Flavour::Vllm => {
            let routes = routes
                .route("/ping", any(health))
                .route("/version", get(version))
                .route("/metrics", get(prometheus));
            if dev_mode { routes.route("/reset_prefix_cache", post(reset_prefix_cache)) } else { routes }
        }
        Flavour::Sglang => {
            let routes = routes
                .route("/health_generate", get(health))
                .route("/flush_cache", any(flush_cache))
                .route("/get_server_info", get(server_info))
                .route("/get_model_info", get(model_info));
            let newer = if engine.script.version() >= (0, 5, 9) {
                routes.route("/server_info", get(server_info)).route("/model_info", get(model_info))
            } else {
                routes
            };
            if engine.launch.is_on("enable-metrics") {
                newer.route("/metrics", get(prometheus))
            } else {
                newer
            }
        }
        Flavour::Trtllm => {
            let routes = routes
                .route("/version", get(version))
                .route("/health_generate", get(health))
                .route("/metrics", get(unread_steps));
            if engine.launch.is_on("return-perf-metrics") {
                routes.route("/prometheus/metrics", get(prometheus))
            } else {
                routes
            }
        }
    };
    // As Python's servers do; otherwise small chunks wait for the client's delayed acknowledgement.
    let listener = listener.tap_io(|stream| _ = stream.set_nodelay(true));
    let _ = axum::serve(listener, routes.with_state(engine)).await;
}

fn error(status: StatusCode, message: &str) -> Response {
    let body = json!({"error": {"message": message, "type": "BadRequestError", "param": null,
                                "code": status.as_u16()}, "object": "error", "message": message});
    (status, axum::Json(body)).into_response()
}

async fn health(State(engine): Shared) -> Response {
    if engine.dead.load(Ordering::Relaxed) || engine.stopping.load(Ordering::Relaxed) {
        return StatusCode::SERVICE_UNAVAILABLE.into_response();
    }
    if engine.is(Flavour::Sglang) {
        // It generates a token, which a hung engine never does.
        if engine.trouble(engine.started.load(Ordering::Relaxed)) == Some(How::Hang) {
            std::future::pending::<()>().await;
        }
        engine.prompt_tokens.fetch_add(1, Ordering::Relaxed);
        engine.generated.fetch_add(1, Ordering::Relaxed);
        sleep_until(Instant::now() + engine.due(1, 0, 0)).await;
    }
    StatusCode::OK.into_response()
}

async fn version(State(engine): Shared) -> Response {
    axum::Json(json!({"version": engine.script.version})).into_response()
}

async fn models(State(engine): Shared) -> Response {
    axum::Json(shapes::models(&engine)).into_response()
}

async fn server_info(State(engine): Shared) -> Response {
    axum::Json(shapes::server_info(&engine)).into_response()
}

async fn model_info(State(engine): Shared) -> Response {
    axum::Json(json!({"model_path": engine.launch.model, "is_generation": true})).into_response()
}

async fn prometheus(State(engine): Shared) -> Response {
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4")], shapes::prometheus(&engine)).into_response()
}

/// TensorRT-LLM's statistics: a JSON list that is consumed by reading.
async fn unread_steps(State(engine): Shared) -> Response {
    let mut steps = engine.unread_steps.lock().unwrap_or_else(std::sync::PoisonError::into_inner);
    axum::Json(Value::Array(std::mem::take(&mut steps))).into_response()
}

async fn reset_prefix_cache(State(engine): Shared) -> Response {
    engine.empty_cache();
    if engine.script.version() < (0, 25, 0) {
        StatusCode::OK.into_response()
    } else {
        axum::Json(json!({"success": true})).into_response()
    }
}

async fn flush_cache(State(engine): Shared) -> Response {
    if engine.running.load(Ordering::Relaxed) + engine.waiting.load(Ordering::Relaxed) > 0 {
        let text = "Failed to flush cache: there are running or waiting requests.\n";
        return (StatusCode::BAD_REQUEST, text).into_response();
    }
    engine.empty_cache();
    (StatusCode::OK, "Cache flushed.\nPlease check backend logs for more details.\n").into_response()
}

async fn completions(state: Shared, body: Bytes) -> Response {
    generate(state, &body, false).await
}

async fn chat(state: Shared, body: Bytes) -> Response {
    generate(state, &body, true).await
}

async fn generate(State(engine): Shared, body: &[u8], chat: bool) -> Response {
    let Ok(request) = serde_json::from_slice::<Value>(body) else {
        return error(StatusCode::BAD_REQUEST, "There was an error parsing the body");
    };
    let ask = match Ask::read(&engine, &request, chat) {
        Ok(ask) => ask,
        Err((status, message)) => return error(status, &message),
    };
    if engine.dead.load(Ordering::Relaxed) {
        return error(
            StatusCode::INTERNAL_SERVER_ERROR,
            "EngineCore encountered an issue. See stack trace (above) for the root cause.",
        );
    }
    let nth = engine.started.fetch_add(1, Ordering::Relaxed) + 1;
    match engine.trouble(nth) {
        Some(How::Garbage) => return (StatusCode::OK, "<html>It works!</html>").into_response(),
        Some(How::Error500) => return error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
        _ => {}
    }
    let (tx, rx) = mpsc::channel::<io::Result<Bytes>>(1024);
    let streams = ask.stream;
    tokio::spawn(pace(engine, ask, nth, tx));
    if streams {
        let body = Body::from_stream(futures_util::stream::unfold(rx, |mut rx| async {
            rx.recv().await.map(|chunk| (chunk, rx))
        }));
        return ([(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")], body).into_response();
    }
    let mut rx = rx;
    match rx.recv().await {
        Some(Ok(whole)) => ([(header::CONTENT_TYPE, "application/json")], whole).into_response(),
        _ => error(StatusCode::INTERNAL_SERVER_ERROR, "Internal Server Error"),
    }
}

/// Waits for a slot and sends the tokens when they are due.
async fn pace(engine: Arc<Engine>, ask: Ask, nth: u64, tx: mpsc::Sender<io::Result<Bytes>>) {
    engine.waiting.fetch_add(1, Ordering::Relaxed);
    let slot = engine.slots.acquire().await;
    engine.waiting.fetch_sub(1, Ordering::Relaxed);
    engine.running.fetch_add(1, Ordering::Relaxed);
    let cached = engine.look_up(&ask.prompt);
    // A client that goes away frees the slot, as an engine aborts its request.
    tokio::select! {
        () = send_tokens(&engine, &ask, nth, cached, &tx) => {}
        () = tx.closed() => {}
    }
    engine.running.fetch_sub(1, Ordering::Relaxed);
    drop(slot);
}

async fn send_tokens(
    engine: &Engine,
    ask: &Ask,
    nth: u64,
    cached: u64,
    tx: &mpsc::Sender<io::Result<Bytes>>,
) {
    let began = Instant::now();
    let trouble = engine.trouble(nth);
    let interval = engine.stream_interval();
    let half = ask.max_tokens / 2;
    let prompt = ask.prompt.len() as u64;
    if ask.stream && ask.chat && !engine.is(Flavour::Trtllm) {
        let _ = tx.send(Ok(ask.role_chunk(engine, nth))).await;
    }
    let mut held = 0;
    for k in 0..ask.max_tokens {
        if k >= half && matches!(trouble, Some(How::Hang)) {
            std::future::pending::<()>().await;
        }
        if k >= half && matches!(trouble, Some(How::Cut)) {
            let _ = tx.send(Err(io::Error::other("cut"))).await;
            return;
        }
        if k >= half && matches!(trouble, Some(How::Truncate)) {
            return;
        }
        if engine.dead.load(Ordering::Relaxed) {
            let _ = tx.send(Err(io::Error::other("dead"))).await;
            return;
        }
        sleep_until(began + engine.due(prompt, k, nth)).await;
        engine.generated.fetch_add(1, Ordering::Relaxed);
        shapes::count_step(engine);
        held += 1;
        let last = k + 1 == ask.max_tokens;
        if ask.stream && (held == interval || last || k == 0) {
            let _ = tx.send(Ok(ask.token_chunk(engine, nth, Piece { k, n: held, last }, cached))).await;
            held = 0;
        }
    }
    if ask.stream {
        if ask.include_usage {
            let _ = tx.send(Ok(ask.usage_chunk(engine, nth, cached))).await;
        }
        let _ = tx.send(Ok(Bytes::from_static(b"data: [DONE]\n\n"))).await;
    } else {
        let _ = tx.send(Ok(ask.whole(engine, nth, cached))).await;
    }
}
