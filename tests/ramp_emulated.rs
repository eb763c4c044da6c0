//! `dyno ramp` against the truth: the embedded engine's zones are known from its simulator, so a measured ramp
//! has to find them within its intervals.
//!
//! Each seed hides its own coefficients from the forecast: every one is scaled by a factor between 0.8 and 1.25,
//! and the step times scatter as those of a launch do. The truth is the simulator with these coefficients on every
//! whole load. The table of reports/ramp-emulated.md:
//!
//! `DYNO_RAMP_SEEDS=0-9 cargo test --release --locked --test ramp_emulated -- --ignored --nocapture`

use llm_dyno::capacity::simulated::{Options, exact, ramp};
use llm_dyno::capacity::{
    Axis, Breakpoint, ClimbEnd, Forecast, Ladder, MeasuredRamp, Ramp, RampPlan, ZoneSpan, measure,
};
use llm_dyno::cost::{Catalogs, Coefficients, Predictor, Setup};
use llm_dyno::emulate::{Asked, Log, Plan, plan, serve};
use llm_dyno::launch::EngineKind;
use llm_dyno::load::{Cancel, Target};
use llm_dyno::scenario::Record;
use llm_dyno::trial::{Session, Silent};
use llm_dyno::workload::{WorkloadSpec, parse};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use std::collections::BTreeMap;
use std::net::SocketAddr;
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Instant;

const MODEL: &str = "openai/gpt-oss-20b";
const HARDWARE: &str = "a100-sxm-80gb";
const VERSION: &str = "0.11.0";

/// What is ramped.
struct Case {
    flags: &'static str,
    workload: &'static str,
    to: f64,
    step_s: f64,
    refine: u32,
}

/// Batching makes steps longer well before the 64 seats are taken: the zones lie apart.
const WHOLE: Case =
    Case { flags: "--max-num-seqs 64", workload: "random:64-192/12-36", to: 256.0, step_s: 5.0, refine: 8 };

/// The same in small, for every day.
const SMALL: Case =
    Case { flags: "--max-num-seqs 8", workload: "random:32-96/6-18", to: 32.0, step_s: 1.5, refine: 4 };

struct Served {
    base: String,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<llm_dyno::error::Result<()>>>,
}

impl Served {
    fn start(plan: Plan) -> Served {
        let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
        let (tell, ready) = mpsc::channel::<SocketAddr>();
        let thread = std::thread::spawn(move || {
            let runtime =
                tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
            let over = async move {
                let _ = stopped.await;
            };
            runtime.block_on(serve(plan, Log::silent(), move |a| tell.send(a).unwrap(), over))
        });
        let address =
            ready.recv_timeout(std::time::Duration::from_secs(20)).expect("the server becomes ready");
        Served { base: format!("http://{address}"), stop: Some(stop), thread: Some(thread) }
    }
}

impl Drop for Served {
    fn drop(&mut self) {
        drop(self.stop.take());
        let _ = self.thread.take().map(JoinHandle::join);
    }
}

fn hidden(seed: u64) -> Coefficients {
    let mut rng = ChaCha8Rng::seed_from_u64(seed);
    let shifts: Vec<f64> =
        Coefficients::default().to_vec().iter().map(|_| rng.random_range(0.8f64..1.25).ln()).collect();
    Coefficients::default().shifted(&shifts)
}

fn planned(case: &Case, seed: u64) -> Plan {
    let line = format!(
        "{MODEL} --hardware {HARDWARE} --port 0 --startup-s 0 --seed {seed} --emulate-version {VERSION} {}",
        case.flags
    );
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match plan(&words, BTreeMap::new(), seed).expect("a good command line") {
        Asked::Serve(p) => Plan { coefficients: hidden(seed), ..*p },
        Asked::Help(text) => panic!("{text}"),
    }
}

/// One seed: what the simulator knows, what the ramp found, what was expected beforehand.
struct Outcome {
    truth: Ramp,
    forecast: Forecast,
    found: MeasuredRamp,
    ladder: Ladder,
    seconds: f64,
}

fn run(case: &Case, seed: u64, catalogs: &Catalogs) -> Outcome {
    let plan = planned(case, seed);
    let workload: WorkloadSpec = parse(case.workload).expect("a good workload");
    let record = Record {
        engine: Some(EngineKind::Emulated),
        engine_version: Some(VERSION.to_owned()),
        serve_command: Some(format!("dyno emulate --model {MODEL} {}", case.flags)),
        model: Some(MODEL.to_owned()),
        hardware: Some(HARDWARE.to_owned()),
        workload: Some(workload.clone()),
        ..Record::default()
    };
    let options = Options { max_concurrency: case.to as u32, ..Options::default() };
    let setup =
        |r: &Record| Setup::from_parts(r, plan.hardware.clone(), plan.model.clone(), plan.config.clone());
    let loads: Vec<f64> = (1..=case.to as u32).map(f64::from).collect();
    let truth = exact(&record, setup, &plan.coefficients, &loads, 24.0, &options).expect("the truth");
    let predictor = Predictor { draws: 12, ..Predictor::new(catalogs, None) };
    let study = ramp(&record, &predictor, &options).expect("a forecast");
    let forecast = Forecast { made_at: String::new(), study };
    let ladder = Ladder { to: case.to, refine: case.refine, ..Ladder::default() };
    let served = Served::start(plan);
    let (cancel, model) = (Cancel::new(), Some(MODEL.to_owned()));
    let mut session =
        Session::attach(&served.base, EngineKind::Emulated, None, model, &cancel, &Silent).expect("served");
    let began = Instant::now();
    let found = measure(
        &RampPlan {
            target: Target::new(&served.base, MODEL),
            workload,
            vocab: 10_000,
            axis: Axis::Concurrency,
            ladder,
            step_s: case.step_s,
            least_requests: 24,
            slo: Vec::new(),
            forecast: Some(&forecast),
            real_time: false,
        },
        &mut session,
        |_| Ok(()),
    )
    .expect("a ramp");
    Outcome { truth, forecast, found, ladder, seconds: began.elapsed().as_secs_f64() }
}

/// Both reached and the true value inside the interval, or both not reached.
fn holds(truth: &Breakpoint, found: &Breakpoint) -> bool {
    match (truth.at, found.at) {
        (Some(t), Some(f)) => f.p05 <= t.value && t.value <= f.p95,
        (None, None) => true,
        _ => false,
    }
}

/// The ends of the zones of the simulator lie within the intervals of the measured ones.
fn zones_hold(truth: &[ZoneSpan], found: &[ZoneSpan]) -> bool {
    truth.len() == found.len()
        && truth.iter().zip(found).all(|(t, f)| match (t.to, f.to_interval) {
            (Some(to), Some((low, high))) => t.zone == f.zone && low <= to && to <= high,
            (None, None) => t.zone == f.zone,
            _ => false,
        })
}

impl Outcome {
    fn hit(&self) -> bool {
        zones_hold(&self.truth.zones(), &self.found.ramp().zones())
    }

    fn row(&self, seed: u64) -> String {
        let ramp = self.found.ramp();
        let cells: Vec<String> = [0, 1, 3]
            .iter()
            .map(|&i| {
                let (t, f) = (&self.truth.breakpoints()[i], &ramp.breakpoints()[i]);
                let told =
                    self.forecast.study.breakpoints[i].at.map_or("-".into(), |v| format!("{:.0}", v.value));
                let true_at = t.at.map_or("-".into(), |v| format!("{:.1}", v.value));
                let at =
                    f.at.map_or("-".into(), |v| format!("{:.1} ({:.0} to {:.0})", v.value, v.p05, v.p95));
                let miss = if holds(t, f) { "" } else { " MISS" };
                format!("{told} / {true_at} / {at}{miss}")
            })
            .collect();
        let zone = |zones: &[ZoneSpan], i: usize| zones.get(i).and_then(|z| z.to);
        let (truth, found) = (self.truth.zones(), ramp.zones());
        let zones: Vec<String> = (0..2)
            .map(|i| {
                let t = zone(&truth, i).map_or("-".into(), |v| format!("{v:.1}"));
                let f = found.get(i).and_then(|z| z.to_interval);
                format!("{t} in {}", f.map_or("-".into(), |(a, b)| format!("{a:.0} to {b:.0}")))
            })
            .collect();
        let s = self.found.saved(&self.ladder, Some(&self.forecast));
        format!(
            "| {seed} | {} | {} | {} | {} ({}, {}) | {:.0} |",
            cells.join(" | "),
            zones.join(" | "),
            if self.hit() { "yes" } else { "NO" },
            s.steps,
            s.doubling,
            s.fixed,
            self.seconds
        )
    }

    fn doubts(&self) -> Vec<String> {
        let said = |s: &llm_dyno::capacity::Step| {
            s.doubts.iter().map(|d| format!("load {}: {d}", s.point.load)).collect::<Vec<_>>()
        };
        self.found.steps.iter().flat_map(said).collect()
    }
}

#[test]
fn a_small_ramp_finds_the_simulators_zones() {
    let catalogs = Catalogs::load(None).unwrap();
    let outcome = run(&SMALL, 1, &catalogs);
    assert_ne!(outcome.found.end, ClimbEnd::Interrupted);
    let knee = &outcome.found.ramp().breakpoints()[3];
    let truth = outcome.truth.breakpoints()[3].at.expect("eight seats fill").value;
    let at = knee.at.expect("a knee is found");
    // On a machine that does other work the loads are right to a step of the ladder.
    assert!(at.p05 / 1.4 <= truth && truth <= at.p95 * 1.4, "{truth} {at:?}\n{}", outcome.row(1));
    let saved = outcome.found.saved(&outcome.ladder, Some(&outcome.forecast));
    assert!(saved.steps <= saved.doubling + 2, "{saved:?}");
    // The forecast stands beside every step.
    assert!(outcome.found.steps.iter().all(|s| s.expected.is_some_and(|e| e.corrected_throughput > 0.0)));
}

fn seeds() -> Vec<u64> {
    let text = std::env::var("DYNO_RAMP_SEEDS").unwrap_or_else(|_| "0-9".into());
    let (first, last) = text.split_once('-').unwrap_or((&text, &text));
    (first.parse().expect("a number")..=last.parse().expect("a number")).collect()
}

#[test]
#[ignore = "a quarter of an hour on an idle machine; .ci/run takes two of the seeds"]
#[expect(clippy::print_stdout, reason = "the table is what this run is for")]
fn ten_ramps_find_the_simulators_zones() {
    let catalogs = Catalogs::load(None).unwrap();
    let seeds = seeds();
    println!(
        "| Seed | queue growth: forecast / true / found | diminishing return | knee | safe zone ends | early degradation \
         ends | zones found | steps (by doubling, fixed ladder) | seconds |\n|--:|---|---|---|---|---|---|---|--:|"
    );
    let mut hits = 0;
    for &seed in &seeds {
        let outcome = run(&WHOLE, seed, &catalogs);
        println!("{}", outcome.row(seed));
        for d in outcome.doubts() {
            println!("  doubt, seed {seed}, {d}");
        }
        hits += usize::from(outcome.hit());
    }
    println!("\nThe zones' ends lie within the intervals in {hits} of {} seeds.", seeds.len());
    assert!(hits * 10 >= seeds.len() * 9, "{hits} of {}", seeds.len());
}
