//! A client that is held up: stopped once for seconds, as a suspended machine stops it, or in slices, as a throttled group of
//! processes is. Figures that this moved must be marked, and a run that nobody disturbed must not be.

use super::tally::Tally;
use super::world::{World, finish};
use llm_dyno::load::paced::{Pace, PacedServer};
use rand::{RngExt, SeedableRng};
use rand_chacha::ChaCha8Rng;
use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::time::Duration;

/// Runs of about four seconds: a closed loop, an open one below capacity, all requests at once.
const LOADS: [&str; 3] =
    ["random:16/32,n=80,concurrency=8", "random:16/32,n=80,rate=20", "random:16/320,n=24"];
/// Figures that a reader trusts unless they are marked.
const FIGURES: [&str; 5] =
    ["output_throughput", "mean_ttft_ms", "p99_ttft_ms", "mean_tpot_ms", "p99_tpot_ms"];
/// An unmarked figure may be off by this share of the undisturbed one, or by this many milliseconds: what undisturbed runs
/// differ by on a busy machine.
const OFF: (f64, f64) = (0.10, 3.0);

/// When the client is stopped, for how long, and how long it runs before the next stop.
type Stops = Vec<(Duration, Duration)>;

pub(crate) fn run(tries: u64, seed: u64, tally: &mut Tally) {
    if tries == 0 {
        return;
    }
    let mut rng = ChaCha8Rng::seed_from_u64(seed + 6);
    let pace = Pace { ttft: Duration::from_millis(50), itl: Duration::from_millis(10), ..Pace::default() };
    let server = PacedServer::start(0, pace, 1).expect("a server");
    let url = server.base_url();
    let quiet = LOADS.map(|load| {
        let (result, peak) = measured(&url, load, &Stops::new()).expect("an undisturbed run");
        let marked = result["invalid"].to_string().contains("held up");
        let held = if marked { Err(format!("{load}: {}", result["invalid"])) } else { Ok(()) };
        tally.book("client: undisturbed", peak, held);
        result
    });
    for n in 0..tries {
        let (which, once) = (n as usize % LOADS.len(), n % 2 == 0);
        let stops = if once { one_stop(&mut rng) } else { slices(&mut rng) };
        let kind =
            if once { "client: stopped once, 1 to 5 s" } else { "client: stopped in slices, 50 to 300 ms" };
        let tried = measured(&url, LOADS[which], &stops)
            .and_then(|(result, peak)| believed(&result, &quiet[which]).map(|()| peak));
        let told = |e: String| format!("{} under stops of {stops:?}: {e}", LOADS[which]);
        tally.book(kind, *tried.as_ref().unwrap_or(&0), tried.map(|_| ()).map_err(told));
    }
}

fn one_stop(rng: &mut ChaCha8Rng) -> Stops {
    vec![(Duration::from_secs_f64(rng.random_range(1.0..5.0)), Duration::ZERO)]
}

fn slices(rng: &mut ChaCha8Rng) -> Stops {
    let mut slice = || Duration::from_secs_f64(rng.random_range(0.05..0.3));
    (0..12).map(|_| (slice(), slice())).collect()
}

/// Result of a bench whose client is stopped so, and its largest memory.
fn measured(url: &str, load: &str, stops: &Stops) -> Result<(Value, u64), String> {
    let world = World::new();
    let out = world.path("o.json");
    let mut command = world.dyno();
    command.args(["bench", "--base-url", url, "--workload", load, "--out"]).arg(&out);
    let child = command.spawn().map_err(|e| e.to_string())?;
    let pid = Pid::from_raw(child.id() as i32).expect("a pid");
    let done = std::thread::scope(|scope| {
        scope.spawn(|| {
            std::thread::sleep(Duration::from_secs(1));
            for (stop, run) in stops {
                let _ = kill_process(pid, Signal::STOP);
                std::thread::sleep(*stop);
                let _ = kill_process(pid, Signal::CONT);
                std::thread::sleep(*run);
            }
        });
        finish(child, Duration::from_secs(120))
    });
    done.sound()?;
    let text = std::fs::read(&out).map_err(|e| format!("no record: {e}: {}", done.said()))?;
    let record: Value = serde_json::from_slice(&text).map_err(|e| e.to_string())?;
    Ok((record["result"].clone(), done.peak_mb))
}

/// No figure that is off stands without a mark.
fn believed(result: &Value, quiet: &Value) -> Result<(), String> {
    let marked = result["untrusted"].as_array().cloned().unwrap_or_default();
    for name in FIGURES {
        let (Some(seen), Some(true_one)) = (result[name].as_f64(), quiet[name].as_f64()) else {
            return Err(format!("{name} is missing"));
        };
        let off = (seen - true_one).abs();
        let floor = if name.ends_with("_ms") { OFF.1 } else { 0.0 };
        if off > (OFF.0 * true_one).max(floor) && !marked.iter().any(|m| m == name) {
            return Err(format!("{name} is {seen:.1} instead of {true_one:.1} and not marked"));
        }
    }
    Ok(())
}
