//! What the report says of the nodes on which an executor placed the launches.

use super::remote::told;
use crate::store::TrialLine;
use std::collections::BTreeMap;

/// Which nodes ran how many launches, and which launches were lost with a node and made again; nothing for a campaign on the
/// tuner's own machine.
pub(super) fn notes(trials: &[TrialLine]) -> Vec<String> {
    let mut notes = Vec::new();
    let mut nodes: BTreeMap<&str, BTreeMap<&str, usize>> = BTreeMap::new();
    for placement in trials.iter().filter_map(|t| t.result.placement.as_ref()) {
        let node = placement.node.as_deref().unwrap_or(&placement.host);
        *nodes.entry(&placement.executor).or_default().entry(node).or_default() += 1;
    }
    for (executor, counts) in nodes {
        let said: Vec<String> = counts.iter().map(|(node, n)| format!("{n} on {node}")).collect();
        notes.push(format!("Launches ran on {executor}: {}.", said.join(", ")));
    }
    for line in trials {
        let Some(placement) = line.result.placement.as_ref().filter(|p| !p.lost.is_empty()) else { continue };
        let lost: Vec<String> = placement.lost.iter().map(told).collect();
        notes.push(format!(
            "Trial {} was lost with its node and ran again, which is no fault of its candidate: {}.",
            line.seq,
            lost.join("; ")
        ));
    }
    notes
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::store::journal::tests::line;
    use crate::trial::{LostAttempt, Placement};

    #[test]
    fn nodes_and_losses_are_told() {
        let on = |seq: u32, node: &str, lost: Vec<LostAttempt>| {
            let mut line = line(seq);
            line.result.placement = Some(Placement {
                executor: "Ray".into(),
                node: Some(node.into()),
                lost,
                ..Placement::default()
            });
            line
        };
        let gone = LostAttempt { node: Some("10.0.0.3".into()), why: "died".into() };
        let all =
            [on(0, "10.0.0.1", vec![]), on(1, "10.0.0.2", vec![gone]), on(2, "10.0.0.1", vec![]), line(3)];
        let said = notes(&all);
        assert_eq!(said[0], "Launches ran on Ray: 2 on 10.0.0.1, 1 on 10.0.0.2.");
        assert!(said[1].starts_with("Trial 1 was lost") && said[1].contains("10.0.0.3 (died)"), "{said:?}");
        assert_eq!((said.len(), notes(&[line(0)]).len()), (2, 0));
    }
}
