//! The command line: one file a subcommand; arguments become a validated plan, the plan one call.
//! This is the only room that prints or exits.

mod analysis;
mod bench;
mod capacity;
mod check;
mod compare;
mod complete;
mod completion;
mod container;
mod diagnose;
mod doctor;
mod dry_run;
mod duration;
mod emulate;
mod executor;
mod explain;
mod export;
mod fit;
mod fit_steps;
mod flag_table;
mod interrupt;
mod list;
mod live;
mod machine;
mod metrics;
mod model;
mod out;
mod paced;
mod places;
mod plan_file;
mod predict;
mod prediction;
mod progress;
mod ramp;
mod report;
mod secrets;
mod server;
mod trial;
mod tune;

use crate::error::{Error, Kind, Result};
use clap::{Parser, Subcommand};
use std::process::ExitCode;

/// Engine dynamometer for LLM serving: which command to serve a model with, how much load it carries, and
/// why to believe it.
#[derive(Debug, Parser)]
#[command(
    name = "dyno",
    version = env!("DYNO_VERSION"),
    about,
    propagate_version = true,
    after_help = "Where to begin:\n  dyno doctor --model openai/gpt-oss-20b            what will work on this machine\n  dyno predict --model openai/gpt-oss-20b --hardware h100-sxm-80gb --workload random:2000/200,n=300,concurrency=64\n  dyno tune --model openai/gpt-oss-20b --workload sharegpt-lengths --out run\n\n`dyno COMMAND -h` has one line an option, `dyno COMMAND --help` all of it."
)]
struct Cli {
    /// Say nothing but results and errors
    #[arg(long, short, global = true, conflicts_with = "verbose")]
    quiet: bool,
    /// Say more: every step of a launch, and all causes of an error
    #[arg(long, short, global = true)]
    verbose: bool,
    #[command(subcommand)]
    command: Command,
}

#[derive(Debug, Subcommand)]
enum Command {
    Tune(Box<tune::TuneArgs>),
    Bench(Box<bench::BenchArgs>),
    Ramp(Box<ramp::RampArgs>),
    Predict(Box<predict::PredictArgs>),
    Capacity(Box<capacity::CapacityArgs>),
    Explain(explain::ExplainArgs),
    Fit(Box<fit::FitArgs>),
    Report(report::ReportArgs),
    Compare(Box<compare::Args>),
    Export(export::Args),
    Doctor(Box<doctor::Args>),
    /// Say what an engine's log of a failed or odd start means, and what to do next
    Diagnose(diagnose::Args),
    /// Check data files and files of scenarios or observations; every problem is named
    Check(Box<check::Args>),
    /// Show what is known: hardware, models, engines, search spaces
    List(list::Args),
    Model(model::ModelArgs),
    Emulate(emulate::EmulateArgs),
    /// Run one candidate in its own process and print the trial result
    Trial(trial::Args),
    /// Print a script that completes this command line in a shell
    Completions(complete::CompletionsArgs),
    /// Write the manual pages
    Man(complete::ManArgs),
    /// The known-timing server
    #[command(hide = true)]
    Paced(paced::PacedArgs),
    /// Ends an engine whose dyno has died; started by dyno itself
    #[command(hide = true, name = crate::process::guard::COMMAND)]
    Guard,
}

/// Parses the process's arguments, runs the command, renders an error on stderr.
pub fn main() -> ExitCode {
    let cli = match Cli::try_parse() {
        Ok(cli) => cli,
        Err(e) => {
            // Help and version are no errors; anything else is bad arguments.
            let code = if e.use_stderr() { Kind::Usage.exit_code() } else { 0 };
            let _ = e.print();
            return ExitCode::from(code);
        }
    };
    out::speak(cli.quiet, cli.verbose);
    // An engine started by this process is ended by a guard when the process can do so no more.
    if let Ok(program) = std::env::current_exe() {
        crate::process::guard::enable(program);
    }
    match run(cli) {
        Ok(_) if out::lost() => fail(&Error::failed("the result could not be written to standard output")),
        Ok(code) => code,
        Err(e) => fail(&e),
    }
}

fn run(cli: Cli) -> Result<ExitCode> {
    let done = match cli.command {
        // A verdict has exit codes of its own.
        Command::Compare(args) => return compare::run(&args),
        Command::Check(args) => check::run(*args),
        Command::List(args) => list::run(args),
        Command::Model(args) => model::run(&args),
        Command::Tune(args) => plan_file::run(&args),
        Command::Report(args) => report::run(&args),
        Command::Export(args) => export::run(&args),
        Command::Diagnose(args) => diagnose::run(args),
        Command::Doctor(args) => doctor::run(*args),
        Command::Trial(args) => trial::run(args),
        Command::Capacity(args) => capacity::run(*args),
        Command::Explain(args) => explain::run(args),
        Command::Emulate(args) => emulate::run(args),
        Command::Predict(args) => predict::run(*args),
        Command::Fit(args) => fit::run(*args),
        Command::Bench(args) => bench::run(*args),
        Command::Ramp(args) => ramp::run(*args),
        Command::Completions(args) => {
            complete::completions::<Cli>(&args);
            Ok(())
        }
        Command::Man(args) => complete::man::<Cli>(&args),
        Command::Paced(args) => paced::run(args),
        Command::Guard => {
            crate::process::guard_until_end(std::io::stdin().lock());
            Ok(())
        }
    };
    done.map(|()| ExitCode::SUCCESS)
}

fn fail(e: &Error) -> ExitCode {
    out::fault(format_args!("dyno: {e}"));
    if out::verbose() {
        let first = e.source.as_ref().and_then(|s| s.source());
        for cause in std::iter::successors(first, |e| e.source()) {
            out::fault(format_args!("  because: {cause}"));
        }
    }
    ExitCode::from(e.kind.exit_code())
}

#[cfg(test)]
mod tests {
    use super::Cli;
    use clap::CommandFactory;

    /// `dyno COMMAND -h` shows one line an option; an option without a word says nothing there.
    #[test]
    fn every_option_says_what_it_is() {
        let mut cli = Cli::command();
        cli.build();
        let commands = cli.get_subcommands().filter(|c| !c.is_hide_set());
        let mut bare: Vec<String> = Vec::new();
        for c in commands.flat_map(|c| std::iter::once(c).chain(c.get_subcommands())) {
            assert!(c.get_about().is_some(), "`dyno {}` says nothing of itself", c.get_name());
            let silent = c.get_arguments().filter(|a| a.get_help().is_none() && !a.is_hide_set());
            bare.extend(silent.map(|a| format!("{} {}", c.get_name(), a.get_id())));
        }
        assert!(bare.is_empty(), "{bare:?}");
    }
}
