//! What a prediction stands on: measured, near what was measured, or physics alone.

use super::discrepancy::DesignPoint;
use super::profile::{GroupFit, GroupKey, Profile};
use super::seen::SeenKind;
use super::setup::Setup;
use crate::launch::EngineKind;
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

    /// What stands behind a prediction of this launch; `checked` are the kinds of launches that physics alone was held against.
    pub fn of(s: &Setup, profile: Option<&Profile>, base: &Profile, checked: &[SeenKind]) -> Standing {
        let key = GroupKey::of(s);
        if let Some(g) = profile.and_then(|p| p.exact(&key)) {
            let here = DesignPoint::of(s);
            let same = g.residuals.iter().any(|r| r.point.correlation(&here) > SAME_POINT);
            return if same { Standing::Measured } else { Standing::SameLaunch };
        }
        if profile.is_some_and(|p| p.groups.iter().any(|g| g.hardware == key.hardware)) {
            return Standing::SameGpu;
        }
        // The embedded engine is what the model says.
        let emulated = s.config.engine == EngineKind::Emulated;
        // No public run behind the prior speculates: that part of a step no measurement has checked.
        if s.config.speculative.is_some() && !emulated {
            return Standing::PriorUnseen;
        }
        let seen = |g: &GroupFit| {
            g.hardware == key.hardware && g.engine == key.engine && g.kind == Some(s.model_kind())
        };
        let held =
            |k: &SeenKind| k.kind == s.model_kind() && k.hardware == key.hardware && k.engine == key.engine;
        if emulated || base.groups.iter().any(seen) || checked.iter().any(held) {
            Standing::PriorSeen
        } else {
            Standing::PriorUnseen
        }
    }

    pub fn id(self) -> &'static str {
        match self {
            Standing::Measured => "measured",
            Standing::SameLaunch => "same-launch",
            Standing::SameGpu => "same-gpu",
            Standing::PriorSeen => "prior-seen",
            Standing::PriorUnseen => "prior-unseen",
        }
    }

    /// For a sentence.
    pub fn words(self) -> &'static str {
        match self {
            Standing::Measured => "measured here",
            Standing::SameLaunch => "same launch, other load",
            Standing::SameGpu => "same GPU, other model",
            Standing::PriorSeen => "prior, kind seen",
            Standing::PriorUnseen => "prior, kind never seen",
        }
    }
}

/// Two loads whose errors correlate so are the same.
const SAME_POINT: f64 = 0.995;
