//! Flags that every launch of a campaign has, whatever its candidate.

use crate::launch::{EngineKind, fixed_candidate};
use crate::store::Plan;

/// Flags of every launch of one engine: those passed through, and the length limit under its name there.
pub fn fixed_args(plan: &Plan, engine: EngineKind) -> Vec<String> {
    let mut args = plan.fixed_args.clone();
    if let Some(len) = plan.max_model_len {
        let flag = crate::engine::adapter(engine).max_model_len_flag();
        args.extend([flag.to_owned(), len.to_string()]);
    }
    args
}

/// What is to be said of the spelling of the flags that every launch of the plan has.
pub fn spelling(plan: &Plan) -> Vec<String> {
    let of = |engine: &EngineKind| {
        let flags = fixed_candidate(*engine, &fixed_args(plan, *engine)).flags;
        crate::engine::misspelt(*engine, flags.keys().map(String::as_str))
    };
    plan.engines.iter().flat_map(of).collect()
}
