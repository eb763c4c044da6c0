//! What a prediction stands on: measured, near what was measured, or physics alone.

use super::setup::Setup;
use crate::model::Model;
use crate::scenario::EngineKind;
use serde::{Deserialize, Serialize};

/// Where a prediction comes from, from the surest to the least sure.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum Standing {
    /// This launch was measured under this load.
    Measured,
    /// This model, GPU and engine were measured, under other loads or flags.
    SameLaunch,
    /// This GPU was measured, with another model or engine.
    SameGpu,
    /// Physics alone; this kind of model, GPU and engine is among the public measurements.
    PriorSeen,
    /// Physics alone, of a kind that no measurement has checked.
    PriorUnseen,
}

impl Standing {
    pub const ALL: [Standing; 5] = [
        Standing::Measured,
        Standing::SameLaunch,
        Standing::SameGpu,
        Standing::PriorSeen,
        Standing::PriorUnseen,
    ];

    pub fn id(self) -> &'static str {
        match self {
            Standing::Measured => "measured",
            Standing::SameLaunch => "same-launch",
            Standing::SameGpu => "same-gpu",
            Standing::PriorSeen => "prior-seen",
            Standing::PriorUnseen => "prior-unseen",
        }
    }
}

/// Models whose kernels have little in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    Dense,
    /// Mixture of experts under grouped-query attention.
    Moe,
    /// Multi-head latent attention.
    Mla,
}

impl ModelKind {
    pub fn of(model: &Model) -> ModelKind {
        if model.mla.is_some() {
            ModelKind::Mla
        } else if model.moe.is_some() {
            ModelKind::Moe
        } else {
            ModelKind::Dense
        }
    }

    pub fn id(self) -> &'static str {
        match self {
            ModelKind::Dense => "dense",
            ModelKind::Moe => "moe",
            ModelKind::Mla => "mla",
        }
    }
}

/// A kind of launch: what a public measurement speaks for.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
pub struct Kind {
    pub model: ModelKind,
    pub hardware: String,
    pub engine: EngineKind,
}

impl Kind {
    pub fn of(s: &Setup) -> Kind {
        Kind { model: s.model_kind(), hardware: s.hardware.id.clone(), engine: s.config.engine }
    }
}

impl Setup {
    pub fn model_kind(&self) -> ModelKind {
        ModelKind::of(&self.model)
    }

    /// Devices that the launch takes.
    pub fn devices(&self) -> u32 {
        let c = &self.config;
        c.tensor_parallel.max(1) * c.pipeline_parallel.max(1) * c.data_parallel.max(1)
    }
}
