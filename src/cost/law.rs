//! The law of a predicted value: a mixture over readings of what the scenario leaves open, each with the same spread.

use statrs::distribution::{ContinuousCDF, Normal};

/// A mixture of normal laws of equal spread, of the logarithm of a value.
#[derive(Debug, Clone, PartialEq)]
pub struct Law {
    /// (weight, mean of the logarithm).
    pub components: Vec<(f64, f64)>,
    /// Standard deviation of the logarithm in each.
    pub sd: f64,
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
        let sd = self.sd.max(f64::MIN_POSITIVE);
        if self.components.len() == 1 {
            return self.components[0].1 + self.sd * unit.inverse_cdf(level);
        }
        let (mut low, mut high) = (least - 6.0 * sd, most + 6.0 * sd);
        for _ in 0..60 {
            let mid = f64::midpoint(low, high);
            let below: f64 =
                self.components.iter().map(|(w, mean)| w / all * unit.cdf((mid - mean) / sd)).sum();
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
    pub fn with_sd(&self, sd: f64) -> Law {
        Law { sd, ..self.clone() }
    }

    /// The central 90 % interval of the value.
    pub fn interval(&self) -> (f64, f64) {
        (self.quantile(0.05).exp(), self.quantile(0.95).exp())
    }

    /// The least factor of the spread with which the central 90 % interval holds a measured value; a score of its distance.
    pub fn score(&self, measured: f64) -> f64 {
        let held = |factor: f64| {
            let (low, high) = self.with_sd(factor * self.sd).interval();
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
        let law = Law { components: vec![(1.0, 0.0)], sd: 0.1 };
        let half = 1.6449 * 0.1;
        assert!((law.score((0.3_f64).exp()) - 0.3 / half).abs() < 1e-3);
        let (low, high) = law.interval();
        assert!((low.ln() + half).abs() < 1e-4 && (high.ln() - half).abs() < 1e-4);
    }

    #[test]
    fn a_value_between_two_likely_readings_is_held_without_any_spread() {
        let law = Law { components: vec![(0.7, 0.0), (0.3, 2.0)], sd: 0.1 };
        assert!(law.score(1.0_f64.exp()) < 1e-6);
        assert!(law.score(3.0_f64.exp()) > 1.0);
    }
}
