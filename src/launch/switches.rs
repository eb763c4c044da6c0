//! Which flags take no value: they never swallow the next word, which may be the model.

use super::EngineKind;
use crate::data;
use serde::Deserialize;
use std::collections::BTreeMap;
use std::sync::LazyLock;

/// The part of a search space that tells switches from flags with a value.
#[derive(Deserialize)]
struct Table {
    engine: EngineKind,
    flag: Vec<Row>,
}

#[derive(Deserialize)]
struct Row {
    name: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    #[serde(default)]
    aliases: Vec<Alias>,
}

#[derive(Deserialize)]
struct Alias {
    name: String,
}

/// By engine, then by flag name with `-` inside: is it a switch?
static KNOWN: LazyLock<BTreeMap<EngineKind, BTreeMap<String, bool>>> = LazyLock::new(|| {
    let tables = data::SEARCH_SPACES.iter().filter_map(|(_, text)| toml::from_str::<Table>(text).ok());
    // Rows of the embedded engine name the flags of vLLM that it takes, without their types.
    let names = |row: Row| {
        let typed = row.kind.is_some();
        let switch = row.kind.as_deref() == Some("bool");
        std::iter::once(row.name)
            .filter(move |_| typed)
            .chain(row.aliases.into_iter().map(|a| a.name))
            .map(move |n| (n.trim_start_matches('-').replace('_', "-"), switch))
    };
    tables.map(|t| (t.engine, t.flag.into_iter().flat_map(names).collect())).collect()
});

/// Flags of earlier releases with which others begin today.
const REMOVED: [&str; 2] = ["device", "enable-reasoning"];

/// How switches begin that stand in no table.
const PREFIXES: [&str; 6] = ["no-", "enable-", "disable-", "trust-", "use-", "skip-"];

/// True when a flag takes a value, by the engine's table, else by any engine's, else by how its name begins.
///
/// `name` has no dashes in front and `-` inside.
pub(super) fn takes_value(engine: Option<EngineKind>, name: &str) -> bool {
    let listed = |kind: &EngineKind| KNOWN.get(kind).and_then(|flags| flags.get(name)).copied();
    // TensorRT-LLM's rows are keys of a file, whose command line has its own spelling of the same names.
    let switch = engine
        .as_ref()
        .and_then(listed)
        .or_else(|| EngineKind::ALL.iter().find_map(listed))
        .unwrap_or_else(|| PREFIXES.iter().any(|p| name.starts_with(p)) || name == "headless");
    !switch
}

/// Whether a name is one of an engine's flags.
pub(super) fn knows(engine: EngineKind, name: &str) -> bool {
    KNOWN.get(&engine).is_some_and(|flags| flags.contains_key(name))
}

/// Flags that every engine has, and no table.
const COMMON: [&str; 9] = [
    "tp",
    "dp",
    "host",
    "port",
    "model",
    "model-path",
    "served-model-name",
    "trust-remote-code",
    "disaggregation-mode",
];

/// The engine whose flags names are, and those of them that no other engine has. So many of the names have to be known, and half of
/// all; None where flags of several engines stand among them.
pub(super) fn engine_of(names: &[String], least: usize) -> Option<(EngineKind, Vec<String>)> {
    let engines = [EngineKind::Vllm, EngineKind::Sglang, EngineKind::Trtllm];
    let own = |engine: EngineKind| -> Vec<String> {
        let others = || engines.iter().filter(|e| **e != engine);
        let alone = |n: &&String| {
            !COMMON.contains(&n.as_str()) && knows(engine, n) && !others().any(|e| knows(*e, n))
        };
        names.iter().filter(alone).cloned().collect()
    };
    let mut found = engines.into_iter().map(|e| (e, own(e))).filter(|(_, own)| !own.is_empty());
    let (engine, own) = found.next().filter(|_| found.next().is_none())?;
    let known = names.iter().filter(|n| knows(engine, n) || COMMON.contains(&n.as_str())).count();
    (known >= least && 2 * known >= names.len()).then_some((engine, own))
}

/// The flags of an engine that a name begins and is not itself; those of one row count once. Empty where the name is a
/// known flag, or begins none. The table does not hold every flag of an engine, so that a name in no table may be one.
pub(super) fn completed(engine: EngineKind, name: &str) -> Vec<String> {
    let Some(known) = KNOWN.get(&engine) else { return Vec::new() };
    let plain = name.strip_prefix("no-").unwrap_or(name);
    if REMOVED.contains(&plain)
        || name.len() < 4
        || name.contains('.')
        || known.contains_key(name)
        || known.contains_key(plain)
    {
        return Vec::new();
    }
    let mut found: Vec<&String> = known.keys().filter(|k| k.starts_with(name)).collect();
    // `cuda-graph-max-bs` of `cuda-graph-max-bs-decode` and itself: the shorter is a spelling of its own.
    found.sort();
    found.into_iter().cloned().collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_tables_decide_and_names_only_where_they_are_silent() {
        for switch in [
            "enforce-eager",
            "async-scheduling",
            "no-enable-prefix-caching",
            "enable-foo",
            "trust-remote-code",
        ] {
            assert!(!takes_value(Some(EngineKind::Vllm), switch), "{switch}");
        }
        for valued in ["max-num-seqs", "tp", "attention-backend", "some-new-flag"] {
            assert!(takes_value(Some(EngineKind::Vllm), valued), "{valued}");
        }
        assert_eq!(KNOWN.len(), EngineKind::ALL.len(), "every embedded table is read");
    }
}
