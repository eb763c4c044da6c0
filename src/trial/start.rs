//! The candidate of a trial, started as it has to be: one engine, several copies of it, or one over several nodes.

use super::launch::Started;
use super::{Failure, Observer, TrialSpec, nodes, replicas};

/// Starts the candidate of a trial, or says why not.
pub(super) fn start(spec: &TrialSpec, observer: &dyn Observer) -> Result<Started, Box<Failure>> {
    if spec.candidate.replicas() > 1 {
        return replicas::started(spec, observer);
    }
    if spec.nodes.len() > 1 {
        return nodes::started(spec, observer);
    }
    Started::of_one(spec, "engine", None, observer)
}
