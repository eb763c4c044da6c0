//! The OpenAI-compatible front: routes, answers, errors.

use super::driver::{Command, Engine};
use super::fault::Fault;
use super::log::Log;
use super::plan::Plan;
use super::reply::Reply;
use super::request::{self, ApiError, Ask, Limits};
use super::stats::Labels;
use super::stream::{self, EventStream, Shape, Wire};
use super::text;
use crate::sim::scheduler::SimRequest;
use crate::units::Nanos;
use axum::Router;
use axum::body::{Body, Bytes};
use axum::extract::{Request, State};
use axum::http::{HeaderMap, StatusCode, header};
use axum::middleware::{self, Next};
use axum::response::{IntoResponse, Response};
use axum::routing::{any, get, post};
use serde_json::{Value, json};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, Ordering};
use std::time::{SystemTime, UNIX_EPOCH};

/// Bodies beyond this are refused; a prompt of a million token ids stays well below.
const MAX_BODY: usize = 64 << 20;

/// What every handler needs.
pub struct App {
    pub engine: Engine,
    pub plan: Plan,
    pub limits: Limits,
    pub labels: Labels,
    pub log: Log,
    pub healthy: AtomicBool,
    fingerprint: String,
    started: u64,
    next_id: AtomicU64,
    completions: AtomicU64,
}

impl App {
    pub fn new(engine: Engine, plan: Plan, log: Log) -> App {
        let limits = Limits {
            vocab: plan.model.vocab,
            max_model_len: plan.config.max_model_len,
            priority: plan.given.text("scheduling-policy") == Some("priority"),
            usage_by_default: plan.version < (0, 18, 0),
            mean_output_tokens: plan.mean_output_tokens,
            seed: plan.seed,
        };
        let words = plan.given.vllm_words().join(" ");
        let hash = words.bytes().fold(0, |h, b| text::mix(h ^ u64::from(b))) as u32;
        App {
            labels: labels(&plan),
            limits,
            fingerprint: format!("emulated-vllm-{}-{hash:08x}", plan.version_text()),
            started: unix_now(),
            next_id: AtomicU64::new(1),
            completions: AtomicU64::new(0),
            healthy: AtomicBool::new(true),
            engine,
            plan,
            log,
        }
    }

    fn shape(&self, chat: bool, number: u64) -> Shape {
        let kind = if chat { "chatcmpl" } else { "cmpl" };
        Shape {
            id: format!("{kind}-emulated-{:016x}", text::mix(self.plan.seed ^ number)),
            created: unix_now(),
            model: self.plan.served[0].clone(),
            fingerprint: self.fingerprint.clone(),
            vocab: self.limits.vocab,
            interval: self.plan.config.stream_interval,
        }
    }

    /// Hands every generation of a request to the engine.
    fn submit(&self, ask: &Ask, arrival: Nanos) -> (Arc<Reply>, Vec<u64>) {
        let reply = Arc::new(Reply::new(ask.generations.len()));
        let count = ask.generations.len() as u64;
        let first = self.next_id.fetch_add(count, Ordering::Relaxed);
        for (choice, g) in ask.generations.iter().enumerate() {
            let block_hashes = if self.plan.config.prefix_caching {
                text::block_hashes(&g.prompt, self.plan.config.block_size, &ask.cache_salt)
            } else {
                Vec::new()
            };
            let request = SimRequest {
                id: first + choice as u64,
                input_tokens: g.prompt.len() as u32,
                output_tokens: g.output_tokens,
                max_tokens: g.max_tokens,
                block_hashes,
                priority: ask.priority,
            };
            if !self.engine.send(Command::Add { arrival, request, reply: reply.clone(), choice }) {
                reply.fail("EngineCore encountered an issue. See stack trace (above) for the root cause.");
            }
        }
        (reply, (first..first + count).collect())
    }
}

fn labels(plan: &Plan) -> Labels {
    let c = &plan.config;
    let python = |b: bool| if b { "True" } else { "False" }.to_owned();
    let mut pairs = vec![
        ("block_size", c.block_size.to_string()),
        ("cache_dtype", plan.given.text("kv-cache-dtype").unwrap_or("auto").to_owned()),
        ("enable_prefix_caching", python(c.prefix_caching)),
        ("engine", "0".to_owned()),
        ("gpu_memory_utilization", c.gpu_memory_utilization.to_string()),
        ("num_gpu_blocks", plan.memory.blocks.to_string()),
    ];
    if plan.version >= (0, 24, 0) {
        let concurrency = plan.memory.kv_tokens as f64 / f64::from(c.max_model_len.max(1));
        pairs.push(("kv_cache_size_tokens", plan.memory.kv_tokens.to_string()));
        pairs.push(("kv_cache_max_concurrency", format!("{concurrency:.2}")));
    }
    Labels {
        model_name: plan.served[0].clone(),
        cache_config: pairs.into_iter().map(|(k, v)| (k.to_owned(), v)).collect(),
        version: plan.version,
    }
}

fn unix_now() -> u64 {
    SystemTime::now().duration_since(UNIX_EPOCH).map_or(0, |d| d.as_secs())
}

impl IntoResponse for ApiError {
    fn into_response(self) -> Response {
        let body = json!({"error": {"message": self.message, "type": self.kind, "param": null, "code": self.status}});
        (StatusCode::from_u16(self.status).unwrap_or(StatusCode::INTERNAL_SERVER_ERROR), axum::Json(body))
            .into_response()
    }
}

/// All routes.
pub fn router(app: Arc<App>) -> Router {
    Router::new()
        .route("/v1/completions", post(completions))
        .route("/v1/chat/completions", post(chat))
        .route("/v1/models", get(models))
        .route("/health", get(health))
        .route("/ping", any(health))
        .route("/version", get(version))
        .route("/metrics", get(metrics))
        .route("/load", get(load))
        .route("/server_info", get(server_info))
        .route("/reset_prefix_cache", post(reset_prefix_cache))
        .fallback(async || not_found())
        .layer(middleware::from_fn_with_state(app.clone(), authorize))
        .with_state(app)
}

fn not_found() -> Response {
    (StatusCode::NOT_FOUND, axum::Json(json!({"detail": "Not Found"}))).into_response()
}

/// With `--api-key`, everything under `/v1` needs it.
async fn authorize(State(app): State<Arc<App>>, request: Request, next: Next) -> Response {
    if app.plan.api_keys.is_empty() || !request.uri().path().starts_with("/v1") {
        return next.run(request).await;
    }
    let sent = request.headers().get(header::AUTHORIZATION).and_then(|v| v.to_str().ok());
    if sent.and_then(|s| s.strip_prefix("Bearer ")).is_some_and(|k| app.plan.api_keys.iter().any(|a| a == k))
    {
        return next.run(request).await;
    }
    (StatusCode::UNAUTHORIZED, axum::Json(json!({"error": "Unauthorized"}))).into_response()
}

async fn completions(State(app): State<Arc<App>>, request: Request) -> Response {
    generate(app, request, false).await
}

async fn chat(State(app): State<Arc<App>>, request: Request) -> Response {
    generate(app, request, true).await
}

/// Both generating endpoints. The request arrived when its head was read: what reading its body costs here
/// is part of the modelled front end.
async fn generate(app: Arc<App>, request: Request, chat: bool) -> Response {
    let arrival = app.engine.now();
    let Ok(body) = axum::body::to_bytes(request.into_body(), MAX_BODY).await else {
        return ApiError {
            status: 413,
            kind: "BadRequestError",
            message: "request body is too large".into(),
        }
        .into_response();
    };
    let ask = match read(&app, &body, chat) {
        Ok(ask) => ask,
        Err(e) => return e.into_response(),
    };
    let index = app.completions.fetch_add(1, Ordering::Relaxed);
    match app.plan.fault {
        Fault::Garbage => return garbage(),
        Fault::Http500Share(x) if Fault::hits(x, index) => {
            return ApiError::internal("Internal server error (injected fault)").into_response();
        }
        _ => {}
    }
    let (reply, ids) = app.submit(&ask, arrival);
    let shape = app.shape(chat, ids.first().copied().unwrap_or(0));
    let truncate = matches!(app.plan.fault, Fault::TruncateShare(x) if Fault::hits(x, index));
    let guard = Abort { app: app.clone(), reply: reply.clone(), ids };
    if ask.stream { streaming(&app, ask, shape, guard, truncate) } else { whole(ask, shape, guard).await }
}

fn read(app: &App, body: &Bytes, chat: bool) -> Result<Ask, ApiError> {
    let ask = if chat { request::chat(body, &app.limits) } else { request::completion(body, &app.limits) };
    // A wrong name is reported before wrong numbers, as it is by the engine.
    let named = match &ask {
        Ok(a) => a.model.clone(),
        Err(_) => serde_json::from_slice::<ModelOnly>(body).ok().and_then(|m| m.model),
    };
    match named.filter(|n| !app.plan.served.contains(n)) {
        Some(unknown) => Err(ApiError::unknown_model(&unknown)),
        None => ask,
    }
}

#[derive(serde::Deserialize)]
struct ModelOnly {
    model: Option<String>,
}

/// Tells the engine when nobody waits for the answer any more.
struct Abort {
    app: Arc<App>,
    reply: Arc<Reply>,
    ids: Vec<u64>,
}

impl Drop for Abort {
    fn drop(&mut self) {
        if self.reply.finished() || self.reply.failure().is_some() {
            return;
        }
        for (choice, id) in self.ids.iter().enumerate() {
            if !self.reply.progress(choice).finished {
                self.app.engine.send(Command::Abort(*id));
            }
        }
    }
}

fn streaming(app: &Arc<App>, ask: Ask, shape: Shape, guard: Abort, truncate: bool) -> Response {
    let clock = app.clone();
    let reply = guard.reply.clone();
    let wire = Wire {
        now: Box::new(move || clock.engine.now().0),
        lateness: app.engine.wire().clone(),
        on_drop: Box::new(move || drop(guard)),
    };
    let events = EventStream::new(ask, shape, reply, truncate, wire);
    Response::builder()
        .header(header::CONTENT_TYPE, "text/event-stream; charset=utf-8")
        .body(Body::from_stream(events))
        .unwrap_or_else(|_| StatusCode::INTERNAL_SERVER_ERROR.into_response())
}

async fn whole(ask: Ask, shape: Shape, guard: Abort) -> Response {
    match guard.reply.done().await {
        Ok(()) => axum::Json(stream::whole(&ask, &shape)).into_response(),
        Err(why) => ApiError::internal(why).into_response(),
    }
}

fn garbage() -> Response {
    let mut headers = HeaderMap::new();
    headers.insert(header::CONTENT_TYPE, header::HeaderValue::from_static("text/html"));
    (headers, "<html>\u{fffd}\u{0}{\"choices\": [[[ not what was asked for").into_response()
}

async fn models(State(app): State<Arc<App>>) -> axum::Json<Value> {
    let data: Vec<Value> = app
        .plan
        .served
        .iter()
        .map(|name| {
            json!({"id": name, "object": "model", "created": app.started, "owned_by": "dyno-emulated",
                "root": app.plan.model.id, "parent": null, "max_model_len": app.limits.max_model_len})
        })
        .collect();
    axum::Json(json!({"object": "list", "data": data}))
}

async fn health(State(app): State<Arc<App>>) -> StatusCode {
    if app.healthy.load(Ordering::Relaxed) { StatusCode::OK } else { StatusCode::SERVICE_UNAVAILABLE }
}

async fn version(State(app): State<Arc<App>>) -> axum::Json<Value> {
    axum::Json(
        json!({"version": app.plan.version_text(), "emulated": true, "dyno": env!("CARGO_PKG_VERSION")}),
    )
}

async fn metrics(State(app): State<Arc<App>>) -> Response {
    let (late, writes) = app.engine.wire().read();
    let wire = (late as f64 / 1e9, writes);
    let text = if app.plan.given.on("disable-log-stats") {
        String::new()
    } else {
        app.engine.stats().render(&app.labels, wire)
    };
    ([(header::CONTENT_TYPE, "text/plain; version=0.0.4; charset=utf-8")], text).into_response()
}

async fn load(State(app): State<Arc<App>>) -> axum::Json<Value> {
    let g = app.engine.stats().gauges;
    axum::Json(json!({"server_load": g.running + g.waiting}))
}

/// The resolved configuration. The step-time model's coefficients are not part of it.
async fn server_info(State(app): State<Arc<App>>) -> axum::Json<Value> {
    let config = serde_json::to_value(&app.plan.config).unwrap_or_default();
    axum::Json(json!({"emulated": true, "model": app.plan.model.id, "hardware": app.plan.hardware.id,
        "vllm_config": config}))
}

async fn reset_prefix_cache(State(app): State<Arc<App>>) -> Response {
    let (answer, heard) = std::sync::mpsc::channel();
    let sent = app.engine.send(Command::ResetPrefixCache(answer));
    let done =
        sent && tokio::task::spawn_blocking(move || heard.recv().unwrap_or(false)).await.unwrap_or(false);
    if app.plan.version >= (0, 25, 0) {
        axum::Json(json!({"success": done})).into_response()
    } else {
        StatusCode::OK.into_response()
    }
}
