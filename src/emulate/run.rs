//! One launch from start to end: bind, start up, serve, stop.

use super::clockwork::Clockwork;
use super::driver::Engine;
use super::fault::Fault;
use super::log::Log;
use super::noise::Noise;
use super::plan::Plan;
use super::refuse::{self, Refused};
use super::server::{App, router};
use crate::cost::Physical;
use crate::error::{Error, Result};
use crate::sim::{StepTime, policy};
use crate::units::thousands;
use axum::serve::ListenerExt;
use std::future::Future;
use std::net::SocketAddr;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::time::Duration;
use tokio::net::{TcpListener, TcpSocket};

/// How long open connections may take to end after a stop.
const DRAIN: Duration = Duration::from_secs(1);
const STATS_EVERY: Duration = Duration::from_secs(10);

/// Serves until `shutdown` completes. `ready` hears the address once requests are answered.
///
/// Errors: a refused launch, an address that cannot be bound, an injected death; all with exit code 1.
pub async fn serve(
    plan: Plan,
    log: Log,
    ready: impl FnOnce(SocketAddr),
    shutdown: impl Future<Output = ()>,
) -> Result<()> {
    let (host, fault) = (plan.host.clone(), plan.fault);
    announce(&plan, &log);
    let socket = bind(&host, plan.port).await?;
    if let Some(refused) = refuse::check(&plan) {
        return Err(refusal(&refused, &log));
    }
    tokio::pin!(shutdown);
    tokio::select! {
        started = start_up(&plan, &log) => started?,
        () = &mut shutdown => return Ok(()),
    }
    let engine = engine(&plan, &log)?;
    let app = Arc::new(App::new(engine, plan, log.clone()));
    let listener = socket.listen(4096).map_err(|e| Error::failed("cannot listen").source(e))?;
    let address = listener.local_addr().map_err(|e| Error::failed("cannot listen").source(e))?;
    log.server(&format!("Starting vLLM API server 0 on http://{address} (emulated)"));
    let stop = Arc::new(tokio::sync::Notify::new());
    let server = tokio::spawn(http(listener, app.clone(), stop.clone()));
    let stats = tokio::spawn(log_stats(app.clone()));
    log.uvicorn("Application startup complete.");
    ready(address);
    let outcome = tokio::select! {
        () = wanted(fault, shutdown) => Ok(()),
        () = app.engine.death() => Err(dead(&app, &log).await),
    };
    stats.abort();
    app.engine.stop();
    stop.notify_one();
    // Streams have been ended by the engine; what still lingers is cut.
    let _ = tokio::time::timeout(DRAIN, server).await;
    log.uvicorn("Application shutdown complete.");
    outcome
}

/// The shutdown signal, unless the fault is to ignore it.
async fn wanted(fault: Fault, shutdown: impl Future<Output = ()>) {
    shutdown.await;
    if fault == Fault::IgnoreTerm {
        std::future::pending::<()>().await;
    }
}

async fn http(listener: TcpListener, app: Arc<App>, stop: Arc<tokio::sync::Notify>) {
    let listener = listener.tap_io(|stream| {
        // Tokens are small and must leave at once.
        let _ = stream.set_nodelay(true);
    });
    let _ =
        axum::serve(listener, router(app)).with_graceful_shutdown(async move { stop.notified().await }).await;
}

/// Takes the address before anything else, as the engine does; connections are refused until it listens.
async fn bind(host: &str, port: u16) -> Result<TcpSocket> {
    let failed = |e: std::io::Error| {
        let text = match e.raw_os_error() {
            Some(98) => "OSError: [Errno 98] Address already in use".to_owned(),
            _ => format!("OSError: {e}"),
        };
        Error::failed(text)
            .at(format!("{host}:{port}"))
            .hint("another server has the port; give another --port")
    };
    let address = tokio::net::lookup_host((host, port))
        .await
        .map_err(failed)?
        .next()
        .ok_or_else(|| Error::failed(format!("{host} has no address")))?;
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }.map_err(failed)?;
    socket.set_reuseaddr(true).map_err(failed)?;
    socket.bind(address).map_err(failed)?;
    Ok(socket)
}

fn engine(plan: &Plan, log: &Log) -> Result<Engine> {
    let mut config = plan.config.clone();
    // Each batch on its way through the pipeline stages has a budget of its own.
    config.max_num_batched_tokens *= config.pipeline_parallel.max(1);
    let times = Arc::new(Physical::new(&plan.hardware, &plan.model, &config, &plan.coefficients));
    // Data-parallel ranks are engines of their own with their own KV cache; their steps are not kept in step
    // with each other, as those of a mixture-of-experts model are.
    let ranks = (0..u64::from(config.data_parallel.max(1)))
        .map(|rank| {
            let scheduler = policy::build(&config, &plan.layout(), times.window());
            let noise =
                if plan.noise == 0.0 { Noise::off() } else { Noise::new(plan.seed ^ rank, plan.noise) };
            Clockwork::new(scheduler, times.clone(), config.overlap, noise)
        })
        .collect();
    let to = log.clone();
    // The core's own death is an error in the log, as in a real engine; falling behind is a warning.
    let say = move |text: &str| if text.contains("Error: ") { to.error(text) } else { to.warn(text) };
    Engine::start(ranks, plan.fault, Arc::new(say))
        .map_err(|e| Error::failed("cannot start the engine thread").source(e))
}

fn announce(plan: &Plan, log: &Log) {
    log.server(&format!(
        "This is dyno's embedded engine: it emulates vLLM {} with {} on {} x {}; no token is computed",
        plan.version_text(),
        plan.model.id,
        plan.config.tensor_parallel * plan.config.pipeline_parallel * plan.config.data_parallel,
        plan.hardware.name
    ));
    log.server(&format!("vLLM API server version {} (emulated)", plan.version_text()));
    log.server(&format!("non-default args: {}", python_dict(plan)));
    log.server(&format!("noise seed {}, scale {}", plan.seed, plan.noise));
    if !plan.config.unmodelled.is_empty() {
        log.warn(&format!(
            "accepted, but without effect on emulated times: {}",
            plan.config.unmodelled.join(" ")
        ));
    }
}

/// The flags given, as vLLM prints them.
fn python_dict(plan: &Plan) -> String {
    let quoted = |v: &str| match v.parse::<f64>() {
        Ok(_) => v.to_owned(),
        Err(_) => format!("'{v}'"),
    };
    let secret = |name: &str| matches!(name, "api-key" | "hf-token");
    let mut items: Vec<String> = plan
        .given
        .values
        .iter()
        .filter(|(name, _)| !matches!(**name, "coefficients" | "fault"))
        .map(|(name, v)| {
            let value = match v {
                _ if secret(name) => "'***'".to_owned(),
                Some(v) => quoted(v),
                None => "True".to_owned(),
            };
            format!("'{}': {value}", name.replace('-', "_"))
        })
        .collect();
    items.extend(plan.given.off.iter().map(|n| format!("'{}': False", n.replace('-', "_"))));
    format!("{{{}}}", items.join(", "))
}

/// The lines of a start that tools read, over the start-up time; then the faults that strike at start.
async fn start_up(plan: &Plan, log: &Log) -> Result<()> {
    let (c, m) = (&plan.config, &plan.memory);
    log.server(&format!("Resolved architecture: {}", plan.model.architecture));
    log.server(&format!("Using max model len {}", c.max_model_len));
    if c.chunked_prefill {
        log.server(&format!(
            "Chunked prefill is enabled with max_num_batched_tokens={}.",
            c.max_num_batched_tokens
        ));
    }
    if plan.version >= (0, 14, 0) || c.overlap {
        let state = if c.overlap { "enabled" } else { "disabled" };
        log.server(&format!("Asynchronous scheduling is {state}."));
    }
    match plan.fault {
        Fault::StartHang => {
            log.core("Loading model weights ...");
            std::future::pending::<()>().await;
        }
        Fault::StartExit => {
            let text = "RuntimeError: NCCL error: unhandled system error (emulated fault)".to_owned();
            return Err(refusal(&Refused { stage: refuse::Stage::Core, text }, log));
        }
        Fault::StartOom => {
            let text = "torch.OutOfMemoryError: CUDA out of memory. Tried to allocate 1.16 GiB. GPU 0 has a total \
                        capacity of 79.25 GiB of which 512.00 MiB is free. (emulated fault)";
            return Err(refusal(&Refused { stage: refuse::Stage::Core, text: text.to_owned() }, log));
        }
        _ => {}
    }
    tokio::time::sleep(plan.startup).await;
    let seconds = plan.startup.as_secs_f64();
    log.core(&format!("Loading weights took {seconds:.2} seconds"));
    log.core(&format!("Model loading took {:.4} GiB and {seconds:.6} seconds", m.weights.gib()));
    log.core(&format!("Available KV cache memory: {:.2} GiB", m.kv.gib()));
    let concurrency = m.kv_tokens as f64 / f64::from(c.max_model_len.max(1));
    let size = format!("GPU KV cache size: {} tokens", thousands(m.kv_tokens));
    let room = format!(
        "Maximum concurrency for {} tokens per request: {concurrency:.2}x",
        thousands(u64::from(c.max_model_len))
    );
    if plan.version >= (0, 28, 0) {
        log.core(&format!("{size}, {room}"));
    } else {
        log.core(&size);
        log.core(&room);
    }
    if c.max_graph_size > 0 {
        log.core(&format!("Graph capturing finished in 0 secs, took {:.2} GiB", m.graphs.gib()));
    }
    log.core(&format!("init engine (profile, create kv cache, warmup model) took {seconds:.2} seconds"));
    Ok(())
}

/// Logs a refusal as the engine's traceback and makes the error that ends the process.
fn refusal(refused: &Refused, log: &Log) -> Error {
    if refused.stage == refuse::Stage::Core {
        log.error("EngineCore failed to start.");
    }
    log.error(&format!("Traceback (most recent call last):\n{}", refused.text));
    Error::failed(refused.last_words())
}

/// An injected death: requests fail, health says so for a moment, then the process ends.
async fn dead(app: &App, log: &Log) -> Error {
    app.healthy.store(false, Ordering::Relaxed);
    log.error("EngineCore encountered a fatal error.");
    tokio::time::sleep(Duration::from_millis(200)).await;
    Error::failed(
        "EngineDeadError: EngineCore encountered an issue. See stack trace (above) for the root cause.",
    )
}

/// vLLM's periodic line, when there was traffic.
async fn log_stats(app: Arc<App>) {
    if app.plan.given.on("disable-log-stats") {
        return;
    }
    let (mut prompt, mut generated) = (0, 0);
    loop {
        tokio::time::sleep(STATS_EVERY).await;
        let s = app.engine.stats();
        let seconds = STATS_EVERY.as_secs_f64();
        if s.generation_tokens == generated && s.gauges.running + s.gauges.waiting == 0 {
            continue;
        }
        let g = s.gauges;
        app.log.server(&format!(
            "Engine 000: Avg prompt throughput: {:.1} tokens/s, Avg generation throughput: {:.1} tokens/s, Running: {} \
             reqs, Waiting: {} reqs, GPU KV cache usage: {:.1}%, Prefix cache hit rate: {:.1}%",
            (s.prompt_tokens - prompt) as f64 / seconds,
            (s.generation_tokens - generated) as f64 / seconds,
            g.running,
            g.waiting,
            100.0 * g.kv_blocks_used as f64 / g.kv_blocks_total.max(1) as f64,
            100.0 * g.prefix_hits as f64 / g.prefix_queries.max(1) as f64,
        ));
        (prompt, generated) = (s.prompt_tokens, s.generation_tokens);
    }
}
