//! `dyno tune plan.toml`: the command line of `dyno tune` as a file.
//!
//! The keys are the names of the options, and each value is checked by the option's own definition, so that the file takes
//! whatever the command line takes. Options on the command line win over the file.

use super::Cli;
use super::tune::{self, TuneArgs};
use crate::data::nearest::did_you_mean;
use crate::data::toml_value;
use crate::error::{Error, Problem, Result};
use clap::parser::ValueSource;
use clap::{Arg, ArgAction, Command as Grammar, CommandFactory, Parser};
use serde_json::Value;
use std::path::Path;

/// Key for what stands after `--` on a command line: flags of the engine for every launch.
const ENGINE_ARGS: &str = "engine-args";
/// What goes on with a record, or asks for something else than a campaign: said on the command line only.
const NOT_HERE: &[&str] = &["resume", "change-plan", "retry-failed", "help", "version"];

/// One key of the file.
#[derive(Debug, PartialEq)]
struct Entry {
    /// As it stands in the file.
    key: String,
    /// Long name of the option, or [`ENGINE_ARGS`].
    option: String,
    words: Vec<String>,
}

/// A plan file and the command line, as one.
#[derive(Debug)]
struct Merged {
    args: TuneArgs,
    /// The command line that says all of it without the file.
    words: Vec<String>,
    file: String,
    entries: Vec<Entry>,
}

/// `dyno tune`, with the file where one is named.
pub(super) fn run(args: &TuneArgs) -> Result<()> {
    let invocation = tune::invocation();
    let Some(file) = &args.plan else { return tune::run(args, invocation) };
    let merged = merged(file, &invocation)?;
    tune::run(&merged.args, merged.words.clone()).map_err(|e| named(&merged.file, &merged.entries, e))
}

/// Reads the file, and lays the command line `argv` (with the program's name) over it.
///
/// Errors: a file that cannot be read, and all problems of all keys at once, those of the plan itself included.
fn merged(path: &Path, argv: &[String]) -> Result<Merged> {
    let file = path.display().to_string();
    let text = crate::host::read_text(path, crate::host::SETTINGS_LIMIT)
        .map_err(|e| Error::usage("the plan cannot be read").at(&file).source(e))?;
    let (entries, mut problems) =
        read(&file, &text).map_err(|p| Error::problems("the plan cannot be used", p))?;
    let said = said(argv);
    let resumed = said.iter().any(|o| o == "resume");
    let holds = |e: &&Entry| !(said.contains(&e.option) || resumed && e.option == "out");
    let words = words(entries.iter().filter(holds), path, argv);
    let args = parsed(&words).map_err(|why| Error::usage(why).at(&file))?;
    if problems.is_empty() {
        return Ok(Merged { args, words, file, entries });
    }
    // The rest is looked at as well, so that one reading names everything.
    let wrong: Vec<String> = problems.iter().map(|p| option_of(&p.key)).collect();
    if let Err(e) = args.planned() {
        let more = named(&file, &entries, e).problems.into_iter();
        problems.extend(more.filter(|p| !wrong.contains(&p.file.trim_start_matches("--").to_owned())));
    }
    Err(Error::problems("the plan cannot be used", problems))
}

/// Every problem of a plan file as far as the file alone shows it, for `dyno check`.
pub(super) fn check_text(file: &str, text: &str) -> Vec<Problem> {
    let (entries, mut problems) = match read(file, text) {
        Ok(read) => read,
        Err(problems) => return problems,
    };
    let words = words(entries.iter(), Path::new(file), &["dyno".to_owned(), "tune".to_owned()]);
    match parsed(&words) {
        Err(why) => problems.push(Problem::new(file, "", why)),
        Ok(args) => {
            let wrong: Vec<String> = problems.iter().map(|p| option_of(&p.key)).collect();
            if let Err(e) = args.checked() {
                let more = named(file, &entries, e).problems.into_iter();
                problems
                    .extend(more.filter(|p| !wrong.contains(&p.file.trim_start_matches("--").to_owned())));
            }
        }
    }
    problems
}

/// Whether a TOML file has the keys of a plan and of nothing else that dyno reads.
pub(super) fn looks_like_one(value: &Value) -> bool {
    let Some(table) = value.as_object() else { return false };
    ["model", "engine", "workload", "objective", "out"].iter().filter(|k| table.contains_key(**k)).count()
        >= 2
}

fn grammar() -> Grammar {
    let mut cli = Cli::command();
    cli.build();
    cli.find_subcommand("tune").cloned().unwrap_or_default()
}

/// `max_trials` and `max-trials` are the same option.
fn option_of(key: &str) -> String {
    key.split(['.', '[']).next().unwrap_or(key).replace('_', "-")
}

/// Entries that can be used, and what is wrong with the others. Errors: no TOML at all.
fn read(file: &str, text: &str) -> std::result::Result<(Vec<Entry>, Vec<Problem>), Vec<Problem>> {
    let value = toml_value(file, text).map_err(|p| vec![p])?;
    let command = grammar();
    let known: Vec<&str> = command
        .get_arguments()
        .filter_map(Arg::get_long)
        .filter(|o| !NOT_HERE.contains(o))
        .chain([ENGINE_ARGS])
        .collect();
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    for (key, value) in value.as_object().into_iter().flatten() {
        let option = option_of(key);
        let mut wrong = |why: String, hint: String| {
            let problem = Problem::new(file, key.as_str(), why);
            problems.push(if hint.is_empty() { problem } else { problem.hint(hint) });
        };
        if !known.contains(&option.as_str()) {
            let hint = did_you_mean(&option, known.iter().copied());
            wrong("is no option of `dyno tune`".into(), hint);
            continue;
        }
        let words = match command.get_arguments().find(|a| a.get_long() == Some(&option)) {
            None => engine_args(value),
            Some(arg) => option_words(arg, &option, value),
        };
        match words {
            Ok(words) => entries.push(Entry { key: key.clone(), option, words }),
            Err(why) => wrong(why, String::new()),
        }
    }
    Ok((entries, problems))
}

/// Engine flags: a list of words, or one line as a shell reads it.
fn engine_args(value: &Value) -> std::result::Result<Vec<String>, String> {
    match value {
        Value::String(line) => match crate::launch::split(line) {
            (words, true) => Ok(words),
            (_, false) => Err("has a quote that does not end".into()),
        },
        Value::Array(list) => list.iter().map(text).collect(),
        _ => Err("is a list of words, or one line of them".into()),
    }
}

/// The words by which the command line says the value, checked by the option's own definition.
fn option_words(arg: &Arg, option: &str, value: &Value) -> std::result::Result<Vec<String>, String> {
    if matches!(arg.get_action(), ArgAction::SetTrue) {
        return match value {
            Value::Bool(true) => Ok(vec![format!("--{option}")]),
            Value::Bool(false) => Ok(Vec::new()),
            _ => Err("is true or false".into()),
        };
    }
    let many = matches!(arg.get_action(), ArgAction::Append);
    let values: Vec<String> = match value {
        Value::Array(list) if many => list.iter().map(text).collect::<std::result::Result<_, _>>()?,
        // `[variant]` with `fp8 = "org/Model-FP8"`, `[slo]` with `"ttft.p99" = "2s"`.
        Value::Object(table) if many => table
            .iter()
            .map(|(k, v)| Ok(format!("{k}={}", text(v)?)))
            .collect::<std::result::Result<_, String>>()?,
        Value::Array(_) | Value::Object(_) => return Err("is one value".into()),
        one => vec![text(one)?],
    };
    let words: Vec<String> = values.into_iter().map(|v| format!("--{option}={v}")).collect();
    let alone = Arg::new("value")
        .long(option.to_owned())
        .action(arg.get_action().clone())
        .value_parser(arg.get_value_parser().clone());
    let tried = Grammar::new("plan").no_binary_name(true).arg(alone).try_get_matches_from(&words);
    match tried {
        Ok(_) => Ok(words),
        Err(e) => Err(first_line(&e)),
    }
}

fn text(value: &Value) -> std::result::Result<String, String> {
    match value {
        Value::String(text) => Ok(text.clone()),
        Value::Number(n) => Ok(n.to_string()),
        _ => Err("is a text or a number".into()),
    }
}

/// What clap says, without its frame.
fn first_line(e: &clap::Error) -> String {
    let text = e.to_string();
    let line = text.lines().next().unwrap_or_default();
    line.trim_start_matches("error: ").to_owned()
}

/// Long names of the options that the command line itself gives.
fn said(argv: &[String]) -> Vec<String> {
    let command = Cli::command();
    let Ok(matches) = command.try_get_matches_from(argv) else { return Vec::new() };
    let Some(given) = matches.subcommand_matches("tune") else { return Vec::new() };
    let named = |a: &Arg| match a.get_id().as_str() {
        "fixed" => Some(ENGINE_ARGS.to_owned()),
        _ => a.get_long().map(str::to_owned),
    };
    let by_user = |a: &&Arg| given.value_source(a.get_id().as_str()) == Some(ValueSource::CommandLine);
    grammar()
        .get_arguments()
        .filter(|a| !NOT_HERE[3..].contains(&a.get_id().as_str()))
        .filter(by_user)
        .filter_map(named)
        .collect()
}

/// The whole command line: the file's options, then those given beside it, and flags of the engine at the end.
fn words<'a>(entries: impl Iterator<Item = &'a Entry>, path: &Path, argv: &[String]) -> Vec<String> {
    let (engine, options): (Vec<&Entry>, Vec<&Entry>) = entries.partition(|e| e.option == ENGINE_ARGS);
    let mut own: Vec<String> = argv.iter().skip(2).cloned().collect();
    let place = path.display().to_string();
    if let Some(at) = own.iter().position(|w| *w == place) {
        own.remove(at);
    }
    let mut out = vec!["dyno".to_owned(), "tune".to_owned()];
    out.extend(options.iter().flat_map(|e| e.words.iter().cloned()));
    out.extend(own);
    let engine: Vec<String> = engine.iter().flat_map(|e| e.words.iter().cloned()).collect();
    if !engine.is_empty() {
        out.push("--".to_owned());
        out.extend(engine);
    }
    out
}

fn parsed(words: &[String]) -> std::result::Result<TuneArgs, String> {
    // A file that names no --out may still be looked at.
    let complete = ["--out", "--resume", "--dry-run"];
    let at = words.iter().position(|w| w == "--").unwrap_or(words.len());
    let mut words = words.to_vec();
    let named = |w: &String| complete.iter().any(|c| w == c || w.starts_with(&format!("{c}=")));
    let out_missing = !words[..at].iter().any(named);
    if out_missing {
        words.insert(at, "--dry-run".to_owned());
    }
    match Cli::try_parse_from(&words) {
        Err(e) => Err(first_line(&e)),
        Ok(cli) => match cli.command {
            super::Command::Tune(mut args) => {
                args.dry_run &= !out_missing;
                Ok(*args)
            }
            _ => Err("is no command line of `dyno tune`".into()),
        },
    }
}

/// Problems of options that stand in the file are said by their keys.
fn named(file: &str, entries: &[Entry], mut e: Error) -> Error {
    for p in &mut e.problems {
        let option = p.file.trim_start_matches("--").to_owned();
        if let Some(entry) = entries.iter().find(|e| e.option == option) {
            file.clone_into(&mut p.file);
            p.key = if p.key.is_empty() { entry.key.clone() } else { format!("{}: {}", entry.key, p.key) };
        }
    }
    e
}

#[cfg(test)]
mod tests {
    use super::*;

    fn argv(rest: &[&str]) -> Vec<String> {
        ["dyno", "tune"].iter().chain(rest).map(|w| (*w).to_owned()).collect()
    }

    fn file(text: &str) -> tempfile::NamedTempFile {
        let file = tempfile::Builder::new().suffix(".toml").tempfile().unwrap();
        std::fs::write(file.path(), text).unwrap();
        file
    }

    #[test]
    fn a_file_says_what_the_command_line_says() {
        let f = file(
            r#"
            model = "openai/gpt-oss-20b"
            engine = ["vllm", "sglang"]
            workload = "random:8/4,n=4"
            hardware = "a100-sxm-80gb"
            max_trials = 20
            quiet = true
            out = "run"
            engine-args = "--max-model-len 4096"
            [slo]
            "ttft.p99" = "2s"
            "#,
        );
        let path = f.path().to_str().unwrap();
        let m = merged(f.path(), &argv(&[path, "--engine", "vllm", "--seed", "7"])).unwrap();
        let plan = m.args.planned().unwrap();
        assert_eq!(
            (plan.engines.len(), plan.max_trials, plan.seed),
            (1, Some(20), 7),
            "the command line wins"
        );
        assert_eq!(plan.fixed_args, ["--max-model-len", "4096"]);
        assert_eq!(plan.slo.to_string(), "ttft.p99=2000ms");
        assert!(!m.words.iter().any(|w| w == path), "the recorded command stands alone: {:?}", m.words);
        let again = parsed(&m.words).unwrap();
        assert_eq!(again.planned().unwrap(), plan);
    }

    #[test]
    fn every_problem_is_named_at_once_by_its_key() {
        let f = file(
            r#"
            modle = "openai/gpt-oss-20b"
            engine = ["tgi"]
            num_gpus = "two"
            workload = ["random:8"]
            budget = "soon"
            quiet = 1
            hardware = "a100-sxm-80gb"
            "#,
        );
        let path = f.path().to_str().unwrap();
        let e = merged(f.path(), &argv(&[path])).unwrap_err();
        assert_eq!(e.kind.exit_code(), 2);
        let text = e.to_string();
        for key in ["modle", "did you mean `model`", "engine", "num_gpus", "random:8", "budget", "quiet"] {
            assert!(text.contains(key), "{key}: {text}");
        }
        assert!(!text.contains("--num-gpus: must"), "{text}");
        assert_eq!(check_text(path, "model = \"openai/gpt-oss-20b\"\nhardware = \"l4-24gb\"\n"), []);
    }

    #[test]
    fn every_option_has_a_key() {
        for arg in grammar().get_arguments().filter_map(Arg::get_long) {
            let known = NOT_HERE.contains(&arg)
                || read("p.toml", &format!("{arg} = []"))
                    .unwrap()
                    .1
                    .iter()
                    .all(|p| !p.message.contains("is no option"));
            assert!(known, "{arg}");
        }
    }
}
