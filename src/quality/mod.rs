//! The quality gate: whether a candidate still answers as the baseline does.
//!
//! Both are asked the same prompts, greedily, and both say how likely they hold the same text, by their own scores. A
//! candidate is *not inferior* when the interval of its loss lies within a margin, *inferior* when it lies beyond; else the
//! prompts are too few to decide. Nothing here opens a socket: what was answered comes in as values.

mod answers;
mod check;
mod prompts;

pub use answers::{Answer, Answers};
pub use check::{Check, Outcome, check};
pub use prompts::builtin;
