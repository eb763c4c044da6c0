//! One engine over several nodes: the same command on each, told which node it is; the head serves, the others compute.

use super::launch::Started;
use super::rank::Rank;
use super::replicas::given_up;
use super::{Failure, Observer, TrialSpec};
use crate::engine::Class;
use crate::process::free_port;

/// Starts the engine on every node.
pub(super) fn started(spec: &TrialSpec, observer: &dyn Observer) -> Result<Started, Box<Failure>> {
    let failing = super::failing::Failing {
        engine: spec.candidate.engine,
        log: std::path::Path::new(&spec.dir).join("engine.log"),
        secrets: super::secrets::Secrets::of(spec),
    };
    if !spec.fixed_args.iter().chain(spec.program.iter().flatten()).any(|w| w.contains("{node_rank}")) {
        let what = "the command does not say where the node's number goes";
        let hint = "put {node_rank}, {num_nodes}, {head_address} and {head_port} into --engine-command or the flags after `--`";
        return Err(failing.of(Class::BadValue, "start", what, hint));
    }
    let head_port = free_port().map_err(|e| failing.of(Class::PortInUse, "start", &e.to_string(), ""))?;
    let rank = |number| Some(Rank { number, nodes: &spec.nodes, head_port, ssh: &spec.ssh_options });
    let mut all = Started::of_one(spec, "engine", rank(0), observer)?;
    for (number, host) in spec.nodes.iter().enumerate().skip(1) {
        let next = Started::of_one(spec, &format!("engine-{number}"), rank(number), observer);
        match next {
            Ok(mut next) => {
                next.process.iter_mut().for_each(|p| p.place = Some(format!("rank {number} on {host}")));
                all.beside.extend(next.process);
            }
            Err(failure) => return Err(given_up(all, failure, observer)),
        }
    }
    Ok(all)
}
