//! Nodes of a cluster: whether they are equally fast, by launches of the same candidate on each of them.
//!
//! The log score of a launch is what its candidate gives, plus what its node takes, plus noise. The difference of a node is the
//! mean of its launches less the mean of the same candidate on the other nodes, on the repeats that both have; candidates are
//! weighed by what they say, a b / (a + b) of a launches here and b there. The node that differs most is put apart as long as it
//! differs by more than launches scatter (Student's test, the error shared among all nodes) and by a gain that would be worth a
//! flag; the rest is then looked at again without it.
//!
//! A node that is apart is *corrected* where its difference is known to within the gain that is worth a flag, and else *refused*:
//! what it measured is compared with nothing. The correction is one number a node, from the candidates that ran there; that it
//! holds for other candidates as well is an assumption.

use super::additive::NOISE_BEFORE;
use super::evaluator::{Answer, Sample};
use super::settings::Settings;
use crate::launch::Candidate;
use crate::stats::{Interval, PooledNoise, mean, quantile_sorted, t_critical, t_p_value};
use std::collections::{BTreeMap, BTreeSet};

/// From so many nodes on, their own scatter says how launches scatter, whatever few of them are slow.
const MANY: usize = 8;
/// Degrees of freedom in a quartile range, against those of as many deviations from a mean: its efficiency for normal scatter.
const QUARTILES: f64 = 0.37;
/// Quartile range of a normal distribution, in standard deviations.
const QUARTILE_RANGE: f64 = 1.349;
/// A node of few that differs by so many standard errors is worth a second look.
const DOUBT: f64 = 2.0;

/// What is made of a node's results.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum NodeStanding {
    /// Nothing tells it from the others.
    Equal,
    /// Its scores are brought to the others' level.
    Corrected,
    /// Its scores count for nothing.
    Refused,
}

/// One node against the others.
#[derive(Debug, Clone, PartialEq)]
pub struct NodeSpeed {
    pub node: String,
    /// Launches behind the difference.
    pub launches: usize,
    /// Log score less that of the nodes that are equal, with its interval.
    pub gain: Interval,
    pub standing: NodeStanding,
}

/// One launch of a candidate that ran on several nodes.
#[derive(Debug, Clone)]
struct Launched {
    node: usize,
    candidate: String,
    samples: Vec<Sample>,
}

/// The nodes of a campaign and what is known of their speed.
#[derive(Debug, Clone, Default)]
pub struct Nodes {
    /// In the order in which they first gave a score.
    names: Vec<String>,
    launches: Vec<Launched>,
    speeds: Vec<NodeSpeed>,
    doubtful: bool,
}

/// Difference of a node from others (log), and its weight: its variance is that of a launch over this.
#[derive(Debug, Clone, Copy)]
struct Difference {
    value: f64,
    weight: f64,
}

impl Nodes {
    /// Takes up a launch on a node; one without a score says nothing.
    pub fn launched(&mut self, node: &str, candidate: &Candidate, answer: &Answer) {
        if answer.samples.is_empty() || answer.failure.is_some() {
            return;
        }
        let at = self.names.iter().position(|n| n == node).unwrap_or_else(|| {
            self.names.push(node.to_owned());
            self.names.len() - 1
        });
        let (candidate, samples) = (candidate.id(), answer.samples.clone());
        self.launches.push(Launched { node: at, candidate, samples });
    }

    /// Judges every node by all launches so far.
    pub fn judge(&mut self, settings: &Settings) {
        let noise = self.noise(settings);
        let (sigma, df) = (noise.sigma().unwrap_or(NOISE_BEFORE.0), noise.df());
        let mut equal: BTreeSet<usize> = (0..self.names.len()).collect();
        let alpha = settings.alpha / self.names.len().max(1) as f64;
        self.doubtful = false;
        while let Some((node, d)) = self.farthest(&equal) {
            let z = d.value * d.weight.sqrt() / sigma;
            let worth = d.value.abs() >= settings.min_gain;
            self.doubtful |= z.abs() > DOUBT && worth && self.names.len() < MANY;
            if t_p_value(z, df) >= alpha || !worth {
                break;
            }
            equal.remove(&node);
        }
        let speed = |node: usize| {
            let others: BTreeSet<usize> = equal.iter().copied().filter(|n| *n != node).collect();
            let d = self.difference(node, &others);
            let half = d.map_or(f64::INFINITY, |d| t_critical(df, settings.alpha) * sigma / d.weight.sqrt());
            let standing = if equal.contains(&node) {
                NodeStanding::Equal
            } else if half <= settings.min_gain {
                NodeStanding::Corrected
            } else {
                NodeStanding::Refused
            };
            NodeSpeed {
                node: self.names[node].clone(),
                launches: self.launches.iter().filter(|l| l.node == node).count(),
                gain: Interval::around(d.map_or(0.0, |d| d.value), half),
                standing,
            }
        };
        self.speeds = (0..self.names.len()).map(speed).collect();
    }

    /// Every node that gave a score, as last judged.
    pub fn speeds(&self) -> &[NodeSpeed] {
        &self.speeds
    }

    /// A node may differ, and one more launch on each would tell.
    pub fn doubtful(&self) -> bool {
        self.doubtful
    }

    pub fn standing(&self, node: &str) -> NodeStanding {
        let speed = self.speeds.iter().find(|s| s.node == node);
        speed.map_or(NodeStanding::Equal, |s| s.standing)
    }

    /// Nodes whose results count for nothing.
    pub fn refused(&self) -> impl Iterator<Item = &NodeSpeed> {
        self.speeds.iter().filter(|s| s.standing == NodeStanding::Refused)
    }

    /// What a launch on this node says beside launches on the others; nothing where the node is refused.
    pub fn corrected(&self, node: &str, mut answer: Answer) -> Option<Answer> {
        let Some(speed) = self.speeds.iter().find(|s| s.node == node) else { return Some(answer) };
        match speed.standing {
            NodeStanding::Equal => {}
            NodeStanding::Corrected => answer.samples.iter_mut().for_each(|s| s.score -= speed.gain.value),
            // That a candidate does not start there is no matter of speed.
            NodeStanding::Refused if answer.failure.is_some() => {}
            NodeStanding::Refused => return None,
        }
        Some(answer)
    }

    /// The node of these that lies farthest from the others, by its standard errors; of two alone the one with fewer launches,
    /// else the later.
    fn farthest(&self, among: &BTreeSet<usize>) -> Option<(usize, Difference)> {
        let launches = |n: usize| self.launches.iter().filter(|l| l.node == n).count();
        let far = among.iter().filter_map(|&node| {
            let others: BTreeSet<usize> = among.iter().copied().filter(|n| *n != node).collect();
            let d = self.difference(node, &others)?;
            Some((node, d, d.value.abs() * d.weight.sqrt()))
        });
        let far = far.reduce(|a, b| {
            let equal = (a.2 - b.2).abs() <= 1e-9 * a.2.max(b.2);
            let later = if equal { launches(b.0) <= launches(a.0) } else { b.2 > a.2 };
            if later { b } else { a }
        });
        far.map(|(node, d, _)| (node, d))
    }

    fn difference(&self, node: usize, others: &BTreeSet<usize>) -> Option<Difference> {
        let (mut sum, mut weight) = (0.0, 0.0);
        for candidate in self.candidates() {
            let levels = |on: &dyn Fn(usize) -> bool| self.level(candidate, 1, on);
            let (mine, theirs) = (levels(&|n| n == node), levels(&|n| others.contains(&n)));
            let of = |on: &dyn Fn(usize) -> bool, level: &BTreeMap<u32, f64>| -> Vec<f64> {
                let all = self.launches.iter().filter(|l| l.candidate == *candidate && on(l.node));
                all.filter_map(|l| above(l, level)).collect()
            };
            let over = of(&|n| n == node, &theirs);
            // Only launches with a repeat in common say anything.
            let against = of(&|n| others.contains(&n), &mine).len();
            if over.is_empty() {
                continue;
            }
            let (a, b) = (over.len() as f64, against as f64);
            sum += mean(&over) * a * b / (a + b);
            weight += a * b / (a + b);
        }
        (weight > 0.0).then(|| Difference { value: sum / weight, weight })
    }

    fn candidates(&self) -> BTreeSet<&String> {
        self.launches.iter().map(|l| &l.candidate).collect()
    }

    /// Mean score of a candidate by repeat, on some of the nodes, where no less than `least` launches have the repeat.
    fn level(&self, candidate: &str, least: usize, on: &dyn Fn(usize) -> bool) -> BTreeMap<u32, f64> {
        let mut scores: BTreeMap<u32, Vec<f64>> = BTreeMap::new();
        for l in self.launches.iter().filter(|l| l.candidate == candidate && on(l.node)) {
            l.samples.iter().for_each(|s| scores.entry(s.repeat).or_default().push(s.score));
        }
        let known = scores.into_iter().filter(|(_, all)| all.len() >= least);
        known.map(|(repeat, all)| (repeat, mean(&all))).collect()
    }

    /// Scatter of equal launches: what is usual, what launches of a candidate on one node say, and, of many nodes, the quartiles.
    fn noise(&self, settings: &Settings) -> PooledNoise {
        let (before, df) = NOISE_BEFORE;
        let mut noise = PooledNoise::with_floor(settings.noise_floor);
        noise.add_squares(df * before * before, df);
        for candidate in self.candidates() {
            // A repeat of one launch alone would count as a launch without scatter.
            let level = self.level(candidate, 2, &|_| true);
            let mut by_node: BTreeMap<usize, Vec<f64>> = BTreeMap::new();
            for l in self.launches.iter().filter(|l| l.candidate == *candidate) {
                by_node.entry(l.node).or_default().extend(above(l, &level));
            }
            by_node.retain(|_, all| !all.is_empty());
            for all in by_node.values() {
                noise.add_group(all);
            }
            if by_node.len() >= MANY {
                // A mean of several launches scatters less than one.
                let mut levels: Vec<f64> =
                    by_node.values().map(|all| mean(all) * (all.len() as f64).sqrt()).collect();
                levels.sort_by(f64::total_cmp);
                let range = quantile_sorted(&levels, 0.75) - quantile_sorted(&levels, 0.25);
                let df = QUARTILES * (levels.len() - 1) as f64;
                noise.add_squares(df * (range / QUARTILE_RANGE).powi(2), df);
            }
        }
        noise
    }
}

/// Mean of a launch over the levels of its repeats.
fn above(launch: &Launched, level: &BTreeMap<u32, f64>) -> Option<f64> {
    let over = |s: &Sample| level.get(&s.repeat).map(|l| s.score - l);
    let all: Vec<f64> = launch.samples.iter().filter_map(over).collect();
    (!all.is_empty()).then(|| mean(&all))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::launch::{EngineKind, FlagValue};
    use rand::SeedableRng;
    use rand_chacha::ChaCha8Rng;
    use rand_distr::{Distribution, Normal};

    fn answer(level: f64, sigma: f64, rng: &mut ChaCha8Rng) -> Answer {
        let noise = |sd: f64, rng: &mut ChaCha8Rng| Normal::new(0.0, sd).unwrap().sample(rng);
        let launch = noise(sigma, rng);
        let sample =
            |repeat: u32, e: f64| Sample { repeat, score: 7.0 + level + 0.1 * f64::from(repeat) + e };
        let samples = (0..3).map(|r| sample(r, launch + noise(0.3 * sigma, rng))).collect();
        Answer { samples, failure: None }
    }

    fn base() -> Candidate {
        Candidate::baseline(EngineKind::Emulated)
    }

    /// `rounds` launches of the defaults on nodes with these levels.
    fn measured(levels: &[f64], rounds: usize, sigma: f64, seed: u64) -> Nodes {
        let mut rng = ChaCha8Rng::seed_from_u64(seed);
        let mut nodes = Nodes::default();
        for _ in 0..rounds {
            for (n, level) in levels.iter().enumerate() {
                nodes.launched(&format!("n{n}"), &base(), &answer(*level, sigma, &mut rng));
            }
        }
        nodes.judge(&Settings::default());
        nodes
    }

    fn apart(nodes: &Nodes) -> Vec<(&str, NodeStanding)> {
        let off = nodes.speeds().iter().filter(|s| s.standing != NodeStanding::Equal);
        off.map(|s| (s.node.as_str(), s.standing)).collect()
    }

    #[test]
    fn one_slow_node_of_many_is_found_and_no_other() {
        let mut levels = vec![0.0; 64];
        levels[40] = -0.07;
        let found =
            |seed: &u64| apart(&measured(&levels, 1, 0.01, *seed)) == [("n40", NodeStanding::Refused)];
        let found = (0..20).filter(found).count();
        assert!(found >= 18, "one launch on each, which scatter by 1 %: {found} of 20");
        for seed in 0..20 {
            let quiet = measured(&levels, 1, 0.0015, seed);
            assert_eq!(apart(&quiet), [("n40", NodeStanding::Corrected)], "{seed}");
            let gain = quiet.speeds()[40].gain;
            assert!(gain.low < -0.06 && (gain.value + 0.07).abs() < 0.012, "{gain:?}");
        }
    }

    #[test]
    fn equal_nodes_are_rarely_told_apart() {
        for (nodes, rounds) in [(2, 1), (3, 1), (3, 2), (8, 2), (64, 1)] {
            let called =
                (0..200).filter(|&s| !apart(&measured(&vec![0.0; nodes], rounds, 0.01, s)).is_empty());
            let called = called.count();
            assert!(called <= 14, "{nodes} nodes, {rounds} rounds: {called} of 200");
        }
    }

    #[test]
    fn of_three_nodes_a_second_look_finds_the_slow_one() {
        for seed in 0..50 {
            let levels = [0.0, -0.07, 0.0];
            let first = measured(&levels, 1, 0.006, seed);
            assert!(first.doubtful() || !apart(&first).is_empty(), "{seed}");
            let second = measured(&levels, 2, 0.006, seed);
            assert_eq!(apart(&second).iter().map(|a| a.0).collect::<Vec<_>>(), ["n1"], "{seed}");
        }
    }

    #[test]
    fn corrected_scores_are_those_of_an_equal_node_and_refused_ones_none() {
        let nodes = measured(&[0.0, 0.0, 0.0, -0.07], 6, 0.003, 1);
        assert_eq!(apart(&nodes), [("n3", NodeStanding::Corrected)]);
        let mut rng = ChaCha8Rng::seed_from_u64(2);
        let flag = answer(0.2 - 0.07, 0.0, &mut rng);
        let said = nodes.corrected("n3", flag.clone()).unwrap();
        assert!((said.samples[0].score - 7.2).abs() < 0.006, "{said:?}");
        assert_eq!(nodes.corrected("n0", flag.clone()), Some(flag.clone()));
        assert_eq!(nodes.corrected("unseen", flag.clone()), Some(flag.clone()));
        let refused = measured(&[0.0, 0.0, 0.0, -0.07], 2, 0.006, 1);
        assert_eq!(apart(&refused), [("n3", NodeStanding::Refused)]);
        assert_eq!(refused.corrected("n3", flag), None);
    }

    #[test]
    fn other_candidates_and_other_repeats_are_held_against_their_own_kind() {
        let mut rng = ChaCha8Rng::seed_from_u64(3);
        let mut nodes = Nodes::default();
        let fast = base().with("f", FlagValue::Bool(true));
        for _ in 0..3 {
            nodes.launched("a", &base(), &answer(0.0, 0.004, &mut rng));
            nodes.launched("b", &fast, &answer(0.5, 0.004, &mut rng));
        }
        nodes.judge(&Settings::default());
        assert!(apart(&nodes).is_empty(), "nothing ran on both");
        for _ in 0..3 {
            nodes.launched("b", &base(), &answer(0.0, 0.004, &mut rng));
        }
        // The defaults on other requests than before: another level, and no difference of nodes.
        let mut other = answer(-1.0, 0.004, &mut rng);
        other.samples.iter_mut().for_each(|s| s.repeat += 1000);
        nodes.launched("b", &base(), &other);
        nodes.judge(&Settings::default());
        assert!(apart(&nodes).is_empty(), "{:?}", nodes.speeds());
    }
}
