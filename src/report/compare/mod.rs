//! Two sets of runs beside one another, with a verdict a metric: PASS, FAIL or INCONCLUSIVE.
//!
//! What is asked is whether B is worse than A by more than a limit. FAIL says that it is, PASS that it is not, each with an
//! error probability of at most 2.5 %; what the runs cannot tell is INCONCLUSIVE, with the number of runs that would.

mod judge;
mod sides;
mod write;

pub use judge::{Judged, Outcome, Verdict, judge, judge_all};
pub use sides::{Compared, MetricRow, Side, compare};
pub use write::{html, json, junit, markdown, text};
