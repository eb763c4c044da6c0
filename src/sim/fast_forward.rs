//! Passing through decode-only steps without touching any request; the result is the same to the nanosecond.

use super::client::Sends;
use super::driver::Simulation;
use super::engine_loop::EngineLoop;
use super::scheduler::{DecodeStretch, Scheduler, Step};
use super::step::StepTime;
use crate::units::Nanos;
use std::ops::{Deref, DerefMut};

impl<S, T> EngineLoop<S, T>
where
    S: DerefMut<Target: Scheduler>,
    T: Deref<Target: StepTime>,
{
    /// Passes through the decode-only steps ahead that begin before `horizon`; false when there are none.
    pub(super) fn fast_forward<C: Sends>(&mut self, world: &mut Simulation<C>, horizon: Nanos) -> bool {
        let p = &self.pipeline;
        let options = world.options;
        if !options.fast_forward || options.itl || p.in_flight.len() + 1 != p.depth {
            return false;
        }
        let Some(stretch) = self.scheduler.decode_stretch() else { return false };
        let queue_stands = stretch.closed.is_some() && self.scheduler.gauges().waiting > 0;
        // What leaves the front end meanwhile changes nothing where the queue stands, unless its refusal brings
        // another request into a front end that all share.
        let nothing_enters = queue_stands && self.next_replacement(world).is_none();
        let entering = if nothing_enters { None } else { self.next_ready(world) };
        let steps = self.pass(world, &stretch, entering.map_or(horizon, |at| at.min(horizon)), queue_stands);
        if steps > 0 {
            self.scheduler.advance(steps);
        }
        steps > 0
    }

    /// Times the steps of a stretch until a request is ready; returns how many passed.
    fn pass<C: Sends>(
        &mut self,
        world: &mut Simulation<C>,
        stretch: &DecodeStretch,
        until: Nanos,
        queue_stands: bool,
    ) -> u32 {
        let mut shape = stretch.shape;
        let rows = shape.decode_rows;
        let emit = self.time.emit(rows);
        let mut steps = 0;
        let room = world.options.max_steps.saturating_sub(world.totals.breakdown.steps);
        while steps < stretch.steps && self.pipeline.host < until && u64::from(steps) < room {
            let (end, update) = self.run_step(world, &shape);
            // Under overlap the step launched before is the one that ends now.
            let (ended, ended_rows) = match self.pipeline.in_flight.front_mut() {
                Some(oldest) => {
                    let ended = (oldest.end, oldest.step.shape.rows());
                    oldest.step = Step { ticket: oldest.step.ticket + 1, shape };
                    oldest.end = end;
                    oldest.update = update;
                    ended
                }
                None => (end, rows),
            };
            self.pipeline.host = self.pipeline.host.max(ended);
            let before = world.decoded;
            self.close_counts(world);
            let sent = self.sent_by(world, ended_rows);
            let emit = if ended_rows == rows { emit } else { self.time.emit(ended_rows) };
            self.pipeline.emitted = (sent + Nanos(emit)).max(self.pipeline.emitted);
            world.decoded = self.pipeline.emitted;
            world.totals.peaks.tokens(world.decoded.0, rows);
            world.totals.itl.add((world.decoded - before).0, rows);
            world.totals.breakdown.note_blocked(stretch.closed.filter(|_| queue_stands));
            self.pipeline.host += update;
            shape.decode_ctx += u64::from(rows);
            shape.decode_ctx_window += u64::from(stretch.window_growth);
            steps += 1;
        }
        steps
    }
}
