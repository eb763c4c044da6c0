//! `dyno report DIR`: the report written again from the record alone.

use crate::error::{Error, Result};
use crate::report::{Subject, html, markdown, recommendation};
use crate::scenario::write_whole;
use crate::store::{RunFile, TrialLine, Verdict, read_journal, read_run};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Write the report of a campaign again from its record.
#[derive(Debug, Args)]
pub(super) struct ReportArgs {
    /// Directory that `dyno tune --out` named
    dir: PathBuf,
    #[arg(long, value_enum, default_value = "md")]
    format: Format,
    /// File to write [default: DIR/report.md, report.html or recommendation.json]; `-` for standard output
    #[arg(long, short)]
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
    pub(super) sentence: String,
    pub(super) command: Option<String>,
    pub(super) json: Option<String>,
}

pub(super) fn run(args: &ReportArgs) -> Result<()> {
    let run = read_run(&args.dir)?;
    let contents = read_journal(&args.dir)?;
    let Some(verdict) = contents.verdict else {
        return Err(Error::failed("the campaign has not come to a conclusion yet")
            .at(args.dir.display())
            .hint(format!("go on with `dyno tune --resume {}`", args.dir.display())));
    };
    let subject = Subject { run: &run, trials: &contents.trials, verdict: &verdict };
    let (name, text) = match args.format {
        Format::Md => ("report.md", markdown(&subject)),
        Format::Html => ("report.html", html(&subject)?),
        Format::Json => ("recommendation.json", json_text(&subject).unwrap_or_else(|| "null\n".to_owned())),
    };
    match &args.out {
        Some(path) if path.as_os_str() == "-" => print(&text),
        Some(path) => write_whole(path, &text)?,
        None => write_whole(&args.dir.join(name), &text)?,
    }
    Ok(())
}

/// Writes every file of the report.
pub(super) fn write_all(
    dir: &Path,
    run: &RunFile,
    trials: &[TrialLine],
    verdict: &Verdict,
) -> Result<Written> {
    let subject = Subject { run, trials, verdict };
    write_whole(&dir.join("report.md"), &markdown(&subject))?;
    let json = json_text(&subject);
    if let Some(json) = &json {
        write_whole(&dir.join("recommendation.json"), json)?;
    }
    let command = verdict.compared.as_ref().and_then(|c| subject.command(&c.winner));
    Ok(Written { sentence: subject.sentence(), command, json })
}

fn json_text(subject: &Subject<'_>) -> Option<String> {
    let value = recommendation(subject)?;
    serde_json::to_string_pretty(&value).ok().map(|t| t + "\n")
}

/// The closing words of a finished campaign.
pub(super) fn print_conclusion(json: bool, dir: &Path, written: &Written) {
    if let (Some(text), true) = (&written.json, json) {
        return print(text);
    }
    let command = written.command.as_ref().map_or(String::new(), |c| format!("\n    {c}\n"));
    print(&format!("{}\n{command}\nReport: {}\n", written.sentence, dir.join("report.md").display()));
}

#[expect(clippy::print_stdout, reason = "the result is this command's output")]
fn print(text: &str) {
    print!("{text}");
}
