//! The simulated ramp as a forecast of the measured one, corrected by each step that is measured.

use super::correction::Simulated;
use super::point::LoadPoint;
use super::simulated::Study;
use serde::Serialize;

/// A ramp simulated before anything was measured.
#[derive(Debug, Clone, Serialize)]
pub struct Forecast {
    /// When it was made, RFC 3339.
    pub made_at: String,
    #[serde(flatten)]
    pub study: Study,
}

impl Forecast {
    /// The draws, by which a caller chooses loads.
    pub fn simulated(&self) -> Simulated<'_> {
        Simulated { axis: self.study.axis, draws: &self.study.draws }
    }

    /// The draws pulled onto what was measured, the central one first.
    pub fn corrected(&self, measured: &[LoadPoint]) -> Vec<Vec<LoadPoint>> {
        self.simulated().corrected(measured)
    }
}

#[cfg(test)]
pub(super) mod tests {
    use super::*;
    use crate::capacity::correction::at;
    use crate::capacity::point::Axis;

    /// A closed system: `service_s` without load, `seats` places, times stretched by batching.
    pub(crate) fn system(load: f64, seats: f64, service_s: f64) -> LoadPoint {
        let inside = load.min(seats);
        let service = service_s * (1.0 + inside / seats);
        let throughput = inside / service;
        let e2e_s = load / throughput;
        let step_s = service / 100.0;
        LoadPoint { load, throughput, e2e_s, queue_s: e2e_s - service, step_s, slo: 0.0, loss: 0.0 }
    }

    pub(crate) fn forecast(seats: &[f64], service_s: f64) -> Forecast {
        let loads: Vec<f64> = (0..=24).map(|i| 2f64.powf(f64::from(i) / 2.0)).collect();
        let draws = seats.iter().map(|s| loads.iter().map(|&l| system(l, *s, service_s)).collect()).collect();
        Forecast { made_at: String::new(), study: Study::of_draws(Axis::Concurrency, draws) }
    }

    #[test]
    fn the_corrected_forecast_passes_through_what_was_measured() {
        let f = forecast(&[64.0, 90.0], 1.0);
        let measured: Vec<LoadPoint> = [1.0, 30.0, 300.0].iter().map(|&l| system(l, 70.0, 1.3)).collect();
        for draw in f.corrected(&measured) {
            for m in &measured {
                let p = at(&draw, m.load, Axis::Concurrency);
                assert!((p.throughput / m.throughput - 1.0).abs() < 1e-9, "{p:?} {m:?}");
                assert!((p.e2e_s / m.e2e_s - 1.0).abs() < 1e-9);
                assert!((p.queue_s - m.queue_s).abs() < 1e-9);
            }
        }
        assert_eq!(f.corrected(&[])[0], f.study.draws[0]);
    }

    #[test]
    fn a_wrong_scale_is_mended_by_one_step() {
        // Everything takes 1.3 times as long: one light step tells.
        let f = forecast(&[64.0], 1.0);
        let corrected = &f.corrected(&[system(1.0, 64.0, 1.3)])[0];
        for p in corrected {
            let truth = system(p.load, 64.0, 1.3);
            assert!((p.throughput / truth.throughput - 1.0).abs() < 1e-6, "{p:?} {truth:?}");
        }
    }
}
