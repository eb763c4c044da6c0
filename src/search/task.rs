//! What a search works on.

use super::evaluator::Evaluator;
use super::ledger::Ledger;
use super::settings::Settings;
use super::space::Space;
use crate::launch::Candidate;
use std::fmt;

/// One search: what launches candidates, which there are, and what is known of them. The ledger already holds launches of
/// the base.
pub struct Search<'a> {
    pub evaluator: &'a mut dyn Evaluator,
    pub space: &'a dyn Space,
    pub base: &'a Candidate,
    pub ledger: &'a mut Ledger,
    pub settings: &'a Settings,
}

impl fmt::Debug for Search<'_> {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "Search from {}", self.base.label())
    }
}
