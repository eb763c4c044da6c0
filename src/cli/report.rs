//! `dyno report DIR`: the report written again from the record alone.

use super::analysis;
use crate::error::{Error, Result};
use crate::report::{Analysis, Subject, closing, recommendation, report};
use crate::scenario::{write_private, write_whole};
use crate::store::{RunFile, TrialLine, Verdict, read_journal, read_run};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Write the report of a campaign again from its record: report.md with its pictures, report.html, recommendation.json.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Directory that `dyno tune --out` named
    dir: PathBuf,
    /// One form only [default: all]
    #[arg(long, value_enum)]
    format: Option<Format>,
    /// File to write one form to; `-` for standard output
    #[arg(long, short, requires = "format")]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, PartialEq, Eq, ValueEnum)]
enum Format {
    Md,
    Html,
    Json,
}

/// What was written, for the closing words.
pub(super) struct Written {
    pub(super) closing: String,
    pub(super) json: Option<String>,
}

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let run = read_run(&args.dir)?;
    let contents = read_journal(&args.dir)?;
    for problem in &contents.passed_over {
        super::out::note(format_args!("passed over: {problem}"));
    }
    let Some(verdict) = contents.verdict else {
        return Err(Error::failed("the campaign has not come to a conclusion yet")
            .at(args.dir.display())
            .hint(format!("go on with `dyno tune --resume {}`", args.dir.display())));
    };
    let Some(format) = args.format else {
        write_all(&args.dir, &run, &contents.trials, &verdict)?;
        let names = "report.html, report.md with its pictures, recommendation.json";
        super::out::line(format!("written to {}: {names}", args.dir.display()));
        return Ok(());
    };
    let found = analysis_of(&args.dir, &run, &contents.trials, &verdict)?;
    let subject =
        Subject { run: &run, trials: &contents.trials, verdict: &verdict, analysis: found.as_ref() };
    let (name, text) = match format {
        Format::Md => ("report.md", report(&subject).markdown),
        Format::Html => ("report.html", report(&subject).html),
        Format::Json => ("recommendation.json", json_text(&subject).unwrap_or_else(|| "null\n".to_owned())),
    };
    let path = match &args.out {
        Some(path) if path.as_os_str() == "-" => {
            print(&text);
            return Ok(());
        }
        Some(path) => path.clone(),
        None => args.dir.join(name),
    };
    let write = if args.out.is_some() { write_whole } else { write_private };
    write(&path, text.trim_end())?;
    super::out::line(format!("written: {}", path.display()));
    Ok(())
}

fn analysis_of(
    dir: &Path,
    run: &RunFile,
    trials: &[TrialLine],
    verdict: &Verdict,
) -> Result<Option<Analysis>> {
    if let Some(found) = analysis::read(dir)? {
        return Ok(Some(found));
    }
    analysis::work_out(dir, &Subject { run, trials, verdict, analysis: None })
}

/// Writes every file of the report.
pub(super) fn write_all(
    dir: &Path,
    run: &RunFile,
    trials: &[TrialLine],
    verdict: &Verdict,
) -> Result<Written> {
    // The campaign itself knows the secrets of its flags; its report must not.
    let run = &run.without_secrets();
    let found = analysis_of(dir, run, trials, verdict)?;
    let subject = Subject { run, trials, verdict, analysis: found.as_ref() };
    let forms = report(&subject);
    for (name, picture) in &forms.pictures {
        write_private(&dir.join(name), picture.trim_end())?;
    }
    write_private(&dir.join("report.md"), forms.markdown.trim_end())?;
    write_private(&dir.join("report.html"), forms.html.trim_end())?;
    let json = json_text(&subject);
    if let Some(json) = &json {
        write_private(&dir.join("recommendation.json"), json.trim_end())?;
    }
    Ok(Written { closing: closing(&subject, &dir.display().to_string()), json })
}

fn json_text(subject: &Subject<'_>) -> Option<String> {
    let value = recommendation(subject)?;
    serde_json::to_string_pretty(&value).ok().map(|t| t + "\n")
}

/// The closing words of a finished campaign.
pub(super) fn print_conclusion(json: bool, written: &Written) {
    match (&written.json, json) {
        (Some(text), true) => print(text),
        _ => print(&written.closing),
    }
}

#[expect(clippy::print_stdout, reason = "the result is this command's output")]
fn print(text: &str) {
    print!("{text}");
}
