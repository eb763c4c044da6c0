//! Seeded noise on step times, as a real engine's launches and steps scatter.

use rand::SeedableRng;
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, StandardNormal};

/// Standard deviation of the logarithm of a single step's time, at `--noise 1`.
pub const STEP_SIGMA: f64 = 0.02;
/// Standard deviation of the logarithm of one launch's common factor, at `--noise 1`.
pub const LAUNCH_SIGMA: f64 = 0.005;

/// Lognormal noise with mean 1: one factor drawn for the launch, one for each step.
#[derive(Debug, Clone)]
pub struct Noise {
    rng: ChaCha8Rng,
    launch: f64,
    sigma: f64,
}

impl Noise {
    /// `scale` multiplies both sigmas; 0 turns the noise off.
    pub fn new(seed: u64, scale: f64) -> Noise {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let launch = lognormal(&mut rng, LAUNCH_SIGMA * scale);
        Noise { rng, launch, sigma: STEP_SIGMA * scale }
    }

    pub fn off() -> Noise {
        Noise { rng: ChaCha8Rng::seed_from_u64(0), launch: 1.0, sigma: 0.0 }
    }

    /// The factor on the next step's host and device time.
    pub fn next_factor(&mut self) -> f64 {
        if self.sigma == 0.0 { self.launch } else { self.launch * lognormal(&mut self.rng, self.sigma) }
    }
}

/// exp(σz − σ²/2): mean 1 whatever σ.
fn lognormal(rng: &mut ChaCha8Rng, sigma: f64) -> f64 {
    let z: f64 = StandardNormal.sample(rng);
    (sigma * z - sigma * sigma / 2.0).exp()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn noise_has_mean_one_its_stated_sigma_and_repeats_by_seed() {
        let mut a = Noise::new(7, 1.0);
        let mut b = Noise::new(7, 1.0);
        let launch = a.launch;
        let logs: Vec<f64> = (0..4000)
            .map(|_| {
                let f = a.next_factor();
                assert_eq!(f, b.next_factor());
                (f / launch).ln()
            })
            .collect();
        let mean = logs.iter().sum::<f64>() / logs.len() as f64;
        let sd = (logs.iter().map(|x| (x - mean).powi(2)).sum::<f64>() / logs.len() as f64).sqrt();
        assert!((mean + STEP_SIGMA * STEP_SIGMA / 2.0).abs() < 0.002, "{mean}");
        assert!((sd - STEP_SIGMA).abs() < 0.001, "{sd}");
        assert!((launch - 1.0).abs() < 5.0 * LAUNCH_SIGMA);
    }

    #[test]
    fn zero_is_off() {
        assert_eq!(Noise::new(3, 0.0).next_factor(), 1.0);
        assert_eq!(Noise::off().next_factor(), 1.0);
    }
}
