//! `dyno tune`: the main job.

use super::interrupt::on_each_interrupt;
use super::places::places;
use super::progress::Progress;
use crate::error::{Error, Kind, Result};
use crate::process;
use crate::scenario::write_private;
use crate::store::plan::Strategy;
use crate::store::{DirLock, Journal, Plan, RunFile, TrialLine, Verdict, read_run, run::SCHEMA, write_run};
use crate::tune::outcomes::failures_by_class;
use crate::tune::{
    Campaign, Cancel, Ended, Launcher, Outcome, PlannedSpaces, Runner, TrialLauncher, TuneRequest, standing,
};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Find the best serving command for a model on this hardware, and say why: launches engines with candidate
/// flags, measures them under load, confirms the winner against the defaults, writes a report.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dyno tune --model openai/gpt-oss-20b --workload sharegpt-lengths --workload medium --slo ttft.p99=2s --out run\n  dyno tune --model Qwen/Qwen3-8B --engine vllm,sglang --budget 3h --out run -- --max-model-len 8192\n  dyno tune plan.toml\n  dyno tune --resume run"
)]
pub(super) struct TuneArgs {
    /// File with any of the options below, by their names (`model = "..."`, `workload = ["...", "..."]`; `engine-args` for what
    /// stands after `--`); options on the command line win
    #[arg(value_name = "PLAN.toml")]
    pub(super) plan: Option<PathBuf>,
    /// Hub name such as openai/gpt-oss-20b, or a local directory
    #[arg(long)]
    model: Option<String>,
    /// vllm, sglang, trtllm or emulated; repeatable, or a comma list [default: vllm]
    #[arg(long)]
    engine: Vec<String>,
    /// sharegpt:FILE or sharegpt:cached (the real text), sharegpt-lengths (its lengths with random token ids), short, medium,
    /// long, very-long, random:IN/OUT, trace:FILE, custom:FILE or chat, each with
    /// `,n=500,seed=42,rate=inf,concurrency=256,scale=0.1,...`, or a weighted mixture of them such as
    /// `mix:0.7*sharegpt+0.3*random:2000/100,n=200`; repeatable: the first is tuned for, the others are checked [default: sharegpt-lengths, short, medium, long]
    #[arg(long)]
    workload: Vec<String>,
    /// total-throughput, output-throughput, request-throughput, goodput, or ttft, tpot, itl, e2e with .mean, .p50,
    /// .p90, .p95, .p99 [default: total-throughput]
    #[arg(long)]
    objective: Option<String>,
    /// Promises to keep, such as ttft.p99=500ms,tpot.p99=50ms
    #[arg(long)]
    slo: Vec<String>,
    /// Time for trials, such as 2h; what is needed for the confirmation is kept back
    #[arg(long)]
    budget: Option<String>,
    /// Most launches, the confirmation included
    #[arg(long)]
    max_trials: Option<u32>,
    /// Shifts the seeds of all workloads
    #[arg(long)]
    seed: Option<u64>,
    /// Directory for the record and the report; must not hold a record yet
    #[arg(long, required_unless_present_any = ["resume", "dry_run", "plan"], conflicts_with = "resume")]
    out: Option<PathBuf>,
    /// Go on with the campaign recorded in this directory
    #[arg(long, value_name = "DIR")]
    resume: Option<PathBuf>,
    /// Go on although the plan asked for differs from the recorded one; trials that still fit are kept
    #[arg(long, requires = "resume")]
    change_plan: bool,
    /// Launch again what failed: for causes that were mended since. Failures of the machine (a full disk, a limit on open
    /// files) and of a time limit that is longer now are launched again without it
    #[arg(long, requires = "resume")]
    retry_failed: bool,
    /// Hardware id (`dyno list hardware`) [default: what the driver says]
    #[arg(long)]
    hardware: Option<String>,
    /// GPUs a launch may use
    #[arg(long)]
    num_gpus: Option<u32>,
    /// Launches side by side, each on --num-gpus GPUs of its own [default: 1; with an executor, as many as it has room for]
    #[arg(long, value_name = "K")]
    parallel: Option<u32>,
    #[command(flatten)]
    executor: super::executor::ExecutorArgs,
    /// Directory with hardware/, models/, search-spaces/ that add to or replace the embedded ones
    #[arg(long)]
    data_dir: Option<String>,
    /// Longest request to serve, prompt and output, in tokens
    #[arg(long)]
    max_model_len: Option<u32>,
    /// Program that starts the engine, when it is not on PATH under its usual name
    #[arg(long, value_name = "CMD")]
    engine_command: Option<String>,
    #[command(flatten)]
    container: super::container::ContainerArgs,
    /// Runs in each launch of the baseline, and pairs in the confirmation [default: 3]
    #[arg(long)]
    repeats: Option<u32>,
    /// How candidates are chosen [default: model]
    #[arg(long, value_enum)]
    search: Option<SearchArg>,
    /// Turn only these flags (comma list, no dashes) [default: all that the search space holds]
    #[arg(long)]
    flags: Vec<String>,
    /// A TOML file with flags of your own to turn: `engine = "vllm"`, then for each `[[flag]]` with `name = "my-flag"` and
    /// `tune = [{ values = [1, 2] }]`; environment variables have names in capitals. Repeatable, one file an engine
    #[arg(long, value_name = "FILE")]
    space: Vec<String>,
    /// A serving command to try first, such as another tool's pick, or a recipe of the vLLM project (a file that ends in .yaml);
    /// repeatable
    #[arg(long = "try", value_name = "COMMAND|FILE")]
    tries: Vec<String>,
    /// Start from what an earlier campaign (its --out) learned: its launches where model, GPU, engine release, workload and
    /// objective are the same, else its winner alone; repeatable
    #[arg(long, value_name = "DIR")]
    prior: Vec<String>,
    /// What a flag may do to the answers: none (equal but for rounding), lossless (speculative decoding: the same
    /// distribution) or approximate (weights or KV cache in fewer bits) [default: lossless]
    #[arg(long, value_name = "CLASS")]
    allow_output_change: Option<String>,
    /// Other weights of the model to try as they are (FP8, AWQ, ...): a hub name or a local directory; repeatable
    #[arg(long, value_name = "NAME=MODEL")]
    variant: Vec<String>,
    /// Draft model or EAGLE head for speculative decoding
    #[arg(long, value_name = "MODEL")]
    draft_model: Option<String>,
    /// Questions with known answers, put to the baseline and to every candidate that may change answers: JSON lines with
    /// `question`, `answer` and, for a choice, `options` (MMLU-Pro's and GSM8K's form); paired, held against --max-quality-loss
    #[arg(long, value_name = "FILE.jsonl")]
    eval: Option<String>,
    /// What a candidate may lose before it is out: a token of the baseline's own answers of its probability, the right answers
    /// to --eval of their share [default: 1%]
    #[arg(long, value_name = "SHARE")]
    max_quality_loss: Option<String>,
    /// latency (mean end-to-end), throughput (total), balanced (output throughput within ttft.p99=2s,tpot.p99=50ms), or MLPerf's
    /// bounds such as mlperf:deepseek-r1:interactive (output throughput within its p99 of TTFT and TPOT)
    #[arg(long)]
    preset: Option<String>,
    /// Print what would be considered and about how many launches it takes, and launch nothing
    #[arg(long, conflicts_with = "resume")]
    pub(super) dry_run: bool,
    /// Time a launch may take until it is ready [default: 30m]
    #[arg(long)]
    ready_timeout: Option<String>,
    /// Time one measured run may take [default: 30m]
    #[arg(long)]
    run_timeout: Option<String>,
    #[command(flatten)]
    metrics: super::metrics::MetricsArgs,
    /// Print the recommendation as JSON on stdout, events as JSON lines on stderr
    #[arg(long)]
    json: bool,
    /// Engine flags for every launch
    #[arg(last = true)]
    fixed: Vec<String>,
}

#[derive(Debug, Clone, Copy, ValueEnum)]
enum SearchArg {
    /// Forecast the whole space on a calibrated cost model, launch in the order of expected gain
    Model,
    /// One flag at a time, the best together, neighbours
    OneFactor,
}

impl TuneArgs {
    /// The checked plan of a new campaign on this machine.
    pub(super) fn planned(&self) -> Result<Plan> {
        self.request(None).plan(detect)
    }

    /// The plan as far as it is known without a look at this machine.
    pub(super) fn checked(&self) -> Result<Plan> {
        self.request(None).plan(|| Ok("cpu".to_owned()))
    }

    /// The request; what was not said is taken from the recorded plan when there is one.
    fn request(&self, recorded: Option<&Plan>) -> TuneRequest {
        let old = recorded;
        let texts =
            |given: &[String], kept: Vec<String>| if given.is_empty() { kept } else { given.to_vec() };
        let secs = |s: f64| format!("{s}s");
        TuneRequest {
            model: self.model.clone().or_else(|| old.map(|p| p.model.clone())),
            engines: texts(
                &self.engine,
                old.map_or(Vec::new(), |p| p.engines.iter().map(ToString::to_string).collect()),
            ),
            workloads: texts(
                &self.workload,
                old.map_or(Vec::new(), |p| p.workloads.iter().map(|w| w.name.clone()).collect()),
            ),
            objective: self.objective.clone().or_else(|| old.map(|p| p.objective.to_string())),
            slo: texts(&self.slo, old.map_or(Vec::new(), |p| vec![p.slo.to_string()])),
            budget: self.budget.clone().or_else(|| old.and_then(|p| p.budget_s).map(secs)),
            max_trials: self.max_trials.or_else(|| old.and_then(|p| p.max_trials)),
            seed: self.seed.or_else(|| old.map(|p| p.seed)).unwrap_or(0),
            hardware: self.hardware.clone().or_else(|| old.map(|p| p.hardware.clone())),
            num_gpus: self.num_gpus.or_else(|| old.map(|p| p.num_gpus)).unwrap_or(1),
            in_flight: self.parallel.or_else(|| old.map(|p| p.in_flight)).unwrap_or(1),
            executor: self.executor.config(old.and_then(|p| p.executor.as_ref())),
            allow_output_change: self
                .allow_output_change
                .clone()
                .or_else(|| old.map(|p| p.allow_output_change.to_string())),
            variants: texts(&self.variant, old.map_or(Vec::new(), Plan::variant_texts)),
            draft_model: self.draft_model.clone().or_else(|| old.and_then(|p| p.draft_model.clone())),
            max_quality_loss: self
                .max_quality_loss
                .clone()
                .or_else(|| old.map(|p| p.max_quality_loss.to_string())),
            eval: self.eval.clone().or_else(|| old.and_then(|p| p.eval.clone())),
            preset: self.preset.clone(),
            data_dir: self.data_dir.clone().or_else(|| old.and_then(|p| p.data_dir.clone())),
            space_files: texts(&self.space, old.map_or(Vec::new(), |p| p.space_files.clone())),
            tries: texts(&self.tries, old.map_or(Vec::new(), |p| p.tries.clone())),
            prior: texts(&self.prior, old.map_or(Vec::new(), |p| p.prior.clone())),
            max_model_len: self.max_model_len.or_else(|| old.and_then(|p| p.max_model_len)),
            engine_command: self.engine_command.clone().or_else(|| old.and_then(recorded_command)),
            container: self.container.container(old.and_then(|p| p.container.as_ref())),
            repeats: self.repeats.or_else(|| old.map(|p| p.settings.repeats)).unwrap_or(3),
            strategy: match self.search {
                Some(SearchArg::OneFactor) => Strategy::OneFactor,
                Some(SearchArg::Model) => Strategy::Model,
                None => old.map_or(Strategy::Model, |p| p.strategy),
            },
            flags: texts(&self.flags, old.map_or(Vec::new(), |p| p.only_flags.clone())),
            ready_timeout: timeout(self.ready_timeout.as_ref(), old.map(|p| p.ready_timeout_s)),
            run_timeout: timeout(self.run_timeout.as_ref(), old.map(|p| p.run_timeout_s)),
            fixed_args: texts(&self.fixed, old.map_or(Vec::new(), |p| p.fixed_args.clone())),
        }
    }
}

/// The engine's command of a recorded plan, as one would type it.
fn recorded_command(plan: &Plan) -> Option<String> {
    let words = plan.engine_command.as_ref()?;
    Some(words.iter().map(|w| crate::launch::quote(w)).collect::<Vec<_>>().join(" "))
}

/// A time limit as it was said, as it is recorded, or the default.
fn timeout(said: Option<&String>, recorded: Option<f64>) -> String {
    said.cloned().or_else(|| recorded.map(|s| format!("{s}s"))).unwrap_or_else(|| "30m".into())
}

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
        dyno_version: env!("CARGO_PKG_VERSION").to_owned(),
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
