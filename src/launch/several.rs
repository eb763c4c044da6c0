//! Several launches of one text: the nodes of one launch, or engines side by side with GPUs of their own.

use super::{GpuLayout, Launch};

/// Flags by which the nodes of one launch differ from each other.
const PLACE: [&str; 12] = [
    "node-rank",
    "headless",
    "data-parallel-start-rank",
    "data-parallel-rank",
    "host",
    "port",
    "nccl-port",
    "dist-init-addr",
    "master-addr",
    "data-parallel-address",
    "data-parallel-hybrid-lb",
    "api-server-count",
];

/// Those of them that a launch of several nodes has and no other.
const RANK: [&str; 4] = ["node-rank", "headless", "data-parallel-start-rank", "data-parallel-rank"];

/// More launches than these are not held against each other.
const MOST: usize = 64;

/// What is to be told of the launches beside the one that is read; `what` names them: commands of the script, parts of the text.
pub(super) fn told(what: &str, first: &Launch, others: &[Launch]) -> Option<String> {
    let n = 1 + others.len();
    if others.is_empty() || n > MOST {
        return plain(what, n);
    }
    let mut apart: Vec<&Launch> = vec![first];
    for other in others {
        if !apart.iter().any(|kept| on_another_node(kept, other)) {
            apart.push(other);
        }
    }
    if apart.len() == 1 {
        return Some(format!("{n} {what} are one launch on several nodes; the first is read"));
    }
    let layouts: Vec<GpuLayout> = apart.iter().map(|l| GpuLayout::of(l)).collect();
    let known = layouts.iter().all(|l| l.known);
    let gpus = layouts.iter().fold(0u32, |sum, l| sum.saturating_add(l.gpus()));
    let together = if known { format!("; side by side they take {gpus} GPUs") } else { String::new() };
    plain(what, n).map(|told| told + &together)
}

/// As [`told`] of so many launches whose GPUs are not to be summed: a condition or a loop decides which of them run.
pub(super) fn plain(what: &str, n: usize) -> Option<String> {
    (n > 1).then(|| format!("{n} {what} start an engine; the first is read"))
}

/// Whether two launches are one, written down for two of its nodes.
fn on_another_node(a: &Launch, b: &Launch) -> bool {
    let ranked = |l: &Launch| l.flags.iter().any(|(name, _)| RANK.contains(&name.as_str()));
    let own = |l: &Launch| {
        let mut flags: Vec<(String, Option<String>)> = l.flags.clone();
        flags.retain(|(name, _)| !PLACE.contains(&name.as_str()));
        flags.sort();
        flags
    };
    (ranked(a) || ranked(b)) && a.engine == b.engine && a.model == b.model && own(a) == own(b)
}

#[cfg(test)]
mod tests {
    use crate::launch::Launch;

    fn told(text: &str, words: &str) -> bool {
        let l = Launch::parse(text);
        assert!(l.problems.iter().any(|p| p.contains("the first is read")), "{text}: {:?}", l.problems);
        l.problems.iter().any(|p| p.contains(words))
    }

    #[test]
    fn engines_side_by_side_are_summed_and_the_nodes_of_one_are_not() {
        let sglang = "python -m sglang.launch_server --model-path m";
        assert!(told(
            &format!("{sglang} --tp 4 --port 1 --disaggregation-mode prefill\n{sglang} --tp 2 --port 2\n"),
            "2 commands of the script start an engine; the first is read; side by side they take 6 GPUs"
        ));
        assert!(told(
            &format!(
                "{sglang} --tp 16 --nnodes 2 --node-rank 0\n{sglang} --tp 16 --nnodes 2 --node-rank 1\n"
            ),
            "2 commands of the script are one launch on several nodes"
        ));
        assert!(told("A:\n```\nvllm serve a -tp 2\n```\nB:\n```\nvllm serve b\n```\n", "they take 3 GPUs"));
        assert!(told(
            "vllm serve a -tp 2 &\nwhile ! curl x; do sleep 1; done\nif [ -n \"$X\" ]; then echo y; fi\nvllm serve b &",
            "they take 3 GPUs"
        ));
        let pods = "spec:\n  containers:\n  - {image: x, command: [vllm, serve, a, -tp, \"2\"]}\n  - {image: x, command: [vllm, serve, b]}\n";
        assert!(told(
            pods,
            "2 containers of the document start an engine; the first is read; side by side they take 3"
        ));
    }

    #[test]
    fn what_a_condition_or_an_unknown_size_decides_is_not_summed() {
        for text in [
            "if [ -n \"$X\" ]; then\n  vllm serve a -tp 2\nelse\n  vllm serve a -tp 4\nfi",
            "vllm serve a -tp 2 &\nfor i in 1 2; do\n  vllm serve b --port $i &\ndone",
            "vllm serve a -tp 2 &\nvllm serve b -tp $TP &",
            "vllm serve a -tp 2 || vllm serve a",
            "vllm serve a -tp 2 &\nother() {\n  vllm serve b\n}",
        ] {
            assert!(!told(text, "side by side"), "{text}");
        }
    }
}
