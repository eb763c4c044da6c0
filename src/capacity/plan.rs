//! Replicas and money for a target load, from a simulated ramp.

use super::simulated::Study;
use super::zones::Zone;
use crate::cost::Interval;
use crate::scenario::Key;
use serde::Serialize;

impl Study {
    /// The load to plan one replica with: the largest that keeps the SLO by its pessimistic end, else the
    /// lower end of where the safe zone stops.
    pub fn planning_load(&self) -> Option<f64> {
        if let Some(s) = &self.slo_load {
            return s.pessimistic;
        }
        let safe = self.zones.iter().find(|z| z.zone == Zone::Safe)?;
        match safe.to_interval {
            Some((low, _)) => Some(low),
            None => self.rungs.last().map(|r| r.load),
        }
    }
}

/// Replicas and money for a target load.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Plan {
    /// Load of one replica on the ramp's axis.
    pub load: f64,
    /// Requests a second that one replica then completes.
    pub replica_rate: Interval,
    /// Requests a second to carry in all.
    pub target_rate: f64,
    /// For the central rate, and so that it holds in nineteen cases of twenty.
    pub replicas: u32,
    pub replicas_safe: u32,
    /// US dollars for a million tokens, prompt and output, at this load.
    pub usd_per_million_tokens: Option<f64>,
    pub usd_per_hour: Option<f64>,
}

/// Plans replicas for `target_rate` requests a second; `price` is US dollars for one replica and hour.
pub fn plan(study: &Study, target_rate: f64, price: Option<f64>) -> Option<Plan> {
    let load = study.planning_load()?;
    // Of the steady part, as the SLO and the zones are: a replica in service has neither opening nor end.
    let replica_rate = study.value_at(load, Key::RequestThroughput)?;
    let tokens = study.value_at(load, Key::TotalTokenThroughput)?;
    let count = |rate: f64| (target_rate / rate.max(1e-9)).ceil().max(1.0) as u32;
    Some(Plan {
        load,
        replica_rate,
        target_rate,
        replicas: count(replica_rate.value),
        replicas_safe: count(replica_rate.p05),
        usd_per_million_tokens: price.map(|p| p / (tokens.value * 3600.0) * 1e6),
        usd_per_hour: price.map(|p| p * f64::from(count(replica_rate.p05))),
    })
}
