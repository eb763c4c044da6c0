//! What `dyno tune` can be told, in groups, and the request that it makes of them.

use crate::error::Result;
use crate::store::Plan;
use crate::store::plan::Strategy;
use crate::tune::TuneRequest;
use clap::{Args, ValueEnum};
use std::path::PathBuf;

/// Groups of the options in `--help`.
const GOAL: &str = "Load and goal";
const RECORD: &str = "Record and budget";
const MACHINE: &str = "Machine and launches";
const SEARCH: &str = "Search";
const ANSWERS: &str = "Answers of the model";

/// Find the best serving command for a model on this hardware, and say why
///
/// Launches engines with candidate flags, measures them under load, confirms the winner against the defaults, writes a report.
#[derive(Debug, Args)]
#[command(
    after_help = "Examples:\n  dyno tune --model openai/gpt-oss-20b --workload sharegpt-lengths --workload medium --slo ttft.p99=2s --out run\n  dyno tune --model Qwen/Qwen3-8B --engine vllm,sglang --budget 3h --out run -- --max-model-len 8192\n  dyno tune plan.toml\n  dyno tune --resume run"
)]
pub(in crate::cli) struct TuneArgs {
    /// File with any of the options below; options on the command line win
    ///
    /// By their names (`model = "..."`, `workload = ["...", "..."]`); `engine-args` for what stands after `--`.
    #[arg(value_name = "PLAN.toml")]
    pub(in crate::cli) plan: Option<PathBuf>,
    /// Hub name such as openai/gpt-oss-20b, or a local directory
    #[arg(long, value_name = "MODEL")]
    model: Option<String>,
    /// vllm, sglang, trtllm or emulated; repeatable, or a comma list [default: vllm]
    #[arg(long)]
    engine: Vec<String>,
    /// Longest request to serve, prompt and output, in tokens
    #[arg(long, value_name = "TOKENS")]
    max_model_len: Option<u32>,
    /// What is sent; repeatable: the first is tuned for, the others are checked [default: sharegpt-lengths, short, medium, long]
    ///
    /// sharegpt:FILE or sharegpt:cached (the real text), sharegpt-lengths (its lengths with random token ids), short, medium,
    /// long, very-long, random:IN/OUT, trace:FILE, custom:FILE or chat, each with
    /// `,n=500,seed=42,rate=inf,concurrency=256,scale=0.1,...`, or a weighted mixture of them such as
    /// `mix:0.7*sharegpt+0.3*random:2000/100,n=200`.
    #[arg(long, help_heading = GOAL)]
    workload: Vec<String>,
    /// What is to be as good as possible on the first workload [default: total-throughput]
    ///
    /// total-throughput, output-throughput, request-throughput, goodput, or ttft, tpot, itl, e2e with .mean, .p50, .p90, .p95, .p99.
    #[arg(long, help_heading = GOAL)]
    objective: Option<String>,
    /// Promises to keep, such as ttft.p99=500ms,tpot.p99=50ms
    #[arg(long, help_heading = GOAL)]
    slo: Vec<String>,
    /// Objective and SLO by one name: latency, throughput, balanced, mlperf:MODEL:SCENARIO
    ///
    /// latency (mean end-to-end), throughput (total), balanced (output throughput within ttft.p99=2s,tpot.p99=50ms), or MLPerf's
    /// bounds such as mlperf:deepseek-r1:interactive (output throughput within its p99 of TTFT and TPOT).
    #[arg(long, help_heading = GOAL)]
    preset: Option<String>,
    /// Shifts the seeds of all workloads
    #[arg(long, help_heading = GOAL)]
    seed: Option<u64>,
    /// Directory for the record and the report; must not hold a record yet
    #[arg(long, value_name = "DIR", help_heading = RECORD, required_unless_present_any = ["resume", "dry_run", "plan"], conflicts_with = "resume")]
    pub(super) out: Option<PathBuf>,
    /// Time for trials, such as 2h; what is needed for the confirmation is kept back
    #[arg(long, value_name = "TIME", help_heading = RECORD)]
    budget: Option<String>,
    /// Most launches, the confirmation included
    #[arg(long, value_name = "N", help_heading = RECORD)]
    max_trials: Option<u32>,
    /// Print what would be considered and about how many launches it takes, and launch nothing
    #[arg(long, help_heading = RECORD, conflicts_with = "resume")]
    pub(in crate::cli) dry_run: bool,
    /// Go on with the campaign recorded in this directory
    #[arg(long, value_name = "DIR", help_heading = RECORD)]
    pub(super) resume: Option<PathBuf>,
    /// Go on although the plan asked for differs from the recorded one; trials that still fit are kept
    #[arg(long, help_heading = RECORD, requires = "resume")]
    pub(super) change_plan: bool,
    /// Launch again what failed: for causes that were mended since
    ///
    /// Failures of the machine (a full disk, a limit on open files) and of a time limit that is longer now are launched again
    /// without it.
    #[arg(long, help_heading = RECORD, requires = "resume")]
    pub(super) retry_failed: bool,
    /// Print the recommendation as JSON on stdout, events as JSON lines on stderr
    #[arg(long, help_heading = RECORD)]
    pub(super) json: bool,
    #[command(flatten, next_help_heading = RECORD)]
    pub(super) metrics: crate::cli::metrics::MetricsArgs,
    /// Hardware id (`dyno list hardware`) [default: what the driver says]
    #[arg(long, value_name = "ID", help_heading = MACHINE)]
    hardware: Option<String>,
    /// GPUs a launch may use
    #[arg(long, value_name = "N", help_heading = MACHINE)]
    num_gpus: Option<u32>,
    /// Launches side by side, each on --num-gpus GPUs of its own [default: 1; with an executor, as many as it has room for]
    #[arg(long, value_name = "K", help_heading = MACHINE)]
    pub(super) parallel: Option<u32>,
    /// Program that starts the engine, when it is not on PATH under its usual name
    #[arg(long, value_name = "CMD", help_heading = MACHINE)]
    engine_command: Option<String>,
    /// Time a launch may take until it is ready [default: 30m]
    #[arg(long, value_name = "TIME", help_heading = MACHINE)]
    ready_timeout: Option<String>,
    /// Time one measured run may take [default: 30m]
    #[arg(long, value_name = "TIME", help_heading = MACHINE)]
    run_timeout: Option<String>,
    /// Directory with hardware/, models/, search-spaces/ that add to or replace the embedded ones
    #[arg(long, value_name = "DIR", help_heading = MACHINE)]
    data_dir: Option<String>,
    #[command(flatten, next_help_heading = "Trials elsewhere")]
    executor: crate::cli::executor::ExecutorArgs,
    #[command(flatten, next_help_heading = "Engine in a container")]
    container: crate::cli::container::ContainerArgs,
    /// Runs in each launch of the baseline, and pairs in the confirmation [default: 3]
    #[arg(long, value_name = "N", help_heading = SEARCH)]
    repeats: Option<u32>,
    /// How candidates are chosen [default: model]
    #[arg(long, value_enum, help_heading = SEARCH)]
    search: Option<SearchArg>,
    /// Turn only these flags (comma list, no dashes) [default: all that the search space holds]
    #[arg(long, help_heading = SEARCH)]
    flags: Vec<String>,
    /// A TOML file with flags of your own to turn; repeatable, one file an engine
    ///
    /// `engine = "vllm"`, then for each `[[flag]]` with `name = "my-flag"` and `tune = [{ values = [1, 2] }]`; environment variables
    /// have names in capitals.
    #[arg(long, value_name = "FILE", help_heading = SEARCH)]
    space: Vec<String>,
    /// A serving command to try first, such as another tool's pick; repeatable
    ///
    /// Or a recipe of the vLLM project: a file that ends in .yaml.
    #[arg(long = "try", value_name = "COMMAND|FILE", help_heading = SEARCH)]
    tries: Vec<String>,
    /// Start from what an earlier campaign (its --out) learned; repeatable
    ///
    /// Its launches where model, GPU, engine release, workload and objective are the same, else its winner alone.
    #[arg(long, value_name = "DIR", help_heading = SEARCH)]
    prior: Vec<String>,
    /// Try so many copies of the engine, each on its share of --num-gpus (comma list), with the requests dealt out among them
    #[arg(long, value_name = "LIST", value_delimiter = ',', help_heading = SEARCH)]
    replicas: Vec<u32>,
    /// Nodes that one engine is laid over (comma list), the head first, which is this machine; the others are reached by ssh.
    /// `{node_rank}`, `{num_nodes}`, `{head_address}`, `{head_port}` and `{headless}` in the command and its flags are filled in
    #[arg(long, value_name = "HOSTS", value_delimiter = ',')]
    engine_nodes: Vec<String>,
    /// Command of the router before replicas, with `{urls}`, `{port}` and `{model}` in it [default: the measuring client sends to
    /// them in turn]
    #[arg(long, value_name = "COMMAND", help_heading = SEARCH)]
    router_command: Option<String>,
    /// What a flag may do to the answers: none, lossless or approximate [default: lossless]
    ///
    /// none: equal but for rounding; lossless: the same distribution (speculative decoding); approximate: weights or KV cache in
    /// fewer bits.
    #[arg(long, value_name = "CLASS", help_heading = ANSWERS)]
    allow_output_change: Option<String>,
    /// Other weights of the model to try as they are (FP8, AWQ, ...): a hub name or a local directory; repeatable
    #[arg(long, value_name = "NAME=MODEL", help_heading = ANSWERS)]
    variant: Vec<String>,
    /// Draft model or EAGLE head for speculative decoding
    #[arg(long, value_name = "MODEL", help_heading = ANSWERS)]
    draft_model: Option<String>,
    /// Questions with known answers, for the baseline and every candidate that may change answers
    ///
    /// JSON lines with `question`, `answer` and, for a choice, `options` (MMLU-Pro's and GSM8K's form); paired, held against
    /// --max-quality-loss.
    #[arg(long, value_name = "FILE.jsonl", help_heading = ANSWERS)]
    eval: Option<String>,
    /// What a candidate may lose before it is out [default: 1%]
    ///
    /// A token of the baseline's own answers of its probability, the right answers to --eval of their share.
    #[arg(long, value_name = "SHARE", help_heading = ANSWERS)]
    max_quality_loss: Option<String>,
    /// Engine flags for every launch
    #[arg(last = true, value_name = "ENGINE FLAGS")]
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
    pub(in crate::cli) fn planned(&self) -> Result<Plan> {
        self.request(None).plan(super::detect)
    }

    /// The plan as far as it is known without a look at this machine.
    pub(in crate::cli) fn checked(&self) -> Result<Plan> {
        self.request(None).plan(|| Ok("cpu".to_owned()))
    }

    /// Numbers of replicas to try.
    fn copies(&self, old: Option<&Plan>) -> Vec<u32> {
        let said = !self.replicas.is_empty();
        old.filter(|_| !said).map_or_else(|| self.replicas.clone(), |p| p.replicas.clone())
    }

    /// Words of the router's command.
    fn router(&self, old: Option<&Plan>) -> Option<Vec<String>> {
        let said = self.router_command.as_deref().map(|line| crate::launch::split(line).0);
        said.or_else(|| old.and_then(|p| p.router.clone()))
    }

    /// The request; what was not said is taken from the recorded plan when there is one.
    pub(super) fn request(&self, recorded: Option<&Plan>) -> TuneRequest {
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
            replicas: self.copies(old),
            nodes: texts(&self.engine_nodes, old.map_or(Vec::new(), |p| p.nodes.clone())),
            ssh_options: self.ssh_of_nodes(old),
            router: self.router(old),
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

impl TuneArgs {
    /// Words for the ssh that reaches an engine's nodes; those of an executor are its own.
    fn ssh_of_nodes(&self, old: Option<&Plan>) -> Vec<String> {
        let elsewhere = self.executor.config(old.and_then(|p| p.executor.as_ref())).is_some();
        let own = self.executor.ssh_words();
        let recorded = || old.map_or(Vec::new(), |p| p.ssh_options.clone());
        match (elsewhere, own.is_empty()) {
            (true, _) => Vec::new(),
            (false, true) => recorded(),
            (false, false) => own,
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
