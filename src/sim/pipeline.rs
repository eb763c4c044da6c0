//! Host and device: two servers, and the steps between them.
//!
//! The host composes and launches steps one after the other, at most `depth` of them unfinished (1, or 2 with
//! overlapped scheduling). The device runs them in order. So the period of steps is host + device without
//! overlap and the longer of the two with it, and with it a request that becomes ready joins one step later.

use super::scheduler::Step;
use super::step::StepCost;
use crate::units::Nanos;
use std::collections::VecDeque;

/// A step that was launched and has not been completed.
#[derive(Debug, Clone, Copy)]
pub(super) struct InFlight {
    pub(super) step: Step,
    /// When the device has finished it.
    pub(super) end: Nanos,
    /// Host time after its completion, before the next step is composed.
    pub(super) update: Nanos,
}

/// When a step ran.
#[derive(Debug, Clone, Copy)]
pub(crate) struct StepTiming {
    /// How long the device had nothing to do before it.
    pub(crate) waited: Nanos,
    pub(crate) start: Nanos,
    pub(crate) end: Nanos,
}

/// See the module documentation.
#[derive(Debug)]
pub(super) struct Pipeline {
    pub(super) depth: usize,
    /// The host is free from here on. For the event loop this is the present.
    pub(super) host: Nanos,
    /// The device is free from here on.
    pub(super) device: Nanos,
    /// When the tokens of the latest completed step left the server.
    pub(super) emitted: Nanos,
    pub(super) in_flight: VecDeque<InFlight>,
}

impl Pipeline {
    pub(super) fn new(overlap: bool) -> Pipeline {
        Pipeline {
            depth: if overlap { 2 } else { 1 },
            host: Nanos::ZERO,
            device: Nanos::ZERO,
            emitted: Nanos::ZERO,
            in_flight: VecDeque::new(),
        }
    }

    /// Whether another step may be launched before one is completed.
    pub(super) fn has_room(&self) -> bool {
        self.in_flight.len() < self.depth
    }

    /// Times one step; `update` is the part of its host time that comes after its completion.
    pub(super) fn run(&mut self, cost: &StepCost, update: Nanos) -> StepTiming {
        self.host += Nanos(cost.host - update.0);
        let start = self.host.max(self.device);
        self.host += Nanos(cost.launch);
        let end = (start + Nanos(cost.device)).max(self.host);
        let waited = start - self.device;
        self.device = end;
        StepTiming { waited, start, end }
    }
}
