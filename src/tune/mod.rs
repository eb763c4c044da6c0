//! The campaign: stages, budget, incumbent, confirmation, verdict.
