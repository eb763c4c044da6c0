//! ShareGPT: chat-like lengths, from the data's own file or from the built-in table.

use super::WorkloadSpec;
use super::files::{estimate_tokens, text};
use crate::data::python_json;
use crate::error::{Error, Problem, Result};
use rand::RngExt;
use rand::seq::SliceRandom;
use rand_chacha::ChaCha8Rng;
use serde_json::Value;
use std::path::{Path, PathBuf};

/// Longest prompt, and longest prompt plus answer, that `vllm bench serve`'s filter keeps.
const MAX_PROMPT: u32 = 1024;
const MAX_TOTAL: u32 = 2048;
/// Shortest prompt and shortest answer that it keeps.
const MIN_LEN: u32 = 4;

/// Marginal quantiles (share of requests, length in tokens), linear between the knots.
///
/// What is known of the filtered data: lengths lie in 4..=1024 (prompt), at least 4 (answer) and at most 2048
/// together; 1000 prompts hold 215,312 to 217,393 prompt tokens and 201,847 answer tokens (published
/// `vllm bench serve` runs with the gpt-oss and Qwen3 tokenizers): means of about 217 and 201. Half of the first turns
/// are a line or two, a tail of pasted documents reaches the bound. The knots are a fit to these facts, not a
/// copy of the data; the tests hold the means.
const INPUT: &[(f64, f64)] = &[
    (0.0, 4.0),
    (0.10, 11.0),
    (0.25, 23.0),
    (0.40, 50.0),
    (0.50, 86.0),
    (0.60, 140.0),
    (0.70, 232.0),
    (0.80, 401.0),
    (0.90, 686.0),
    (0.96, 872.0),
    (1.0, 1024.0),
];
const OUTPUT: &[(f64, f64)] = &[
    (0.0, 4.0),
    (0.10, 14.0),
    (0.25, 50.0),
    (0.40, 106.0),
    (0.50, 152.0),
    (0.60, 205.0),
    (0.70, 265.0),
    (0.80, 344.0),
    (0.90, 446.0),
    (0.95, 524.0),
    (0.99, 716.0),
    (1.0, 960.0),
];

/// Length at share `u` of a marginal.
fn at(knots: &[(f64, f64)], u: f64) -> u32 {
    let above = knots.iter().position(|k| k.0 >= u).unwrap_or(knots.len() - 1).max(1);
    let ((x0, y0), (x1, y1)) = (knots[above - 1], knots[above]);
    (y0 + (y1 - y0) * (u - x0) / (x1 - x0)).round() as u32
}

/// `n` joint lengths from the built-in table. Each marginal is drawn by strata (one draw in each n-th of the
/// probability, in random order), so that every seed and every n has nearly the table's means; plain draws
/// would scatter the totals of 1000 requests by 4 %. Prompt and answer length are nearly uncorrelated in this
/// data; the only tie is the bound on their sum.
pub(super) fn table(spec: &WorkloadSpec, n: usize, rng: &mut ChaCha8Rng) -> Vec<(u32, u32)> {
    let inputs = strata(n, rng);
    let outputs = strata(n, rng);
    inputs
        .into_iter()
        .zip(outputs)
        .map(|(i, o)| {
            let input = at(INPUT, i).clamp(MIN_LEN, MAX_PROMPT);
            let drawn = at(OUTPUT, o).clamp(MIN_LEN, MAX_TOTAL - input);
            (input, spec.output_len.unwrap_or(drawn))
        })
        .collect()
}

/// One uniform draw in each of `n` equal parts of 0..1, shuffled.
fn strata(n: usize, rng: &mut ChaCha8Rng) -> Vec<f64> {
    let mut shares: Vec<f64> = (0..n).map(|k| (k as f64 + rng.random::<f64>()) / n as f64).collect();
    shares.shuffle(rng);
    shares
}

/// Data set on the hub and its file, as `vllm bench serve`'s documentation names them.
const HUB: (&str, &str) =
    ("anon8231489123/ShareGPT_Vicuna_unfiltered", "ShareGPT_V3_unfiltered_cleaned_split.json");

/// The real file in a hub cache: of the snapshot that was written last by name.
pub(super) fn cached(cache: &Path) -> Option<PathBuf> {
    let folder = cache.join(format!("datasets--{}", HUB.0.replace('/', "--"))).join("snapshots");
    let mut dirs: Vec<PathBuf> = std::fs::read_dir(folder).ok()?.flatten().map(|e| e.path()).collect();
    dirs.sort();
    dirs.into_iter().rev().map(|d| d.join(HUB.1)).find(|f| f.is_file())
}

/// The command that puts the real file into the hub's cache.
pub(super) fn download() -> String {
    format!("hf download --repo-type dataset {} {}", HUB.0, HUB.1)
}

/// The texts of a conversation's turns.
struct Conversation(Vec<String>);

/// The conversations of a file that can be read, and how many records are none.
struct Talks {
    good: Vec<Conversation>,
    odd: usize,
}

/// An array, or one record a line; a record that is no conversation is counted, not refused.
fn talks(text: &str) -> Result<Talks, String> {
    let records: Vec<Value> = match python_json::parse(text) {
        Ok(Value::Array(list)) => list,
        Ok(Value::Object(o)) => vec![Value::Object(o)],
        Ok(_) => return Err("it is one plain value".into()),
        Err(e) => {
            let line = |l: &str| python_json::parse(l).ok().filter(Value::is_object);
            let filled = text.lines().filter(|l| !l.trim().is_empty());
            filled
                .map(line)
                .collect::<Option<Vec<Value>>>()
                .filter(|l| !l.is_empty())
                .ok_or_else(|| e.to_string())?
        }
    };
    let total = records.len();
    let good: Vec<Conversation> = records.iter().filter_map(conversation).collect();
    Ok(Talks { odd: total - good.len(), good })
}

/// The turns under any of the names that this data goes by; None where there are none or one has no text.
fn conversation(record: &Value) -> Option<Conversation> {
    let turns = ["conversations", "conversation", "items", "messages"].iter().find_map(|k| record.get(k))?;
    let text = |turn: &Value| {
        let found = ["value", "text", "content"].iter().find_map(|k| turn.get(k))?;
        found.as_str().map(str::to_owned)
    };
    let texts: Option<Vec<String>> = turns.as_array()?.iter().map(text).collect();
    texts.filter(|t| !t.is_empty()).map(Conversation)
}

/// How many records of the file are left out, and why; None when none is.
pub(super) fn notes(spec: &WorkloadSpec, path: &str) -> Option<String> {
    let all = talks(&text(path).ok()?).ok()?;
    let total = all.good.len() + all.odd;
    let kept = all.good.into_iter().filter_map(|c| pick(c, spec.output_len)).count();
    let filtered = total - all.odd - kept;
    let mut said = Vec::new();
    if all.odd > 0 {
        said.push(format!("{} are no conversation (without turns, or a turn without text)", all.odd));
    }
    if filtered > 0 {
        said.push(format!(
            "{filtered} have no answer or lie outside of the length filter of `vllm bench serve`"
        ));
    }
    (!said.is_empty())
        .then(|| format!("{path}: {kept} of {total} records are used; skipped: {}", said.join(", ")))
}

/// Up to `n` (prompt, its tokens, answer's tokens) of a file in the data's format, in random order, by the filter
/// of `vllm bench serve`: the first two turns; prompt of 4 to 1024 tokens, answer of at least 4, at most 2048
/// together. With an `output_len` the answer is not looked at. Token counts are estimates until the server
/// answers; no conversation is used twice, so a short file gives fewer requests than asked for.
pub(super) fn read(
    spec: &WorkloadSpec,
    path: &str,
    n: usize,
    rng: &mut ChaCha8Rng,
) -> Result<Vec<(String, u32, u32)>> {
    let fail = |message: String, hint: &str| {
        Error::problems("the ShareGPT file cannot be used", vec![Problem::new(path, "", message).hint(hint)])
    };
    let Talks { good: mut all, odd } = talks(&text(path)?).map_err(|e| {
        fail(
            format!("not the ShareGPT format: {e}"),
            "an array of {\"conversations\": [{\"from\", \"value\"}, ...]}, or one such record a line",
        )
    })?;
    all.shuffle(rng);
    let total = all.len() + odd;
    let answered = all.iter().filter(|c| c.0.len() >= 2).count();
    let picked: Vec<(String, u32, u32)> =
        all.into_iter().filter_map(|c| pick(c, spec.output_len)).take(n).collect();
    if !picked.is_empty() {
        return Ok(picked);
    }
    Err(if answered == 0 {
        fail(
            format!("none of its {total} conversations has an answer, so there is no output length to plan"),
            "give one length for all, as in `sharegpt:FILE,output=200`, or use the built-in table: `sharegpt`",
        )
    } else {
        fail(
            format!(
                "none of its {total} conversations passes the filter (prompt 4 to 1024 tokens, answer at least 4)"
            ),
            "use another file, or the built-in table: `sharegpt`",
        )
    })
}

/// Prompt and lengths of a conversation that passes the filter.
fn pick(conversation: Conversation, output_len: Option<u32>) -> Option<(String, u32, u32)> {
    let mut turns = conversation.0.into_iter();
    let prompt = turns.next()?;
    let input = estimate_tokens(&prompt);
    let output = match output_len {
        Some(n) => n,
        None => estimate_tokens(&turns.next()?),
    };
    let answer_long_enough = output_len.is_some() || output >= MIN_LEN;
    let fits = (MIN_LEN..=MAX_PROMPT).contains(&input) && input + output <= MAX_TOTAL;
    (fits && answer_long_enough).then_some((prompt, input, output))
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{draft::rng, parse};

    #[test]
    fn the_table_has_the_published_means_and_bounds() {
        for (seed, n) in [(42, 1000), (0, 1000), (7, 20_000)] {
            let lengths = table(&parse("sharegpt").unwrap(), n, &mut rng(seed, 0));
            assert!(lengths.iter().all(|&(i, o)| (4..=1024).contains(&i) && o >= 4 && i + o <= 2048));
            let input = lengths.iter().map(|l| f64::from(l.0)).sum::<f64>() / n as f64;
            let output = lengths.iter().map(|l| f64::from(l.1)).sum::<f64>() / n as f64;
            assert!((input - 216.5).abs() < 2.0, "mean prompt {input}");
            assert!((output - 200.0).abs() < 3.0, "mean answer {output}");
        }
    }

    fn file(text: &str) -> (tempfile::NamedTempFile, WorkloadSpec) {
        let f = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(f.path(), text).unwrap();
        let spec = parse(&format!("sharegpt:{},n=10", f.path().display())).unwrap();
        (f, spec)
    }

    #[test]
    fn the_files_filter_is_that_of_the_known_tool() {
        let long = "word ".repeat(1100);
        let talk = |q: &str, a: &str| {
            format!(
                r#"{{"conversations":[{{"from":"human","value":"{q}"}},{{"from":"gpt","value":"{a}"}}]}}"#
            )
        };
        let text = format!(
            "[{},{},{},{},{}]",
            talk("tell me a story now", "there was once a king"),
            talk("hi", "there was once a king"),
            talk("tell me a story now", "no"),
            talk(&long, "there was once a king"),
            r#"{"conversations":[{"from":"human","value":"tell me a story now"}]}"#,
        );
        let (_f, spec) = file(&text);
        let requests = crate::workload::generate(&spec, 100).unwrap();
        assert_eq!(requests.len(), 1);
        assert_eq!((requests[0].input_tokens, requests[0].output_tokens), (5, 5));
    }

    #[test]
    fn a_file_without_answers_says_so() {
        let (_f, mut spec) = file(r#"[{"conversations":[{"from":"human","value":"tell me a story now"}]}]"#);
        let e = crate::workload::shapes(&spec).unwrap_err();
        assert!(e.to_string().contains("none of its 1 conversations has an answer"), "{e}");
        assert!(e.to_string().contains("output=200"), "{e}");
        spec.output_len = Some(50);
        assert_eq!(crate::workload::shapes(&spec).unwrap()[0].output_tokens, 50);
        let (_f, spec) = file("{");
        assert_eq!(crate::workload::shapes(&spec).unwrap_err().kind.exit_code(), 2);
    }
}
