//! A file beside the command.

use serde::{Deserialize, Serialize};

/// A file that the engine reads when it starts, such as a YAML of options.
#[derive(Debug, Clone, PartialEq, Eq, Hash, Serialize, Deserialize)]
#[cfg_attr(feature = "schemas", derive(schemars::JsonSchema))]
#[serde(deny_unknown_fields)]
pub struct LaunchFile {
    /// The path by which the command names it.
    pub path: String,
    /// The whole content.
    pub text: String,
}
