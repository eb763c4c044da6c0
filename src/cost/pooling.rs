//! Partial pooling: what fits of other launches tell of one that was not measured.
//!
//! The logarithm of a coefficient over its physical prior is taken as a sum of independent parts, one each for what all
//! launches share, the GPU's generation, the GPU, the engine, the kind of model and the model itself. Two launches
//! correlate by the variance of the parts that they have in common, `ρ`. A fit with posterior mean `μ` and covariance `C`
//! under the prior covariance `S` holds the information `Λ = C⁻¹ - S⁻¹`; carried over it is
//! `R (I + Λ (I - R²) S)⁻¹ Λ R` with `R = diag(ρ)`: exact for one other launch, and for several as if each spoke
//! for itself, which is why their sum is tempered.

use super::coefficients::Coefficients;
use super::kernels::Generation;
use super::model_kind::ModelKind;
use super::profile::{GroupFit, GroupKey, Profile};
use super::setup::Setup;
use super::solve::{Matrix, dense, rows};
use crate::hardware::Vendor;
use crate::launch::EngineKind;
use nalgebra::{DMatrix, DVector};
use std::sync::LazyLock;

/// Fits of public measurements, which move the prior of whoever resembles them.
static PUBLIC: LazyLock<Profile> = LazyLock::new(|| {
    Profile::parse("profiles/public.toml", include_str!("../../profiles/public.toml")).unwrap_or_default()
});

/// The fits that this dyno carries.
pub fn public() -> &'static Profile {
    &PUBLIC
}

/// Shares of a coefficient's variance by what owns it.
struct Shares {
    all: f64,
    generation: f64,
    hardware: f64,
    engine: f64,
    kind: f64,
    model: f64,
}

/// Coefficients that belong to kernels: what is left over belongs about equally to GPU, kernel family and model.
const OF_KERNELS: Shares =
    Shares { all: 0.05, generation: 0.15, hardware: 0.15, engine: 0.15, kind: 0.15, model: 0.35 };
/// Coefficients of the host side.
const OF_ENGINES: Shares =
    Shares { all: 0.10, generation: 0.0, hardware: 0.10, engine: 0.55, kind: 0.05, model: 0.20 };

fn shares(name: &str) -> &'static Shares {
    let of_engine = ["host_", "frontend_", "burst_", "emit_", "eager_launch"];
    if of_engine.iter().any(|p| name.starts_with(p)) { &OF_ENGINES } else { &OF_KERNELS }
}

/// Most fits that speak for one launch.
const SPEAKERS: usize = 4;

/// What a launch has in common with others.
#[derive(Debug, Clone, PartialEq)]
pub struct Relations {
    pub key: GroupKey,
    pub kind: ModelKind,
    pub generation: Generation,
}

impl Relations {
    pub fn of(s: &Setup) -> Relations {
        Relations { key: GroupKey::of(s), kind: s.model_kind(), generation: Generation::of(&s.hardware) }
    }

    /// Correlation of each coefficient with that of a fitted group: none where the model differs, since what a fit finds
    /// belongs to the model, its kernels and its version. Over 332 public pairs of models on one GPU, carrying the
    /// coefficients over made 41 % better and 31 % worse by more than two points, and the errors of the prior at the one
    /// and at the other do not correlate (throughput -0.09, TPOT -0.01; TTFT 0.52). The rule was made in view of those
    /// pairs, which therefore cannot score it.
    fn correlations(&self, g: &GroupFit) -> Vec<f64> {
        if g.model != self.key.model {
            return vec![0.0; Coefficients::NAMES.len()];
        }
        let part = |same: bool, share: f64| if same { share } else { 0.0 };
        let of = |name: &&str| {
            let s = shares(name);
            s.all
                + part(g.generation == Some(self.generation), s.generation)
                + part(g.hardware == self.key.hardware, s.hardware)
                + part(g.engine == self.key.engine, s.engine)
                + part(g.kind == Some(self.kind), s.kind)
                + s.model
        };
        Coefficients::NAMES.iter().map(of).collect()
    }

    /// Whether a fit of that group says anything of this launch.
    pub fn speaks(&self, g: &GroupFit) -> bool {
        self.correlations(g).iter().any(|r| *r > 0.0)
    }
}

/// Posterior of the log shifts of a launch, given fits of others: mean and covariance.
pub fn pooled(to: &Relations, log_sd: &[f64], groups: &[&GroupFit]) -> (Vec<f64>, Matrix) {
    let n = log_sd.len();
    let s = DMatrix::from_diagonal(&DVector::from_iterator(n, log_sd.iter().map(|v| v * v)));
    let s_inverse = DMatrix::from_diagonal(&DVector::from_iterator(n, log_sd.iter().map(|v| 1.0 / (v * v))));
    let spoken = groups.iter().filter(|g| to.speaks(g));
    let mut near: Vec<(Vec<f64>, &GroupFit)> = spoken.map(|g| (to.correlations(g), *g)).collect();
    let total = |r: &[f64]| r.iter().sum::<f64>();
    near.sort_by(|a, b| total(&b.0).total_cmp(&total(&a.0)));
    near.truncate(SPEAKERS);
    let (mut precision, mut information) = (s_inverse.clone(), DVector::zeros(n));
    // Groups that are alike say the same thing twice.
    let temper = 1.0 / (1.0 + 0.5 * (near.len().max(1) - 1) as f64);
    for (rho, g) in &near {
        let told = information_of(g, &s_inverse);
        let r = DMatrix::from_diagonal(&DVector::from_row_slice(rho));
        let rest = (DMatrix::identity(n, n) - &r * &r) * &s;
        let Some(blur) = (DMatrix::identity(n, n) + &told * rest).try_inverse() else { continue };
        let mean = dense(&g.covariance).try_inverse().map(|c| c * DVector::from_row_slice(&g.log_shift));
        let Some(mean) = mean else { continue };
        precision += (&r * &blur * &told * &r) * temper;
        information += (&r * &blur * mean) * temper;
    }
    let precision = (&precision + precision.transpose()) * 0.5;
    let covariance = precision.cholesky().map_or(s, |c| c.inverse());
    let shift = &covariance * information;
    (shift.iter().copied().collect(), rows(&covariance))
}

/// `C⁻¹ - S⁻¹`, without the directions in which rounding made it negative.
fn information_of(g: &GroupFit, s_inverse: &DMatrix<f64>) -> DMatrix<f64> {
    let n = s_inverse.nrows();
    let Some(inverse) = dense(&g.covariance).try_inverse() else { return DMatrix::zeros(n, n) };
    let told = inverse - s_inverse;
    let mut e = ((&told + told.transpose()) * 0.5).symmetric_eigen();
    e.eigenvalues.iter_mut().for_each(|v| *v = v.max(0.0));
    e.recompose()
}

/// Public fits speak for engines on GPUs; the embedded engine is its own truth, and a CPU is like no other.
pub fn public_speaks_for(s: &Setup) -> bool {
    s.config.engine != EngineKind::Emulated && s.hardware.vendor != Vendor::Cpu
}

#[cfg(test)]
mod tests {
    use super::*;

    fn fitted(model: &str, engine: &str) -> GroupFit {
        let n = Coefficients::NAMES.len();
        GroupFit {
            model: model.to_owned(),
            hardware: "h100-sxm-80gb".to_owned(),
            engine: engine.to_owned(),
            engine_versions: Vec::new(),
            observations: 3,
            kind: Some(ModelKind::Dense),
            generation: Some(Generation::Hopper),
            habits: Vec::new(),
            cost_before: 9.0,
            cost_after: 1.0,
            unidentified: Vec::new(),
            coefficients: Coefficients::default(),
            names: Coefficients::NAMES.iter().map(|n| (*n).to_owned()).collect(),
            log_shift: vec![0.4; n],
            covariance: rows(&(DMatrix::identity(n, n) * 0.001)),
            warm: Vec::new(),
            residuals: Vec::new(),
            noise: std::collections::BTreeMap::new(),
            steps: Vec::new(),
        }
    }

    #[test]
    fn another_model_keeps_the_prior_and_the_same_one_under_another_engine_is_moved() {
        let key = GroupKey {
            model: "qwen3-8b (bf16)".to_owned(),
            hardware: "h100-sxm-80gb".to_owned(),
            engine: "vllm".to_owned(),
        };
        let to = Relations { key, kind: ModelKind::Dense, generation: Generation::Hopper };
        let (other, own) = (fitted("llama-3.1-8b (bf16)", "vllm"), fitted("qwen3-8b (bf16)", "sglang"));
        let (shift, covariance) = pooled(&to, Coefficients::LOG_SD, &[&other]);
        assert!(shift.iter().all(|s| *s == 0.0) && !to.speaks(&other));
        for (i, sd) in Coefficients::LOG_SD.iter().enumerate() {
            assert!((covariance[i][i] / (sd * sd) - 1.0).abs() < 1e-9, "as wide as the prior");
        }
        let (shift, covariance) = pooled(&to, Coefficients::LOG_SD, &[&other, &own]);
        assert!(shift.iter().all(|s| *s > 0.05) && to.speaks(&own));
        assert!(covariance[0][0] < Coefficients::LOG_SD[0].powi(2));
    }
}
