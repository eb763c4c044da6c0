//! The quality gate: whether a candidate still answers as the baseline does.
//!
//! Both are asked the same prompts, greedily, and both say how likely they hold the same text, by their own scores. A
//! candidate is *not inferior* when the interval of its loss lies within a margin, *inferior* when it lies beyond; else the
//! prompts are too few to decide. Questions with known answers, where the user gives some, are compared by pairs in the same way.
//! Nothing here opens a socket: what was answered comes in as values.

mod accuracy;
mod answers;
mod check;
mod outcome;
mod prompts;
mod questions;

pub use accuracy::Accuracy;
pub use answers::{Answer, Answers};
pub use check::{Check, check};
pub use outcome::Outcome;
pub use prompts::builtin;
pub use questions::{Question, STOP};
