//! Kinds of models whose kernels have little in common.

use crate::model::Model;
use serde::{Deserialize, Serialize};

/// Models whose kernels have little in common.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case")]
pub enum ModelKind {
    Dense,
    /// Mixture of experts under grouped-query attention.
    Moe,
    /// Multi-head latent attention.
    Mla,
    /// Some layers keep a recurrent state instead of a cache.
    Hybrid,
}

impl ModelKind {
    pub const ALL: [ModelKind; 4] = [ModelKind::Dense, ModelKind::Moe, ModelKind::Mla, ModelKind::Hybrid];

    pub fn of(model: &Model) -> ModelKind {
        if model.state_layers() > 0 {
            ModelKind::Hybrid
        } else if model.attentions().any(|(_, a)| a.latent.is_some()) {
            ModelKind::Mla
        } else if model.moe_layers() > 0 {
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
            ModelKind::Hybrid => "hybrid",
        }
    }

    /// For a sentence.
    pub fn words(self) -> &'static str {
        match self {
            ModelKind::Dense => "a dense model",
            ModelKind::Moe => "a mixture of experts",
            ModelKind::Mla => "a model with latent attention",
            ModelKind::Hybrid => "a model with recurrent layers",
        }
    }
}
