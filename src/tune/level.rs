//! Trials of several nodes in one comparison: unlike nodes are kept out, and equal ones that are not equally fast are corrected or
//! refused, by launches of the defaults on each.

use super::outcomes::{answer, unusable};
use super::runner::Runner;
use crate::error::Error;
use crate::launch::Candidate;
use crate::search::{Answer, Ask, Evaluator, NodeSpeed, NodeStanding, Stop};
use crate::store::TrialLine;
use crate::trial::Placement;
use std::collections::BTreeSet;

/// The fact of a node by which it is another kind of machine.
const KIND: &str = "GPU";
/// Launches of the defaults for the sake of the nodes, at most: a round on each.
const MOST_NODES: usize = 64;
/// Nodes of another kind, at most: more say that it is the record that is of another kind.
const MOST_UNLIKE: usize = 8;
/// A launch whose node is refused runs again so often.
const MOST_AGAIN: usize = 3;

/// The node's name: the executor's, else its own.
pub(super) fn name_of(placement: &Placement) -> &str {
    placement.node.as_deref().unwrap_or(&placement.host)
}

fn node_of(line: &TrialLine) -> Option<&str> {
    line.result.placement.as_ref().map(name_of)
}

/// Names of the GPUs of the trial's node, without their number: a node may show more than a launch gets.
fn kind_of(line: &TrialLine) -> Option<String> {
    let machine = &line.result.placement.as_ref()?.machine;
    let said = machine.iter().find(|(k, _)| k == KIND).map(|(_, v)| v.as_str())?;
    let names: Vec<&str> =
        said.split(", ").map(|one| one.split_once(" x ").map_or(one, |(_, name)| name)).collect();
    Some(names.join(", "))
}

impl Runner<'_> {
    /// Launches of the defaults that show every node at once, where launches go to nodes; two without any.
    pub(super) fn first_launches(&self) -> u32 {
        if self.plan.executor.is_none() || self.side_by_side.places() < 2 {
            return 2;
        }
        let afforded = self.launches_left().map_or(usize::MAX, |left| left / 3);
        self.side_by_side.places().min(MOST_NODES).min(afforded).max(2) as u32
    }

    /// One more launch of the defaults on each node would tell whether one of them is slow.
    pub(super) fn nodes_doubtful(&self) -> bool {
        self.level.speeds.doubtful()
    }

    /// The defaults have shown the nodes: what they measured as the comparison takes it, by candidate. Trials of refused nodes
    /// are set aside.
    pub(super) fn calibrated(&mut self) -> Vec<(Candidate, Answer)> {
        self.level.calibrated = true;
        let mut answers = Vec::new();
        for line in std::mem::take(&mut self.trials) {
            let mut said = answer(&line.result, self.plan);
            said.failure = said.failure.or_else(|| unusable(&line.result));
            let candidate = line.result.spec.candidate.clone();
            let Some(node) = node_of(&line).map(str::to_owned) else {
                answers.push((candidate, said));
                self.trials.push(line);
                continue;
            };
            match self.level.speeds.corrected(&node, said) {
                Some(said) => {
                    answers.push((candidate, said));
                    self.trials.push(line);
                }
                None => self.set_aside(line, &node),
            }
        }
        answers
    }

    /// Why the trial's node is another kind of machine than those of the trials before, where it is.
    pub(super) fn unlike(&self, line: &TrialLine) -> Option<String> {
        let (node, now) = (node_of(line)?, kind_of(line)?);
        let earlier = self.trials.iter().chain(&self.recorded);
        let mut earlier = earlier.filter_map(|t| Some((node_of(t)?, kind_of(t)?)));
        let (at, before) = earlier.find(|(_, before)| *before != now)?;
        Some(format!("the GPU of {node} is {now}, that of {at} {before}: they are not comparable"))
    }

    /// Books that a trial's node is no part of the comparison.
    ///
    /// Errors: the trial ran here, or its node was part of it before, or so many are not: then it is not the node that is another.
    pub(super) fn keep_apart(&mut self, line: &TrialLine, why: &str) -> Result<(), Error> {
        let node = node_of(line).filter(|node| {
            let part_of_it = self.trials.iter().chain(&self.recorded).any(|t| node_of(t) == Some(node));
            !part_of_it && self.level.unlike.len() < MOST_UNLIKE
        });
        let Some(node) = node else { return Err(self.stopped_by(why)) };
        self.level.unlike.insert(node.to_owned(), why.to_owned());
        self.level.aside.entry(node.to_owned()).or_default().push(line.seq);
        Ok(())
    }

    /// Has launches kept away from nodes that are no part of the comparison.
    ///
    /// Errors: that cannot be said to the executor, and one of them is another kind of machine.
    pub(super) fn keep_away(&mut self) -> Result<(), Error> {
        let avoided = self.avoided();
        if avoided.is_empty() {
            return Ok(());
        }
        let kept = self.launcher.as_mut().is_some_and(|launcher| launcher.avoid(&avoided));
        self.level.unavoidable = !kept;
        match self.level.unlike.values().next().filter(|_| !kept) {
            None => Ok(()),
            Some(why) => Err(Error::failed(why).at(self.dir.display()).hint(
                "the trial stays in the record, told apart; give the campaign nodes of one kind (a partition, a queue, a list \
                 of hosts) and go on with --resume",
            )),
        }
    }

    /// Nodes that no launch shall go to.
    pub(super) fn avoided(&self) -> Vec<String> {
        let refused = self.level.speeds.refused().filter(|_| self.level.calibrated).map(|s| s.node.clone());
        refused.chain(self.level.unlike.keys().cloned()).collect::<BTreeSet<_>>().into_iter().collect()
    }

    /// The answers as they may be compared: corrected, or of one more launch elsewhere where their node is refused.
    pub(super) fn levelled(&mut self, asks: &[Ask], answers: Vec<Answer>) -> Result<Vec<Answer>, Stop> {
        let mut out: Vec<Option<Answer>> = self.on_their_nodes(asks, answers);
        self.keep_away()?;
        for _ in 0..MOST_AGAIN {
            let open: Vec<usize> = (0..asks.len()).filter(|n| out[*n].is_none()).collect();
            if open.is_empty() {
                break;
            }
            for n in open {
                let ask = &asks[n..=n];
                let answer = match self.replay(&ask[0]) {
                    Some(answer) => answer,
                    None => self.launch(ask)?.remove(0),
                };
                out[n] = self.on_their_nodes(ask, vec![answer]).remove(0);
            }
            self.keep_away()?;
        }
        Ok(out.into_iter().map(Option::unwrap_or_default).collect())
    }

    /// Each answer by its node; nothing where the node is refused, and its trial is set aside then.
    fn on_their_nodes(&mut self, asks: &[Ask], answers: Vec<Answer>) -> Vec<Option<Answer>> {
        let places: Vec<Option<String>> = asks
            .iter()
            .map(|ask| self.trials.iter().rev().find(|t| t.answers(ask)).and_then(node_of).map(str::to_owned))
            .collect();
        for ((ask, answer), node) in asks.iter().zip(&answers).zip(&places) {
            if let Some(node) =
                node.as_ref().filter(|_| ask.candidate == Candidate::baseline(ask.candidate.engine))
            {
                self.level.speeds.launched(node, &ask.candidate, answer);
            }
        }
        self.level.speeds.judge(&self.plan.settings);
        let mut out = Vec::new();
        for ((ask, answer), node) in asks.iter().zip(answers).zip(places) {
            let Some(node) = node.filter(|_| self.level.calibrated) else {
                out.push(Some(answer));
                continue;
            };
            let corrected = self.level.speeds.corrected(&node, answer);
            let at = self.trials.iter().rposition(|t| t.answers(ask)).filter(|_| corrected.is_none());
            if let Some(at) = at {
                let line = self.trials.remove(at);
                self.set_aside(line, &node);
            }
            out.push(corrected);
        }
        out
    }

    fn set_aside(&mut self, mut line: TrialLine, node: &str) {
        self.side_by_side.put_aside(line.result.wall_s);
        self.level.aside.entry(node.to_owned()).or_default().push(line.seq);
        line.apart = Some(format!("the node {node} is not as fast as the others"));
        self.apart.push(line);
    }

    /// What the report says of the nodes' speed; nothing for a campaign on the tuner's own machine.
    pub(super) fn level_notes(&self) -> Vec<String> {
        let level = &self.level;
        let mut notes: Vec<String> = level
            .unlike
            .iter()
            .map(|(node, why)| {
                format!(
                    "Trials {} of {node} were measured and are not compared: {why}.",
                    numbers(level.aside.get(node))
                )
            })
            .collect();
        let speeds = level.speeds.speeds();
        if speeds.len() > 1 {
            let equal: Vec<&NodeSpeed> =
                speeds.iter().filter(|s| s.standing == NodeStanding::Equal).collect();
            notes.push(format!(
                "The defaults ran on {} nodes; {} of them give the same as far as launches scatter.",
                speeds.len(),
                equal.len()
            ));
        }
        notes.extend(speeds.iter().filter_map(|s| self.told(s)));
        let known: BTreeSet<&str> = speeds.iter().map(|s| s.node.as_str()).collect();
        let unseen: BTreeSet<&str> =
            self.trials.iter().filter_map(node_of).filter(|n| !known.contains(n)).collect();
        if !unseen.is_empty() {
            let names: Vec<&str> = unseen.into_iter().collect();
            notes.push(format!(
                "The defaults did not run on {}: whether these nodes are as fast as the others was not looked at.",
                names.join(", ")
            ));
        }
        notes
    }

    fn told(&self, s: &NodeSpeed) -> Option<String> {
        let percent = |log: f64| 100.0 * log.exp_m1();
        let gives = format!(
            "{} gives {:+.1} % ({:+.1} to {:+.1}) against the other nodes with the defaults ({} launches)",
            s.node,
            percent(s.gain.value),
            percent(s.gain.low),
            percent(s.gain.high),
            s.launches
        );
        match s.standing {
            NodeStanding::Equal => None,
            NodeStanding::Corrected => {
                Some(format!("{gives}: gains are corrected by that, and tables of measured values are not."))
            }
            NodeStanding::Refused => Some(format!(
                "{gives}, which is not known well enough to correct by it: its trials {} are not compared{}.",
                numbers(self.level.aside.get(&s.node)),
                if self.level.unavoidable {
                    ", and ran again elsewhere"
                } else {
                    ", and no other was sent there"
                }
            )),
        }
    }
}

fn numbers(trials: Option<&Vec<u32>>) -> String {
    let all: Vec<String> = trials.into_iter().flatten().map(u32::to_string).collect();
    all.join(", ")
}
