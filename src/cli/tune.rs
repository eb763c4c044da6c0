//! `dyno tune`: the main job.

mod args;

pub(super) use args::TuneArgs;

use super::interrupt::on_each_interrupt;
use super::places::places;
use super::progress::Progress;
use crate::error::{Error, Kind, Result};
use crate::process;
use crate::scenario::write_private;
use crate::store::{DirLock, Journal, Plan, RunFile, TrialLine, Verdict, read_run, run::SCHEMA, write_run};
use crate::tune::outcomes::failures_by_class;
use crate::tune::{
    Campaign, Cancel, Ended, Launcher, Outcome, PlannedSpaces, Runner, TrialLauncher, standing,
};
use std::path::{Path, PathBuf};

/// The campaign, as the command line `invocation` asks for it.
pub(super) fn run(args: &TuneArgs, invocation: Vec<String>) -> Result<()> {
    if args.dry_run {
        return super::dry_run::show(&args.planned()?);
    }
    let (dir, run, lock) = match (&args.resume, &args.out) {
        (Some(dir), _) => resumed(args, dir)?,
        (None, Some(dir)) => begun(args, dir, invocation)?,
        (None, None) => return Err(Error::usage("--out is missing")),
    };
    let spaces = PlannedSpaces::new(&run.plan)?;
    let mut progress = Progress::new(args.json, &run.plan);
    if !args.json {
        for line in crate::report::opening(&run.plan, &dir.display().to_string()) {
            progress.say(&line);
        }
    }
    for said in crate::tune::spelling(&run.plan) {
        progress.say(&said);
    }
    args.metrics.start(|text| progress.say(text))?;
    for reaped in process::reap(&dir.join("trials")) {
        progress.say(&format!("ended what an earlier run left: {}", reaped.killed.join(", ")));
    }
    let record = Journal::resume(&dir, &run.run_id)?;
    for problem in &record.1.passed_over {
        progress.say(&format!("passed over: {problem}"));
    }
    let (journal, contents) = record;
    for line in &contents.apart {
        let why = line.apart.as_deref().unwrap_or_default();
        progress.say(&format!("trial {} stays in the record and is not compared: {why}", line.seq));
    }
    let mut standing = standing(contents.trials, &run.plan, args.retry_failed);
    if standing.again > 0 {
        progress.say(&format!("{} failed launches of the record are made again", standing.again));
    }
    standing.trials.extend(contents.apart);
    let outcome = conducted(&run, &dir, (journal, standing.trials), &spaces, &mut progress)?;
    progress.finish();
    drop(lock);
    if let Some(profile) = &outcome.profile {
        write_private(&dir.join("profile.toml"), &profile.to_toml()?)?;
    }
    conclude(args, &dir, &run, &outcome.ended, &outcome.trials)
}

/// The campaign itself, its trials made here or by the plan's executor.
fn conducted(
    run: &RunFile,
    dir: &Path,
    record: (Journal, Vec<TrialLine>),
    spaces: &PlannedSpaces,
    progress: &mut Progress,
) -> Result<Outcome> {
    let cancel = Cancel::default();
    let observer = progress.observer();
    let reached = super::executor::reached(&run.plan)?;
    let mut here = TrialLauncher { cancel: cancel.clone(), observer: &observer };
    let mut elsewhere = None;
    let launcher: &mut dyn Launcher = match &reached {
        None => &mut here,
        Some((executor, found)) => {
            progress.say(&format!("trials run on {}: {}", executor.name(), found.described));
            let launcher = super::executor::launcher(run, executor.as_ref(), cancel.clone(), &observer);
            for job in launcher.stop_left()? {
                progress.say(&format!("stopped what an earlier run left: job {job}"));
            }
            elsewhere.insert(launcher)
        }
    };
    stop_on_interrupt(&cancel, dir, progress)?;
    let mut runner =
        Runner::new(&run.plan, dir, record, launcher, progress, cancel).on_devices(places(&run.plan)?);
    if reached.as_ref().is_some_and(|(_, found)| found.on_one_node <= 1) {
        runner = runner.on_nodes_of_their_own();
    }
    Campaign { runner, spaces }.run()
}

/// A new campaign: everything is checked and the directory is made before anything is measured.
fn begun(args: &TuneArgs, dir: &Path, invocation: Vec<String>) -> Result<(PathBuf, RunFile, DirLock)> {
    let mut plan = args.planned()?;
    places(&plan)?;
    prepare(&mut plan, args.parallel.is_none())?;
    if dir.join("run.json").exists() {
        return Err(Error::usage("this directory already holds a campaign")
            .at(dir.display())
            .hint(format!("go on with `{}`, or choose another --out", resume_command(dir))));
    }
    std::fs::create_dir_all(dir.join("trials")).map_err(|e| {
        Error::usage("the output directory cannot be written")
            .at(dir.display())
            .source(e)
            .hint("choose another --out")
    })?;
    let lock = DirLock::acquire(dir)?;
    let created_unix_s = crate::host::unix_now();
    let run = RunFile {
        schema: SCHEMA,
        dyno_version: env!("DYNO_VERSION").to_owned(),
        run_id: format!("{:x}-{:x}", created_unix_s as u64, std::process::id()),
        created_unix_s,
        plan,
        invocation,
        machine: super::machine::facts(),
    };
    write_run(dir, &run)?;
    Ok((dir.to_owned(), run, lock))
}

/// What must be there before anything is measured: the executor with room for a launch, or the image on this machine. Where
/// nobody said how many launches go at once (`fill`), it is as many as there is room for.
fn prepare(plan: &mut Plan, fill: bool) -> Result<()> {
    match super::executor::reached(plan)? {
        Some((_, found)) if fill => plan.in_flight = found.launches.clamp(1, 64),
        Some(_) => {}
        None => super::container::prepare(plan.container.as_ref())?,
    }
    Ok(())
}

fn resumed(args: &TuneArgs, dir: &Path) -> Result<(PathBuf, RunFile, DirLock)> {
    let mut run = read_run(dir)?;
    let lock = DirLock::acquire(dir)?;
    let mut plan = args.request(Some(&run.plan)).plan(detect)?;
    plan.hardware_detected = run.plan.hardware_detected;
    if plan.lacks_secrets() {
        return Err(Error::usage("a flag of the recorded campaign holds a secret, which is not recorded")
            .at(dir.display())
            .hint("give the flags again after `--` (or --engine-command) with --resume, or put the secret into the environment"));
    }
    let differences = run.plan.differences(&plan.without_secrets());
    if !differences.is_empty() && !args.change_plan {
        let problems =
            differences.into_iter().map(|d| crate::error::Problem::new("--resume", "", d)).collect();
        return Err(Error::problems("the recorded campaign has another plan", problems)
            .at(dir.display())
            .hint("resume without options, say --change-plan, or begin anew with another --out"));
    }
    prepare(&mut plan, false)?;
    let changed = run.plan != plan.without_secrets();
    run.plan = plan;
    if changed {
        write_run(dir, &run)?;
    }
    Ok((dir.to_owned(), run, lock))
}

/// Hardware of this machine by the driver's word.
fn detect() -> crate::tune::request::Detected {
    crate::telemetry::detect()
        .and_then(|d| Ok(d.hardware(&crate::hardware::Catalog::load(None)?, 1)?.id.clone()))
        .map_err(|e| e.what)
}

/// The command line that can be given again: without a path to this program.
pub(super) fn invocation() -> Vec<String> {
    let mut words: Vec<String> = std::env::args().collect();
    if let Some(first) = words.first_mut() {
        "dyno".clone_into(first);
    }
    words
}

fn resume_command(dir: &Path) -> String {
    format!("dyno tune --resume {}", dir.display())
}

/// The first Ctrl-C or SIGTERM stops the engine in its own time, the second kills it.
fn stop_on_interrupt(cancel: &Cancel, dir: &Path, progress: &Progress) -> Result<()> {
    let (cancel, trials, say) = (cancel.clone(), dir.join("trials"), progress.speaker());
    on_each_interrupt(move || {
        if cancel.raise() {
            process::kill_leased(&trials);
        } else {
            say("stopping: the engine is being shut down; once more to kill it");
        }
    })
}

fn conclude(args: &TuneArgs, dir: &Path, run: &RunFile, ended: &Ended, trials: &[TrialLine]) -> Result<()> {
    let verdict: &Verdict = match ended {
        Ended::Finished(v) | Ended::Interrupted(v) | Ended::Infeasible(v) => v,
    };
    if !dir.join("run.json").exists() {
        // Somebody removed it in the meantime: without its plan nobody can read the record.
        write_run(dir, run)?;
    }
    let written = super::report::write_all(dir, run, trials, verdict)?;
    match ended {
        Ended::Interrupted(_) => Err(Error::new(
            Kind::Interrupted,
            format!("interrupted; the record of {} trials is safe", trials.len()),
        )
        .at(dir.display())
        .hint(format!("go on with: {}", resume_command(dir)))),
        Ended::Infeasible(_) => Err(infeasible(dir, run, trials)),
        Ended::Finished(_) => {
            super::report::print_conclusion(args.json, &written);
            Ok(())
        }
    }
}

fn infeasible(dir: &Path, run: &RunFile, trials: &[TrialLine]) -> Error {
    let problems = failures_by_class(trials, &run.plan)
        .into_iter()
        .map(|(class, n, why)| crate::error::Problem::new(class, format!("{n} launches"), why))
        .collect();
    Error { problems, ..Error::infeasible("every candidate failed: nothing is feasible") }
        .at(dir.join("trials").display())
        .hint("`dyno diagnose LOG` reads an engine's log; the report lists every failure")
}
