//! From a ladder of loads to breakpoints and zones.
//!
//! A ladder holds one point a load (requests in flight, or requests a second), lightest first. Four
//! breakpoints are looked for, each by a stated criterion, and located between two rungs by interpolation
//! on the logarithm of the load:
//!
//! - **queue growth**: mean time before a request is first scheduled exceeds [`QUEUE_SHARE`] of the mean
//!   end-to-end time at the lightest load. Queueing is the earliest sign of trouble.
//! - **diminishing return**: elasticity of throughput, `d ln X / d ln N`, falls below [`HALF_RETURN`].
//! - **knee**: throughput reaches [`PLATEAU_SHARE`] of the largest of the ladder, and does not leave it.
//! - **first loss**: more than [`LOSS`] of the requests are lost.
//!
//! Zones: *safe* up to the earlier of queue growth and diminishing return; *early degradation* up to the
//! knee; *saturation* up to the first loss; *loss* from there.

use serde::Serialize;
use std::fmt;

/// Queueing as a share of the light-load end-to-end time above which it counts.
pub const QUEUE_SHARE: f64 = 0.10;
/// Elasticity of throughput below which more load buys less than half of its worth.
pub const HALF_RETURN: f64 = 0.5;
/// Share of the plateau at which the knee lies.
pub const PLATEAU_SHARE: f64 = 0.95;
/// Share of lost requests that counts as loss.
pub const LOSS: f64 = 0.001;

/// One rung of a ladder.
#[derive(Debug, Clone, Copy, PartialEq, Default, Serialize)]
pub struct LoadPoint {
    /// Requests in flight (closed loop) or requests a second (open loop).
    pub load: f64,
    /// Completed requests a second.
    pub throughput: f64,
    /// Mean end-to-end time, seconds.
    pub e2e_s: f64,
    /// Mean time from sending to first being scheduled, seconds.
    pub queue_s: f64,
    /// Share of requests that did not complete, 0..=1.
    pub loss: f64,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "kebab-case")]
pub enum Zone {
    Safe,
    EarlyDegradation,
    Saturation,
    Loss,
}

impl fmt::Display for Zone {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.pad(match self {
            Zone::Safe => "safe",
            Zone::EarlyDegradation => "early degradation",
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

#[derive(Debug, Clone, Copy, PartialEq)]
struct Found {
    queue: Option<f64>,
    half: Option<f64>,
    knee: Option<f64>,
    loss: Option<f64>,
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
        self.draws
            .iter()
            .map(|d| Found {
                queue: queue_growth(d),
                half: diminishing_return(d),
                knee: knee(d),
                loss: first_loss(d),
            })
            .collect()
    }

    /// The four breakpoints, in the order in which they are listed above.
    pub fn breakpoints(&self) -> Vec<Breakpoint> {
        let found = self.found();
        let one = |name, criterion: String, pick: fn(&Found) -> Option<f64>| {
            let values: Vec<Option<f64>> = found.iter().map(pick).collect();
            let reached = values.iter().flatten().count() as f64 / values.len().max(1) as f64;
            Breakpoint { name, criterion, at: interval(&values), reached }
        };
        vec![
            one(
                "queue growth",
                format!("mean queueing above {:.0} % of the light-load end-to-end time", QUEUE_SHARE * 100.0),
                |f| f.queue,
            ),
            one("diminishing return", format!("elasticity of throughput below {HALF_RETURN}"), |f| f.half),
            one("knee", format!("throughput at {:.0} % of its plateau", PLATEAU_SHARE * 100.0), |f| f.knee),
            one("first loss", format!("more than {:.1} % of the requests lost", LOSS * 100.0), |f| f.loss),
        ]
    }

    /// The zones of the central ladder, with intervals of their ends over the draws.
    pub fn zones(&self) -> Vec<ZoneSpan> {
        type End = fn(&Found) -> Option<f64>;
        let found = self.found();
        let ends: [(Zone, &str, End); 3] = [
            (Zone::Safe, "until queueing grows or more load buys less than half of its worth", safe_end),
            (Zone::EarlyDegradation, "until throughput is at its plateau", degradation_end),
            (Zone::Saturation, "until requests are lost", |f| f.loss),
        ];
        let mut out: Vec<ZoneSpan> = Vec::new();
        let mut from = 0.0;
        for (zone, criterion, end) in ends {
            let values: Vec<Option<f64>> = found.iter().map(end).collect();
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

fn safe_end(f: &Found) -> Option<f64> {
    [f.queue, f.half, f.knee, f.loss].into_iter().flatten().min_by(f64::total_cmp)
}

fn degradation_end(f: &Found) -> Option<f64> {
    [f.knee, f.loss].into_iter().flatten().min_by(f64::total_cmp)
}

/// Central value with the 5 % and 95 % quantiles over the draws that reached it.
fn interval(values: &[Option<f64>]) -> Option<Interval> {
    let value = (*values.first()?)?;
    let mut all: Vec<f64> = values.iter().flatten().copied().collect();
    all.sort_by(f64::total_cmp);
    let (p05, p95) = (crate::stats::quantile_sorted(&all, 0.05), crate::stats::quantile_sorted(&all, 0.95));
    Some(Interval { value, p05: p05.min(value), p95: p95.max(value) })
}

/// First crossing of `level` upward by `y`, interpolated on ln(load).
fn crossing(points: &[LoadPoint], y: impl Fn(&LoadPoint) -> f64, level: f64) -> Option<f64> {
    let first = points.first()?;
    if y(first) > level {
        return Some(first.load);
    }
    points.windows(2).find_map(|w| {
        let (a, b) = (y(&w[0]), y(&w[1]));
        (a <= level && b > level).then(|| {
            let share = (level - a) / (b - a);
            (w[0].load.ln() + share * (w[1].load.ln() - w[0].load.ln())).exp()
        })
    })
}

fn queue_growth(points: &[LoadPoint]) -> Option<f64> {
    let light = points.first()?;
    let service = (light.e2e_s - light.queue_s).max(f64::MIN_POSITIVE);
    crossing(points, |p| p.queue_s / service, QUEUE_SHARE)
}

/// Elasticity between neighbouring rungs, placed at their geometric middle; the first from which it stays
/// below the bound.
fn diminishing_return(points: &[LoadPoint]) -> Option<f64> {
    let slopes: Vec<(f64, f64)> = points
        .windows(2)
        .map(|w| {
            let run = (w[1].load / w[0].load).ln();
            let rise = (w[1].throughput.max(1e-12) / w[0].throughput.max(1e-12)).ln();
            ((w[0].load * w[1].load).sqrt(), rise / run)
        })
        .collect();
    let last_good = slopes.iter().rposition(|s| s.1 >= HALF_RETURN);
    match last_good {
        None => slopes.first().map(|_| points[0].load),
        Some(i) if i + 1 == slopes.len() => None,
        Some(i) => {
            let (a, b) = (slopes[i], slopes[i + 1]);
            let share = (a.1 - HALF_RETURN) / (a.1 - b.1);
            Some((a.0.ln() + share * (b.0.ln() - a.0.ln())).exp())
        }
    }
}

fn knee(points: &[LoadPoint]) -> Option<f64> {
    let top = points.iter().map(|p| p.throughput).fold(0.0, f64::max);
    // A ladder that still climbs at its end has no plateau.
    let n = points.len();
    if n < 3 || points[n - 2].throughput < PLATEAU_SHARE * top {
        return None;
    }
    crossing(points, |p| p.throughput, PLATEAU_SHARE * top)
}

fn first_loss(points: &[LoadPoint]) -> Option<f64> {
    crossing(points, |p| p.loss, LOSS)
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
