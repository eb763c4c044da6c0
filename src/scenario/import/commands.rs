//! The commands that stand in a text above a printed table: which model was served, and by what.

use crate::launch::{Launch, split};

/// What the text above a table tells of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) model: Option<String>,
    /// The server's command, where there is exactly one.
    pub(super) server: Option<String>,
}

/// Reads the lines above a table; `before` is what was told above an earlier one, which holds where these tell nothing.
///
/// The model is that of the server, else that which the benchmark names. Commands that name several tell none.
pub(super) fn above(lines: &[&str], before: &Told) -> Told {
    let commands = logical(lines);
    let mut servers: Vec<(String, Launch)> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    for command in &commands {
        if is_benchmark(command) {
            asked.extend(named(command).filter(|m| is_name(m)));
        } else if starts_server(command) {
            let launch = Launch::parse(command);
            if launch.engine.is_some() && launch.model.as_deref().is_none_or(is_name) {
                servers.push((command.clone(), launch));
            }
        }
    }
    let mut models: Vec<String> = servers.iter().filter_map(|(_, l)| l.model.clone()).collect();
    if models.is_empty() {
        models = asked;
    }
    if servers.is_empty() && models.is_empty() {
        models.extend(lines.iter().rev().find_map(|l| stated(l)));
    }
    if servers.is_empty() && models.is_empty() {
        return before.clone();
    }
    models.dedup();
    let model = models.pop().filter(|_| models.is_empty());
    let server = match servers.as_slice() {
        [(command, _)] => Some(command.clone()),
        [] => before.server.clone().filter(|_| model == before.model),
        _ => None,
    };
    Told { model, server }
}

/// Lines as a shell joins them, without prompts and marks of lists; a line that begins with a dash goes on with a command.
fn logical(lines: &[&str]) -> Vec<String> {
    let mut out: Vec<String> = Vec::new();
    let mut open = false;
    for line in lines {
        let text = line.trim().trim_start_matches(['$', '>', '#', '%', '*']).trim_start().trim_matches('`');
        let goes_on = text.trim_end().ends_with('\\');
        let text = text.trim_end().trim_end_matches('\\').trim_end();
        let flag = text.strip_prefix("--").is_some_and(|t| t.starts_with(char::is_alphabetic));
        let continues = open || (flag && out.last().is_some_and(|l| !l.is_empty()));
        match out.last_mut() {
            Some(last) if continues => {
                last.push(' ');
                last.push_str(text);
            }
            _ => out.push(text.to_owned()),
        }
        open = goes_on;
    }
    out
}

fn is_benchmark(command: &str) -> bool {
    ["vllm bench ", "bench_serving", "benchmark_serving", "Namespace("].iter().any(|w| command.contains(w))
}

/// Words that begin a command which starts an engine.
const FIRST: [&str; 10] =
    ["vllm", "sglang", "trtllm-serve", "docker", "podman", "sudo", "nohup", "uv", "numactl", "srun"];
const SERVERS: [&str; 6] = [
    "vllm serve ",
    "vllm.entrypoints.",
    "sglang.launch_server",
    "sglang serve ",
    "trtllm-serve ",
    "vllm-openai",
];

/// Whether a line is a command, and no sentence that speaks of one.
fn starts_server(command: &str) -> bool {
    let first = command.split_whitespace().find(|w| !w.contains('=')).unwrap_or_default();
    let base = first.rsplit('/').next().unwrap_or_default();
    let begins = FIRST.contains(&base) || base.starts_with("python");
    begins && SERVERS.iter().any(|w| command.contains(w))
}

/// The model that a line states: `Model: org/name`, or a name of the hub and nothing else (a heading, a line of a list).
fn stated(line: &str) -> Option<String> {
    let plain = |t: &str| t.trim_matches(|c: char| c.is_whitespace() || "#>*-`|:：".contains(c)).to_owned();
    let (name, value) =
        line.split_once([':', '：']).map_or((String::new(), plain(line)), |p| (plain(p.0), plain(p.1)));
    let named = name.is_empty() || name.to_lowercase().ends_with("model") || name.ends_with("模型");
    let mut parts = value.split('/');
    let part = |p: &str| {
        !p.is_empty()
            && p.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !p.starts_with('.')
    };
    let hub = parts.next().is_some_and(|o| part(o) && !o.contains('.')) && parts.next().is_some_and(part);
    // `input/output` and dates are no names: one of a model has a size or a release in it.
    let counted =
        value.contains(|c: char| c.is_ascii_digit()) && value.contains(|c: char| c.is_ascii_alphabetic());
    (named && hub && counted && parts.next().is_none()).then_some(value)
}

/// Whether a word is the name of a model, and not one of a sentence.
fn is_name(word: &str) -> bool {
    !word.contains(char::is_whitespace) && word.contains(|c: char| "/-_.".contains(c) || c.is_ascii_digit())
}

/// The model that a benchmark's command asks for, or that it prints with its settings.
fn named(command: &str) -> Option<String> {
    if let Some(settings) = command.split("Namespace(").nth(1) {
        let value = settings.split([',', '(']).find_map(|s| s.trim().strip_prefix("model='"))?;
        return Some(value.trim_end_matches('\'').to_owned()).filter(|m| !m.is_empty());
    }
    let words = split(command).0;
    let at = words.iter().position(|w| w == "--model" || w.starts_with("--model="))?;
    let value = match words[at].split_once('=') {
        Some((_, value)) => value.to_owned(),
        None => words.get(at + 1)?.clone(),
    };
    let known = !value.is_empty() && !value.starts_with(['-', '<']) && !value.contains(['$', '{']);
    known.then_some(value)
}

#[cfg(test)]
mod tests {
    use super::*;

    fn told(text: &str) -> (Option<String>, Option<String>) {
        let t = above(&text.lines().collect::<Vec<_>>(), &Told::default());
        (t.model, t.server)
    }

    fn own(text: &str) -> String {
        text.to_owned()
    }

    #[test]
    fn the_model_is_the_servers_else_the_benchmarks() {
        let server = "vllm serve org/m --max-num-seqs 4";
        let text = "It's a note.\n```\n$ vllm serve org/m \\\n    --max-num-seqs 4\n```\nvllm bench serve --model m --num-prompts 8";
        assert_eq!(told(text), (Some(own("org/m")), Some(own(server))));
        assert_eq!(
            told("# python benchmark_serving.py --model=org/m --backend vllm"),
            (Some(own("org/m")), None)
        );
        assert_eq!(told("vllm bench serve\n--backend vllm\n--model org/m"), (Some(own("org/m")), None));
        assert_eq!(
            told("Namespace(backend='vllm', model='org/m', tokenizer=None)"),
            (Some(own("org/m")), None)
        );
    }

    #[test]
    fn a_line_that_states_the_model() {
        assert_eq!(told("> **Model:** org/M-7B  \nwords"), (Some(own("org/M-7B")), None));
        assert_eq!(
            told("vllm bench serve --model M\norg/M-7B-FP8\n\n4 nodes (tp)"),
            (Some(own("org/M-7B-FP8")), None)
        );
        assert_eq!(told("Date: 2026/08/01\ninput/output\nratio: 8/2\nsee https://x.org/a1"), (None, None));
    }

    #[test]
    fn several_models_and_variables_tell_none() {
        assert_eq!(told("vllm serve o/a\nvllm serve o/b"), (None, None));
        assert_eq!(told("vllm serve o/a -tp 1\nvllm serve o/a -tp 2"), (Some(own("o/a")), None));
        assert_eq!(told("vllm bench serve --model $MODEL"), (None, None));
        assert_eq!(told("vllm serve and its benchmark\nWe ran vllm serve o/a"), (None, None));
        let before = Told { model: Some(own("o/a")), server: Some(own("vllm serve o/a")) };
        assert_eq!(above(&["words"], &before), before);
        assert_eq!(above(&["vllm bench serve --model o/a"], &before), before);
        let other = Told { model: Some(own("o/b")), server: None };
        assert_eq!(above(&["vllm bench serve --model o/b"], &before), other);
    }
}
