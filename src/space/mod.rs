//! Search-space schema, constraints, and the canonical id of a candidate.

pub mod candidate;

pub use candidate::{Candidate, FlagValue};
