//! From a ladder of loads to breakpoints and zones.
//!
//! A ladder holds one point a load (requests in flight, or requests a second), lightest first. Five
//! breakpoints are looked for, each by a stated criterion:
//!
//! - **queue growth**: the mean time from sending to being scheduled exceeds that at the lightest load by more than
//!   one engine step (the one under way, which everybody waits for) and [`QUEUE_SHARE`] of the mean end-to-end time at
//!   the lightest load. Queueing is the earliest sign of trouble.
//! - **diminishing return**: elasticity of throughput over an octave of load, `log2 X(N √2) / X(N / √2)`, falls
//!   below [`HALF_RETURN`] for good.
//! - **SLO crossing**: the first bound of the service level is broken, where one is given.
//! - **knee**: throughput reaches [`PLATEAU_SHARE`] of its plateau.
//! - **first loss**: more than [`LOSS`] of the requests are lost.
//!
//! Zones: *safe* up to the earliest of these; *early degradation* up to the knee; *saturation* up to the first
//! loss; *loss* from there.
//!
//! The value of a breakpoint is interpolated on the logarithm of the load. Its 90 % interval reaches from the 5 %
//! quantile, over the draws, of the heaviest load that did not show it to the 95 % quantile of the lightest that
//! did: between two loads nothing was seen, so an interval is never narrower than the step that it lies in.

use super::breakpoints::{Crossing, Found};
use super::point::LoadPoint;
use serde::Serialize;
use std::fmt;

pub use super::breakpoints::{HALF_RETURN, LOSS, PLATEAU_SHARE, QUEUE_SHARE};

/// Name of the breakpoint that says something only where a service level is asked for.
pub const SLO_CROSSING: &str = "SLO crossing";

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zone {
    Safe,
    EarlyDegradation,
    Saturation,
    Loss,
}

/// For a person who plans with it: "safe" would promise more than "nobody waits yet", and what follows is where a GPU
/// earns its money.
impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Zone::Safe => "no queueing",
            Zone::EarlyDegradation => "efficient",
            Zone::Saturation => "saturation",
            Zone::Loss => "loss",
        })
    }
}

/// A location with its 90 % interval.
#[derive(Debug, Clone, Copy, PartialEq, Serialize)]
pub struct Interval {
    pub value: f64,
    pub p05: f64,
    pub p95: f64,
}

/// A breakpoint and how it was found; `at` is `None` when the ladder never reaches it.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct Breakpoint {
    pub name: &'static str,
    pub criterion: String,
    pub at: Option<Interval>,
    /// Share of the draws in which it was reached.
    pub reached: f64,
}

/// A zone from one load to the next; `to` is `None` for the last one reached.
#[derive(Debug, Clone, PartialEq, Serialize)]
pub struct ZoneSpan {
    pub zone: Zone,
    pub from: f64,
    pub to: Option<f64>,
    /// 90 % interval of the upper end.
    pub to_interval: Option<(f64, f64)>,
    pub criterion: String,
}

/// Several draws of one ladder: repeats of a measurement, bootstrap samples, or parameter draws. The first
/// is the central one.
#[derive(Debug, Clone, PartialEq)]
pub struct Ramp {
    draws: Vec<Vec<LoadPoint>>,
}

impl Ramp {
    /// `draws[0]` is the central ladder. Points are sorted by load; draws without points are left out.
    pub fn new(mut draws: Vec<Vec<LoadPoint>>) -> Ramp {
        for d in &mut draws {
            d.retain(|p| p.load > 0.0 && p.throughput.is_finite());
            d.sort_by(|a, b| a.load.total_cmp(&b.load));
        }
        draws.retain(|d| !d.is_empty());
        Ramp { draws }
    }

    fn found(&self) -> Vec<Found> {
        self.draws.iter().map(|d| Found::new(d)).collect()
    }

    /// Each draw's loads between which each breakpoint lies, in the order of [`Ramp::breakpoints`].
    pub(super) fn brackets(&self) -> Vec<[Option<(f64, f64)>; 5]> {
        self.found().iter().map(|f| f.all().map(|c| c.map(|c| c.between))).collect()
    }

    /// All ladders, the central one first.
    pub fn draws(&self) -> &[Vec<LoadPoint>] {
        &self.draws
    }

    /// The points of the central draw.
    pub fn central(&self) -> &[LoadPoint] {
        self.draws.first().map_or(&[], Vec::as_slice)
    }

    /// The breakpoints, in the order in which they are listed above.
    pub fn breakpoints(&self) -> Vec<Breakpoint> {
        let found = self.found();
        let one = |name, criterion: String, pick: fn(&Found) -> Option<Crossing>| {
            let values: Vec<Option<Crossing>> = found.iter().map(pick).collect();
            let reached = values.iter().flatten().count() as f64 / values.len().max(1) as f64;
            Breakpoint { name, criterion, at: interval(&values), reached }
        };
        vec![
            one(
                "queue growth",
                format!(
                    "waits longer than at the lightest load by a step and {:.0} % of the light-load end-to-end time",
                    QUEUE_SHARE * 100.0
                ),
                |f| f.queue,
            ),
            one("diminishing return", format!("elasticity of throughput below {HALF_RETURN}"), |f| f.half),
            one(SLO_CROSSING, "a bound of the service level is broken".into(), |f| f.slo),
            one("knee", format!("throughput at {:.0} % of its plateau", PLATEAU_SHARE * 100.0), |f| f.knee),
            one("first loss", format!("more than {:.1} % of the requests lost", LOSS * 100.0), |f| f.loss),
        ]
    }

    /// The zones of the central ladder, with intervals of their ends over the draws.
    pub fn zones(&self) -> Vec<ZoneSpan> {
        type End = fn(&Found) -> Option<Crossing>;
        let found = self.found();
        let ends: [(Zone, &str, End); 3] = [
            (
                Zone::Safe,
                "until requests queue, more load buys less than half of its worth, or the SLO breaks",
                Found::safe_end,
            ),
            (Zone::EarlyDegradation, "until throughput is at its plateau", Found::degradation_end),
            (Zone::Saturation, "until requests are lost", |f| f.loss),
        ];
        let mut out: Vec<ZoneSpan> = Vec::new();
        let mut from = 0.0;
        for (zone, criterion, end) in ends {
            let values: Vec<Option<Crossing>> = found.iter().map(end).collect();
            let Some(at) = interval(&values) else {
                // Never left: this zone reaches to the end of the ladder, unless a later one begins earlier.
                out.push(ZoneSpan { zone, from, to: None, to_interval: None, criterion: criterion.into() });
                return out;
            };
            if at.value > from {
                out.push(ZoneSpan {
                    zone,
                    from,
                    to: Some(at.value),
                    to_interval: Some((at.p05, at.p95)),
                    criterion: criterion.into(),
                });
                from = at.value;
            }
        }
        out.push(ZoneSpan {
            zone: Zone::Loss,
            from,
            to: None,
            to_interval: None,
            criterion: "requests are lost".into(),
        });
        out
    }

    /// The zone in which a load lies.
    pub fn zone_of(&self, load: f64) -> Zone {
        self.zones().iter().rfind(|z| load >= z.from).map_or(Zone::Safe, |z| z.zone)
    }
}

/// Central value; the interval from the last load without to the first with it, over the draws that reached it.
fn interval(values: &[Option<Crossing>]) -> Option<Interval> {
    let value = (*values.first()?)?.value;
    let end = |pick: fn(&Crossing) -> f64, q: f64| {
        let mut all: Vec<f64> = values.iter().flatten().map(pick).collect();
        all.sort_by(f64::total_cmp);
        crate::stats::quantile_sorted(&all, q)
    };
    let (p05, p95) = (end(|c| c.between.0, 0.05), end(|c| c.between.1, 0.95));
    Some(Interval { value, p05: p05.min(value), p95: p95.max(value) })
}

#[cfg(test)]
mod tests {
    use super::*;

    /// A server with `slots` places and a service time of one second: throughput grows to `slots`, then the
    /// queue does.
    fn ladder(slots: f64) -> Vec<LoadPoint> {
        (0..=24)
            .map(|i| {
                let load = 2f64.powf(f64::from(i) / 2.0);
                let throughput = load.min(slots);
                let queue_s = (load / throughput - 1.0).max(0.0);
                LoadPoint {
                    load,
                    throughput,
                    e2e_s: 1.0 + queue_s,
                    queue_s,
                    step_s: 0.01,
                    slo: 0.0,
                    loss: if load > 3000.0 { 0.2 } else { 0.0 },
                }
            })
            .collect()
    }

    #[test]
    fn the_zones_of_a_server_with_known_slots_are_found() {
        let ramp = Ramp::new(vec![ladder(256.0), ladder(240.0), ladder(270.0)]);
        let zones = ramp.zones();
        let names: Vec<Zone> = zones.iter().map(|z| z.zone).collect();
        assert_eq!(names[0], Zone::Safe);
        assert_eq!(*names.last().unwrap(), Zone::Loss);
        let safe = zones[0].to.unwrap();
        assert!((230.0..=285.0).contains(&safe), "safe until {safe}");
        let (low, high) = zones[0].to_interval.unwrap();
        assert!(low <= safe && safe <= high && low < high);
        assert_eq!(ramp.zone_of(10.0), Zone::Safe);
        assert_eq!(ramp.zone_of(1000.0), Zone::Saturation);
        assert_eq!(ramp.zone_of(4000.0), Zone::Loss);
    }

    #[test]
    fn a_ladder_that_only_climbs_is_safe_throughout() {
        let points: Vec<LoadPoint> = ladder(1e9).into_iter().filter(|p| p.load < 2000.0).collect();
        let ramp = Ramp::new(vec![points]);
        assert_eq!(ramp.zones().len(), 1);
        assert_eq!(ramp.zones()[0].to, None);
        assert!(ramp.breakpoints().iter().all(|b| b.at.is_none()));
    }

    #[test]
    fn an_empty_ramp_has_no_breakpoints() {
        assert!(Ramp::new(vec![vec![]]).breakpoints().iter().all(|b| b.at.is_none()));
    }
}
