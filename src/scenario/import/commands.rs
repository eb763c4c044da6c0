//! The commands that stand in a text above a printed table: which model was served, and by what.

use crate::launch::{Launch, assignment, expanded, split};
use std::collections::BTreeMap;

/// What the text around a table tells of the run.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub(super) struct Told {
    pub(super) model: Option<String>,
    /// The server's command, where there is exactly one.
    pub(super) server: Option<String>,
    /// Requests in flight that the last benchmark's command asks for.
    pub(super) concurrency: Option<u32>,
    /// The client protocol that it asks for, which may be an engine's own.
    pub(super) backend: Option<String>,
    /// Requests that it sends.
    pub(super) requests: Option<u32>,
    /// Tokens of a prompt and of an answer that it asks for, or that a line states.
    pub(super) lengths: Option<(u32, u32)>,
}

/// Reads the lines above a table; `before` is what was told above an earlier one, which holds where these tell nothing.
///
/// The model is that of the server, else that which the benchmark names. Commands that name several tell none.
pub(super) fn above(lines: &[&str], before: &Told) -> Told {
    let variables = settings(lines);
    let mut servers: Vec<(String, Launch)> = Vec::new();
    let mut asked: Vec<String> = Vec::new();
    let mut load = Told::default();
    for command in logical(lines) {
        let command = expanded(behind_label(&command), &variables);
        if is_benchmark(&command) {
            asked.extend(named(&command).filter(|m| is_name(m)));
            load = asked_load(&command);
        } else if starts_server(&command) {
            let launch = Launch::parse(&command);
            if launch.engine.is_some() && launch.model.as_deref().is_none_or(is_name) {
                servers.push((command, launch));
            }
        }
    }
    load.concurrency = load.concurrency.or_else(|| lines.iter().rev().find_map(|l| stated_load(l)));
    load.lengths = load.lengths.or_else(|| lines.iter().rev().find_map(|l| stated_lengths(l)));
    let mut models: Vec<String> = servers.iter().filter_map(|(_, l)| l.model.clone()).collect();
    if models.is_empty() {
        models = asked;
    }
    if servers.is_empty() && models.is_empty() {
        models.extend(lines.iter().rev().find_map(|l| stated(l)).or_else(|| set(&variables)));
    }
    if servers.is_empty() && models.is_empty() {
        return Told { model: before.model.clone(), server: before.server.clone(), ..load };
    }
    models.dedup();
    let model = models.pop().filter(|_| models.is_empty());
    let server = match servers.as_slice() {
        [(command, _)] => Some(command.clone()),
        [] => before.server.clone().filter(|_| model == before.model),
        _ => None,
    };
    Told { model, server, ..load }
}

/// Variables that the lines set, each with the last value; a setting before a command counts too.
fn settings(lines: &[&str]) -> BTreeMap<String, String> {
    let mut all = BTreeMap::new();
    for line in lines.iter().filter(|l| l.contains('=')) {
        let words = split(line).0;
        let set = words.iter().skip_while(|w| ["export", "env", "$", ">"].contains(&w.as_str()));
        for (name, value) in set.map_while(|w| assignment(w)) {
            let value = expanded(value, &all);
            all.insert(name.to_owned(), value);
        }
    }
    all
}

/// The model that a variable holds by its name, where only one does.
fn set(variables: &BTreeMap<String, String>) -> Option<String> {
    const ENDS: [&str; 4] = ["MODEL", "MODEL_NAME", "MODEL_ID", "MODEL_PATH"];
    let mut found = variables
        .iter()
        .filter(|(name, value)| ENDS.iter().any(|e| name.to_uppercase().ends_with(e)) && is_hub_name(value))
        .map(|p| p.1);
    found.next().filter(|_| found.next().is_none()).cloned()
}

/// `server-command: vllm serve m`: a command behind its label.
fn behind_label(line: &str) -> &str {
    let Some((label, rest)) = line.split_once(": ") else { return line };
    let short = label.split_whitespace().count() <= 3 && !label.contains(['=', '/', '\'', '"']);
    let rest = rest.trim().trim_matches('`');
    if short && (starts_server(rest) || is_benchmark(rest)) { rest } else { line }
}

/// The words of the command that aiperf prints under its table, broken at the width of the terminal.
pub(super) fn below(lines: &[&str]) -> Told {
    let Some(at) = lines.iter().position(|l| l.trim().starts_with("CLI Command:")) else {
        return Told::default();
    };
    let label = |l: &&str| {
        let name = l.split(':').next().unwrap_or_default();
        l.contains(':') && !name.is_empty() && name.chars().all(|c| c.is_alphabetic() || c == ' ')
    };
    let more = lines[at + 1..].iter().take_while(|l| !l.trim().is_empty() && !label(l));
    let all: Vec<&str> = std::iter::once(&lines[at]).chain(more).map(|l| l.trim()).collect();
    above(&[&all.join(" ").replacen("CLI Command:", "", 1)], &Told::default())
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
        // A quote that is open goes on over lines, inside of a command that went on before.
        let quoted = |l: &String| continues && l.matches('\'').count() % 2 == 1;
        open = goes_on || out.last().is_some_and(quoted);
    }
    out
}

fn is_benchmark(command: &str) -> bool {
    const TOOLS: [&str; 10] = [
        "vllm bench ",
        "bench_serving",
        "benchmark_serving",
        SETTINGS,
        "genai-perf ",
        "aiperf profile",
        "guidellm benchmark",
        "token_benchmark_ray",
        "evalscope perf",
        "inference-benchmarker ",
    ];
    TOOLS.iter().any(|w| command.contains(w))
}

/// The value of a flag by any of its names: `--name value` or `--name=value`.
fn flag(words: &[String], names: &[&str]) -> Option<String> {
    words.iter().enumerate().find_map(|(i, w)| {
        let (name, own) = w.split_once('=').map_or((w.as_str(), None), |(n, v)| (n, Some(v.to_owned())));
        names.contains(&name).then(|| own.or_else(|| words.get(i + 1).cloned())).flatten()
    })
}

/// `--backend vllm`, or what the benchmark prints of it with its settings.
fn protocol(command: &str) -> Option<String> {
    if command.contains(SETTINGS) {
        setting(command, "backend")
    } else {
        flag(&split(command).0, &["--backend"])
    }
}

/// Before the settings that a benchmark of Python prints of itself.
const SETTINGS: &str = "Namespace(";

/// One of the settings that a benchmark prints: `Namespace(backend='vllm', model='org/m')`.
fn setting(command: &str, name: &str) -> Option<String> {
    let start = format!("{name}='");
    let settings = command.split(SETTINGS).nth(1)?;
    let value = settings.split([',', '(']).find_map(|s| s.trim().strip_prefix(start.as_str()))?;
    Some(value.trim_end_matches('\'').to_owned())
}

/// The load that a benchmark's command asks for.
fn asked_load(command: &str) -> Told {
    let words = split(command).0;
    let count = |names: &[&str]| flag(&words, names)?.parse().ok().filter(|n: &u32| *n > 0);
    let input = count(&["--random-input-len", "--synthetic-input-tokens-mean", "--isl"]);
    let output = count(&["--random-output-len", "--output-tokens-mean", "--osl"]);
    Told {
        concurrency: count(&[
            "--max-concurrency",
            "--concurrency",
            "--num-concurrent-requests",
            "--parallel",
        ]),
        backend: protocol(command),
        requests: count(&["--request-count", "--num-prompts"]),
        lengths: input.zip(output),
        ..Told::default()
    }
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

/// The lengths of drawn requests that a line states: `random 1024→1024`.
fn stated_lengths(line: &str) -> Option<(u32, u32)> {
    let words: Vec<&str> =
        line.split(|c: char| c.is_whitespace() || "`*(),;".contains(c)).filter(|w| !w.is_empty()).collect();
    let at = words.iter().position(|w| w.eq_ignore_ascii_case("random"))?;
    let (input, output) = words.get(at + 1)?.split_once('→').or_else(|| words[at + 1].split_once("->"))?;
    let length = |t: &str| t.parse::<u32>().ok().filter(|n| *n > 0);
    length(input).zip(length(output))
}

/// The requests in flight that a line states: `Concurrency: 32 max`, `…, max_concurrency=10`, `(…, max-concurrency 16)`.
fn stated_load(line: &str) -> Option<u32> {
    let whole = |t: &str| -> Option<u32> {
        let digits: String = t.trim_start().chars().take_while(char::is_ascii_digit).collect();
        let behind = t.trim_start()[digits.len()..].chars().next();
        digits.parse().ok().filter(|n| *n > 0 && !behind.is_some_and(|c| ".,/".contains(c)))
    };
    let plain: String = line.chars().filter(|c| !"*`#>".contains(*c)).collect();
    let label = plain.trim().trim_start_matches('-').split_once([':', '：']).filter(|(name, _)| {
        ["concurrency", "max concurrency", "maximum concurrency"]
            .contains(&name.trim().to_lowercase().as_str())
    });
    let setting = || {
        let names = ["max_concurrency=", "max-concurrency=", "max-concurrency ", "max_concurrency "];
        let rest = names.iter().find_map(|n| plain.split_once(n))?.1;
        // The end of a setting is a mark or a blank.
        whole(&rest.replace([',', ')', ';'], " "))
    };
    label.and_then(|(_, value)| whole(value)).or_else(setting)
}

/// The model that a line states: `Model: org/name`, or a name of the hub and nothing else (a heading, a line of a list).
fn stated(line: &str) -> Option<String> {
    let plain = |t: &str| t.trim_matches(|c: char| c.is_whitespace() || "#>*-`|:：".contains(c)).to_owned();
    // `Model: org/name`, or a row of a table of settings.
    let row = || line.trim().trim_matches('|').split_once('|').filter(|p| !p.1.contains('|'));
    let pair = line.split_once([':', '：']).or_else(row);
    let (name, value) = pair.map_or((String::new(), plain(line)), |p| (plain(p.0), plain(p.1)));
    let told = {
        let lower = name.to_lowercase();
        ["model", "model name", "model id", "model_id", "model_name", "模型"]
            .iter()
            .any(|e| lower.ends_with(e))
    };
    // Words in brackets behind the name describe it.
    let value = value.split(" (").next().unwrap_or_default().trim_matches(['`', '*', ' ']).to_owned();
    // `input/output` and dates are no names: one of a model has a size or a release in it.
    let counted =
        value.contains(|c: char| c.is_ascii_digit()) && value.contains(|c: char| c.is_ascii_alphabetic());
    // `Model: Llama 3.1 8B Instruct`: a name in words has its size or release in it.
    let in_words = told && counted && value.split_whitespace().count() <= 6 && is_words(&value);
    (is_hub_name(&value) && (told || (name.is_empty() && counted)) || in_words).then_some(value)
}

fn is_words(value: &str) -> bool {
    value.starts_with(|c: char| c.is_ascii_alphabetic())
        && value.chars().all(|c| c.is_ascii_alphanumeric() || "-_. ".contains(c))
}

/// `org/name`, and nothing else.
fn is_hub_name(value: &str) -> bool {
    let mut parts = value.split('/');
    let part = |p: &str| {
        !p.is_empty()
            && p.chars().all(|c| c.is_ascii_alphanumeric() || "-_.".contains(c))
            && !p.starts_with('.')
    };
    let hub = parts.next().is_some_and(|o| part(o) && !o.contains('.')) && parts.next().is_some_and(part);
    hub && parts.next().is_none() && value.contains(|c: char| c.is_ascii_alphabetic())
}

/// Whether a word is the name of a model, and not one of a sentence.
fn is_name(word: &str) -> bool {
    !word.contains(char::is_whitespace) && word.contains(|c: char| "/-_.".contains(c) || c.is_ascii_digit())
}

/// The model that a benchmark's command asks for, or that it prints with its settings.
fn named(command: &str) -> Option<String> {
    if command.contains(SETTINGS) {
        return setting(command, "model").filter(|m| !m.is_empty());
    }
    let words = split(command).0;
    // `-m` is the interpreter's before a module, and genai-perf's and aiperf's before a model.
    let short = ["genai-perf", "aiperf"].iter().any(|t| words.iter().any(|w| w.ends_with(t)));
    let names: &[&str] =
        if short { &["--model", "-m", "--model-names"] } else { &["--model", "--model-id", "--model-name"] };
    let value = flag(&words, names)?;
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
        let before = Told { model: Some(own("o/a")), server: Some(own("vllm serve o/a")), ..Told::default() };
        assert_eq!(above(&["words"], &before), before);
        assert_eq!(above(&["vllm bench serve --model o/a"], &before), before);
        let other = Told { model: Some(own("o/b")), ..Told::default() };
        assert_eq!(above(&["vllm bench serve --model o/b"], &before), other);
    }

    #[test]
    fn variables_labels_and_the_commands_of_other_tools() {
        let text = "A=1 \nexport MODEL=o/m-7B\npython3 -m vllm.entrypoints.openai.api_server --model $MODEL -tp 2\nvllm bench serve --model $MODEL";
        let server = "python3 -m vllm.entrypoints.openai.api_server --model o/m-7B -tp 2";
        assert_eq!(told(text), (Some(own("o/m-7B")), Some(own(server))));
        assert_eq!(
            told("`python3 -m sglang.bench_serving --backend sglang --model /d/m-7B/`").0,
            Some(own("/d/m-7B/"))
        );
        assert_eq!(told("server-command: vllm serve o/m").1, Some(own("vllm serve o/m")));
        assert_eq!(told("X_MODEL=o/m TP=1 modal run x.py").0, Some(own("o/m")));
        assert_eq!(told("A_MODEL=o/m B_MODEL=o/n modal run x.py").0, None);
        assert_eq!(told("**Model**: o/m-Instruct (1T MoE, FP8)").0, Some(own("o/m-Instruct")));
        assert_eq!(told("**Model:** Llama 3.1 8B Instruct").0, Some(own("Llama 3.1 8B Instruct")));
        assert_eq!(told("Note on the model: it has 8 layers, see below").0, None);
        let load = |text: &str| above(&text.lines().collect::<Vec<_>>(), &Told::default()).concurrency;
        assert_eq!(load("- **Concurrency**: 32 max concurrent requests"), Some(32));
        assert_eq!(load("settings: input_len=50000, max_concurrency=10, x=1"), Some(10));
        assert_eq!(load("(`bench` random 1024→1024, N=100, max-concurrency 16), v6e"), Some(16));
        assert_eq!((load("max-concurrency 16/32"), stated_lengths("random 1k→2k")), (None, None));
        assert_eq!(stated_lengths("A (`bench` random 1024->512, N=100)"), Some((1024, 512)));
        assert_eq!((load("Concurrency: 9.51"), load("Concurrency: 1, 2, 4")), (None, None));
        assert_eq!(told("| Model | `o/m-Instruct` |").0, Some(own("o/m-Instruct")));
        let perf = "genai-perf profile \\\n  -m o/m \\\n  --concurrency 10";
        let t = above(&perf.lines().collect::<Vec<_>>(), &Told::default());
        assert_eq!((t.model.as_deref(), t.concurrency), (Some("o/m"), Some(10)));
        let wrapped = "CLI Command: aiperf profile --model 'o/m' --url 'localhost:8000' --concurrency\n2\nBenchmark Duration: 15.81 sec";
        let t = below(&wrapped.lines().collect::<Vec<_>>());
        assert_eq!((t.model.as_deref(), t.concurrency), (Some("o/m"), Some(2)));
    }
}
