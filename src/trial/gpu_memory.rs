//! GPU memory before and after a launch: the driver releases it some time after the process is gone, and a
//! next launch that begins before then fails or finds less room.

use crate::telemetry::{Gpu, detect};
use crate::units::Bytes;
use std::collections::BTreeMap;
use std::time::{Duration, Instant};

/// Free memory of each visible GPU at one moment; empty where there is none.
#[derive(Debug, Clone, PartialEq, Eq, Default)]
pub(super) struct FreeMemory(BTreeMap<u32, Bytes>);

/// What may stay taken without being called a leak: contexts of other programs come and go.
const SLACK: Bytes = Bytes(512 << 20);
const RELEASE_WAIT: Duration = Duration::from_secs(30);

impl FreeMemory {
    pub(super) fn now() -> FreeMemory {
        FreeMemory::of(&detect().map_or_else(|_| Vec::new(), |d| d.gpus))
    }

    /// The same of some GPUs alone, by the driver's numbers; none named: of all.
    pub(super) fn of_devices(mut self, devices: &[u32]) -> FreeMemory {
        self.0.retain(|index, _| devices.is_empty() || devices.contains(index));
        self
    }

    fn of(gpus: &[Gpu]) -> FreeMemory {
        FreeMemory(gpus.iter().map(|g| (g.index, g.free)).collect())
    }

    /// Bytes taken on all GPUs since `before`.
    pub(super) fn taken_since(&self, before: &FreeMemory) -> Option<u64> {
        let both = before.0.iter().filter_map(|(i, b)| Some(b.0.saturating_sub(self.0.get(i)?.0)));
        (!before.0.is_empty()).then(|| both.sum())
    }

    /// One line for each GPU whose memory is not back.
    fn missing_since(&self, before: &FreeMemory) -> Vec<String> {
        let held = before.0.iter().filter_map(|(i, b)| {
            let held = Bytes(b.0.saturating_sub(self.0.get(i)?.0));
            (held > SLACK).then(|| format!("{held} of GPU {i} are not released"))
        });
        held.collect()
    }
}

/// Waits until the memory is as free as it was; what is still held then.
pub(super) fn wait_released(before: &FreeMemory) -> Vec<String> {
    if before.0.is_empty() {
        return Vec::new();
    }
    let deadline = Instant::now() + RELEASE_WAIT;
    loop {
        let missing = FreeMemory::now().missing_since(before);
        if missing.is_empty() || Instant::now() >= deadline {
            return missing;
        }
        std::thread::sleep(Duration::from_millis(200));
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn free(gib: &[f64]) -> FreeMemory {
        FreeMemory((0..).zip(gib.iter().map(|g| Bytes::from_gib(*g))).collect())
    }

    #[test]
    fn a_gpu_whose_memory_is_not_back_is_named() {
        let before = free(&[79.0, 79.0]);
        assert_eq!(free(&[78.8, 79.0]).missing_since(&before), Vec::<String>::new());
        assert_eq!(free(&[79.0, 9.0]).missing_since(&before), ["70.00 GiB of GPU 1 are not released"]);
        assert_eq!(free(&[69.0, 79.0]).taken_since(&before), Some(10 << 30));
        // What others do on their GPUs is not this launch's.
        let own = before.clone().of_devices(&[0]);
        assert_eq!(free(&[79.0, 9.0]).missing_since(&own), Vec::<String>::new());
        assert_eq!(before.clone().of_devices(&[]), before);
        assert_eq!(free(&[]).taken_since(&free(&[])), None);
    }
}
