//! `dyno emulate`: the embedded engine as a server.

use crate::emulate::{self, Asked, Log, Ranks};
use crate::error::{Error, Result};
use clap::Args;
use std::collections::BTreeMap;
use std::io::Write;
use tokio::signal::unix::{SignalKind, signal};

/// Serve the embedded engine: vLLM's flags and endpoints, simulated times.
///
/// `dyno emulate --help` lists the flags of the emulated release.
#[derive(Debug, Args)]
#[command(disable_help_flag = true)]
pub(super) struct EmulateArgs {
    /// `--model M --hardware H --port P`, then vLLM's flags.
    #[arg(trailing_var_arg = true, allow_hyphen_values = true, value_name = "ARGS")]
    args: Vec<String>,
}

pub(super) fn run(args: EmulateArgs) -> Result<()> {
    let env: BTreeMap<String, String> = std::env::vars().filter(|(k, _)| k.starts_with("VLLM_")).collect();
    let now = crate::host::since_epoch().as_nanos() as u64;
    let plan = match emulate::plan(&args.args, env, now ^ u64::from(std::process::id()))? {
        Asked::Help(text) => {
            // A reader that has gone away is no failure of ours.
            let _ = write!(std::io::stdout(), "{text}");
            return Ok(());
        }
        Asked::Serve(plan) => *plan,
    };
    let log = Log::new(|line| {
        let _ = writeln!(std::io::stdout(), "{line}");
    });
    let ranks = Ranks::of(&args.args);
    if let Some(ranks) = ranks.as_ref().filter(|r| r.rank > 0) {
        return ranks.follow(&log);
    }
    let lost = ranks.map(|r| r.lead(&log)).transpose()?;
    let runtime = tokio::runtime::Builder::new_multi_thread()
        .worker_threads(2)
        .enable_all()
        .build()
        .map_err(|e| Error::failed("cannot start the runtime").source(e))?;
    let outcome = runtime.block_on(async {
        let fail = |e| Error::failed("cannot listen for signals").source(e);
        let mut term = signal(SignalKind::terminate()).map_err(fail)?;
        let mut int = signal(SignalKind::interrupt()).map_err(fail)?;
        let shutdown = async move {
            tokio::select! {
                _ = term.recv() => {}
                _ = int.recv() => {}
            }
        };
        let Some(lost) = lost else { return emulate::serve(plan, log, |_| {}, shutdown).await };
        let gone = tokio::task::spawn_blocking(move || lost.recv());
        let serving = emulate::serve(plan, log.clone(), |_| {}, shutdown);
        tokio::select! {
            outcome = serving => outcome,
            Ok(Ok(rank)) = gone => {
                let text = format!(
                    "torch.distributed.DistBackendError: NCCL error, remote process exited or there was a network error \
                     (rank {rank})"
                );
                log.error(&text);
                Err(Error::failed(text))
            }
        }
    });
    runtime.shutdown_background();
    outcome
}
