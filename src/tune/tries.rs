//! Serving commands that a user offers as candidates (`--try 'COMMAND'`): another tool's pick, a recipe.

use crate::launch::{Candidate, EngineKind, FlagValue, Launch, fixed_candidate, is_variable};
use crate::space::Role;
use crate::store::Plan;

/// The engine that a command starts, and what it sets besides identity, address and paths; where no engine can be told, the
/// plan's only one is meant.
///
/// Errors: what is wrong with the command, in words.
pub(super) fn read(command: &str, engines: &[EngineKind]) -> Result<Candidate, String> {
    let launch = Launch::parse(command);
    let engine = match (launch.engine, engines) {
        (Some(e), _) if engines.contains(&e) => e,
        // The embedded engine takes vLLM's flags.
        (Some(EngineKind::Vllm), [EngineKind::Emulated]) => EngineKind::Emulated,
        (None, [only]) => *only,
        (Some(e), _) => return Err(format!("starts {e}, which is not among the engines asked for")),
        (None, _) => return Err("names no engine, and several are asked for".to_owned()),
    };
    let mut out = Candidate::baseline(engine);
    let plain = |name: &str| crate::engine::resolve::role(engine, &name.replace('_', "-")) != Role::Neutral;
    let flags = fixed_candidate(engine, &launch.argv).flags;
    out.flags.extend(flags.into_iter().filter(|(name, _)| plain(name)));
    let variables = launch.env.into_iter().filter(|(name, _)| is_variable(name));
    out.flags.extend(variables.map(|(name, value)| (name, typed(value))));
    if out.flags.is_empty() { Err("sets no flag that a campaign could turn".to_owned()) } else { Ok(out) }
}

/// The candidates of one engine that are tried first: the offered ones, and the winners of earlier campaigns.
pub(super) fn candidates(plan: &Plan, engine: EngineKind) -> Vec<Candidate> {
    let won = plan.prior.iter().filter_map(|dir| super::prior::winner(dir, engine));
    offered(plan, engine).into_iter().chain(won).collect()
}

/// The candidates of one engine that the user offers.
pub(super) fn offered(plan: &Plan, engine: EngineKind) -> Vec<Candidate> {
    let read = plan.tries.iter().filter_map(|t| read(t, &plan.engines).ok());
    read.filter(|c| c.engine == engine).collect()
}

fn typed(text: String) -> FlagValue {
    text.parse().map(FlagValue::Int).unwrap_or(FlagValue::Text(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_command_becomes_a_candidate_and_identity_stays_out() {
        let engines = [EngineKind::Vllm];
        let c = read(
            "VLLM_USE_DEEP_GEMM=0 vllm serve m --port 8000 --max-num-seqs 64 --no-enable-prefix-caching --api-key k",
            &engines,
        )
        .unwrap();
        assert_eq!(c.label(), "VLLM_USE_DEEP_GEMM=0 --no-enable-prefix-caching --max-num-seqs 64");
        assert!(read("vllm serve m --port 1", &engines).is_err());
        assert!(
            read("python3 -m sglang.launch_server --model m --chunked-prefill-size 4096", &engines).is_err()
        );
    }
}
