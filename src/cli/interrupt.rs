//! Ctrl-C and SIGTERM become a [`Cancel`], so that an engine is stopped and the record stays whole.

use crate::load::Cancel;
use tokio::signal::unix::{SignalKind, signal};

/// A switch that the first Ctrl-C or SIGTERM sets.
pub(super) fn on_interrupt() -> Cancel {
    let cancel = Cancel::new();
    let set = cancel.clone();
    // A thread of its own, so that it works whatever the command itself runs on.
    std::thread::spawn(move || {
        let Ok(runtime) = tokio::runtime::Builder::new_current_thread().enable_all().build() else { return };
        runtime.block_on(async {
            let (Ok(mut int), Ok(mut term)) =
                (signal(SignalKind::interrupt()), signal(SignalKind::terminate()))
            else {
                return;
            };
            loop {
                tokio::select! { _ = int.recv() => {}, _ = term.recv() => {} }
                set.cancel();
            }
        });
    });
    cancel
}
