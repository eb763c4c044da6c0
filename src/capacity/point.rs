//! One load and what it gave: the noun that everything in this room shares.

use serde::Serialize;

/// What varies along the ramp.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Axis {
    /// Requests in flight, closed loop.
    Concurrency,
    /// Requests a second, open loop.
    Rate,
}

/// One rung of a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct LoadPoint {
    /// Requests in flight (closed loop) or requests a second (open loop).
    pub load: f64,
    /// Completed requests a second.
    pub throughput: f64,
    /// Mean end-to-end time, seconds.
    pub e2e_s: f64,
    /// Mean time from sending to first being scheduled, seconds; the way through the front end included.
    pub queue_s: f64,
    /// Mean time of an engine step as a request sees it: its time per output token, seconds.
    pub step_s: f64,
    /// Largest of the service level's figures over its bound; 0 without a service level.
    pub slo: f64,
    /// Share of requests that did not complete, 0..=1.
    pub loss: f64,
}
