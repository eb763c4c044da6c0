//! `dyno compare A B`: is B worse than A by more than allowed?

use crate::error::{Error, Kind, Problem, Result};
use crate::report::compare::{Compared, Side, Verdict, compare, html, json, junit, markdown, text};
use crate::report::measured_runs;
use crate::scenario::{Key, Record, read_records, write_whole};
use crate::store::{read_journal, read_run};
use std::path::{Path, PathBuf};
use std::process::ExitCode;

/// Compare two campaigns, observation files or result files of other tools: PASS, FAIL or INCONCLUSIVE a metric.
///
/// A and B are campaign directories (the recommended command; `DIR@defaults` for the defaults of that campaign), files of
/// observations, result files of vllm bench serve, guidellm, aiperf and others, or directories of such files. Exit code 0
/// without a FAIL, 4 with one, 5 with --strict when nothing failed but something could not be told.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// What B is held against
    a: String,
    /// What is judged
    b: String,
    /// Share by which B may be worse, such as 5% or 0.05
    #[arg(long, default_value = "5%", value_parser = share)]
    max_regression: f64,
    /// Result keys to judge, such as p99_ttft_ms; repeatable, or a comma list [default: total throughput, mean and p99 TTFT,
    /// mean TPOT, p99 ITL, mean E2E]
    #[arg(long, value_delimiter = ',')]
    metric: Vec<String>,
    /// Exit with 5 when nothing failed but a metric could not be told
    #[arg(long)]
    strict: bool,
    /// Print JSON only
    #[arg(long)]
    json: bool,
    /// Also write JUnit XML to this file
    #[arg(long, value_name = "FILE")]
    junit: Option<PathBuf>,
    /// Also write Markdown to this file
    #[arg(long, value_name = "FILE")]
    markdown: Option<PathBuf>,
    /// Also write a page with a picture to this file
    #[arg(long, value_name = "FILE")]
    html: Option<PathBuf>,
    /// Also append Markdown to the summary of this GitHub Actions step (the file that $GITHUB_STEP_SUMMARY names)
    #[arg(long)]
    github_summary: bool,
}

/// What a reader asks of a change first; each matters to a user by itself.
const DEFAULT: [Key; 6] = [
    Key::TotalTokenThroughput,
    Key::MeanTtftMs,
    Key::P99TtftMs,
    Key::MeanTpotMs,
    Key::P99ItlMs,
    Key::MeanE2elMs,
];

fn share(text: &str) -> std::result::Result<f64, String> {
    let (number, scale) = match text.trim().strip_suffix('%') {
        Some(n) => (n.trim(), 0.01),
        None => (text.trim(), 1.0),
    };
    let value: f64 = number.parse().map_err(|_| format!("`{text}` is no share such as 5% or 0.05"))?;
    let value = value * scale;
    if (0.0..1.0).contains(&value) { Ok(value) } else { Err(format!("`{text}` is not between 0 and 100 %")) }
}

pub(super) fn run(args: &Args) -> Result<ExitCode> {
    let metrics = metrics(&args.metric)?;
    let mut problems = Vec::new();
    let mut side = |name: &str, text: &str| {
        read_side(text).unwrap_or_else(|e| {
            let inner = if e.problems.is_empty() {
                vec![Problem::new(
                    text,
                    "",
                    format!("{} ({name}){}", e.what, e.hint.map_or(String::new(), |h| format!(": {h}"))),
                )]
            } else {
                e.problems
            };
            problems.extend(inner);
            Side::default()
        })
    };
    let (a, b) = (side("A", &args.a), side("B", &args.b));
    if !problems.is_empty() {
        return Err(Error::problems("the two sides cannot be read", problems));
    }
    let compared = compare(&a, &b, &metrics, args.max_regression).map_err(|why| {
        Error::usage(why).hint(
            "figures of different loads say nothing of one another: measure both with the same workload",
        )
    })?;
    write_files(args, &compared)?;
    if args.json {
        super::out::line(serde_json::to_string_pretty(&json(&compared)).unwrap_or_default());
    } else {
        super::out::line(text(&compared).trim_end());
    }
    Ok(ExitCode::from(match compared.verdict() {
        Verdict::Fail => 4,
        Verdict::Inconclusive if args.strict => 5,
        Verdict::Pass | Verdict::Inconclusive => 0,
    }))
}

fn metrics(asked: &[String]) -> Result<Vec<Key>> {
    if asked.is_empty() {
        return Ok(DEFAULT.to_vec());
    }
    let mut found = Vec::new();
    let mut problems = Vec::new();
    for name in asked {
        match Key::from_name(name.trim()) {
            Some(k) => found.push(k),
            None => problems.push(
                Problem::new("--metric", name, "is no result key")
                    .hint("such as total_token_throughput, mean_ttft_ms, p99_itl_ms"),
            ),
        }
    }
    if problems.is_empty() { Ok(found) } else { Err(Error::problems("bad arguments", problems)) }
}

/// A campaign, a file of results, or a directory of such files.
fn read_side(text: &str) -> Result<Side> {
    let (path, defaults) = match text.strip_suffix("@defaults") {
        Some(dir) => (Path::new(dir), true),
        None => (Path::new(text), false),
    };
    let runs = if path.join("run.json").exists() {
        campaign(path, defaults)?
    } else if defaults {
        return Err(
            Error::usage("no campaign is recorded here").hint("@defaults goes with a campaign's directory")
        );
    } else if path.is_dir() {
        directory(path)?
    } else {
        read_records(path)?
    };
    let runs: Vec<Record> = runs.into_iter().filter(|r| r.result.is_some()).collect();
    if runs.is_empty() {
        return Err(Error::usage("holds no result")
            .hint("a campaign directory, observations, or result files of a load client"));
    }
    Ok(Side { name: text.to_owned(), runs })
}

/// Valid runs of the recommended command, or of the defaults: those of the confirmation, which took turns, where it took
/// place.
fn campaign(dir: &Path, defaults: bool) -> Result<Vec<Record>> {
    let run = read_run(dir)?;
    let journal = read_journal(dir)?;
    let compared = journal.verdict.as_ref().and_then(|v| v.compared.as_ref()).ok_or_else(|| {
        Error::new(Kind::Usage, "the campaign has no conclusion")
            .hint(format!("go on with `dyno tune --resume {}`", dir.display()))
    })?;
    let candidate = if defaults { &compared.baseline } else { &compared.winner };
    Ok(measured_runs(&run.plan, &journal.trials, candidate))
}

fn directory(dir: &Path) -> Result<Vec<Record>> {
    let entries = std::fs::read_dir(dir).map_err(|e| Error::usage("cannot be read").source(e))?;
    let mut files: Vec<PathBuf> =
        entries.flatten().map(|e| e.path()).filter(|p| p.extension().is_some_and(|e| e == "json")).collect();
    files.sort();
    let mut out = Vec::new();
    for f in files {
        out.extend(read_records(&f)?);
    }
    Ok(out)
}

fn write_files(args: &Args, c: &Compared) -> Result<()> {
    if let Some(path) = &args.junit {
        write_whole(path, junit(c).trim_end())?;
    }
    if let Some(path) = &args.markdown {
        write_whole(path, markdown(c).trim_end())?;
    }
    if let Some(path) = &args.html {
        write_whole(path, html(c).trim_end())?;
    }
    if args.github_summary {
        let path = std::env::var_os("GITHUB_STEP_SUMMARY").ok_or_else(|| {
            Error::usage("--github-summary needs the variable GITHUB_STEP_SUMMARY")
                .hint("GitHub Actions sets it in every step; elsewhere use --markdown FILE")
        })?;
        let append = || -> std::io::Result<()> {
            use std::io::Write as _;
            let mut f = std::fs::OpenOptions::new().create(true).append(true).open(&path)?;
            f.write_all(markdown(c).as_bytes())
        };
        append().map_err(|e| {
            Error::failed("the step summary cannot be written").at(Path::new(&path).display()).source(e)
        })?;
    }
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn shares_are_read_in_both_spellings() {
        assert_eq!((share("5%"), share("0.05"), share(" 2.5 %")), (Ok(0.05), Ok(0.05), Ok(0.025)));
        assert!(share("five").is_err() && share("500%").is_err() && share("-1%").is_err());
    }
}
