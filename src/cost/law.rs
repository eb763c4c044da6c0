//! The law of a predicted value: a mixture over readings of what the scenario leaves open, each with the same spread.
//!
//! The spread has two sides: a wait just below saturation can become a little shorter or many times longer, and one spread for
//! both would put its lower bound below what any hardware does.

use statrs::distribution::{ContinuousCDF, Normal};

/// Standard deviations of a logarithm below and above its median.
#[derive(Debug, Clone, Copy, PartialEq)]
pub struct Sides {
    pub below: f64,
    pub above: f64,
}

impl Sides {
    /// The same on both sides.
    pub const fn even(sd: f64) -> Sides {
        Sides { below: sd, above: sd }
    }

    /// Each side by a function of its own spread.
    #[must_use]
    pub fn map(self, f: impl Fn(f64) -> f64) -> Sides {
        Sides { below: f(self.below), above: f(self.above) }
    }

    /// Of deviations from the median: the root mean square of each side. A side that fewer than a quarter of the draws fall on is
    /// taken over a quarter, since one draw alone tells little.
    pub fn of(deviations: &[f64]) -> Sides {
        let few = deviations.len() as f64 / 4.0;
        let side = |sign: f64| {
            let on: Vec<f64> = deviations.iter().copied().filter(|d| d * sign > 0.0).collect();
            (on.iter().map(|d| d * d).sum::<f64>() / (on.len() as f64).max(few).max(1.0)).sqrt()
        };
        Sides { below: side(-1.0), above: side(1.0) }
    }

    /// On which side of the median a deviation lies.
    pub fn at(self, deviation: f64) -> f64 {
        if deviation < 0.0 { self.below } else { self.above }
    }
}

/// A mixture of laws of equal spread, of the logarithm of a value; each side of each is half of a normal law.
#[derive(Debug, Clone, PartialEq)]
pub struct Law {
    /// (weight, mean of the logarithm).
    pub components: Vec<(f64, f64)>,
    /// Standard deviations of the logarithm in each.
    pub sd: Sides,
    /// How far apart the likely readings of the scenario lie, as a logarithm; 0 where there is one. Runs lie between them too: a
    /// step-lock that is partly lost is neither reading.
    pub apart: f64,
}

impl Law {
    /// Quantile of the logarithm.
    pub fn quantile(&self, level: f64) -> f64 {
        let all: f64 = self.components.iter().map(|m| m.0).sum();
        let (least, most) = self
            .components
            .iter()
            .fold((f64::INFINITY, f64::NEG_INFINITY), |(a, b), m| (a.min(m.1), b.max(m.1)));
        let unit = Normal::standard();
        // Without any spread the law is a step function, and the bisection below finds the step.
        let sd = self.sd.map(|s| s.max(f64::MIN_POSITIVE));
        if self.components.len() == 1 {
            return self.components[0].1 + self.sd.at(level - 0.5) * unit.inverse_cdf(level);
        }
        let (mut low, mut high) = (least - 6.0 * sd.below, most + 6.0 * sd.above);
        for _ in 0..60 {
            let mid = f64::midpoint(low, high);
            let below: f64 = self
                .components
                .iter()
                .map(|(w, mean)| w / all * unit.cdf((mid - mean) / sd.at(mid - mean)))
                .sum();
            if below < level {
                low = mid;
            } else {
                high = mid;
            }
        }
        f64::midpoint(low, high)
    }

    /// With another spread.
    #[must_use]
    pub fn with_sd(&self, sd: Sides) -> Law {
        Law { sd, ..self.clone() }
    }

    /// The central 90 % interval of the value.
    pub fn interval(&self) -> (f64, f64) {
        (self.quantile(0.05).exp(), self.quantile(0.95).exp())
    }

    /// As [`Law::score`], negative for a value below the median.
    pub fn signed_score(&self, measured: f64) -> f64 {
        self.score(measured).copysign(measured.ln() - self.quantile(0.5))
    }

    /// The least factor of the spread with which the central 90 % interval holds a measured value; a score of its distance.
    pub fn score(&self, measured: f64) -> f64 {
        let held = |factor: f64| {
            let (low, high) = self.with_sd(self.sd.map(|s| factor * s)).interval();
            low <= measured && measured <= high
        };
        let (mut inside, mut outside) = (1e3, 0.0);
        for _ in 0..50 {
            let mid = f64::midpoint(inside, outside);
            if held(mid) {
                inside = mid;
            } else {
                outside = mid;
            }
        }
        inside
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_score_of_one_component_is_the_distance_in_half_widths() {
        let law = Law { components: vec![(1.0, 0.0)], sd: Sides::even(0.1), apart: 0.0 };
        let half = 1.6449 * 0.1;
        assert!((law.score((0.3_f64).exp()) - 0.3 / half).abs() < 1e-3);
        let (low, high) = law.interval();
        assert!((low.ln() + half).abs() < 1e-4 && (high.ln() - half).abs() < 1e-4);
    }

    #[test]
    fn a_wait_that_can_only_grow_has_no_absurd_lower_bound() {
        // Sixteen draws of a mean TTFT near saturation: most a little shorter, some a hundred times longer.
        let draws: Vec<f64> = (0..16).map(|i| if i < 11 { -0.2 } else { 4.6 }).collect();
        let law = Law { components: vec![(1.0, 0.0)], sd: Sides::of(&draws), apart: 0.0 };
        let (low, high) = law.interval();
        assert!(low > 0.7 && high > 100.0, "{low} {high}");
        assert!((law.score(low.sqrt()) - 0.5).abs() < 1e-3);
        let even = Sides::of(&[-0.1, 0.1, -0.1, 0.1]);
        assert!((even.below - 0.1).abs() < 1e-9 && (even.above - 0.1).abs() < 1e-9);
    }

    #[test]
    fn a_value_between_two_likely_readings_is_held_without_any_spread() {
        let law = Law { components: vec![(0.7, 0.0), (0.3, 2.0)], sd: Sides::even(0.1), apart: 0.0 };
        assert!(law.score(1.0_f64.exp()) < 1e-6);
        assert!(law.score(3.0_f64.exp()) > 1.0);
    }
}
