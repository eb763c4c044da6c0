//! `dyno export DIR`: the recommended command as text for the place where it will run.

use super::analysis;
use crate::error::{Error, Result};
use crate::report::Subject;
use crate::report::export::{Format, Place, export};
use crate::scenario::write_whole;
use crate::store::{read_journal, read_run};
use clap::ValueEnum;
use std::path::PathBuf;

/// Write a campaign's recommended command as container, Kubernetes or systemd text, or its runs as tables.
///
/// Program, flags, files, version and start-up time are those that were measured; only the address is added.
#[derive(Debug, clap::Args)]
pub(super) struct Args {
    /// Directory that `dyno tune --out` named
    dir: PathBuf,
    /// Form that is written
    #[arg(long, value_enum)]
    format: FormatArg,
    /// Container image [default: the engine's own, of the measured version]
    #[arg(long)]
    image: Option<String>,
    /// File to write [default: standard output]
    #[arg(long, short)]
    out: Option<PathBuf>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum FormatArg {
    /// The command for a shell
    Shell,
    /// `docker run`
    Docker,
    /// `podman run`
    Podman,
    /// compose.yaml
    Compose,
    /// Deployment and Service with probes from the measured start-up time
    Kubernetes,
    /// KServe InferenceService
    Kserve,
    /// Values of vLLM's production-stack chart
    Helm,
    /// vLLM's YAML of options, for `vllm serve --config`
    Recipe,
    /// A systemd unit
    Systemd,
    /// Parameters for `vllm bench sweep serve --serve-params`
    Sweep,
    /// llm-d's benchmark report (0.2.1) of the last run of the recommended command on the first workload
    LlmD,
    /// Every measured run as a row
    Csv,
}

pub(super) fn run(args: &Args) -> Result<()> {
    let run = read_run(&args.dir)?;
    let contents = read_journal(&args.dir)?;
    let verdict = contents.verdict.ok_or_else(|| {
        Error::usage("the campaign has not come to a conclusion yet")
            .at(args.dir.display())
            .hint(format!("go on with `dyno tune --resume {}`", args.dir.display()))
    })?;
    let found = analysis::read(&args.dir)?;
    let subject =
        Subject { run: &run, trials: &contents.trials, verdict: &verdict, analysis: found.as_ref() };
    let format = match args.format {
        FormatArg::Shell => Format::Shell,
        FormatArg::Docker => Format::Docker,
        FormatArg::Podman => Format::Podman,
        FormatArg::Compose => Format::Compose,
        FormatArg::Kubernetes => Format::Kubernetes,
        FormatArg::Kserve => Format::Kserve,
        FormatArg::Helm => Format::Helm,
        FormatArg::Recipe => Format::Recipe,
        FormatArg::Systemd => Format::Systemd,
        FormatArg::Sweep => Format::Sweep,
        FormatArg::LlmD => Format::LlmD,
        FormatArg::Csv => Format::Csv,
    };
    let place = Place { image: args.image.clone() };
    let text = export(&subject, format, &place).map_err(|why| {
        Error::usage(why).at(args.dir.display()).hint("`dyno report DIR` says what the campaign found")
    })?;
    if let Some(path) = &args.out {
        return write_whole(path, text.trim_end());
    }
    super::out::line(text.trim_end());
    Ok(())
}
