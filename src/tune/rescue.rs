//! No engine starts with its defaults: which single changes are launched to find one that does.

use super::campaign::Campaign;
use super::findings::Findings;
use super::remedies::applied;
use crate::engine::Class;
use crate::error::Result;
use crate::launch::{Candidate, FlagValue};
use crate::search::{Evaluator as _, Space, Stage, Stop, singles};
use crate::trial::{Failure, Outcome};
use std::collections::{BTreeSet, VecDeque};

/// Launches for one engine.
const RESCUES: usize = 6;

impl Campaign<'_> {
    /// Where a flag can mend the cause, what the failure itself proposes is tried first, then single flags of the space. A
    /// try that fails in its turn puts what its own failure proposes before the rest, so that a way out in two steps (more
    /// memory for the cache, then the length that fits into it) is found. The first candidate that runs becomes the baseline.
    pub(super) fn rescue(
        &mut self,
        found: &mut Findings,
        bases: &[Candidate],
    ) -> Result<Option<Candidate>, Stop> {
        for base in bases {
            let failure = found.ledger.get(base).and_then(|e| e.failure.clone());
            let Some(failure) = failure.filter(|f| f.class.parse().is_ok_and(Class::mendable)) else {
                continue;
            };
            let space = self.space_of(base)?;
            let mut open: VecDeque<Candidate> = self.proposed(space.as_ref(), base)?.into();
            open.extend(singles(space.as_ref(), base).into_iter().filter(|c| {
                // Where memory is short, what asks for more of it can only fail again.
                !failure.memory || !asks_for_more(space.as_ref(), base, c)
            }));
            let mut tried: BTreeSet<String> = BTreeSet::from([base.id()]);
            self.runner.expect(Stage::Search, RESCUES.min(open.len()));
            while tried.len() <= RESCUES {
                let Some(c) = open.pop_front() else { break };
                if !tried.insert(c.id()) {
                    continue;
                }
                self.baseline_launch(found, &c, 0)?;
                if found.ledger.scored(&c) {
                    found.notes.push(format!(
                        "{} does not start with its defaults here ({}); `{}` stands in for the baseline, and gains are \
                         against it, not against the defaults.",
                        c.engine,
                        failure.class,
                        c.label()
                    ));
                    self.baseline_launch(found, &c, 1)?;
                    return Ok(Some(c));
                }
                // A cause that no flag mends ends the search for this engine.
                let now = found.ledger.get(&c).and_then(|e| e.failure.as_ref()).map(|f| f.class.clone());
                if now.is_some_and(|n| n.parse().is_ok_and(|c: Class| !c.mendable())) {
                    break;
                }
                for next in self.proposed(space.as_ref(), &c)?.into_iter().rev() {
                    open.push_front(next);
                }
            }
        }
        Ok(None)
    }

    /// What the last failure of this candidate proposes.
    fn proposed(&self, space: &dyn Space, c: &Candidate) -> Result<Vec<Candidate>> {
        let plan = self.runner.plan;
        let table = plan.space(c.engine)?;
        let last: Option<&Failure> = self.runner.trials.iter().rev().find_map(|t| match &t.result.outcome {
            Outcome::Failed { failure, .. } if t.result.spec.candidate == *c => Some(failure),
            _ => None,
        });
        let default = |flag: &str| space.default_of(flag);
        Ok(last.map(|f| applied(c, f, &default, &table, plan.allow_output_change)).unwrap_or_default())
    }
}

/// Whether a candidate sets a count above what the base has of it.
fn asks_for_more(space: &dyn Space, base: &Candidate, c: &Candidate) -> bool {
    let before = |flag: &str| base.flags.get(flag).cloned().or_else(|| space.default_of(flag));
    c.flags.iter().any(|(flag, v)| match (v, before(flag)) {
        (FlagValue::Int(new), Some(FlagValue::Int(old))) => *new > old && !flag.contains("parallel"),
        _ => false,
    })
}
