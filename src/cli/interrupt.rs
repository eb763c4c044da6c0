//! Ctrl-C and SIGTERM.

use crate::error::{Error, Result};
use crate::load::Cancel;
use tokio::signal::unix::{SignalKind, signal};

/// Sets `cancel` at the first Ctrl-C or SIGTERM; a second one ends the process as usual.
pub(super) fn cancel_on_interrupt(cancel: &Cancel) -> Result<()> {
    let runtime = runtime()?;
    let cancel = cancel.clone();
    std::thread::spawn(move || {
        if runtime.block_on(interrupted()).is_ok() {
            cancel.cancel();
        }
    });
    Ok(())
}

/// A switch that Ctrl-C or SIGTERM sets, so that an engine is stopped and the record stays whole.
pub(super) fn on_interrupt() -> Cancel {
    let cancel = Cancel::new();
    // Where signals cannot be watched they end the process as they always do.
    let _ = cancel_on_interrupt(&cancel);
    cancel
}

/// Blocks until Ctrl-C or SIGTERM.
pub(super) fn wait_for_interrupt() -> Result<()> {
    runtime()?.block_on(interrupted()).map_err(|e| Error::failed("signals cannot be watched").source(e))
}

/// Calls `act` at every Ctrl-C and SIGTERM, on a thread of its own; the process goes on and ends in its own
/// order.
pub(super) fn on_each_interrupt(mut act: impl FnMut() + Send + 'static) -> Result<()> {
    let runtime = runtime()?;
    let watched = |e| Error::failed("signals cannot be watched").source(e);
    let (mut int, mut term) = {
        let _inside = runtime.enter();
        let int = signal(SignalKind::interrupt()).map_err(watched)?;
        (int, signal(SignalKind::terminate()).map_err(watched)?)
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                tokio::select! {
                    _ = int.recv() => act(),
                    _ = term.recv() => act(),
                }
            }
        });
    });
    Ok(())
}

fn runtime() -> Result<tokio::runtime::Runtime> {
    tokio::runtime::Builder::new_current_thread()
        .enable_all()
        .build()
        .map_err(|e| Error::failed("signals cannot be watched").source(e))
}

async fn interrupted() -> std::io::Result<()> {
    let (mut int, mut term) = (signal(SignalKind::interrupt())?, signal(SignalKind::terminate())?);
    tokio::select! {
        _ = int.recv() => {}
        _ = term.recv() => {}
    }
    Ok(())
}
