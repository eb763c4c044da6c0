//! Stopping on request: the first signal stops cleanly, the second at once.

use crate::load;
use std::sync::Arc;
use std::sync::atomic::{AtomicU32, Ordering};

/// Shared between whatever raises it (signals) and whatever runs. The first request stops the load, then
/// the engine with its grace period; from the second on, [`Cancel::raise`] says that nothing may be waited
/// for any more.
#[derive(Debug, Clone, Default)]
pub struct Cancel {
    requests: Arc<AtomicU32>,
    /// What trials listen to.
    pub load: load::Cancel,
}

impl Cancel {
    pub fn requested(&self) -> bool {
        self.requests.load(Ordering::SeqCst) > 0
    }

    /// One more request to stop; true when it is not the first.
    pub fn raise(&self) -> bool {
        let before = self.requests.fetch_add(1, Ordering::SeqCst);
        self.load.cancel();
        before > 0
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_second_request_is_more_urgent() {
        let c = Cancel::default();
        assert!(!c.requested() && !c.load.is_cancelled());
        assert!(!c.raise());
        assert!(c.requested() && c.clone().load.is_cancelled());
        assert!(c.raise());
    }
}
