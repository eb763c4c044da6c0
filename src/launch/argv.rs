//! Flags as words of a command line, and words as flags.

use super::{Candidate, EngineKind, FlagValue, Launch, LaunchRequest};

/// One flag as argparse wants it: `--name`, `--no-name`, `--name value`, `--name a b c` for a list of
/// numbers.
pub fn flag_args(name: &str, value: &FlagValue) -> Vec<String> {
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
pub fn canonical_flag(arg: &str) -> Option<String> {
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
pub fn sets_any(request: &LaunchRequest<'_>, names: &[&str]) -> bool {
    let short = |a: &String| names.iter().any(|n| a == &format!("-{n}"));
    request.candidate.flags.keys().any(|f| names.contains(&f.replace('_', "-").as_str()))
        || request
            .fixed_args
            .iter()
            .any(|a| short(a) || canonical_flag(a).is_some_and(|f| names.contains(&f.as_str())))
}

/// The flags that every launch carries, as a candidate.
pub fn fixed_candidate(engine: EngineKind, args: &[String]) -> Candidate {
    let mut c = Candidate::baseline(engine);
    for (name, value) in Launch::from_argv(args).flags {
        let (name, value) = match (value, name.strip_prefix("no-")) {
            (None, Some(positive)) => (positive.to_owned(), FlagValue::Bool(false)),
            (None, None) => (name, FlagValue::Bool(true)),
            (Some(text), _) => (name, typed(text)),
        };
        c.flags.insert(name, value);
    }
    c
}

fn typed(text: String) -> FlagValue {
    match (text.parse::<i64>(), text.parse::<f64>()) {
        (Ok(i), _) => FlagValue::Int(i),
        (_, Ok(x)) => FlagValue::Float(x),
        _ => FlagValue::Text(text),
    }
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
        let c = Candidate::baseline(EngineKind::Vllm).with("enable-prefix-caching", FlagValue::Bool(true));
        let fixed = |a: &str| vec![a.to_owned()];
        assert_eq!(conflicts(&c, &fixed("--no-enable-prefix-caching")), ["enable-prefix-caching"]);
        assert_eq!(conflicts(&c, &fixed("--enable_prefix_caching=1")), ["enable-prefix-caching"]);
        assert!(conflicts(&c, &fixed("--max-model-len")).is_empty());
        let args = ["--port", "1", "--x", "--port=2"].map(str::to_owned);
        assert_eq!(fixed_value(&args, "port"), Some("2"));
        assert_eq!(fixed_value(&args[..2], "port"), Some("1"));
        assert_eq!(fixed_value(&args[..1], "port"), None);
    }

    #[test]
    fn words_of_a_command_line_become_a_candidate() {
        let args =
            ["--max-num-seqs", "64", "--no-enable-prefix-caching", "--dtype=auto", "--async-scheduling"];
        let c = fixed_candidate(EngineKind::Vllm, &args.map(str::to_owned));
        assert_eq!(c.label(), "--async-scheduling --dtype auto --no-enable-prefix-caching --max-num-seqs 64");
    }
}
