//! Requests to stop: Ctrl-C, SIGTERM, SIGHUP (the terminal was closed) and SIGQUIT.

use crate::error::{Error, Result};
use crate::load::Cancel;
use tokio::signal::unix::{Signal, SignalKind, signal};

/// Each of them asks for an orderly end: the engine is stopped and the record stays whole.
const ASKING: [fn() -> SignalKind; 4] =
    [SignalKind::interrupt, SignalKind::terminate, SignalKind::hangup, SignalKind::quit];

/// Sets `cancel` at the first request to stop; later ones change nothing.
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

/// A switch that a request to stop sets, so that an engine is stopped and the record stays whole.
pub(super) fn on_interrupt() -> Cancel {
    let cancel = Cancel::new();
    // Where signals cannot be watched they end the process as they always do.
    let _ = cancel_on_interrupt(&cancel);
    cancel
}

/// Blocks until a request to stop.
pub(super) fn wait_for_interrupt() -> Result<()> {
    runtime()?.block_on(interrupted()).map_err(|e| Error::failed("signals cannot be watched").source(e))
}

/// Calls `act` at every request to stop, on a thread of its own; the process goes on and ends in its own
/// order.
pub(super) fn on_each_interrupt(mut act: impl FnMut() + Send + 'static) -> Result<()> {
    let runtime = runtime()?;
    let watched = |e| Error::failed("signals cannot be watched").source(e);
    let mut asked = {
        let _inside = runtime.enter();
        requests().map_err(watched)?
    };
    std::thread::spawn(move || {
        runtime.block_on(async {
            loop {
                next(&mut asked).await;
                act();
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
    next(&mut requests()?).await;
    Ok(())
}

fn requests() -> std::io::Result<Vec<Signal>> {
    ASKING.iter().map(|kind| signal(kind())).collect()
}

/// The next of them, whichever it is.
async fn next(asked: &mut [Signal]) {
    std::future::poll_fn(|cx| {
        let come = asked.iter_mut().any(|s| s.poll_recv(cx).is_ready());
        if come { std::task::Poll::Ready(()) } else { std::task::Poll::Pending }
    })
    .await;
}
