//! The same comparison over the embedded engine as a server: whole campaigns of `dyno tune`, by its command line.

use super::{
    Catalogs, Coefficients, Hidden, NOISE, Observed, Plan, SimForecaster, VERSION, hidden_factors, plan,
};
use llm_dyno::error::{Error, Result};
use llm_dyno::launch::{Candidate, EngineKind, FlagValue};
use serde_json::Value;
use std::path::Path;
use std::process::{Command, Stdio};
use std::sync::atomic::{AtomicU64, Ordering};

/// What is served, how, and where the records go.
#[derive(Clone, Copy)]
pub(super) struct Served<'a> {
    pub dir: &'a Path,
    /// Conversations at once: 60 take 10 s a run, long enough for the full batch to rule; more scatter less.
    pub requests: u32,
    /// Campaigns at a time.
    pub jobs: usize,
}

impl Served<'_> {
    fn workload(self) -> String {
        format!("sharegpt,n={}", self.requests)
    }
}

const STRATEGIES: [&str; 2] = ["one-factor", "model"];

/// What one campaign came to.
struct Campaign {
    /// Launches that searched: neither baseline nor confirmation.
    searched: usize,
    launches: usize,
    minutes: f64,
    /// What it recommends; the defaults when nothing was better.
    winner: Candidate,
    measured: f64,
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
pub(super) fn main(seeds: u64, served: Served<'_>) -> Result<()> {
    let dir = served.dir;
    std::fs::create_dir_all(dir).map_err(|e| Error::failed(format!("cannot make {}: {e}", dir.display())))?;
    let plan = plan(&served.workload())?;
    println!(
        "| Seed | One factor: search (all) launches | min | measured | true gain | Model: search (all) launches | min | measured | true gain | its choice |"
    );
    println!("|--:|--:|--:|--:|--:|--:|--:|--:|--:|---|");
    let (mut as_good, mut half) = (0, 0);
    run_all(seeds, served)?;
    for seed in 0..seeds {
        let [a, b] = STRATEGIES.map(|strategy| campaign(served, seed, strategy));
        let (a, b) = (a?, b?);
        let (gain_a, gain_b) = (true_gain(&plan, seed, &a.winner)?, true_gain(&plan, seed, &b.winner)?);
        as_good += u64::from(gain_b >= gain_a - NOISE);
        half += u64::from(2 * b.searched <= a.searched);
        let percent = |g: f64| 100.0 * g.exp_m1();
        println!(
            "| {seed} | {} ({}) | {:.1} | {:+.1} % | {:+.2} % | {} ({}) | {:.1} | {:+.1} % | {:+.2} % | `{}` |",
            a.searched,
            a.launches,
            a.minutes,
            100.0 * a.measured,
            percent(gain_a),
            b.searched,
            b.launches,
            b.minutes,
            100.0 * b.measured,
            percent(gain_b),
            b.winner.label()
        );
    }
    println!(
        "\nModel-guided at least as good: {as_good} of {seeds}; with at most half of the search's launches: {half} of {seeds}."
    );
    Ok(())
}

/// Runs the campaigns, so many at a time: the two of a seed side by side.
fn run_all(seeds: u64, served: Served<'_>) -> Result<()> {
    for seed in 0..seeds {
        write_factors(&served.dir.join(format!("{seed}.toml")), seed)?;
    }
    let next = AtomicU64::new(0);
    let one_after_another = || -> Result<()> {
        loop {
            let i = next.fetch_add(1, Ordering::Relaxed);
            if i >= 2 * seeds {
                return Ok(());
            }
            campaign(served, i / 2, STRATEGIES[(i % 2) as usize])?;
        }
    };
    std::thread::scope(|s| {
        let threads: Vec<_> = (0..served.jobs).map(|_| s.spawn(one_after_another)).collect();
        let panicked = || Err(Error::failed("a campaign panicked"));
        threads.into_iter().try_for_each(|t| t.join().unwrap_or_else(|_| panicked()))
    })
}

fn write_factors(path: &Path, seed: u64) -> Result<()> {
    let (factors, _) = hidden_factors(seed);
    let lines = Coefficients::NAMES.iter().zip(&factors).map(|(name, f)| format!("{name} = {}\n", f.exp()));
    std::fs::write(path, lines.collect::<String>())
        .map_err(|e| Error::failed(format!("cannot write {}: {e}", path.display())))
}

/// Runs `dyno tune` unless its recommendation is there already; goes on with a record that was cut off.
#[expect(clippy::disallowed_methods, reason = "a program beside dyno, which starts dyno itself")]
fn campaign(served: Served<'_>, seed: u64, strategy: &str) -> Result<Campaign> {
    let dir = served.dir;
    let factors = dir.join(format!("{seed}.toml"));
    let out = dir.join(format!("{seed}-{strategy}"));
    let recommendation = out.join("recommendation.json");
    if !recommendation.exists() {
        let mut command = Command::new(dyno()?);
        command.arg("tune");
        if out.join("trials.jsonl").exists() {
            command.arg("--resume").arg(&out);
        } else {
            command.args([
                "--model",
                "openai/gpt-oss-20b",
                "--engine",
                "emulated",
                "--hardware",
                "a100-sxm-80gb",
            ]);
            command.args(["--workload", &served.workload(), "--repeats", "2", "--search", strategy]);
            command.arg("--out").arg(&out);
            command.args(["--", "--emulate-version", VERSION, "--coefficients"]).arg(&factors);
        }
        let log = std::fs::File::create(dir.join(format!("{seed}-{strategy}.log")))
            .map_err(|e| Error::failed(format!("cannot write a log: {e}")))?;
        let status = command.stdout(Stdio::null()).stderr(log).status();
        if !status.is_ok_and(|s| s.success()) {
            return Err(Error::failed(format!(
                "the campaign {} failed: its log stands beside it",
                out.display()
            )));
        }
    }
    read_campaign(&out).ok_or_else(|| Error::failed(format!("cannot read the record in {}", out.display())))
}

fn dyno() -> Result<std::path::PathBuf> {
    let here = std::env::current_exe().ok();
    here.and_then(|p| Some(p.parent()?.parent()?.join("dyno")))
        .filter(|p| p.exists())
        .ok_or_else(|| Error::failed("dyno is not built: run `cargo build --release` first"))
}

fn read_campaign(out: &Path) -> Option<Campaign> {
    let recommendation: Value =
        serde_json::from_slice(&std::fs::read(out.join("recommendation.json")).ok()?).ok()?;
    let journal = std::fs::read_to_string(out.join("trials.jsonl")).ok()?;
    let stages: Vec<String> = journal
        .lines()
        .filter_map(|l| serde_json::from_str::<Value>(l).ok())
        .filter_map(|l| Some(l.get("stage")?.as_str()?.to_owned()))
        .collect();
    let mut winner = Candidate::baseline(EngineKind::Emulated);
    let improvement = recommendation.get("improvement");
    if improvement.and_then(|i| i.get("significant")?.as_bool()) == Some(true) {
        for flag in recommendation.get("flags")?.as_array()? {
            let value: FlagValue = serde_json::from_value(flag.get("value")?.clone()).ok()?;
            winner = winner.with(flag.get("flag")?.as_str()?, value);
        }
    }
    Some(Campaign {
        searched: stages.iter().filter(|s| !matches!(s.as_str(), "baseline" | "confirm")).count(),
        launches: stages.len(),
        minutes: recommendation.get("wall_time_s")?.as_f64()? / 60.0,
        winner,
        measured: improvement.and_then(|i| i.get("value")?.as_f64()).unwrap_or(0.0),
    })
}

/// What the choice gives on the hidden engine without any noise: log ratio against the defaults.
fn true_gain(plan: &Plan, seed: u64, winner: &Candidate) -> Result<f64> {
    let (factors, rng) = hidden_factors(seed);
    let catalogs = Catalogs::load(None)?;
    let observed = Observed::default();
    let engine = Hidden {
        plan,
        catalogs: &catalogs,
        scenarios: SimForecaster::new(
            plan,
            EngineKind::Emulated,
            Some(VERSION.to_owned()),
            observed.clone(),
        )?,
        coefficients: Coefficients::default().shifted(&factors),
        observed,
        rng,
        noise: NOISE,
        launches: 0,
    };
    let score = |c: &Candidate| engine.truth(c).unwrap_or(f64::NEG_INFINITY);
    Ok(score(winner) - score(&Candidate::baseline(EngineKind::Emulated)))
}
