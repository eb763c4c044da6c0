//! The engines that dyno knows by name.

use super::Version;
use serde::{Deserialize, Serialize};
use std::fmt;
use std::str::FromStr;

/// An engine. On disk and on the command line it is written as its id.
#[derive(Debug, Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(rename_all = "lowercase")]
pub enum EngineKind {
    Vllm,
    Sglang,
    Trtllm,
    /// dyno's own simulation of vLLM behind vLLM's interface.
    Emulated,
}

impl EngineKind {
    pub const ALL: [EngineKind; 4] =
        [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm, EngineKind::Emulated];

    /// The name in files and on the command line.
    pub fn id(self) -> &'static str {
        match self {
            EngineKind::Vllm => "vllm",
            EngineKind::Sglang => "sglang",
            EngineKind::Trtllm => "trtllm",
            EngineKind::Emulated => "emulated",
        }
    }
}

impl fmt::Display for EngineKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.id())
    }
}

impl FromStr for EngineKind {
    type Err = String;

    fn from_str(s: &str) -> Result<EngineKind, String> {
        EngineKind::ALL
            .into_iter()
            .find(|e| e.id() == s)
            .ok_or_else(|| format!("unknown engine `{s}`; known: vllm, sglang, trtllm, emulated"))
    }
}

/// The release that is assumed when a launch names none.
pub fn assumed_version(engine: EngineKind) -> Version {
    match engine {
        EngineKind::Vllm | EngineKind::Emulated => Version(0, 19, 0),
        EngineKind::Sglang => Version(0, 5, 12),
        EngineKind::Trtllm => Version(1, 2, 0),
    }
}
