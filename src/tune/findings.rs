//! What a campaign has found so far.

use crate::cost::Profile;
use crate::launch::Candidate;
use crate::search::{Believed, Comparison, Estimates, Ledger};
use crate::store::SpaceSummary;

/// State that the verdict is drawn from.
#[derive(Default)]
pub(super) struct Findings {
    pub(super) ledger: Ledger,
    pub(super) baseline: Option<Candidate>,
    pub(super) winner: Option<Candidate>,
    pub(super) comparison: Option<Comparison>,
    pub(super) ruled: Option<SpaceSummary>,
    pub(super) profile: Option<Profile>,
    pub(super) considered: u32,
    pub(super) estimates: Estimates,
    pub(super) notes: Vec<String>,
}

impl Findings {
    /// What everything that the search launched says of the winner, and of the noise of a launch.
    pub(super) fn believed(&self, winner: &Candidate) -> Believed {
        let noise = (self.estimates.sigma > 0.0).then_some((self.estimates.sigma, self.ledger.launch_df()));
        let gain =
            self.estimates.candidates.iter().find(|e| e.candidate == *winner).map_or(0.0, |e| e.gain.value);
        Believed { gain, noise }
    }
}
