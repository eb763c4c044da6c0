//! How a search decides; every threshold in one place.

use serde::{Deserialize, Serialize};

#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
pub struct Settings {
    /// Runs of the first workload in a launch of the baseline, and pairs in the confirmation.
    pub repeats: u32,
    /// 1 - confidence of every interval.
    pub alpha: f64,
    /// Gains (log scale) below this are not worth a flag, even when they are real.
    pub min_gain: f64,
    /// Smallest run-to-run noise (log scale) that is believed.
    pub noise_floor: f64,
    /// Extra launches for a candidate whose gain is not yet told from noise.
    pub recheck_launches: u32,
    /// Most pairs in the confirmation when the first `repeats` leave the answer open.
    pub max_pairs: u32,
    /// Seed of the draws by which launches are chosen.
    #[serde(default)]
    pub seed: u64,
}

impl Default for Settings {
    fn default() -> Settings {
        Settings {
            repeats: 3,
            alpha: 0.05,
            min_gain: 0.01,
            noise_floor: 0.002,
            recheck_launches: 1,
            max_pairs: 5,
            seed: 0,
        }
    }
}
