//! What the text of a file holds, before it is told whose it is.

use serde_json::Value;

/// What a text holds.
#[derive(Debug)]
pub(in crate::scenario) enum Content {
    One(Value),
    /// Line or row number, and the value there.
    Many(Vec<(usize, Value)>),
}
