//! Custom requests, one JSON object a line.
//!
//! `prompt` (a text or an array of token ids) or `messages` ([{"role", "content"}]); `output_tokens` (also
//! `max_tokens` or `output_len`); optionally `input_tokens` and `arrival_s`. `dyno bench --save-requests` writes
//! this form, and `vllm bench serve`'s custom data set (`prompt` alone) is a case of it.

use super::files::{estimate_tokens, text};
use super::{PlannedRequest, Prompt, WorkloadSpec};
use crate::error::{Error, Problem, Result};
use crate::units::Nanos;
use serde::Deserialize;
use serde_json::json;

/// `vllm bench serve`'s `--custom-output-len` default.
const DEFAULT_OUTPUT: u32 = 256;
const SHOWN: usize = 20;

/// One request of the file.
pub(super) struct Entry {
    pub(super) arrival: Option<Nanos>,
    pub(super) prompt: Prompt,
    pub(super) input: u32,
    pub(super) output: u32,
}

#[derive(Deserialize)]
#[serde(untagged)]
enum RawPrompt {
    Text(String),
    Ids(Vec<u32>),
}

#[derive(Deserialize)]
struct Message {
    role: String,
    content: String,
}

#[derive(Deserialize)]
struct Line {
    prompt: Option<RawPrompt>,
    messages: Option<Vec<Message>>,
    #[serde(alias = "max_tokens", alias = "output_len")]
    output_tokens: Option<u32>,
    input_tokens: Option<u32>,
    arrival_s: Option<f64>,
}

/// The requests of the file, at most `num_prompts`; an `output_len` of the workload wins over the file's.
pub(super) fn read(spec: &WorkloadSpec, path: &str) -> Result<Vec<Entry>> {
    let text = text(path)?;
    let limit = spec.num_prompts.map_or(usize::MAX, |n| n as usize);
    let (mut entries, mut problems) = (Vec::new(), Vec::new());
    for (line, number) in text.lines().zip(1..).filter(|(l, _)| !l.trim().is_empty()).take(limit) {
        match entry(line, spec.output_len) {
            Ok(entry) => entries.push(entry),
            Err(message) => problems.push(Problem::new(path, format!("line {number}"), message)),
        }
    }
    if problems.is_empty() && entries.is_empty() {
        problems.push(Problem::new(path, "", "holds no request").hint("one JSON object a line"));
    }
    if problems.is_empty() {
        return Ok(entries);
    }
    let more = problems.len().saturating_sub(SHOWN);
    problems.truncate(SHOWN);
    if more > 0 {
        problems.push(Problem::new(path, "", format!("and {more} more lines like these")));
    }
    Err(Error::problems("the custom workload cannot be read", problems))
}

/// The requests one a line, in the form that [`read`] takes.
pub fn to_jsonl(requests: &[PlannedRequest]) -> String {
    let line = |r: &PlannedRequest| {
        let mut line = json!({"arrival_s": r.arrival.secs(), "input_tokens": r.input_tokens,
                              "output_tokens": r.output_tokens});
        match &r.prompt {
            Prompt::TokenIds(ids) => line["prompt"] = json!(ids),
            Prompt::Text(text) => line["prompt"] = json!(text),
            Prompt::Chat(turns) => {
                let messages = turns.iter().map(|(role, content)| json!({"role": role, "content": content}));
                line["messages"] = messages.collect();
            }
        }
        line.to_string()
    };
    requests.iter().map(line).collect::<Vec<_>>().join("\n")
}

fn entry(line: &str, output_len: Option<u32>) -> Result<Entry, String> {
    let line: Line = serde_json::from_str(line).map_err(|e| format!("not a request: {e}"))?;
    let (prompt, counted) = match (line.prompt, line.messages) {
        (Some(RawPrompt::Text(t)), None) => {
            let n = estimate_tokens(&t);
            (Prompt::Text(t), n)
        }
        (Some(RawPrompt::Ids(ids)), None) => {
            let n = ids.len() as u32;
            (Prompt::TokenIds(ids), n)
        }
        (None, Some(messages)) => {
            let turns: Vec<(String, String)> = messages.into_iter().map(|m| (m.role, m.content)).collect();
            // Role markers cost about four tokens a message.
            let n = turns.iter().map(|t| estimate_tokens(&t.1) + 4).sum();
            (Prompt::Chat(turns), n)
        }
        _ => return Err("needs either `prompt` or `messages`".into()),
    };
    if counted == 0 {
        return Err("the prompt is empty".into());
    }
    let output = output_len.or(line.output_tokens).unwrap_or(DEFAULT_OUTPUT);
    if output == 0 {
        return Err("output_tokens must be at least 1".into());
    }
    if line.arrival_s.is_some_and(|t| !(0.0..1e9).contains(&t)) {
        return Err("arrival_s must be a time in seconds from 0".into());
    }
    let input =
        if matches!(prompt, Prompt::TokenIds(_)) { counted } else { line.input_tokens.unwrap_or(counted) };
    Ok(Entry { arrival: line.arrival_s.map(Nanos::from_secs_f64), prompt, input, output })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Dataset, generate, shapes};

    fn spec(text: &str) -> (tempfile::NamedTempFile, WorkloadSpec) {
        let f = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(f.path(), text).unwrap();
        let mut spec = WorkloadSpec::empty(Dataset::Custom);
        spec.path = Some(f.path().display().to_string());
        (f, spec)
    }

    #[test]
    fn all_forms_read_and_arrivals_come_from_the_file() {
        let (_f, spec) = spec(
            "{\"prompt\":\"a b c\"}\n{\"prompt\":[5,6,7,8],\"max_tokens\":9,\"arrival_s\":1.5}\n\n\
             {\"messages\":[{\"role\":\"user\",\"content\":\"hi\"}],\"output_tokens\":3,\"arrival_s\":0.5}\n",
        );
        let requests = generate(&spec, 100).unwrap();
        let lengths: Vec<_> = requests.iter().map(|r| (r.input_tokens, r.output_tokens)).collect();
        assert_eq!(lengths, [(3, 256), (5, 3), (4, 9)]);
        assert_eq!(requests[2].prompt, Prompt::TokenIds(vec![5, 6, 7, 8]));
        assert_eq!(requests[2].arrival, Nanos(1_500_000_000));
    }

    #[test]
    fn bad_lines_are_all_named() {
        let (_f, spec) =
            spec("{\"prompt\":3}\n{}\nnope\n{\"prompt\":\"a\",\"output_tokens\":0}\n{\"prompt\":\"\"}\n");
        let e = shapes(&spec).unwrap_err();
        assert_eq!(e.problems.len(), 5, "{e}");
    }
}
