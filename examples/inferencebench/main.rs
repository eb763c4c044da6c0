//! InferenceBench's own search space as a landscape: eleven knobs of vLLM (92,160 combinations) on an emulated H100, its four
//! scenarios, Mistral-7B-Instruct-v0.3.
//!
//! `cargo run --release --example inferencebench [-- NUMBER] [--launches N] [--json]`; without N after 6, 12, 16 and 24.
//!
//! Number n is scenario n mod 4 on the hidden machine n / 4: every coefficient of the cost model scaled by a factor of its own between
//! 0.7 and 1.4, a chance of its own that a token of an n-gram holds (0.3 to 0.85), and attention backends that are faster or slower
//! by some percent, of which the model knows nothing. A launch's figure is the simulator's under these, with 1 % noise a launch and
//! 0.4 % a run. The best command is that of all combinations of the seven knobs with two or three values that physics ranks, then of
//! single steps from the best of them until none helps. `inferencebench serve` offers the same to other programs as
//! `landscapes serve` does, so that `scripts/compare-searches --program` holds TPE, SMAC and random search beside it.

mod machine;
mod serve;

use llm_dyno::error::Result;
use llm_dyno::launch::Candidate;
use llm_dyno::search::{Ask, Ledger, NoForecast, Runs, Search, Settings, Stage, singles};
use machine::{Engine, Task, forecaster};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use serde_json::json;

const BUDGETS: [usize; 4] = [6, 12, 16, 24];

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Guided,
    NoPhysics,
    OneFactor,
    Random,
}

impl Method {
    const ALL: [Method; 4] = [Method::Guided, Method::NoPhysics, Method::OneFactor, Method::Random];

    fn name(self) -> &'static str {
        match self {
            Method::Guided => "dyno",
            Method::NoPhysics => "dyno without physics",
            Method::OneFactor => "one factor",
            Method::Random => "random",
        }
    }
}

/// What is missing to the best after so many launches.
fn regret(task: &Task, most: usize, method: Method) -> Result<f64> {
    let mut ev = Engine::new(task, most);
    let base = machine::base();
    let settings = Settings { seed: task.number, ..Settings::default() };
    let mut ledger = Ledger::default();
    for launch in 0..2 {
        let ask = Ask { stage: Stage::Baseline, candidate: base.clone(), launch, runs: Runs::primary(0, 3) };
        ledger.run(&mut ev, &ask).map_err(machine::stopped)?;
    }
    let mut physics = forecaster(task, ev.observed())?;
    let space = task.space()?;
    let mut s = Search {
        evaluator: &mut ev,
        space: space.as_ref(),
        base: &base,
        ledger: &mut ledger,
        settings: &settings,
    };
    let winner = match method {
        Method::Guided => s.guided(&mut physics).map_err(machine::stopped)?.0,
        Method::NoPhysics => s.guided(&mut NoForecast).map_err(machine::stopped)?.0,
        Method::OneFactor => s.one_factor().map_err(machine::stopped)?,
        Method::Random => random(&mut s, task)?,
    };
    Ok(1.0 - (task.truth(&winner).unwrap_or(f64::NEG_INFINITY) - task.best()).exp())
}

/// Random candidates, each once; the best measured is chosen.
fn random(s: &mut Search<'_>, task: &Task) -> Result<Candidate> {
    let mut rng = ChaCha8Rng::seed_from_u64(task.number ^ 0x4d);
    for _ in 0..40.max(singles(s.space, s.base).len()) {
        if !s.evaluator.affordable() {
            break;
        }
        let set: Vec<usize> = task.knobs.iter().map(|k| rng.random_range(0..=k.values.len())).collect();
        let c = task.candidate(&set);
        if s.space.admits(&c) && !s.ledger.tried(&c) {
            let ask = Ask { stage: Stage::Search, candidate: c, launch: 0, runs: Runs::primary(0, 2) };
            s.ledger.run(s.evaluator, &ask).map_err(machine::stopped)?;
        }
    }
    Ok(s.ledger.best(s.base, s.settings).map_or_else(|| s.base.clone(), |(c, _)| c))
}

#[expect(clippy::print_stdout, reason = "the table is what this program is for")]
fn main() -> Result<()> {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "serve") {
        return serve::main();
    }
    let number: u64 = args.first().and_then(|a| a.parse().ok()).unwrap_or(8);
    let as_json = args.iter().any(|a| a == "--json");
    let tasks = (0..number).map(Task::new).collect::<Result<Vec<Task>>>()?;
    if !as_json {
        for t in &tasks {
            let (best, gain) = t.summit();
            println!(
                "{} ({}): best {:+.1} % by `{}`",
                t.number,
                t.name,
                100.0 * (gain - t.level()).exp_m1(),
                best.label()
            );
        }
        println!(
            "\n| method | launches | regret by scenario A, B, C, D | median of all |\n|---|--:|---|--:|"
        );
    }
    for method in Method::ALL {
        for most in budgets(&args) {
            let regrets = tasks.iter().map(|t| regret(t, most, method)).collect::<Result<Vec<f64>>>()?;
            if as_json {
                println!(
                    "{}",
                    json!({ "noise": "1 %", "method": method.name(), "budget": most, "regrets": regrets })
                );
            } else {
                let of = |k: usize| median(regrets.iter().copied().skip(k).step_by(4).collect());
                let each: Vec<String> =
                    (0..4.min(tasks.len())).map(|k| format!("{:.1} %", 100.0 * of(k))).collect();
                println!(
                    "| {} | {most} | {} | {:.1} % |",
                    method.name(),
                    each.join(", "),
                    100.0 * median(regrets)
                );
            }
        }
    }
    Ok(())
}

fn budgets(args: &[String]) -> Vec<usize> {
    let said = args.iter().position(|a| a == "--launches").and_then(|at| args.get(at + 1)?.parse().ok());
    said.map_or(BUDGETS.to_vec(), |n| vec![n])
}

fn median(mut all: Vec<f64>) -> f64 {
    all.sort_by(f64::total_cmp);
    all.get(all.len() / 2).copied().unwrap_or(f64::NAN)
}
