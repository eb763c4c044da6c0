//! What a campaign asks of the search spaces.

use crate::error::Result;
use crate::scenario::EngineKind;
use crate::search::Space;

/// Search spaces by engine, already narrowed to the model, the hardware and the fixed flags.
pub trait Spaces {
    /// The space of one engine in the version that the baseline reported.
    fn space(&self, engine: EngineKind, version: Option<&str>) -> Result<Box<dyn Space>>;
    /// How a flag works, in one line.
    fn mechanism(&self, engine: EngineKind, flag: &str) -> String;
}
