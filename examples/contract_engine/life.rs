//! From the start to the end: phases, port, workers, signals, failures.

use crate::args::Launch;
use crate::http;
use crate::log;
use crate::pace::{Engine, failure};
use crate::script::{Failure, Flavour, How, Phase, Script};
use crate::workers;
use std::net::SocketAddr;
use std::path::PathBuf;
use std::process::Child;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::Duration;
use tokio::net::TcpSocket;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Runs to the end of the process.
pub(crate) fn run(script: Script, launch: Launch) -> ! {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
    let Ok(runtime) = runtime else { std::process::exit(70) };
    runtime.block_on(async {
        let stop = signal(SignalKind::terminate());
        let interrupt = signal(SignalKind::interrupt());
        let (Ok(mut stop), Ok(mut interrupt)) = (stop, interrupt) else { std::process::exit(70) };
        let ready = Arc::new(AtomicBool::new(false));
        let deaf = (script.deaf_while_starting, script.deaf);
        tokio::select! {
            () = live(script, launch, ready.clone()) => {}
            () = asked(&mut stop, &mut interrupt, &ready, deaf) => {}
            () = tokio::time::sleep(workers::LONGEST_LIFE) => {}
        }
    });
    std::process::exit(0)
}

/// Ends on the first signal that counts while the engine is starting; one that is ready stops by itself.
async fn asked(stop: &mut Signal, interrupt: &mut Signal, ready: &AtomicBool, deaf: (bool, bool)) {
    loop {
        tokio::select! { _ = stop.recv() => {}, _ = interrupt.recv() => {} }
        let (deaf_while_starting, deaf) = deaf;
        if !deaf && !ready.load(Ordering::Relaxed) && !deaf_while_starting {
            std::process::exit(if ready.load(Ordering::Relaxed) { 0 } else { 143 });
        }
    }
}

async fn live(script: Script, launch: Launch, ready: Arc<AtomicBool>) {
    let mut children = Vec::new();
    // TensorRT-LLM and vLLM take the port first, SGLang when everything else is done.
    let early = if script.flavour == Flavour::Sglang { None } else { Some(bind(&script, launch.port)) };
    phase(&script, &launch, Phase::Start, &mut children).await;
    refuse_combinations(&script, &launch);
    children = workers::start(&script.workers);
    // Processes talk through sockets among the temporary files; only an orderly end removes them.
    let _ = std::os::unix::net::UnixListener::bind(socket_file());
    phase(&script, &launch, Phase::Load, &mut children).await;
    refuse_without_room(&script, &launch);
    phase(&script, &launch, Phase::KvCache, &mut children).await;
    phase(&script, &launch, Phase::Warmup, &mut children).await;
    let socket = early.unwrap_or_else(|| bind(&script, launch.port));
    let Ok(listener) = socket.listen(1024) else { end_by_port(&script, launch.port) };
    log::enter(&script, &launch, Phase::Run);
    ready.store(true, Ordering::Relaxed);
    let engine = Arc::new(Engine::new(script, launch));
    let server = tokio::spawn(http::serve(listener, engine.clone()));
    tokio::select! {
        () = stopped(&engine) => {}
        () = broken(&engine, &mut children) => {}
    }
    server.abort();
    end(&engine, children);
}

/// Enters a phase, spends its time, and fails there if the script says so.
async fn phase(script: &Script, launch: &Launch, phase: Phase, children: &mut Vec<Child>) {
    log::enter(script, launch, phase);
    tokio::time::sleep(Duration::from_millis(script.phase_ms)).await;
    if let Some(f) = failure(script, launch, phase) {
        happen(f, children).await;
    }
}

/// A failure that concerns the process as a whole.
async fn happen(f: &Failure, children: &mut Vec<Child>) {
    if !f.log.is_empty() {
        log::raw(f.log.trim_end());
    }
    match f.how {
        How::Signal => kill_self(f.code),
        How::Linger => {
            children.clear();
            std::future::pending::<()>().await;
        }
        How::Hang => std::future::pending::<()>().await,
        _ => std::process::exit(f.code),
    }
}

fn kill_self(number: i32) {
    let me = rustix::process::getpid();
    if let Some(signal) = rustix::process::Signal::from_named_raw(number) {
        let _ = rustix::process::kill_process(me, signal);
    }
    std::thread::sleep(Duration::from_secs(5));
    std::process::exit(128 + number);
}

/// Binds without listening: until the engine is ready a connection is refused, not answered.
fn bind(script: &Script, port: u16) -> TcpSocket {
    let Ok(socket) = TcpSocket::new_v4() else { std::process::exit(70) };
    let _ = socket.set_reuseaddr(true);
    // Up to 0.24 two vLLM share a port without any error.
    if script.flavour == Flavour::Vllm && script.version() < (0, 25, 0) {
        let _ = socket.set_reuseport(true);
    }
    if socket.bind(SocketAddr::from(([127, 0, 0, 1], port))).is_err() {
        end_by_port(script, port);
    }
    socket
}

fn end_by_port(script: &Script, port: u16) -> ! {
    match script.flavour {
        Flavour::Vllm => log::raw(
            "Traceback (most recent call last):\n  File \"/opt/venv/bin/vllm\", line 10, in <module>\n    sys.exit(main())\nOSError: [Errno 98] Address already in use",
        ),
        Flavour::Sglang => log::raw(&format!(
            "ERROR:    [Errno 98] error while attempting to bind on address ('127.0.0.1', {port}): address already in use"
        )),
        Flavour::Trtllm => log::raw(&format!(
            "Traceback (most recent call last):\n  File \"/usr/local/bin/trtllm-serve\", line 8, in <module>\nRuntimeError: Failed to bind socket to localhost:{port}: [Errno 98] Address already in use"
        )),
    }
    std::process::exit(1)
}

/// Flags that exclude each other.
fn refuse_combinations(script: &Script, launch: &Launch) {
    if script.flavour == Flavour::Vllm
        && let (Some(tokens), Some(seqs)) =
            (launch.number("max-num-batched-tokens"), launch.number("max-num-seqs"))
        && tokens < seqs
    {
        log::raw(&format!(
            "(APIServer pid=1) Traceback (most recent call last):\n(APIServer pid=1)   File \"/opt/venv/bin/vllm\", line 10, in <module>\n(APIServer pid=1) pydantic_core._pydantic_core.ValidationError: 1 validation error for SchedulerConfig\n(APIServer pid=1)   Value error, max_num_batched_tokens ({tokens}) must be greater than or equal to max_num_seqs ({seqs}). [type=value_error, input_value=ArgsKwargs((), {{'max_num_s...async_scheduling': None}}), input_type=ArgsKwargs]"
        ));
        std::process::exit(1);
    }
    let page = launch.number("page-size").unwrap_or(1.0);
    if script.flavour == Flavour::Sglang
        && let Some(chunk) = launch.number("chunked-prefill-size")
        && chunk > 0.0
        && chunk % page != 0.0
    {
        log::raw(
            "Traceback (most recent call last):\n  File \"server_args.py\", line 2000, in check_server_args\nAssertionError: chunked_prefill_size must be divisible by page_size",
        );
        std::process::exit(1);
    }
}

/// One request of the asked length must fit into the KV cache.
fn refuse_without_room(script: &Script, launch: &Launch) {
    if u64::from(launch.max_len) <= script.kv_tokens || script.flavour != Flavour::Vllm {
        return;
    }
    let (len, room) = (launch.max_len, script.kv_tokens);
    let s = if script.version() < (0, 26, 0) { "models's" } else { "model's" };
    log::raw(&format!(
        "(EngineCore pid=2) ERROR 11-22 00:00:00 [core.py:700] EngineCore failed to start.\n(EngineCore pid=2) ERROR 11-22 00:00:00 [core.py:700] Traceback (most recent call last):\n(EngineCore pid=2) ERROR 11-22 00:00:00 [core.py:700] ValueError: To serve at least one request with the {s} max seq len ({len}), (9.00 GiB KV cache is needed, which is larger than the available KV cache memory (4.00 GiB). Based on the available memory, the estimated maximum model length is {room}. Try increasing `gpu_memory_utilization` or decreasing `max_model_len` when initializing the engine.\n(APIServer pid=1) RuntimeError: Engine core initialization failed. See root cause above. Failed core proc(s): {{'EngineCore': 1}}"
    ));
    std::process::exit(1);
}

/// Ends when SIGTERM is to be obeyed.
async fn stopped(engine: &Engine) {
    let (Ok(mut term), Ok(mut int)) = (signal(SignalKind::terminate()), signal(SignalKind::interrupt()))
    else {
        return;
    };
    tokio::select! { _ = term.recv() => {}, _ = int.recv() => {} }
    let deaf = engine.script.deaf;
    engine.stopping.store(true, Ordering::Relaxed);
    log::enter(&engine.script, &engine.launch, Phase::Stop);
    if let Some(f) = failure(&engine.script, &engine.launch, Phase::Stop) {
        if !f.log.is_empty() {
            log::raw(f.log.trim_end());
        }
        match f.how {
            How::Hang | How::Linger => std::future::pending::<()>().await,
            How::Signal => kill_self(f.code),
            _ => std::process::exit(f.code),
        }
    }
    if deaf {
        std::future::pending::<()>().await;
    }
    tokio::time::sleep(Duration::from_millis(engine.script.stop_ms)).await;
}

/// Ends when the engine breaks in a run.
async fn broken(engine: &Engine, children: &mut Vec<Child>) {
    let Some(f) = engine.run_failure().cloned() else { return std::future::pending().await };
    loop {
        if engine.started.load(Ordering::Relaxed) > f.after {
            break;
        }
        tokio::time::sleep(Duration::from_millis(1)).await;
    }
    // The failing request is under way.
    tokio::time::sleep(Duration::from_millis(5)).await;
    match f.how {
        How::Exit | How::Signal => happen(&f, children).await,
        How::CoreDeath => {
            log::raw(f.log.trim_end());
            engine.dead.store(true, Ordering::Relaxed);
            children.clear();
            tokio::time::sleep(Duration::from_millis(100)).await;
            std::process::exit(f.code);
        }
        _ => {
            if !f.log.is_empty() {
                log::raw(f.log.trim_end());
            }
            std::future::pending::<()>().await;
        }
    }
}

fn socket_file() -> PathBuf {
    std::env::temp_dir().join(format!("7877310f-37e3-43f1-aae9-{:012x}", std::process::id()))
}

/// Ends the workers that listen, then the process.
fn end(engine: &Engine, children: Vec<Child>) -> ! {
    let _ = std::fs::remove_file(socket_file());
    for mut child in children {
        drop(child.stdin.take());
    }
    if engine.is(Flavour::Sglang) {
        // It kills its whole tree, itself last.
        kill_self(9);
    }
    std::process::exit(0)
}
