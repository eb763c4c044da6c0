//! What of a launch has to be told beside every answer, also beside a refusal: what was not read, values that cannot be
//! used, flags that matter and are not modelled, a model in the command other than the scenario's.

use super::resolve::role;
use crate::data::nearest::nearest;
use crate::launch::{EngineKind, FlagValue, GpuLayout, Launch};
use crate::model::Catalog;
use crate::scenario::Record;
use crate::space::{FlagType, Role, Space};
use std::path::Path;
use std::sync::LazyLock;

/// The embedded tables of flags.
static SPACES: LazyLock<Vec<Space>> = LazyLock::new(|| Space::load_all(None).unwrap_or_default());

/// Why a launch is one half of a service, which answers no request alone; `None` for a whole engine.
pub fn half_of_a_service(launch: &Launch) -> Option<String> {
    let role = launch.text(&["disaggregation-mode"]).filter(|m| matches!(*m, "prefill" | "decode"));
    if let Some(role) = role {
        return Some(format!("--disaggregation-mode {role}"));
    }
    let transfer = launch.text(&["kv-transfer-config"]).unwrap_or_default();
    if let Some(role) = ["kv_producer", "kv_consumer"].into_iter().find(|r| transfer.contains(r)) {
        return Some(format!("--kv-transfer-config with the role {role}"));
    }
    let words: Vec<&str> = launch.argv.iter().map(String::as_str).collect();
    let served = words.windows(2).any(|w| w[0].ends_with("trtllm-serve") && w[1] == "disaggregated");
    served.then(|| "trtllm-serve disaggregated".to_owned())
}

/// Everything of a record's launch that has to be told, each a sentence.
pub fn told(record: &Record, models: &Catalog) -> Vec<String> {
    let launch = record.launch();
    let mut out = launch.problems.clone();
    out.extend(values(&launch));
    out.extend(unmodelled(&launch));
    if let Some(engine) = launch.engine {
        out.extend(misspelt(engine, launch.flags.iter().map(|(name, _)| name.as_str())));
    }
    out.extend(other_model(record, &launch, models));
    if let Some(model) = record.model.as_deref().and_then(|name| models.find(name).ok()) {
        out.extend(model.caveats);
    }
    let layout = GpuLayout::of(&launch);
    if layout.attention > 1 {
        out.push(format!(
            "data-parallel attention: {} ranks share the {} GPUs of the tensor-parallel group",
            layout.attention,
            layout.gpus()
        ));
    }
    if !layout.known {
        let from = launch.num_gpus.map_or("1".to_owned(), |n| format!("num_gpus {n}"));
        out.push(format!(
            "how many GPUs the launch takes is not known; {} ({}) is assumed, from {from}",
            layout.words(),
            layout.gpus()
        ));
    }
    out
}

/// Flags whose value cannot be what the engine wants, as they are told beside a prediction.
fn values(launch: &Launch) -> Vec<String> {
    let told = |(name, text, why): (&str, &str, String)| {
        format!("--{name} {text}: {why}; the prediction is made as if the flag were not there")
    };
    unusable(launch).into_iter().map(told).collect()
}

/// Flags that stand in no table of the engine and are near to one that does: `--max-num-seqz`. A whole beginning of a flag's
/// name is none of them, since the engines' parsers complete it. An unknown flag that is near to none may well exist.
pub fn misspelt<'a>(engine: EngineKind, flags: impl IntoIterator<Item = &'a str>) -> Vec<String> {
    let tables = || SPACES.iter().filter(|s| s.engine == engine || engine == EngineKind::Emulated);
    let known: Vec<&str> = tables().flat_map(|s| s.flags.iter().map(|f| f.name.as_str())).collect();
    let unknown =
        flags.into_iter().filter(|f| row(engine, f).is_none() && !known.iter().any(|k| k.starts_with(f)));
    let said = |flag: &str| {
        let near = nearest(flag, known.iter().copied().filter(|k| k.len().abs_diff(flag.len()) <= 2), 1);
        let near = near.first()?;
        Some(format!("--{flag} is in no list of {engine}'s flags: did you mean --{near}?"))
    };
    unknown.filter_map(said).collect()
}

/// Flags that the engine refuses for their value, each with the reason: for a command line that somebody has just typed.
/// What a shell would put in its place is not known and not judged.
pub fn wrong_values(launch: &Launch) -> Vec<(String, String)> {
    let typed = unusable(launch).into_iter().filter(|(_, text, _)| !text.contains('$'));
    typed.map(|(name, text, why)| (name.to_owned(), format!("`{text}` is {why}"))).collect()
}

/// Name, value and reason.
fn unusable(launch: &Launch) -> Vec<(&str, &str, String)> {
    let Some(engine) = launch.engine else { return Vec::new() };
    let mut out = Vec::new();
    for (name, value) in &launch.flags {
        let (Some(text), Some(flag)) = (value.as_deref(), row(engine, name)) else { continue };
        let usable = match flag.kind {
            _ if flag.role == Role::Neutral => true,
            // Engines take `8k`, and some sizes may be `auto`.
            FlagType::Int | FlagType::Float => launch.number(&[name.as_str()]).is_some() || text == "auto",
            FlagType::Text if !flag.choices.is_empty() => launch
                .version
                .is_none_or(|version| flag.objection(&FlagValue::Text(text.to_owned()), version).is_none()),
            _ => true,
        };
        if !usable {
            let why = if text.contains('$') {
                "a shell variable, whose value is not known here".to_owned()
            } else {
                format!("not {}", flag.wants())
            };
            out.push((name.as_str(), text, why));
        }
    }
    out
}

fn row(engine: EngineKind, name: &str) -> Option<&'static crate::space::Flag> {
    let of = |kind: EngineKind| SPACES.iter().find(|s| s.engine == kind)?.flag(name);
    match engine {
        EngineKind::Emulated => of(engine).or_else(|| of(EngineKind::Vllm)),
        _ => of(engine),
    }
}

/// In the words of the prediction's own note, so that one of the two is enough.
fn unmodelled(launch: &Launch) -> Option<String> {
    let engine = launch.engine?;
    let names: Vec<String> = launch
        .flags
        .iter()
        .filter(|(n, _)| role(engine, n) == Role::Told)
        .map(|(n, _)| format!("--{n}"))
        .collect();
    (!names.is_empty()).then(|| format!("flags without a model, taken as neutral: {}", names.join(" ")))
}

/// A directory whose config.json cannot be the model of the name that the command serves.
fn other_sizes(own: &str, served: &str, models: &Catalog) -> Option<String> {
    let (a, b) = (models.find(own).ok()?, models.find(served).ok()?);
    let words = |m: &crate::model::Model| format!("{} layers of width {}", m.layers, m.hidden);
    ((a.layers, a.hidden) != (b.layers, b.hidden)).then(|| {
        format!(
            "the command serves {served} ({}), and the config.json in {own} describes another model ({}): the figures are \
             of the latter",
            words(&b),
            words(&a)
        )
    })
}

/// The command serves another model than the scenario names. Of directories only the sizes can be compared.
fn other_model(record: &Record, launch: &Launch, models: &Catalog) -> Option<String> {
    let (own, served) = (record.model.as_deref()?, launch.model.as_deref()?);
    if Path::new(own).is_dir() && own != served {
        return other_sizes(own, served, models);
    }
    let a_path = |m: &str| Path::new(m).is_dir() || m.starts_with(['/', '.', '~', '$']);
    if a_path(own) || a_path(served) {
        return None;
    }
    let tail = |m: &str| m.rsplit('/').next().unwrap_or(m).to_lowercase().replace('_', "-");
    let (a, b) = (tail(own), tail(served));
    if a.starts_with(&b) || b.starts_with(&a) {
        return None;
    }
    let known = |m: &str| models.find(m).ok().map(|f| f.id);
    match (known(own), known(served)) {
        (Some(x), Some(y)) if x == y => None,
        (Some(_), None) if !own.contains('/') => None,
        _ => Some(format!(
            "the command serves {served}, and the scenario's model is {own}: the figures are of {own}"
        )),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_misspelt_flag_is_told_and_one_that_may_exist_is_not() {
        let of = |flags: &[&'static str]| misspelt(EngineKind::Vllm, flags.iter().copied());
        assert_eq!(
            of(&["max-num-seqz"]),
            ["--max-num-seqz is in no list of vllm's flags: did you mean --max-num-seqs?"]
        );
        assert!(of(&["max-num-seqs", "max-num-seq", "quite-another-flag"]).is_empty());
        let emulated = misspelt(EngineKind::Emulated, ["max-num-batched-token5"]);
        assert!(emulated[0].contains("--max-num-batched-tokens?"), "{emulated:?}");
    }
}
