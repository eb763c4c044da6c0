//! From the text of a file to its values: JSON (also as Python writes it), JSON lines, YAML, CSV, a printed table.

use super::commands::{self, Told};
use super::content::Content;
use super::{
    drawn, evalscope, guidellm_console, inference_benchmarker, llmperf, printed, stat_lines, table,
    trtllm_bench,
};
use crate::data::python_json;
use crate::error::Problem;
use serde_json::Value;

/// The values of a text; the form is told by the file's ending and by the text itself.
pub(in crate::scenario) fn read(file: &str, text: &str) -> Result<Content, Problem> {
    let ending = file.rsplit('.').next().unwrap_or_default().to_ascii_lowercase();
    let text = text.trim_start_matches('\u{feff}');
    match ending.as_str() {
        "yaml" | "yml" => yaml(file, text),
        "csv" | "tsv" => table::read(file, text, if ending == "tsv" { b'\t' } else { b',' }),
        _ => json(file, text, &ending),
    }
}

fn json(file: &str, text: &str, ending: &str) -> Result<Content, Problem> {
    let error = match python_json::parse(text) {
        Ok(value) if ending == "jsonl" && value.is_object() => return Ok(Content::Many(vec![(1, value)])),
        Ok(value) => return Ok(Content::One(value)),
        Err(e) => e,
    };
    if let Some(values) = lines(text) {
        return Ok(Content::Many(values));
    }
    if let Some(values) = printed::read(text) {
        return Ok(Content::Many(values));
    }
    if let Some(found) = drawn_or_printed(file, text)? {
        return Ok(found);
    }
    let other = match drawn::python(text) {
        (Some(found), _) => return Ok(found),
        (None, other) => other,
    };
    if text.contains(printed::TITLE) {
        let what = format!("its block `{}` holds no figure that is known", printed::TITLE);
        return Err(Problem::new(file, "", what).hint(
            "lines such as `Mean TTFT (ms): 70.1`, as `vllm bench serve` and sglang.bench_serving print them",
        ));
    }
    if let Some(what) = other {
        return Err(Problem::new(file, "", what)
            .hint("a row of InferenceX has `hw`, `tp`, `conc` and `tput_per_gpu`"));
    }
    if matches!(ending, "txt" | "log" | "out" | "md") {
        return Err(Problem::new(file, "", format!("is no JSON and holds no block `{}`", printed::TITLE))
            .hint("the printed table of `vllm bench serve` or sglang.bench_serving, or a result file"));
    }
    let place = format!("line {} column {}", error.line(), error.column());
    Err(Problem::new(file, place, format!("not JSON: {error}")))
}

/// What tools and people print and draw in a text; None where nothing of it is known.
///
/// Errors: nothing is read, and the latencies of a table have no unit.
fn drawn_or_printed(file: &str, text: &str) -> Result<Option<Content>, Problem> {
    let lines: Vec<&str> = text.lines().collect();
    let told = |above: usize| commands::above(&lines[..above], &Told::default());
    let found = evalscope::find(text).map(Content::One).or_else(|| trtllm_bench::printed(text));
    let found = found.or_else(|| drawn::values(text)).or_else(|| drawn::boxed(file, text));
    let found = found.or_else(|| inference_benchmarker::read(text)).or_else(|| guidellm_console::read(text));
    if let Some(found) = found.or_else(|| llmperf::printed(text)) {
        return Ok(Some(found));
    }
    match drawn::markdown(file, text, told) {
        Ok(None) => Ok(stat_lines::read(text)),
        Err(why) => stat_lines::read(text).map(Some).ok_or(why),
        found => found,
    }
}

/// One JSON value a line (JSON lines). None where the first line is no whole value; a later line that is broken
/// makes the file a broken one, not another form.
fn lines(text: &str) -> Option<Vec<(usize, Value)>> {
    let filled = text.lines().zip(1..).filter(|(l, _)| !l.trim().is_empty());
    let values: Option<Vec<(usize, Value)>> =
        filled.map(|(line, n)| Some((n, python_json::parse(line).ok().filter(Value::is_object)?))).collect();
    // `--append-result` of some releases writes indented objects one behind the other.
    values.filter(|v| !v.is_empty()).or_else(|| stream(text))
}

/// Values that follow each other without a separator.
fn stream(text: &str) -> Option<Vec<(usize, Value)>> {
    let values: Result<Vec<Value>, _> = serde_json::Deserializer::from_str(text).into_iter().collect();
    let values = values.ok().filter(|v| v.len() > 1 && v.iter().all(Value::is_object))?;
    Some(values.into_iter().zip(1..).map(|(v, n)| (n, v)).collect())
}

fn yaml(file: &str, text: &str) -> Result<Content, Problem> {
    // `.inf` and `.nan` stand for a value that is not known, as in Python's JSON; they become null.
    let options = serde_saphyr::options! {
        non_finite_float_policy: serde_saphyr::options::NonFiniteFloatPolicy::PassThrough,
    };
    serde_saphyr::from_str_with_options(text, options).map(Content::One).map_err(|e| {
        let first = e.to_string();
        Problem::new(file, "", format!("not YAML: {}", first.lines().next().unwrap_or_default()))
    })
}
