//! The search against others on seeded landscapes.

#![expect(clippy::print_stdout, reason = "the tables are what this program is for")]

use super::landscape::{Family, Landscape};
use llm_dyno::launch::{Candidate, EngineKind};
use llm_dyno::search::{
    Answer, Ask, Evaluator, FailedLaunch, Forecaster, Ledger, NoForecast, Runs, Sample, Search, Settings,
    Stage, Stop, singles,
};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rand_distr::{Distribution, Normal};

/// How a landscape is measured.
#[derive(Debug, Clone, Copy)]
struct Noise {
    launch: f64,
    run: f64,
    drift: f64,
}

/// An engine on a virtual clock.
struct Engine<'a> {
    land: &'a Landscape,
    noise: Noise,
    rng: ChaCha8Rng,
    launches: usize,
    most: usize,
    failures: usize,
}

impl<'a> Engine<'a> {
    fn new(land: &'a Landscape, noise: Noise, seed: u64, most: usize) -> Engine<'a> {
        let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0xe4617e);
        let up = if rng.random::<bool>() { 1.0 } else { -1.0 };
        Engine {
            land,
            noise: Noise { drift: noise.drift * up, ..noise },
            rng,
            launches: 0,
            most,
            failures: 0,
        }
    }
}

impl Evaluator for Engine<'_> {
    fn evaluate(&mut self, ask: &Ask) -> Result<Answer, Stop> {
        let at = self.launches as f64;
        self.launches += 1;
        let set = self.land.set(&ask.candidate);
        if let Some((class, root_cause)) = self.land.failure(&set) {
            self.failures += 1;
            let memory = class == "out-of-memory";
            let failure = FailedLaunch { class: class.to_owned(), root_cause, hint: String::new(), memory };
            return Ok(Answer { samples: Vec::new(), failure: Some(failure) });
        }
        let mut normal = |sd: f64| Normal::new(0.0, sd).unwrap().sample(&mut self.rng);
        let level =
            7.0 + self.land.gain(&set).unwrap_or(0.0) + self.noise.drift * at + normal(self.noise.launch);
        let repeats = ask.runs.first_repeat..ask.runs.first_repeat + ask.runs.repeats;
        let samples = repeats
            .map(|repeat| Sample {
                repeat,
                score: level + 0.05 * f64::from(repeat % 3) + normal(self.noise.run),
            })
            .collect();
        Ok(Answer { samples, failure: None })
    }
    fn affordable(&self) -> bool {
        self.launches < self.most
    }
    fn launches_left(&self) -> Option<usize> {
        (self.most < 1000).then(|| self.most.saturating_sub(self.launches))
    }
}

struct Physics<'a>(&'a Landscape);
impl Forecaster for Physics<'_> {
    fn score(&mut self, c: &Candidate) -> Option<f64> {
        Some(self.0.forecast(&self.0.set(c)))
    }
    fn learn(&mut self) -> bool {
        false
    }
}

#[derive(Debug, Clone, Copy, PartialEq, Eq)]
enum Method {
    Guided,
    NoPhysics,
    OneFactor,
    Random,
    Grid,
}

#[derive(Debug, Default, Clone)]
struct Run {
    regret: f64,
    launches: usize,
    failures: usize,
    covered: (usize, usize),
    significant: (usize, usize),
    useless: (usize, usize),
    base: bool,
    label: String,
}

fn search(land: &Landscape, best: f64, noise: Noise, seed: u64, most: usize, method: Method) -> Run {
    let mut ev = Engine::new(land, noise, seed, most);
    let base = Candidate::baseline(EngineKind::Emulated);
    let settings = Settings { seed, ..Settings::default() };
    let mut ledger = Ledger::default();
    for launch in 0..2 {
        let ask = Ask { stage: Stage::Baseline, candidate: base.clone(), launch, runs: Runs::primary(0, 3) };
        ledger.run(&mut ev, &ask).unwrap();
    }
    let mut physics = Physics(land);
    let mut s =
        Search { evaluator: &mut ev, space: land, base: &base, ledger: &mut ledger, settings: &settings };
    let winner = match method {
        Method::Guided => {
            let (winner, swept) = s.guided(&mut physics).unwrap();
            if std::env::var_os("LANDSCAPE_TRACE").is_some() {
                for f in &swept.launches {
                    println!(
                        "   {:+.3} ({:+.3}..{:+.3}) -> {:?} truth {:?} | {}",
                        f.predicted.value,
                        f.predicted.low,
                        f.predicted.high,
                        f.measured.map(|m| (m * 1e3).round() / 1e3),
                        land.gain(&land.set(&f.candidate)).map(|m| (m * 1e3).round() / 1e3),
                        f.candidate.label()
                    );
                }
                println!("   {:?} regret {:.3} -> {}", swept.ending, swept.regret, winner.label());
            }
            winner
        }
        Method::NoPhysics => s.guided(&mut NoForecast).unwrap().0,
        Method::OneFactor => s.one_factor().unwrap(),
        Method::Random | Method::Grid => enumerate(&mut s, land, seed, method),
    };
    let mut run = Run { base: winner == base, label: winner.label(), ..Run::default() };
    let gain = |c: &Candidate| land.gain(&land.set(c));
    run.regret = 1.0 - (gain(&winner).unwrap_or(0.0) - best).exp();
    if matches!(method, Method::Guided | Method::NoPhysics) {
        let e = s.estimates(&mut physics, &winner);
        for c in &e.candidates {
            let Some(truth) = gain(&c.candidate) else { continue };
            run.covered.1 += 1;
            run.covered.0 += usize::from(c.gain.low <= truth && truth <= c.gain.high);
        }
        for f in e.flags.values() {
            let Some(truth) = gain(&winner).zip(gain(&f.candidate)).map(|(a, b)| a - b) else { continue };
            run.covered.1 += 1;
            run.covered.0 += usize::from(f.gain.low <= truth && truth <= f.gain.high);
            run.useless.1 += 1;
            run.useless.0 += usize::from(truth < 0.001);
            if f.gain.low > 0.0 {
                run.significant.1 += 1;
                run.significant.0 += usize::from(truth <= 0.0);
            }
        }
    }
    run.launches = ev.launches;
    run.failures = ev.failures;
    run
}

/// Random candidates, or a grid's, each once; the best measured is chosen.
fn enumerate(s: &mut Search<'_>, land: &Landscape, seed: u64, method: Method) -> Candidate {
    let mut rng = ChaCha8Rng::seed_from_u64(seed ^ 0x4d);
    let mut n = 0usize;
    let alone = singles(land, s.base).len();
    while s.evaluator.affordable() && n < 40.max(alone) {
        let set: Vec<usize> = if method == Method::Random {
            land.knobs.iter().map(|k| rng.random_range(0..=k.values.len())).collect()
        } else {
            // The corners of the space in the order of a nested loop with a stride.
            let mut index = (n + 1) * (land.size() / 41).max(1);
            land.knobs
                .iter()
                .map(|k| {
                    let v = index % (k.values.len() + 1);
                    index /= k.values.len() + 1;
                    v
                })
                .collect()
        };
        n += 1;
        let c = land.candidate(&set);
        if land.allowed(&set) && !s.ledger.tried(&c) {
            let ask = Ask { stage: Stage::Search, candidate: c, launch: 0, runs: Runs::primary(0, 2) };
            s.ledger.run(s.evaluator, &ask).unwrap();
        }
    }
    s.ledger.best(s.base, s.settings).map_or_else(|| s.base.clone(), |(c, _)| c)
}

fn median(mut v: Vec<f64>) -> f64 {
    v.sort_by(f64::total_cmp);
    v.get(v.len() / 2).copied().unwrap_or(f64::NAN)
}

const FAMILIES: [Family; 4] = [Family::Scheduler, Family::Table, Family::Backends, Family::Pairs];

#[expect(clippy::too_many_lines, reason = "the bench from its arguments to its table")]
pub(crate) fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    let blind = args.iter().any(|a| a == "--blind");
    let number: u64 = args.iter().find_map(|a| a.parse().ok()).unwrap_or(40);
    let first = if blind { 1_000_000 } else { 0 };
    let lands: Vec<(Landscape, f64)> = (0..number)
        .map(|n| {
            let l = Landscape::new(FAMILIES[(n % 4) as usize], first + n);
            let best = l.best().1;
            (l, best)
        })
        .collect();
    let conditions = [
        ("1 %", Noise { launch: 0.01, run: 0.004, drift: 0.0 }),
        ("1 %, drift", Noise { launch: 0.01, run: 0.004, drift: 0.005 }),
        ("3 %, drift", Noise { launch: 0.03, run: 0.01, drift: 0.005 }),
    ];
    println!(
        "| noise | method | launches | median regret | mean | 90th | useless | wrong significant | coverage | failures |"
    );
    println!("|---|---|--:|--:|--:|--:|--:|--:|--:|--:|");
    let only = |what: &str| args.iter().any(|a| a == what);
    for (name, noise) in conditions {
        if only("--one") && name != "1 %" || only("--three") && name != "3 %, drift" {
            continue;
        }
        for method in [Method::Guided, Method::NoPhysics, Method::OneFactor, Method::Random, Method::Grid] {
            if only("--guided") && method != Method::Guided {
                continue;
            }
            for most in [6, 12, 16, 24, 10_000] {
                let t = std::time::Instant::now();
                let runs: Vec<Run> = lands
                    .iter()
                    .enumerate()
                    .map(|(i, (l, best))| search(l, *best, noise, first + i as u64, most, method))
                    .collect();
                if args.iter().any(|a| a == "-v") && most == 16 && method == Method::Guided {
                    for ((l, best), r) in lands.iter().zip(&runs) {
                        println!(
                            "{:?} best {:.3} regret {:.3} launches {} failures {} | {} || best {}",
                            l.family,
                            best,
                            r.regret,
                            r.launches,
                            r.failures,
                            r.label,
                            l.candidate(&l.best().0).label()
                        );
                    }
                }
                let regrets: Vec<f64> = runs.iter().map(|r| r.regret).collect();
                let mut sorted = regrets.clone();
                sorted.sort_by(f64::total_cmp);
                let sum = |f: fn(&Run) -> (usize, usize)| {
                    let (a, b) = runs.iter().map(f).fold((0, 0), |(a, b), (x, y)| (a + x, b + y));
                    format!("{a}/{b}")
                };
                let mean_launches = runs.iter().map(|r| r.launches as f64).sum::<f64>() / runs.len() as f64;
                println!(
                    "| {name} | {method:?} | {} | {:.1} % | {:.1} % | {:.1} % | {} | {} | {} | {:.1} | {:.1}s",
                    if most > 1000 { format!("free: {mean_launches:.1}") } else { most.to_string() },
                    100.0 * median(regrets.clone()),
                    100.0 * regrets.iter().sum::<f64>() / regrets.len() as f64,
                    100.0 * sorted[sorted.len() * 9 / 10],
                    sum(|r| r.useless),
                    sum(|r| r.significant),
                    sum(|r| r.covered),
                    runs.iter().map(|r| r.failures as f64).sum::<f64>() / runs.len() as f64,
                    t.elapsed().as_secs_f64(),
                );
            }
        }
        let nulls: Vec<Run> = (0..20)
            .map(|n| {
                let l = Landscape::new(Family::Null, first + 500 + n);
                search(&l, 0.0, noise, first + 500 + n, 10_000, Method::Guided)
            })
            .collect();
        println!(
            "| {name} | nulls | {:.1} | kept {} of 20 |",
            nulls.iter().map(|r| r.launches as f64).sum::<f64>() / 20.0,
            nulls.iter().filter(|r| r.base).count()
        );
    }
}
