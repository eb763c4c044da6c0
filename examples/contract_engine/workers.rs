//! Processes below the front end.

use crate::script::Worker;
use std::io::Read;
use std::process::{Child, Command, Stdio};
use std::time::Duration;

/// First argument of a worker.
pub(crate) const CHILD: &str = "--contract-worker";

/// No process of a contract engine lives longer, whatever a test forgets.
pub(crate) const LONGEST_LIFE: Duration = Duration::from_secs(240);

/// Starts the workers; each ends when the pipe that is returned in its [`Child`] closes, unless stubborn.
pub(crate) fn start(workers: &[Worker]) -> Vec<Child> {
    let Ok(me) = std::env::current_exe() else { return Vec::new() };
    let one = |w: &Worker| {
        let mut command = Command::new(&me);
        command.arg(CHILD).arg(&w.name).stdin(Stdio::piped());
        if w.stubborn {
            command.arg("stubborn");
        }
        if w.own_session {
            command.arg("own-session");
        }
        command.spawn().ok()
    };
    workers.iter().filter_map(one).collect()
}

/// The life of a worker.
pub(crate) fn be_one(args: &[String]) {
    let has = |word: &str| args.iter().skip(1).any(|a| a == word);
    if let Some(name) = args.first() {
        // The kernel cuts the name at 15 characters, as it does for titles that engines set.
        let _ = std::fs::write("/proc/self/comm", name);
    }
    if has("own-session") {
        let _ = rustix::process::setsid();
    }
    if has("stubborn") {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build();
        let Ok(runtime) = runtime else { return };
        runtime.block_on(async {
            let kind = tokio::signal::unix::SignalKind::terminate();
            let Ok(mut term) = tokio::signal::unix::signal(kind) else { return };
            let deaf = async { while term.recv().await.is_some() {} };
            let _ = tokio::time::timeout(LONGEST_LIFE, deaf).await;
        });
        return;
    }
    std::thread::spawn(|| {
        std::thread::sleep(LONGEST_LIFE);
        std::process::exit(0);
    });
    let _ = std::io::stdin().read(&mut [0u8; 1]);
}
