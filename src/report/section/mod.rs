//! The parts of the report, in the order of the page: each says one thing and is one file.

pub(super) mod answer;
pub(super) mod cards;
pub(super) mod caution;
pub(super) mod gives;
pub(super) mod limits;
pub(super) mod load;
pub(super) mod quality;
pub(super) mod record;
pub(super) mod search;
pub(super) mod setup;
pub(super) mod trade;
pub(super) mod why;
