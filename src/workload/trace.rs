//! Traces: arrivals and lengths from a file.
//!
//! Known column layouts (CSV with a header line; JSON lines for Mooncake):
//! - generic: `arrival_s, input_tokens, output_tokens`
//! - Vidur: `arrived_at, num_prefill_tokens, num_decode_tokens` (seconds)
//! - Azure: `TIMESTAMP, ContextTokens, GeneratedTokens` (date and time)
//! - BurstGPT: `Timestamp, Model, Request tokens, Response tokens, ...` (seconds)
//! - Mooncake: `{"timestamp": ms, "input_length": n, "output_length": n, "hash_ids": [..]}` a line; an id stands for a
//!   block of 512 prompt tokens, equal ids for equal blocks

use super::{RequestRate, WorkloadSpec};
use crate::error::{Error, Problem, Result};
use crate::units::Nanos;

/// One request of a trace.
#[derive(Debug, Clone, PartialEq)]
pub(super) struct Entry {
    pub(super) arrival: Nanos,
    pub(super) input: u32,
    pub(super) output: u32,
    /// Ids of the prompt's blocks where the trace has them: equal ids are equal blocks.
    pub(super) hash_ids: Vec<u64>,
}

/// The same as it stands in the file, its time in seconds.
#[derive(Debug, Clone, PartialEq)]
struct Row {
    seconds: f64,
    input: u32,
    output: u32,
    hash_ids: Vec<u64>,
}

/// Tokens that one id of `hash_ids` stands for (Mooncake).
pub(super) const HASHED_BLOCK: u32 = 512;

/// Most problems of one file that are listed.
const SHOWN: usize = 20;

/// Where each figure stands, and how the time is written.
struct Columns {
    time: usize,
    input: usize,
    output: usize,
}

/// Header names of each layout, lower case.
const LAYOUTS: [(&str, &str, &str); 5] = [
    ("arrival_s", "input_tokens", "output_tokens"),
    ("arrived_at", "num_prefill_tokens", "num_decode_tokens"),
    ("timestamp", "contexttokens", "generatedtokens"),
    ("timestamp", "request tokens", "response tokens"),
    ("timestamp", "input_length", "output_length"),
];

/// The requests of the trace in order of arrival, the first at zero, at most `num_prompts` of them. A finite
/// `request_rate` stretches the clock so that the mean rate is that; `time_scale` multiplies it.
pub(super) fn read(spec: &WorkloadSpec, path: &str) -> Result<Vec<Entry>> {
    let text = super::files::text(path)?;
    let mut rows = parse(path, &text)?;
    rows.sort_by(|a, b| a.seconds.total_cmp(&b.seconds));
    if let Some(n) = spec.num_prompts {
        rows.truncate(n as usize);
    }
    let first = rows.first().map_or(0.0, |r| r.seconds);
    let span = rows.last().map_or(0.0, |r| r.seconds) - first;
    let mut scale = spec.time_scale.unwrap_or(1.0);
    if let RequestRate::PerSecond(rate) = spec.request_rate
        && span > 0.0
    {
        scale *= (rows.len() - 1) as f64 / rate / span;
    }
    let entry = |r: Row| Entry {
        arrival: Nanos::from_secs_f64((r.seconds - first) * scale),
        input: r.input,
        output: r.output,
        hash_ids: r.hash_ids,
    };
    Ok(rows.into_iter().map(entry).collect())
}

fn parse(path: &str, text: &str) -> Result<Vec<Row>> {
    let json = text.trim_start().starts_with('{');
    let mut lines = text.lines().zip(1..).filter(|(l, _)| !l.trim().is_empty());
    let columns = if json { None } else { Some(columns(path, lines.next().map_or("", |l| l.0))?) };
    let (mut rows, mut problems, mut bad) = (Vec::new(), Vec::new(), 0);
    for (line, number) in lines {
        let row = match &columns {
            Some(columns) => csv_row(line, columns),
            None => json_row(line),
        };
        match row {
            // A request without an answer is a failed one in these traces.
            Ok(row) if row.output == 0 => {}
            Ok(row) => rows.push(Row { input: row.input.max(1), ..row }),
            Err(message) => {
                bad += 1;
                if bad <= SHOWN {
                    problems.push(Problem::new(path, format!("line {number}"), message));
                }
            }
        }
    }
    if bad > SHOWN {
        problems.push(Problem::new(path, "", format!("and {} more lines like these", bad - SHOWN)));
    }
    if problems.is_empty() && rows.is_empty() {
        problems.push(Problem::new(path, "", "holds no request with an answer"));
    }
    if problems.is_empty() { Ok(rows) } else { Err(Error::problems("the trace cannot be read", problems)) }
}

fn columns(path: &str, header: &str) -> Result<Columns> {
    let names: Vec<String> = fields(header.trim_start_matches('\u{feff}')).map(str::to_lowercase).collect();
    let at = |name: &str| names.iter().position(|n| n == name);
    LAYOUTS
        .iter()
        .find_map(|(t, i, o)| Some(Columns { time: at(t)?, input: at(i)?, output: at(o)? }))
        .ok_or_else(|| {
            let known: Vec<String> = LAYOUTS.iter().map(|(t, i, o)| format!("{t}, {i}, {o}")).collect();
            Error::problems(
                "the trace cannot be read",
                vec![
                    Problem::new(
                        path,
                        "line 1",
                        format!("these columns are not known: {}", names.join(", ")),
                    )
                    .hint(format!("one of: {}", known.join("; "))),
                ],
            )
        })
}

fn fields(line: &str) -> impl Iterator<Item = &str> {
    line.split(',').map(|f| f.trim().trim_matches('"'))
}

fn csv_row(line: &str, columns: &Columns) -> Result<Row, String> {
    let cells: Vec<&str> = fields(line).collect();
    let cell = |i: usize| cells.get(i).copied().ok_or_else(|| format!("has only {} columns", cells.len()));
    let tokens = |text: &str| {
        text.parse::<f64>()
            .ok()
            .filter(|v| (0.0..=1e9).contains(v))
            .map(|v| v as u32)
            .ok_or_else(|| format!("`{text}` is not a number of tokens"))
    };
    let time = cell(columns.time)?;
    let seconds = seconds(time).ok_or_else(|| format!("`{time}` is neither seconds nor a date with time"))?;
    let (input, output) = (tokens(cell(columns.input)?)?, tokens(cell(columns.output)?)?);
    Ok(Row { seconds, input, output, hash_ids: Vec::new() })
}

fn json_row(line: &str) -> Result<Row, String> {
    #[derive(serde::Deserialize)]
    struct Mooncake {
        timestamp: f64,
        input_length: u32,
        output_length: u32,
        #[serde(default)]
        hash_ids: Vec<u64>,
    }
    let row: Mooncake = serde_json::from_str(line).map_err(|e| e.to_string())?;
    if !row.timestamp.is_finite() {
        return Err("the timestamp is not a number".into());
    }
    Ok(Row {
        seconds: row.timestamp / 1e3,
        input: row.input_length,
        output: row.output_length,
        hash_ids: row.hash_ids,
    })
}

/// Seconds, or `2023-11-16 18:15:46.6805900` (with T or a blank, fractions and a zone at will).
fn seconds(text: &str) -> Option<f64> {
    if let Ok(s) = text.parse::<f64>() {
        return s.is_finite().then_some(s);
    }
    let (date, time) = text.split_once([' ', 'T'])?;
    let mut date = date.splitn(3, '-').map(str::parse::<i64>);
    let (y, m, d) = (date.next()?.ok()?, date.next()?.ok()?, date.next()?.ok()?);
    let time = time.trim_end_matches('Z').split('+').next()?;
    let mut clock = time.splitn(3, ':');
    let (h, min) = (clock.next()?.parse::<f64>().ok()?, clock.next()?.parse::<f64>().ok()?);
    let s = clock.next().unwrap_or("0").parse::<f64>().ok()?;
    Some(days(y, m, d)? as f64 * 86_400.0 + h * 3600.0 + min * 60.0 + s)
}

/// Days since 1970 in the Gregorian calendar (Howard Hinnant's `days_from_civil`).
fn days(y: i64, m: i64, d: i64) -> Option<i64> {
    if !(1..=12).contains(&m) || !(1..=31).contains(&d) || !(1900..=2200).contains(&y) {
        return None;
    }
    let y = if m <= 2 { y - 1 } else { y };
    let era = y.div_euclid(400);
    let year = y.rem_euclid(400);
    let day = (153 * (m + if m > 2 { -3 } else { 9 }) + 2) / 5 + d - 1;
    Some(era * 146_097 + year * 365 + year / 4 - year / 100 + day - 719_468)
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::workload::{Dataset, shapes};

    fn file(text: &str) -> (tempfile::NamedTempFile, WorkloadSpec) {
        let f = tempfile::NamedTempFile::new().unwrap();
        std::fs::write(f.path(), text).unwrap();
        let mut spec = WorkloadSpec::empty(Dataset::Trace);
        spec.path = Some(f.path().display().to_string());
        (f, spec)
    }

    fn seen(text: &str) -> Vec<(f64, u32, u32)> {
        let (_f, spec) = file(text);
        shapes(&spec).unwrap().iter().map(|s| (s.arrival.secs(), s.input_tokens, s.output_tokens)).collect()
    }

    #[test]
    fn every_layout_reads() {
        let want = vec![(0.0, 374, 44), (4.5, 396, 109)];
        assert_eq!(seen("arrived_at,num_prefill_tokens,num_decode_tokens\n10,374,44\n14.5,396,109\n"), want);
        assert_eq!(seen("arrival_s,input_tokens,output_tokens\n14.5,396,109\n10,374,44\n"), want);
        assert_eq!(
            seen(
                "TIMESTAMP,ContextTokens,GeneratedTokens\n2023-12-31 23:59:58.5000000,374,44\n\
                 2024-01-01 00:00:03.0000000,396,109\n"
            ),
            want
        );
        let burst = "Timestamp,Model,Request tokens,Response tokens,Total tokens,Log Type\n\
                     5,ChatGPT,374,44,418,x\n7,GPT-4,10,0,10,x\n9.5,GPT-4,396,109,505,x\n";
        assert_eq!(seen(burst), want);
        let mooncake = "{\"timestamp\":27482,\"input_length\":374,\"output_length\":44,\"hash_ids\":[1]}\n\
                        {\"timestamp\":31982,\"input_length\":396,\"output_length\":109,\"hash_ids\":[]}\n";
        assert_eq!(seen(mooncake), want);
    }

    #[test]
    fn the_clock_can_be_scaled() {
        let (_f, mut spec) = file("arrival_s,input_tokens,output_tokens\n0,1,1\n1,1,1\n4,1,1\n");
        spec.time_scale = Some(0.5);
        assert_eq!(shapes(&spec).unwrap()[2].arrival, Nanos(2_000_000_000));
        spec.time_scale = None;
        spec.request_rate = RequestRate::PerSecond(4.0);
        assert_eq!(shapes(&spec).unwrap()[2].arrival, Nanos(500_000_000));
        spec.num_prompts = Some(2);
        assert_eq!(shapes(&spec).unwrap().len(), 2);
    }

    #[test]
    fn bad_lines_are_all_named() {
        let (_f, spec) = file("arrival_s,input_tokens,output_tokens\nx,1,1\n1,y,1\n2,1\n3,-1,1\n");
        let e = shapes(&spec).unwrap_err();
        assert_eq!(e.problems.len(), 4, "{e}");
        assert!(e.problems[0].key == "line 2" && e.problems[3].key == "line 5", "{e}");
        for text in ["", "a,b,c\n1,2,3\n", "arrival_s,input_tokens,output_tokens\n", "{\n"] {
            let (_f, spec) = file(text);
            assert_eq!(shapes(&spec).unwrap_err().kind.exit_code(), 2, "{text}");
        }
    }
}
