//! What a strategy needs to know of a search space: knobs with values, and which candidates are allowed.

use crate::launch::{Candidate, FlagValue};
use std::collections::BTreeSet;

/// One flag (or environment variable) that may be turned, with the values worth trying besides the default.
#[derive(Debug, Clone, PartialEq)]
pub struct Knob {
    pub flag: String,
    /// Ascending where the values have an order.
    pub values: Vec<FlagValue>,
    /// True when the cost model and the simulator know what the flag does, so that its effect can be
    /// predicted; false when only a launch can tell.
    pub modelled: bool,
}

/// The candidates of one engine.
pub trait Space {
    fn knobs(&self) -> &[Knob];
    /// Whether the candidate satisfies every constraint between flags, hardware, model and version.
    fn admits(&self, candidate: &Candidate) -> bool;
    /// The value of a flag that a candidate does not set; `None` where it is not known.
    fn default_of(&self, _flag: &str) -> Option<FlagValue> {
        None
    }
}

/// Every allowed candidate that differs from `base` in one knob, in the order of knobs and values.
pub fn singles(space: &dyn Space, base: &Candidate) -> Vec<Candidate> {
    let all = space.knobs().iter().flat_map(|k| k.values.iter().map(|v| base.with(&k.flag, v.clone())));
    all.filter(|c| c != base && space.admits(c)).collect()
}

/// Every allowed combination of knob values (each knob also left at its default), the base included and
/// first, at most `limit` of them: combinations of few flags come before those of many, so that a limit
/// cuts off only the busiest. Also returns whether the limit cut anything.
pub fn cross_product(space: &dyn Space, base: &Candidate, limit: usize) -> (Vec<Candidate>, bool) {
    let mut layer = vec![(base.clone(), 0usize)];
    let mut all = vec![base.clone()];
    let mut seen: BTreeSet<String> = BTreeSet::from([base.id()]);
    while !layer.is_empty() {
        let mut next = Vec::new();
        for (candidate, from) in &layer {
            for (i, knob) in space.knobs().iter().enumerate().skip(*from) {
                for value in &knob.values {
                    let grown = candidate.with(&knob.flag, value.clone());
                    if grown == *candidate || !seen.insert(grown.id()) {
                        continue;
                    }
                    // A refused combination is not grown further: constraints only ever forbid more.
                    if !space.admits(&grown) {
                        continue;
                    }
                    if all.len() >= limit {
                        return (all, true);
                    }
                    all.push(grown.clone());
                    next.push((grown, i + 1));
                }
            }
        }
        layer = next;
    }
    (all, false)
}

/// Values of a knob next to the one set, in the knob's order; for a knob that is not set, none.
pub fn adjacent(knob: &Knob, set: &FlagValue) -> Vec<FlagValue> {
    let Some(at) = knob.values.iter().position(|v| v == set) else { return Vec::new() };
    let below = at.checked_sub(1).map(|i| knob.values[i].clone());
    let above = knob.values.get(at + 1).cloned();
    below.into_iter().chain(above).collect()
}

#[cfg(test)]
mod tests {
    use super::super::fake::FakeSpace;
    use super::*;
    use crate::launch::EngineKind;

    #[test]
    fn the_product_counts_every_combination_once() {
        let space = FakeSpace::new(&[("a", 2), ("b", 3)]);
        let base = Candidate::baseline(EngineKind::Emulated);
        let (all, cut) = cross_product(&space, &base, 1000);
        assert_eq!(all.len(), 3 * 4);
        assert!(!cut && all[0] == base);
        assert_eq!(singles(&space, &base).len(), 5);
        let (some, cut) = cross_product(&space, &base, 5);
        assert!(cut && some.len() == 5 && some.iter().all(|c| c.flags.len() <= 1));
    }

    #[test]
    fn forbidden_combinations_are_left_out() {
        let mut space = FakeSpace::new(&[("a", 1), ("b", 1)]);
        space.forbid = vec![("a".into(), "b".into())];
        let (all, _) = cross_product(&space, &Candidate::baseline(EngineKind::Emulated), 100);
        assert_eq!(all.len(), 3);
    }

    #[test]
    fn neighbours_of_a_value_are_those_beside_it() {
        let knob = Knob { flag: "n".into(), values: [1, 2, 4].map(FlagValue::Int).to_vec(), modelled: true };
        assert_eq!(adjacent(&knob, &FlagValue::Int(2)), vec![FlagValue::Int(1), FlagValue::Int(4)]);
        assert_eq!(adjacent(&knob, &FlagValue::Int(1)), vec![FlagValue::Int(2)]);
        assert!(adjacent(&knob, &FlagValue::Int(3)).is_empty());
    }
}
