//! Steps that carry decode rows and prompts together, as vLLM and TensorRT-LLM compose them.

use super::{Batch, Chunking, InFlight};
use crate::sim::scheduler::{Blocked, DecodeStretch, Step};
use crate::sim::step::StepShape;

/// A policy that moves every running request on and then admits waiting ones into the same step.
pub(in crate::sim::policy) trait MixedSteps {
    fn batch(&mut self) -> &mut Batch;
    /// The most requests that run at once.
    fn max_running(&self) -> u32;
    fn chunking(&self) -> Chunking;
    /// Admits what fits; says what the next one waits for.
    fn admit_waiting(&mut self, record: &mut InFlight, shape: &mut StepShape) -> Option<Blocked>;
    /// How the next one's chunk is cut if what it finds in the cache decides on whether it fits.
    fn by_hit(&self, closed: Option<Blocked>) -> Option<Chunking>;

    /// Composes the next step, or `None` when nothing can run.
    fn compose(&mut self) -> Option<Step> {
        self.batch().transitions.clear();
        loop {
            let chunking = self.chunking();
            let batch = self.batch();
            let mut record = batch.begin();
            let mut shape = StepShape::default();
            let preempted = batch.run_running(&chunking, &mut record, &mut shape);
            batch.eased = preempted;
            let blocked =
                if preempted { Some(Blocked::KvBlocks) } else { self.admit_waiting(&mut record, &mut shape) };
            let batch = self.batch();
            batch.blocked = blocked;
            if shape.tokens() > 0 {
                return Some(batch.commit(record, shape));
            }
            batch.cancel(record);
            // The only row that was left preempted itself: it may come back once its token has come out.
            if !preempted || !batch.nothing_in_flight() {
                return None;
            }
        }
    }

    /// The decode-only steps ahead that are certain.
    fn certain_decode_stretch(&mut self) -> Option<DecodeStretch> {
        let max_running = self.max_running();
        let batch = self.batch();
        let closed = if batch.requests.running >= max_running {
            Some(Blocked::MaxNumSeqs)
        } else {
            // While rows only grow, blocks only get scarcer; with windows they come and go.
            let scarce = batch.blocked == Some(Blocked::KvBlocks) && !batch.eased;
            (scarce && batch.layout.sliding_groups == 0).then_some(Blocked::KvBlocks)
        };
        let by_hit = self.by_hit(closed);
        self.batch().decode_stretch(closed, by_hit)
    }
}
