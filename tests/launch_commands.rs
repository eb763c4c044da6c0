//! Serving commands as public repositories have them (`tests/launch-commands.toml`): engine, release, model, GPUs, flags.

use llm_dyno::launch::{GpuLayout, Launch};
use serde::Deserialize;
use std::collections::BTreeMap;

#[derive(Debug, Deserialize)]
#[serde(deny_unknown_fields)]
struct Command {
    source: String,
    line: String,
    engine: String,
    version: Option<String>,
    model: String,
    /// None where a variable or an absent file decides.
    gpus: Option<u32>,
    /// Whether the launch does not tell how many GPUs it takes.
    #[serde(default)]
    unknown: bool,
    #[serde(default = "one")]
    attention: u32,
    #[serde(default)]
    values: BTreeMap<String, String>,
    #[serde(default)]
    told: Vec<String>,
    /// What must not be told.
    #[serde(default)]
    untold: Vec<String>,
}

fn one() -> u32 {
    1
}

#[derive(Debug, Deserialize)]
struct Commands {
    command: Vec<Command>,
}

/// What is read of a command otherwise than it is.
fn misread(c: &Command) -> Vec<String> {
    let launch = Launch::parse(&c.line);
    let layout = GpuLayout::of(&launch);
    let mut out = Vec::new();
    let mut same = |what: &str, read: String, truth: &str| {
        if read != truth {
            out.push(format!("{what} {read:?}, not {truth:?}"));
        }
    };
    same("engine", launch.engine.map(|e| e.id().to_owned()).unwrap_or_default(), &c.engine);
    same(
        "release",
        launch.version.as_ref().map(ToString::to_string).unwrap_or_default(),
        c.version.as_deref().unwrap_or_default(),
    );
    same("model", launch.model.clone().unwrap_or_default(), &c.model);
    if let Some(gpus) = c.gpus {
        same("GPUs", layout.gpus().to_string(), &gpus.to_string());
    }
    same("whether its GPUs are known", layout.known.to_string(), &(!c.unknown).to_string());
    same("attention", layout.attention.to_string(), &c.attention.to_string());
    for (name, value) in &c.values {
        same(name, launch.text(&[name]).unwrap_or_default().to_owned(), value);
    }
    let is_told = |words: &String| launch.problems.iter().any(|p| p.contains(words.as_str()));
    for words in &c.told {
        same("told", is_told(words).to_string(), "true");
    }
    for words in &c.untold {
        same("told", is_told(words).to_string(), "false");
    }
    out
}

#[test]
fn commands_are_read_as_their_engines_read_them() {
    let all: Commands = toml::from_str(include_str!("launch-commands.toml")).unwrap();
    let wrong: Vec<String> = all
        .command
        .iter()
        .map(|c| (c, misread(c)))
        .filter(|(_, wrong)| !wrong.is_empty())
        .map(|(c, wrong)| format!("{}: {}", c.source, wrong.join("; ")))
        .collect();
    assert!(wrong.is_empty(), "{} of {} misread:\n{}", wrong.len(), all.command.len(), wrong.join("\n"));
}
