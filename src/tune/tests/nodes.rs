//! Campaigns whose launches an executor places on several nodes, which need not be alike.

use super::*;
use crate::executor::{ExecutorConfig, ExecutorKind};
use crate::trial::Placement;

/// A node of the fake cluster.
#[derive(Debug, Clone)]
pub(super) struct Node {
    name: String,
    /// Log throughput against the others.
    level: f64,
    gpu: &'static str,
    pub(super) version: &'static str,
}

impl Node {
    pub(super) fn slow(&self, runs: &mut [Measured]) {
        for run in runs {
            let result = run.observation.result.as_mut().unwrap();
            let speed = result.get(Key::TotalTokenThroughput).unwrap();
            result.set(Key::TotalTokenThroughput, speed * self.level.exp());
        }
    }

    pub(super) fn placement(&self) -> Placement {
        Placement {
            executor: "Slurm".into(),
            node: Some(self.name.clone()),
            machine: vec![("GPU".into(), self.gpu.into())],
            ..Placement::default()
        }
    }
}

impl Fake {
    /// The next node in turn that launches are not kept away from.
    pub(super) fn node(&mut self) -> Option<Node> {
        if self.nodes.iter().any(|n| !self.avoided.contains(&n.name)) {
            while self.avoided.contains(&self.nodes[0].name) {
                self.nodes.rotate_left(1);
            }
        }
        let node = self.nodes.first().cloned();
        if node.is_some() {
            self.nodes.rotate_left(1);
        }
        node
    }
}

fn nodes(number: usize) -> Vec<Node> {
    let node =
        |n: usize| Node { name: format!("n{n}"), level: 0.0, gpu: "1 x NVIDIA H100", version: "0.11.0" };
    (0..number).map(node).collect()
}

fn plan_on(places: u32) -> Plan {
    Plan { executor: Some(ExecutorConfig::of(ExecutorKind::Slurm)), ..side_by_side(places) }
}

fn on_cluster(dir: &Path, plan: &Plan, fake: &mut Fake) -> Result<Ended> {
    let (journal, contents) = Journal::resume(dir, "run").unwrap();
    let cancel = fake.cancel.clone();
    let mut silent = Silent;
    let recorded = [contents.trials, contents.apart].concat();
    let runner =
        Runner::new(plan, dir, (journal, recorded), fake, &mut silent, cancel).on_nodes_of_their_own();
    Ok(Campaign { runner, spaces: &FakeSpaces }.run()?.ended)
}

/// The verdict of a campaign on these nodes, and the fake.
fn verdict(nodes: Vec<Node>) -> (crate::store::Verdict, Fake) {
    let dir = tempfile::tempdir().unwrap();
    let plan = plan_on(nodes.len() as u32);
    let mut fake = Fake { nodes, ..Fake::new() };
    let verdict = finished(on_cluster(dir.path(), &plan, &mut fake).unwrap());
    (verdict, fake)
}

/// The winner is one, and its gain is what it is on equal nodes.
fn winner(v: &crate::store::Verdict) -> f64 {
    let c = v.compared.as_ref().unwrap();
    let improvement = c.improvement.as_ref().unwrap();
    let (said, truth) = (improvement.interval.value, gain(&c.winner).exp_m1());
    assert!(improvement.significant && truth > 0.2, "{improvement:?}");
    assert!((said - truth).abs() < 0.02, "{said} and in truth {truth}");
    truth
}

#[test]
fn equal_nodes_are_said_to_be_equal() {
    let (v, fake) = verdict(nodes(8));
    winner(&v);
    assert_eq!(fake.together[0], 8, "the defaults on every node at once");
    assert!(v.notes.iter().any(|n| n.contains("ran on 8 nodes; 8 of them give the same")), "{:?}", v.notes);
}

#[test]
fn a_slow_node_is_found_and_changes_no_verdict() {
    for (number, level) in [(3, -0.07), (8, -0.07), (8, 0.05), (40, -0.07)] {
        let mut all = nodes(number);
        all[1].level = level;
        let (v, fake) = verdict(all);
        winner(&v);
        let told =
            v.notes.iter().find(|n| n.starts_with("n1 gives ")).unwrap_or_else(|| panic!("{:?}", v.notes));
        let refused = told.contains("not known well enough");
        assert_eq!(fake.avoided, if refused { vec!["n1".to_owned()] } else { Vec::new() }, "{told}");
        assert!(refused || told.contains("gains are corrected"), "{told}");
    }
}

#[test]
fn unlike_nodes_are_kept_out_with_both_named() {
    type Change = fn(&mut Node);
    let unlike: [(Change, &str); 2] = [
        (|n| n.gpu = "2 x NVIDIA A100", "the GPU of n1 is NVIDIA A100, that of n2 NVIDIA H100"),
        (|n| n.version = "0.12.0", "emulated is 0.12.0 now, and the record's trials are of 0.11.0"),
    ];
    for (change, said) in unlike {
        let mut all = nodes(4);
        change(&mut all[1]);
        // The fake ends a batch in reverse: the node must not be the first to be heard of.
        all.rotate_left(2);
        let (v, fake) = verdict(all.clone());
        winner(&v);
        assert_eq!(fake.avoided, ["n1"]);
        assert!(
            v.notes.iter().any(|n| n.contains("of n1 were measured and are not compared")),
            "{:?}",
            v.notes
        );
        // Where launches cannot be kept away from it, the campaign ends and says why.
        let dir = tempfile::tempdir().unwrap();
        let mut fake = Fake { nodes: all, keeps_away: false, ..Fake::new() };
        let e = on_cluster(dir.path(), &plan_on(4), &mut fake).unwrap_err();
        assert!(e.what.contains(said), "{e}");
    }
}

#[test]
fn a_resumed_campaign_on_unequal_nodes_comes_to_the_same_verdict() {
    let mut all = nodes(8);
    all[1].level = -0.07;
    let whole_dir = tempfile::tempdir().unwrap();
    let mut whole = Fake { nodes: all.clone(), ..Fake::new() };
    let expected = finished(on_cluster(whole_dir.path(), &plan_on(8), &mut whole).unwrap());
    let stop_after = whole.launches.len() - 3;
    let dir = tempfile::tempdir().unwrap();
    let mut first = Fake { nodes: all.clone(), stop_after, ..Fake::new() };
    assert!(matches!(on_cluster(dir.path(), &plan_on(8), &mut first).unwrap(), Ended::Interrupted(_)));
    let mut second = Fake { nodes: all, ..Fake::new() };
    let v = finished(on_cluster(dir.path(), &plan_on(8), &mut second).unwrap());
    // Launches that were under way are lost and others take their place, so that the small flag may be seen in one of the two.
    assert!((winner(&v) - winner(&expected)).abs() < 0.07);
    assert!(v.notes.iter().any(|n| n.starts_with("n1 gives ")), "{:?}", v.notes);
}
