//! The table of all methods on all landscapes, for a reader or for another program.

#![expect(clippy::print_stdout, reason = "the tables are what this program is for")]

use super::bench::{METHODS, Method, Run, Share, Task, Written, search};
use super::engine::{Half, NOISES, Noise, family_of, seed_of};
use super::landscape::{Family, Landscape};
use serde_json::json;

/// Launches in all, the two of the defaults included; the last: until the search itself ends.
const BUDGETS: [usize; 5] = [6, 12, 16, 24, FREE];
const FREE: usize = 10_000;

struct Options {
    args: Vec<String>,
}

impl Options {
    fn has(&self, what: &str) -> bool {
        self.args.iter().any(|a| a == what)
    }
    fn half(&self) -> Half {
        Half::of(&self.args)
    }
    fn number(&self) -> u64 {
        self.args.iter().find_map(|a| a.parse().ok()).unwrap_or(40)
    }
}

pub(crate) fn main(args: Vec<String>) {
    let o = Options { args };
    let task = |n: u64| {
        let land = Landscape::new(family_of(n), seed_of(n, o.half()));
        Task { best: land.best().1, land, seed: seed_of(n, o.half()) }
    };
    let tasks: Vec<Task> = (0..o.number()).map(task).collect();
    if !o.has("--json") {
        println!(
            "| noise | method | launches | median regret | mean | 90th | useless | wrong significant | intervals hold | mean width | blamed wrongly | suspected that start | failures | confirmed | regret of the command | mean | useless in it |"
        );
        println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|--:|");
    }
    for (name, noise) in NOISES {
        if o.has("--one") && name != "1 %" || o.has("--three") && name != "3 %, drift" {
            continue;
        }
        for method in METHODS.into_iter().filter(|m| !o.has("--guided") || *m == Method::Guided) {
            for most in BUDGETS {
                let runs: Vec<Run> = tasks.iter().map(|t| search(t, noise, most, method)).collect();
                if o.has("-v") && most == 16 && method == Method::Guided {
                    each(&tasks, &runs);
                }
                row(&o, name, method, most, &runs);
            }
        }
        nulls(&o, name, noise);
    }
}

fn each(tasks: &[Task], runs: &[Run]) {
    for (t, r) in tasks.iter().zip(runs) {
        println!(
            "{:?} best {:.3} regret {:.3} launches {} failures {} | {} || best {}",
            t.land.family,
            t.best,
            r.regret,
            r.launches,
            r.failures,
            r.label,
            t.land.candidate(&t.land.best().0).label()
        );
    }
}

fn row(o: &Options, noise: &str, method: Method, most: usize, runs: &[Run]) {
    let mut regrets: Vec<f64> = runs.iter().map(|r| r.regret).collect();
    let launches = mean(runs, |r| r.launches as f64);
    if o.has("--json") {
        let budget = if most == FREE { json!(null) } else { json!(most) };
        let line = json!({
            "noise": noise, "method": method.name(), "budget": budget, "launches": launches, "regrets": regrets,
        });
        println!("{line}");
        return;
    }
    regrets.sort_by(f64::total_cmp);
    let sum = |f: fn(&Run) -> Share| {
        let (a, b) = runs.iter().map(f).fold((0, 0), |(a, b), (x, y)| (a + x, b + y));
        format!("{a}/{b}")
    };
    let intervals: usize = runs.iter().map(|r| r.covered.1).sum();
    let width = runs.iter().map(|r| r.width).sum::<f64>() / intervals.max(1) as f64;
    println!(
        "| {noise} | {} | {} | {:.1} % | {:.1} % | {:.1} % | {} | {} | {} | {:.1} % | {} | {} | {:.1} | {} |",
        method.name(),
        if most == FREE { format!("free: {launches:.1}") } else { most.to_string() },
        100.0 * quantile(&regrets, 0.5),
        100.0 * mean(runs, |r| r.regret),
        100.0 * quantile(&regrets, 0.9),
        sum(|r| r.useless),
        sum(|r| r.significant),
        sum(|r| r.covered),
        100.0 * width,
        sum(|r| r.blamed),
        sum(|r| r.suspected),
        mean(runs, |r| r.failures as f64),
        of_the_command(runs),
    );
}

/// The cells on the command that a campaign writes; methods without a confirmation write none.
fn of_the_command(runs: &[Run]) -> String {
    let written: Option<Vec<&Written>> = runs.iter().map(|r| r.written.as_ref()).collect();
    let Some(written) = written else { return "– | – | – | –".to_owned() };
    let mut regrets: Vec<f64> = written.iter().map(|w| w.regret).collect();
    regrets.sort_by(f64::total_cmp);
    let useless = written.iter().fold((0, 0), |(a, b), w| (a + w.useless.0, b + w.useless.1));
    format!(
        "{} | {:.1} % | {:.1} % | {}/{}",
        written.iter().filter(|w| w.confirmed).count(),
        100.0 * quantile(&regrets, 0.5),
        100.0 * llm_dyno::stats::mean(&regrets),
        useless.0,
        useless.1
    )
}

fn nulls(o: &Options, name: &str, noise: Noise) {
    let run = |n: u64| {
        let seed = seed_of(500 + n, o.half());
        let task = Task { land: Landscape::new(Family::Null, seed), best: 0.0, seed };
        search(&task, noise, FREE, Method::Guided)
    };
    let runs: Vec<Run> = (0..20).map(run).collect();
    let (launches, kept) = (mean(&runs, |r| r.launches as f64), runs.iter().filter(|r| r.base).count());
    let written = runs.iter().filter(|r| r.written.as_ref().is_some_and(|w| !w.confirmed)).count();
    if o.has("--json") {
        println!(
            "{}",
            json!({ "noise": name, "nulls": 20, "kept": kept, "written": written, "launches": launches })
        );
    } else {
        println!(
            "| {name} | dyno, no effect anywhere | free: {launches:.1} | defaults kept in {kept} of 20 before the \
             confirmation, written in {written} of 20 after it |"
        );
    }
}

fn mean(runs: &[Run], f: impl Fn(&Run) -> f64) -> f64 {
    runs.iter().map(f).sum::<f64>() / runs.len().max(1) as f64
}

fn quantile(sorted: &[f64], q: f64) -> f64 {
    sorted.get((sorted.len() as f64 * q) as usize).copied().unwrap_or(f64::NAN)
}
