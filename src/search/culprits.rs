//! What makes launches fail: a flag value, or two that do not go together.
//!
//! Whatever was in a launch that ran is innocent. Each failed launch holds at least one culprit. The draws go over all
//! explanations, likely ones more often, so that a group that fails is taken apart by the launches that tell most, and the
//! same failure is not bought twice.

use super::additive::{Point, Value, values_of};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeSet;

/// One launch that gave no score.
#[derive(Debug, Clone)]
pub struct Failed {
    pub point: Point,
    /// The engine ran out of memory: larger values of the same knob would too.
    pub memory: bool,
    /// Values that the engine's own message names.
    pub named: Vec<Value>,
}

/// Chance that a value fails, that nothing is known of; that physics knows; that two that run alone do not together.
const FAILS: f64 = 0.06;
const MODELLED_FAILS: f64 = 0.02;
const PAIR_FAILS: f64 = 0.003;
/// A message that names a value of a failed launch multiplies its odds by this factor.
const NAMED: f64 = 40.0;

/// Who is to blame in one draw.
#[derive(Debug, Clone, Default)]
pub struct Blame {
    values: BTreeSet<Value>,
    pairs: Vec<(Value, Value)>,
}

impl Blame {
    /// Whether a point would fail.
    pub fn fails(&self, point: &[u8]) -> bool {
        let on = |v: &Value| point[v.0] == v.1;
        self.values.iter().any(on) || self.pairs.iter().any(|(a, b)| on(a) && on(b))
    }
}

struct Element {
    /// One value, or two.
    of: (Value, Option<Value>),
    odds: f64,
    bad: bool,
    /// Failures that it would explain.
    explains: Vec<usize>,
}

/// Draws of who is to blame. `modelled` holds by knob and value (from 0) whether physics knows it; its shape is that of the
/// space. `larger` says of two values of a knob whether the second asks for more of the same.
pub fn draws(
    failed: &[Failed],
    ran: &[Point],
    modelled: &[Vec<bool>],
    number: usize,
    seed: u64,
) -> Vec<Blame> {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let cleared: BTreeSet<Value> = ran.iter().flat_map(|p| values_of(p)).collect();
    let mut elements = elements(failed, ran, &cleared, modelled);
    let mut out = Vec::with_capacity(number);
    for _ in 0..number {
        for _ in 0..4 {
            sweep(&mut elements, failed.len(), &mut rng);
        }
        let mut blame = Blame::default();
        for e in elements.iter().filter(|e| e.bad) {
            match e.of {
                (v, None) => {
                    blame.values.insert(v);
                    if e.explains.iter().any(|f| failed[*f].memory) {
                        let beyond = v.1 + 1..modelled[v.0].len() as u8;
                        blame.values.extend(beyond.map(|w| (v.0, w)));
                    }
                }
                (a, Some(b)) => blame.pairs.push((a, b)),
            }
        }
        // What was never launched may fail too.
        for (k, of) in modelled.iter().enumerate() {
            for (v, known) in of.iter().enumerate().skip(1) {
                let value = (k, v as u8);
                let seen = cleared.contains(&value) || failed.iter().any(|f| f.point[k] == v as u8);
                if !seen && rng.random::<f64>() < if *known { MODELLED_FAILS } else { FAILS } {
                    blame.values.insert(value);
                }
            }
        }
        out.push(blame);
    }
    out
}

fn elements(
    failed: &[Failed],
    ran: &[Point],
    cleared: &BTreeSet<Value>,
    modelled: &[Vec<bool>],
) -> Vec<Element> {
    let mut all: Vec<Element> = Vec::new();
    let mut add = |of: (Value, Option<Value>), odds: f64, f: usize| match all.iter_mut().find(|e| e.of == of)
    {
        Some(e) => {
            e.odds = e.odds.max(odds);
            e.explains.push(f);
        }
        None => all.push(Element { of, odds, bad: true, explains: vec![f] }),
    };
    for (f, failure) in failed.iter().enumerate() {
        let on: Vec<Value> = values_of(&failure.point).collect();
        for (i, a) in on.iter().enumerate() {
            if !cleared.contains(a) {
                let p = if modelled[a.0][a.1 as usize] && !failure.memory { MODELLED_FAILS } else { FAILS };
                let named = if failure.named.contains(a) { NAMED } else { 1.0 };
                add((*a, None), named * p / (1.0 - p), f);
            }
            for b in &on[i + 1..] {
                let together = ran.iter().any(|p| p[a.0] == a.1 && p[b.0] == b.1);
                if !together {
                    // A message names a value that is bad alone and one of a bad pair alike.
                    let named = [a, b].into_iter().any(|v| failure.named.contains(v));
                    add((*a, Some(*b)), if named { NAMED } else { 1.0 } * PAIR_FAILS, f);
                }
            }
        }
    }
    all
}

fn sweep(elements: &mut [Element], failures: usize, rng: &mut ChaCha8Rng) {
    let mut explained = vec![0usize; failures];
    for e in elements.iter().filter(|e| e.bad) {
        for f in &e.explains {
            explained[*f] += 1;
        }
    }
    let book = |explained: &mut [usize], e: &Element, by: isize| {
        for f in &e.explains {
            explained[*f] = explained[*f].saturating_add_signed(by);
        }
    };
    for e in elements.iter_mut() {
        let needed = e.bad && e.explains.iter().any(|f| explained[*f] == 1);
        let bad = needed || rng.random::<f64>() < e.odds / (1.0 + e.odds);
        if bad != e.bad {
            book(&mut explained, e, if bad { 1 } else { -1 });
            e.bad = bad;
        }
    }
    // Hands the blame from one to another.
    for _ in 0..elements.len() {
        let (i, j) = (rng.random_range(0..elements.len()), rng.random_range(0..elements.len()));
        if !elements[i].bad || elements[j].bad {
            continue;
        }
        book(&mut explained, &elements[i], -1);
        book(&mut explained, &elements[j], 1);
        let holds = explained.iter().all(|n| *n > 0);
        if holds && rng.random::<f64>() < elements[j].odds / elements[i].odds {
            (elements[i].bad, elements[j].bad) = (false, true);
        } else {
            book(&mut explained, &elements[i], 1);
            book(&mut explained, &elements[j], -1);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn chance(blames: &[Blame], point: &[u8]) -> f64 {
        blames.iter().filter(|b| b.fails(point)).count() as f64 / blames.len() as f64
    }

    fn failed(point: &[u8]) -> Failed {
        Failed { point: point.to_vec(), memory: false, named: Vec::new() }
    }

    #[test]
    fn a_failed_group_is_narrowed_by_what_ran() {
        let modelled = vec![vec![false, false]; 4];
        let f = [failed(&[1, 1, 1, 0])];
        let before = draws(&f, &[], &modelled, 2000, 1);
        let each = chance(&before, &[1, 0, 0, 0]);
        assert!((0.25..0.45).contains(&each), "{each}");
        assert!(chance(&before, &[1, 1, 1, 0]) == 1.0);
        let after = draws(&f, &[vec![1, 1, 0, 1]], &modelled, 2000, 1);
        assert!(chance(&after, &[0, 0, 1, 0]) > 0.8);
        assert!(chance(&after, &[1, 1, 0, 0]) == 0.0);
    }

    #[test]
    fn a_value_that_the_engine_names_is_the_likeliest() {
        let modelled = vec![vec![false, false]; 3];
        let f = [Failed { named: vec![(2, 1)], ..failed(&[1, 1, 1]) }];
        let d = draws(&f, &[], &modelled, 2000, 1);
        assert!(chance(&d, &[0, 0, 1]) > 0.8 && chance(&d, &[1, 0, 0]) < 0.15);
    }

    #[test]
    fn one_failed_launch_in_company_is_suspicion_and_one_alone_is_proof() {
        let modelled = vec![vec![false, false]; 4];
        let group = failed(&[1, 1, 1, 1]);
        let ran = [vec![1, 1, 1, 0]];
        let suspected = draws(std::slice::from_ref(&group), &ran, &modelled, 4000, 1);
        // The last value, or it and one of the three together.
        let of = chance(&suspected, &[0, 0, 0, 1]);
        assert!((0.7..0.95).contains(&of), "{of}");
        let proven = draws(&[group.clone(), failed(&[0, 0, 0, 1])], &ran, &modelled, 4000, 1);
        assert!(chance(&proven, &[0, 0, 0, 1]) == 1.0);
        let cleared = draws(&[group], &[ran[0].clone(), vec![0, 0, 0, 1]], &modelled, 4000, 1);
        assert!(chance(&cleared, &[0, 0, 0, 1]) == 0.0 && chance(&cleared, &[1, 1, 1, 1]) == 1.0);
    }

    #[test]
    fn a_message_that_names_a_value_does_not_prove_it_in_company() {
        let modelled = vec![vec![false, false]; 3];
        let f = [Failed { named: vec![(2, 1)], ..failed(&[1, 1, 1]) }];
        let ran = [vec![1, 1, 0]];
        let of = chance(&draws(&f, &ran, &modelled, 4000, 1), &[0, 0, 1]);
        assert!((0.8..0.95).contains(&of), "{of}");
    }

    #[test]
    fn memory_fails_for_larger_values_too() {
        let modelled = vec![vec![true; 4]];
        let f = [Failed { memory: true, ..failed(&[2]) }];
        let d = draws(&f, &[vec![1]], &modelled, 500, 1);
        assert_eq!((chance(&d, &[3]), chance(&d, &[1])), (1.0, 0.0));
    }
}
