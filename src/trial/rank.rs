//! The command of one node, where an engine is laid over several.

use crate::launch::quote;
use std::collections::BTreeMap;

/// Which node a command is for.
#[derive(Debug, Clone, Copy)]
pub(super) struct Rank<'n> {
    pub(super) number: usize,
    pub(super) nodes: &'n [String],
    /// The port at which the nodes find each other.
    pub(super) head_port: u16,
    /// Words for ssh.
    pub(super) ssh: &'n [String],
}

impl Rank<'_> {
    /// The command as this node is to run it. `{node_rank}`, `{num_nodes}`, `{head_address}` and `{head_port}` are filled in;
    /// the word `{headless}` becomes `--headless` on every node but the head.
    pub(super) fn command(&self, argv: Vec<String>, env: &BTreeMap<String, String>) -> Vec<String> {
        let head = self.nodes.first().map_or("127.0.0.1", String::as_str);
        let known = [
            ("{node_rank}", self.number.to_string()),
            ("{num_nodes}", self.nodes.len().to_string()),
            ("{head_address}", head.to_owned()),
            ("{head_port}", self.head_port.to_string()),
        ];
        let mut words = Vec::new();
        for word in argv {
            match word.as_str() {
                "{headless}" if self.number == 0 => {}
                "{headless}" => words.push("--headless".to_owned()),
                _ => words.push(known.iter().fold(word, |w, (name, value)| w.replace(name, value))),
            }
        }
        let host = self.nodes.get(self.number).map_or("localhost", String::as_str);
        if self.number == 0 || ["localhost", "127.0.0.1", "::1"].contains(&host) {
            return words;
        }
        let set = env.iter().map(|(name, value)| format!("{name}={}", quote(value)));
        let line: Vec<String> = set.chain(words.iter().map(|w| quote(w))).collect();
        // With a terminal of its own the command ends when the connection does.
        let ssh = ["ssh", "-tt", "-o", "BatchMode=yes"].iter().map(|w| (*w).to_owned());
        ssh.chain(self.ssh.iter().cloned())
            .chain([host.to_owned(), format!("env {}", line.join(" "))])
            .collect()
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_node_is_told_which_it_is_and_others_are_reached_by_ssh() {
        let nodes = ["10.0.0.1".to_owned(), "10.0.0.2".to_owned()];
        let argv: Vec<String> =
            "e --node-rank {node_rank} --nnodes {num_nodes} --at {head_address}:{head_port} {headless}"
                .split(' ')
                .map(str::to_owned)
                .collect();
        let ssh = ["-p".to_owned(), "2222".to_owned()];
        let of = |number| Rank { number, nodes: &nodes, head_port: 7, ssh: &ssh };
        let env = BTreeMap::from([("A".to_owned(), "b c".to_owned())]);
        assert_eq!(of(0).command(argv.clone(), &env).join(" "), "e --node-rank 0 --nnodes 2 --at 10.0.0.1:7");
        assert_eq!(
            of(1).command(argv, &env),
            [
                "ssh",
                "-tt",
                "-o",
                "BatchMode=yes",
                "-p",
                "2222",
                "10.0.0.2",
                "env A='b c' e --node-rank 1 --nnodes 2 --at 10.0.0.1:7 --headless"
            ]
        );
    }
}
