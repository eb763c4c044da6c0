//! Stopping on request: the first signal stops cleanly, the second at once.

use tokio::sync::watch;

/// How urgently to stop.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Default)]
pub enum Urgency {
    #[default]
    Run,
    /// Stop the engine with its grace period, keep the record, end.
    Stop,
    /// Kill the engine's processes now.
    Kill,
}

/// Shared flag, raised by signals and looked at by whatever runs.
#[derive(Debug, Clone)]
pub struct Cancel {
    sender: watch::Sender<Urgency>,
}

impl Default for Cancel {
    fn default() -> Cancel {
        Cancel { sender: watch::Sender::new(Urgency::Run) }
    }
}

impl Cancel {
    pub fn urgency(&self) -> Urgency {
        *self.sender.borrow()
    }

    pub fn requested(&self) -> bool {
        self.urgency() > Urgency::Run
    }

    /// One more request to stop: `Stop` first, then `Kill`.
    pub fn raise(&self) {
        self.sender.send_modify(|u| *u = if *u == Urgency::Run { Urgency::Stop } else { Urgency::Kill });
    }

    /// A receiver that wakes when the urgency changes.
    pub fn subscribe(&self) -> watch::Receiver<Urgency> {
        self.sender.subscribe()
    }

    /// Raises at every SIGINT and SIGTERM until the task is dropped with its runtime.
    pub fn on_signals(&self) -> std::io::Result<tokio::task::JoinHandle<()>> {
        use tokio::signal::unix::{SignalKind, signal};
        let mut interrupt = signal(SignalKind::interrupt())?;
        let mut terminate = signal(SignalKind::terminate())?;
        let cancel = self.clone();
        Ok(tokio::spawn(async move {
            loop {
                tokio::select! {
                    _ = interrupt.recv() => cancel.raise(),
                    _ = terminate.recv() => cancel.raise(),
                }
            }
        }))
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_request_is_more_urgent() {
        let c = Cancel::default();
        assert!(!c.requested());
        c.raise();
        assert_eq!(c.urgency(), Urgency::Stop);
        c.raise();
        c.raise();
        assert_eq!(c.urgency(), Urgency::Kill);
    }
}
