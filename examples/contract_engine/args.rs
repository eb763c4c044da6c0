//! The command line, judged as the engine's own parser judges it: argparse for vLLM and SGLang (the latter
//! takes unique prefixes), click and a YAML file with known keys for TensorRT-LLM.

use crate::flags::{self, Flag, Kind};
use crate::log;
use crate::script::{Flavour, Script};
use serde_json::Value;
use std::collections::BTreeMap;

/// What was asked for.
#[derive(Debug, Clone, Default)]
pub(crate) struct Launch {
    pub(crate) model: String,
    pub(crate) served_name: String,
    pub(crate) port: u16,
    pub(crate) max_len: u32,
    pub(crate) slots: u32,
    /// Every flag and YAML key that was given, dashes for underscores; nested keys with dots.
    values: BTreeMap<String, String>,
}

impl Launch {
    pub(crate) fn text(&self, name: &str) -> Option<&str> {
        self.values.get(name).map(String::as_str)
    }

    pub(crate) fn number(&self, name: &str) -> Option<f64> {
        self.text(name)?.parse().ok()
    }

    pub(crate) fn is_on(&self, name: &str) -> bool {
        self.text(name) == Some("true")
    }

    /// `flag=value`, or `flag` for one that is given at all and is not off.
    pub(crate) fn fits(&self, when: &str) -> bool {
        let (name, wanted) = when.split_once('=').map_or((when, None), |(n, v)| (n, Some(v)));
        match (self.text(&name.replace('_', "-")), wanted) {
            (Some(given), Some(wanted)) => given == wanted,
            (Some(given), None) => given != "false",
            (None, _) => false,
        }
    }
}

/// Parses the arguments; help and errors end the process as the engine's parser does.
pub(crate) fn parse(script: &Script, argv: &[String]) -> Launch {
    let argv = without_program(script, argv);
    let known = flags::of(script);
    if argv.iter().any(|a| a == "--help" || a == "-h" || a == "--help=all") {
        help(script, &known);
        std::process::exit(0);
    }
    if argv.iter().any(|a| a == "--version") {
        log::raw(&script.version);
        std::process::exit(0);
    }
    let mut launch = Launch::default();
    let mut unknown: Vec<String> = Vec::new();
    let mut words = argv.iter().peekable();
    while let Some(word) = words.next() {
        if !word.starts_with("--") && word != "-tp" {
            if launch.model.is_empty() && script.flavour != Flavour::Sglang {
                launch.model.clone_from(word);
            } else {
                unknown.push(word.clone());
            }
            continue;
        }
        let (name, inline) = word.split_once('=').map_or((word.as_str(), None), |(n, v)| (n, Some(v)));
        let Some((flag, negative)) = find(script, &known, name) else {
            unknown.push(word.clone());
            continue;
        };
        let mut taken: Vec<String> = inline.map(str::to_owned).into_iter().collect();
        let wants_value = !negative && !matches!(flag.kind, Kind::Bool | Kind::Switch);
        while wants_value
            && inline.is_none()
            && (taken.is_empty() || flag.kind == Kind::Ints)
            && words.peek().is_some_and(|w| !w.starts_with("--"))
        {
            taken.extend(words.next().cloned());
        }
        let value = if wants_value { judged(script, &flag, &taken) } else { (!negative).to_string() };
        launch.values.insert(flag.name.replace('_', "-"), value);
    }
    if !unknown.is_empty() {
        refuse_unknown(script, &unknown);
    }
    finish(script, launch)
}

/// Drops what stands before the arguments proper: `serve`, or `-m module [serve]`.
fn without_program<'a>(script: &Script, argv: &'a [String]) -> &'a [String] {
    let mut rest = argv;
    let ours = match script.flavour {
        Flavour::Vllm => "vllm",
        Flavour::Sglang => "sglang",
        Flavour::Trtllm => "tensorrt_llm",
    };
    if rest.first().is_some_and(|a| a == "-c") {
        // A Python that is asked whether it has a package.
        let there = rest.get(1).is_some_and(|code| code.contains(&format!("'{ours}'")));
        std::process::exit(i32::from(!there));
    }
    if rest.first().is_some_and(|a| a == "-m") {
        let module = rest.get(1).map_or("", String::as_str);
        if !module.starts_with(ours) {
            let package = module.split('.').next().unwrap_or(module);
            log::raw(&format!(
                "python3: Error while finding module specification for '{module}' (ModuleNotFoundError: No module named '{package}')"
            ));
            std::process::exit(1);
        }
        rest = &rest[2..];
    }
    match rest.first() {
        Some(first) if first == "serve" => &rest[1..],
        _ => rest,
    }
}

/// The flag that a word names, and whether in its negative form.
fn find(script: &Script, known: &[Flag], word: &str) -> Option<(Flag, bool)> {
    let vllm = script.flavour == Flavour::Vllm;
    let word = if word == "-tp" && vllm { "--tensor-parallel-size" } else { word };
    let body = word.strip_prefix("--")?;
    // vLLM takes both spellings; the others only their own.
    let body = if vllm { body.replace('_', "-") } else { body.to_owned() };
    let exact = |name: &str| known.iter().find(|f| f.name == name).cloned();
    if let Some(flag) = exact(&body) {
        return Some((flag, false));
    }
    if vllm && let Some(positive) = body.strip_prefix("no-").and_then(exact).filter(|f| f.kind == Kind::Bool)
    {
        return Some((positive, true));
    }
    if vllm && let Some((head, _)) = body.split_once('.') {
        return exact(head).map(|f| (Flag { name: body.clone(), ..f }, false));
    }
    if script.flavour == Flavour::Sglang {
        let fits: Vec<&Flag> = known.iter().filter(|f| f.name.starts_with(&body)).collect();
        if fits.len() > 1 {
            let names: Vec<String> = fits.iter().map(|f| format!("--{}", f.name)).collect();
            refuse(script, &format!("ambiguous option: {word} could match {}", names.join(", ")));
        }
        return fits.first().map(|f| ((*f).clone(), false));
    }
    None
}

/// The value as text, after the checks of its kind.
fn judged(script: &Script, flag: &Flag, taken: &[String]) -> String {
    let click = script.flavour == Flavour::Trtllm;
    let name = &flag.name;
    let Some(first) = taken.first() else {
        refuse(
            script,
            &if click {
                format!("Option '--{name}' requires an argument.")
            } else {
                format!("argument --{name}: expected one argument")
            },
        )
    };
    let wrong = |what: &str, python: &str, value: &str| -> ! {
        refuse(
            script,
            &if click {
                format!("Invalid value for '--{name}': '{value}' is not a valid {what}.")
            } else {
                format!("argument --{name}: invalid {python} value: '{value}'")
            },
        )
    };
    match &flag.kind {
        Kind::Int | Kind::Ints => {
            for value in taken {
                let digits = value.strip_suffix(['k', 'K']).unwrap_or(value);
                if digits.parse::<i64>().is_err() {
                    wrong("integer", "int", value);
                }
            }
        }
        Kind::Float if first.parse::<f64>().is_err() => wrong("float", "float", first),
        Kind::Choice(choices) if !choices.contains(first) => {
            let quoted: Vec<String> = choices.iter().map(|c| format!("'{c}'")).collect();
            let list = quoted.join(", ");
            refuse(
                script,
                &if click {
                    format!("Invalid value for '--{name}': '{first}' is not one of {list}.")
                } else {
                    format!("argument --{name}: invalid choice: '{first}' (choose from {list})")
                },
            );
        }
        _ => {}
    }
    match first.strip_suffix('k').and_then(|n| n.parse::<i64>().ok()) {
        Some(n) if flag.kind == Kind::Int => (n * 1000).to_string(),
        _ => taken.join(" "),
    }
}

fn refuse_unknown(script: &Script, unknown: &[String]) -> ! {
    match script.flavour {
        Flavour::Trtllm => match unknown.iter().find(|u| u.starts_with("--")) {
            Some(option) => {
                let name = option.split('=').next().unwrap_or(option);
                refuse(script, &format!("No such option: {name}"))
            }
            None => refuse(script, &format!("Got unexpected extra argument ({})", unknown.join(" "))),
        },
        _ => refuse(script, &format!("unrecognized arguments: {}", unknown.join(" "))),
    }
}

/// The parser's last words.
fn refuse(script: &Script, message: &str) -> ! {
    match script.flavour {
        Flavour::Vllm => {
            eprintln!("usage: vllm serve [model_tag] [options]\nvllm serve: error: {message}");
        }
        Flavour::Sglang => {
            eprintln!(
                "usage: launch_server.py [-h] --model-path MODEL_PATH\nlaunch_server.py: error: {message}"
            );
        }
        Flavour::Trtllm => eprintln!(
            "Usage: trtllm-serve serve [OPTIONS] MODEL\nTry 'trtllm-serve serve --help' for help.\n\nError: {message}"
        ),
    }
    std::process::exit(2);
}

/// The text of `--help`, in the layout of the engine's parser.
fn help(script: &Script, known: &[Flag]) {
    let mut out = match script.flavour {
        Flavour::Vllm => "usage: vllm serve [model_tag] [options]\n\noptions:\n".to_owned(),
        Flavour::Sglang => {
            "usage: launch_server.py [-h] --model-path MODEL_PATH ...\n\noptions:\n  -h, --help            show this help message and exit\n".to_owned()
        }
        Flavour::Trtllm => "Usage: trtllm-serve serve [OPTIONS] MODEL\n\nOptions:\n".to_owned(),
    };
    for flag in known {
        let name = &flag.name;
        let upper = name.replace('-', "_").to_uppercase();
        let head = match (&flag.kind, script.flavour) {
            (Kind::Bool, _) => format!("--{name}, --no-{name}"),
            (Kind::Switch, _) => format!("--{name}"),
            (Kind::Choice(c), Flavour::Trtllm) => format!("--{name} [{}]", c.join("|")),
            (Kind::Choice(c), _) => format!("--{name} {{{}}}", c.join(",")),
            (Kind::Int, Flavour::Trtllm) => format!("--{name} INTEGER"),
            (Kind::Float, Flavour::Trtllm) => format!("--{name} FLOAT"),
            (_, Flavour::Trtllm) => format!("--{name} TEXT"),
            (Kind::Ints, _) => format!("--{name} {upper} [{upper} ...]"),
            _ => format!("--{name} {upper}"),
        };
        out.push_str(&format!("  {head}\n                        See the documentation.\n"));
    }
    log::raw(out.trim_end());
}

/// Reads the YAML and resolves what the rest of the program needs.
fn finish(script: &Script, mut launch: Launch) -> Launch {
    if let Some(model) = launch.text("model-path").map(str::to_owned) {
        launch.model = model;
    }
    if launch.model.is_empty() {
        let what = match script.flavour {
            Flavour::Sglang => "the following arguments are required: --model-path",
            Flavour::Vllm => "the following arguments are required: model_tag",
            Flavour::Trtllm => "Missing argument 'MODEL'.",
        };
        refuse(script, what);
    }
    let file = launch.text("extra-llm-api-options").or(launch.text("config")).map(str::to_owned);
    if let Some(file) = file {
        read_yaml(&mut launch, &file);
    }
    let base = launch.model.trim_end_matches('/').rsplit('/').next().unwrap_or_default().to_owned();
    launch.served_name = match (launch.text("served-model-name"), script.flavour) {
        (Some(name), _) => name.to_owned(),
        // A local path is served under its last part.
        (None, Flavour::Trtllm) if launch.model.starts_with('/') => base,
        (None, _) => launch.model.clone(),
    };
    launch.port = launch.number("port").map_or(8000, |p| p as u16);
    let first = |names: &[&str]| names.iter().find_map(|n| launch.number(n));
    let len = first(&["max-model-len", "context-length", "max-seq-len"]);
    let slots = first(&["max-num-seqs", "max-running-requests", "max-batch-size"]);
    launch.max_len = len.map_or(script.model_len, |n| n as u32);
    launch.slots = slots.map_or(script.slots, |n| n as u32).max(1);
    launch
}

/// The file of options. It is read as JSON, which is YAML: the adapters write it so.
fn read_yaml(launch: &mut Launch, file: &str) {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| {
        eprintln!("Usage: trtllm-serve serve [OPTIONS] MODEL\n\nError: Invalid value for '--extra_llm_api_options': {file}: {e}");
        std::process::exit(2);
    });
    let Ok(Value::Object(map)) = serde_json::from_str::<Value>(&text) else {
        eprintln!("yaml.scanner.ScannerError: while scanning {file}");
        std::process::exit(1);
    };
    for (key, value) in map {
        if !flags::YAML.contains(&key.as_str()) {
            eprintln!(
                "Traceback (most recent call last):\n  File \"/usr/local/bin/trtllm-serve\", line 8, in <module>\n    sys.exit(main())\npydantic_core._pydantic_core.ValidationError: 1 validation error for TorchLlmArgs\n{key}\n  Extra inputs are not permitted [type=extra_forbidden, input_value={value}, input_type=int]"
            );
            std::process::exit(1);
        }
        flatten(&mut launch.values, &key.replace('_', "-"), &value);
    }
}

fn flatten(into: &mut BTreeMap<String, String>, key: &str, value: &Value) {
    match value {
        Value::Object(map) => {
            for (k, v) in map {
                flatten(into, &format!("{key}.{}", k.replace('_', "-")), v);
            }
        }
        Value::String(text) => drop(into.insert(key.to_owned(), text.clone())),
        other => drop(into.insert(key.to_owned(), other.to_string())),
    }
}
