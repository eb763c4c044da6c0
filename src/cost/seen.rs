//! Kinds of launches that public runs have checked.

use super::model_kind::ModelKind;
use serde::{Deserialize, Serialize};

/// A kind of launch that public runs have checked.
#[derive(Debug, Clone, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct SeenKind {
    pub kind: ModelKind,
    /// As in `hardware/`.
    pub hardware: String,
    /// As `--engine` takes it.
    pub engine: String,
    pub groups: usize,
    pub runs: usize,
}
