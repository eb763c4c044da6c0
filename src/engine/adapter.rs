//! What a launch needs to know of an engine, as one trait; each engine is one file beside this one.

use super::metrics::MetricNames;
use crate::scenario::EngineKind;
use crate::space::{Candidate, FlagValue};
use serde_json::{Map, Value};
use std::collections::BTreeMap;

/// What is to be launched, engine-independent.
#[derive(Debug, Clone, Copy)]
pub struct LaunchRequest<'a> {
    pub candidate: &'a Candidate,
    pub model: &'a str,
    pub served_model_name: Option<&'a str>,
    pub hardware: &'a str,
    pub num_gpus: u32,
    pub fixed_args: &'a [String],
    pub fixed_env: &'a BTreeMap<String, String>,
    pub port: u16,
    /// Where files that the engine reads (such as a YAML of options) will lie.
    pub dir: &'a str,
}

/// The launch in the engine's own words. The program itself is not part of `args`.
#[derive(Debug, Clone, PartialEq, Default)]
pub struct LaunchPlan {
    pub args: Vec<String>,
    pub env: BTreeMap<String, String>,
    /// Files to write before the start: path and content.
    pub files: Vec<(String, String)>,
}

/// Paths of the server's endpoints; `None` where the engine has none.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Endpoints {
    /// Answers 200 when the HTTP front is up. Not to be polled while a run is measured.
    pub health: &'static str,
    pub models: &'static str,
    pub version: Option<&'static str>,
    /// Prometheus text.
    pub metrics: Option<&'static str>,
    /// POST here empties the prefix cache.
    pub reset_cache: Option<&'static str>,
    /// Resolved configuration as JSON.
    pub server_info: Option<&'static str>,
}

/// Knowledge of one engine. Implementations are pure: no process, no socket, no file.
pub trait Adapter: Send + Sync {
    fn kind(&self) -> EngineKind;
    /// Ways to call the engine, best first; the first whose program is found is used. Empty for the
    /// embedded engine, which is this very program.
    fn programs(&self) -> &'static [&'static [&'static str]];
    /// What to do when none of the programs is there.
    fn install_hint(&self) -> &'static str;
    /// Arguments, environment and files of a launch.
    fn plan(&self, request: &LaunchRequest<'_>) -> LaunchPlan;
    /// Arguments that print every flag, best first; the first that succeeds and names flags is believed.
    fn help_args(&self) -> &'static [&'static [&'static str]];
    fn endpoints(&self) -> Endpoints;
    fn metric_names(&self) -> MetricNames;
    /// Facts that only the log tells, by their key in `LaunchFacts::resolved`.
    fn log_facts(&self, log: &str) -> Map<String, Value>;
    /// Facts from the JSON of [`Endpoints::server_info`].
    fn info_facts(&self, _info: &Value) -> Map<String, Value> {
        Map::new()
    }
    /// Text in the log that means: dead, although a process still runs.
    fn fatal_marks(&self) -> &'static [&'static str];
    /// The flag that limits prompt plus output of a request.
    fn max_model_len_flag(&self) -> &'static str {
        "--max-model-len"
    }
    /// Seconds between SIGTERM and SIGKILL.
    fn stop_grace_s(&self) -> f64;
}

/// The adapter of an engine.
pub fn adapter(kind: EngineKind) -> &'static dyn Adapter {
    match kind {
        EngineKind::Vllm => &super::vllm::Vllm,
        EngineKind::Emulated => &super::emulated::Emulated,
        EngineKind::Sglang => &super::sglang::Sglang,
        EngineKind::Trtllm => &super::trtllm::Trtllm,
    }
}

/// One flag as argparse wants it: `--name`, `--no-name`, `--name value`, `--name a b c` for a list of
/// numbers.
pub(super) fn flag_args(name: &str, value: &FlagValue) -> Vec<String> {
    match value {
        FlagValue::Bool(true) => vec![format!("--{name}")],
        FlagValue::Bool(false) => vec![format!("--no-{name}")],
        FlagValue::Text(t) => {
            let numbers =
                t.split([' ', ',']).filter(|s| !s.is_empty()).map(str::to_owned).collect::<Vec<_>>();
            let is_list = numbers.len() > 1 && numbers.iter().all(|n| n.parse::<i64>().is_ok());
            let mut args = vec![format!("--{name}")];
            if is_list {
                args.extend(numbers);
            } else {
                args.push(t.clone());
            }
            args
        }
        other => vec![format!("--{name}"), other.to_string()],
    }
}

/// Flags that candidate and fixed arguments both set: which of the two ran could not be told.
pub fn conflicts(candidate: &Candidate, fixed_args: &[String]) -> Vec<String> {
    let given: Vec<String> = fixed_args.iter().filter_map(|a| canonical_flag(a)).collect();
    candidate.flags.keys().filter(|f| given.contains(&f.replace('_', "-"))).cloned().collect()
}

/// `max-num-seqs` of `--max_num_seqs=4`; `x` of `--no-x`; `None` for a value.
pub(super) fn canonical_flag(arg: &str) -> Option<String> {
    let body = arg.strip_prefix("--")?;
    let name = body.split('=').next().unwrap_or(body).replace('_', "-");
    Some(name.strip_prefix("no-").map_or(name.clone(), str::to_owned))
}

/// The value that the arguments give a flag, `--flag value` or `--flag=value`; the last one counts.
pub fn fixed_value<'a>(fixed_args: &'a [String], flag: &str) -> Option<&'a str> {
    let named = |a: &String| canonical_flag(a).is_some_and(|f| f == flag);
    let at = fixed_args.iter().rposition(named)?;
    match fixed_args[at].split_once('=') {
        Some((_, value)) => Some(value),
        None => fixed_args.get(at + 1).map(String::as_str),
    }
}

/// True when the arguments or the candidate set one of these flags.
pub(super) fn sets_any(request: &LaunchRequest<'_>, names: &[&str]) -> bool {
    let short = |a: &String| names.iter().any(|n| a == &format!("-{n}"));
    request.candidate.flags.keys().any(|f| names.contains(&f.replace('_', "-").as_str()))
        || request
            .fixed_args
            .iter()
            .any(|a| short(a) || canonical_flag(a).is_some_and(|f| names.contains(&f.as_str())))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn values_become_arguments() {
        assert_eq!(flag_args("a", &FlagValue::Bool(false)), ["--no-a"]);
        assert_eq!(flag_args("a", &FlagValue::Int(4)), ["--a", "4"]);
        assert_eq!(flag_args("a", &FlagValue::Text("1 2 4".into())), ["--a", "1", "2", "4"]);
        assert_eq!(flag_args("a", &FlagValue::Text(r#"{"x": 1}"#.into())), ["--a", r#"{"x": 1}"#]);
    }

    #[test]
    fn a_flag_given_twice_is_seen_whatever_its_spelling() {
        let c = Candidate::baseline("vllm").with("enable-prefix-caching", FlagValue::Bool(true));
        let fixed = |a: &str| vec![a.to_owned()];
        assert_eq!(conflicts(&c, &fixed("--no-enable-prefix-caching")), ["enable-prefix-caching"]);
        assert_eq!(conflicts(&c, &fixed("--enable_prefix_caching=1")), ["enable-prefix-caching"]);
        assert!(conflicts(&c, &fixed("--max-model-len")).is_empty());
        let args = ["--port", "1", "--x", "--port=2"].map(str::to_owned);
        assert_eq!(fixed_value(&args, "port"), Some("2"));
        assert_eq!(fixed_value(&args[..2], "port"), Some("1"));
        assert_eq!(fixed_value(&args[..1], "port"), None);
    }
}
