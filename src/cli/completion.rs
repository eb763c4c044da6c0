//! What a result file of another tool does not say, and the command line supplies: model, hardware, engine, command.

use crate::error::{Error, Problem, Result};
use crate::launch::{EngineKind, Launch, quote};
use crate::scenario::{Loaded, Record, engine_of, read_beside};
use crate::space::Space;
use serde_json::Value;
use std::path::Path;

/// Facts of the launch behind a file's runs, as options give them.
#[derive(Debug, Clone, Copy, Default)]
pub(super) struct Supplied<'a> {
    pub(super) model: Option<&'a str>,
    pub(super) hardware: Option<&'a str>,
    pub(super) engine: Option<EngineKind>,
    pub(super) engine_version: Option<&'a str>,
    pub(super) num_gpus: Option<u32>,
    pub(super) serve_command: Option<&'a str>,
    /// Flags of the engine, from which the command is put together.
    pub(super) flags: &'a [String],
}

/// Completes the records of a file.
///
/// What a file lacks is taken over. Where another tool's file says something else (such as a served name for the
/// model), the option wins and that is noted; in our own format the two contradict, which is an error.
pub(super) fn complete(
    loaded: &mut Loaded,
    s: &Supplied<'_>,
    data_dir: Option<&Path>,
) -> Result<Vec<String>> {
    let foreign = loaded.tool.is_some();
    let mut notes = Vec::new();
    let mut problems = Vec::new();
    let file = loaded.file.clone();
    for (i, r) in loaded.records.iter_mut().enumerate() {
        let mut set = |key: &str, field: &mut Option<String>, given: Option<&str>| {
            let Some(given) = given else { return };
            match field.as_deref() {
                Some(own) if own != given && !foreign => problems.push(
                    Problem::new(
                        &file,
                        format!("[{i}].{key}"),
                        format!("is {own}, and --{} says {given}", key.replace('_', "-")),
                    )
                    .hint("leave the option out, or mend the file"),
                ),
                Some(own) if own != given => {
                    notes.push(format!("{key} {given} stands in place of the file's {own}"));
                    *field = Some(given.to_owned());
                }
                _ => *field = Some(given.to_owned()),
            }
        };
        set("model", &mut r.model, s.model);
        set("hardware", &mut r.hardware, s.hardware);
        set("engine_version", &mut r.engine_version, s.engine_version);
        set("serve_command", &mut r.serve_command, s.serve_command);
        r.num_gpus = s.num_gpus.or(r.num_gpus);
        let command_engine = r.serve_command.as_deref().and_then(engine_of);
        r.engine = s.engine.or(r.engine).or(command_engine);
        if !s.flags.is_empty() && s.serve_command.is_none() {
            let words =
                program_of(r).map(|p| p.into_iter().chain(s.flags.iter().cloned()).collect::<Vec<_>>());
            r.serve_command = words.map(|w| Launch::from_argv(&w).to_text());
        }
    }
    swept(&mut loaded.records, data_dir, &mut notes)?;
    read_beside(&mut loaded.records, &[Path::new("")]);
    for r in loaded.records.iter_mut().filter(|r| r.model.is_none()) {
        r.model = r.launch().model;
    }
    notes.extend(loaded.records.iter().filter_map(|r| r.note.clone().filter(|_| foreign)));
    let mut seen = std::collections::BTreeSet::new();
    notes.retain(|n| seen.insert(n.clone()));
    if problems.is_empty() {
        Ok(notes)
    } else {
        Err(Error::problems(format!("{file} and the options contradict each other"), problems))
    }
}

/// The words of the engine's program with its model.
pub(super) fn program(engine: EngineKind, model: &str) -> Vec<String> {
    let program: &[&str] = match engine {
        EngineKind::Vllm => &["vllm", "serve"],
        EngineKind::Sglang => &["python3", "-m", "sglang.launch_server", "--model-path"],
        EngineKind::Trtllm => &["trtllm-serve"],
        EngineKind::Emulated => &["dyno", "emulate", "--model"],
    };
    program.iter().map(|w| (*w).to_owned()).chain([model.to_owned()]).collect()
}

/// The program with its model, where both are known.
fn program_of(r: &Record) -> Option<Vec<String>> {
    r.engine.zip(r.model.as_deref()).map(|(engine, model)| program(engine, model))
}

/// Settings of the server that `vllm bench sweep` wrote beside the results become flags of the command.
fn swept(records: &mut [Record], data_dir: Option<&Path>, notes: &mut Vec<String>) -> Result<()> {
    let of_sweep = |r: &Record| r.source.as_deref() == Some("vllm bench serve");
    if !records.iter().any(of_sweep) {
        return Ok(());
    }
    let spaces = Space::load_all(data_dir)?;
    for r in records.iter_mut().filter(|r| of_sweep(r)) {
        let Some(space) = r.engine.and_then(|e| spaces.iter().find(|s| s.engine == e)) else { continue };
        let own = || program_of(r).map(|w| Launch::from_argv(&w).to_text());
        let Some(command) = r.serve_command.clone().or_else(own) else { continue };
        let given = Launch::parse(&command);
        let extra = r.result.as_ref().map(|m| m.extra.clone()).unwrap_or_default();
        let mut words = vec![command];
        for (key, value) in extra {
            let flag = key.replace('_', "-");
            let known =
                space.flags.iter().any(|f| f.name == flag || f.aliases.iter().any(|a| a.name == flag));
            if !known || given.flags.iter().any(|(n, _)| *n == flag) {
                continue;
            }
            match value {
                Value::Bool(true) => words.push(format!("--{flag}")),
                Value::Bool(false) => words.push(format!("--no-{flag}")),
                Value::Number(n) => words.push(format!("--{flag} {n}")),
                Value::String(t) => words.push(format!("--{flag} {}", quote(&t))),
                _ => {}
            }
        }
        if words.len() > 1 {
            notes.push(format!(
                "the sweep's settings are read as flags of the server: {}",
                words[1..].join(" ")
            ));
            r.serve_command = Some(words.join(" "));
        }
    }
    Ok(())
}

/// What the records of a file still lack, each with the option that supplies it; `workload` where a prediction or a
/// fit needs the requests.
pub(super) fn missing(loaded: &Loaded, workload: bool) -> Vec<Problem> {
    let n = loaded.records.len();
    let lacking = |has: &dyn Fn(&Record) -> bool| loaded.records.iter().filter(|r| !has(r)).count();
    let table: [(&str, &str, usize); 4] = [
        ("model", "give --model NAME", lacking(&|r| r.model.is_some())),
        ("hardware", "give --hardware ID (`dyno list hardware`)", lacking(&|r| r.hardware.is_some())),
        (
            "engine",
            "give --engine vllm, sglang or trtllm, or --serve-command 'COMMAND'",
            lacking(&|r| r.engine.is_some() || r.serve_command.as_deref().and_then(engine_of).is_some()),
        ),
        (
            "workload",
            "what was sent is not in the file: --workload random:IN/OUT, or a dyno scenario",
            if workload {
                lacking(&|r| r.requests.is_some() || r.workload.as_ref().is_some_and(known))
            } else {
                0
            },
        ),
    ];
    table
        .into_iter()
        .filter(|(_, _, count)| *count > 0)
        .map(|(key, hint, count)| {
            let of = if n == 1 { String::new() } else { format!(" in {count} of {n} runs") };
            Problem::new(&loaded.file, key, format!("not in this file of {}{of}", loaded.format())).hint(hint)
        })
        .collect()
}

/// Whether a workload says what its requests are.
fn known(w: &crate::workload::WorkloadSpec) -> bool {
    use crate::workload::Dataset;
    match w.dataset {
        Dataset::Random => w.input_len.is_some() && w.output_len.is_some(),
        Dataset::Trace | Dataset::Custom => w.path.is_some(),
        Dataset::Sharegpt | Dataset::Chat | Dataset::Mix => true,
    }
}
