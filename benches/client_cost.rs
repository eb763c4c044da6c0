//! CPU cost of the client against a bare reqwest read loop on the same streams.
//!
//!     cargo bench --bench client_cost
//!     cargo bench --bench client_cost -- --bare URL IN_FLIGHT REQUESTS
//!
//! The second form is the bare loop alone, against a server that runs elsewhere; it prints its own figures as JSON.
//!
//! The known-timing server runs in this process on threads of its own; what is compared is the CPU time of the
//! client threads alone, by the kernel's account of each thread. The bare loop sends the same bodies with the same
//! HTTP client, reads every chunk, takes a time stamp and throws the bytes away: the least that any client does.

use llm_dyno::load::paced::{Pace, PacedServer};
use llm_dyno::load::{RunOptions, Target, run};
use llm_dyno::stats::quantile_sorted;
use llm_dyno::workload::{PlannedRequest, Prompt, generate, parse};
use std::io::Write as _;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::{Duration, Instant};

const STREAMS: usize = 256;
const ROUNDS: usize = 3;

/// Seconds that the calling thread has spent on a CPU.
fn thread_cpu() -> f64 {
    let text = std::fs::read_to_string("/proc/thread-self/schedstat").unwrap_or_default();
    text.split_whitespace().next().and_then(|ns| ns.parse::<f64>().ok()).map_or(f64::NAN, |ns| ns / 1e9)
}

fn body(request: &PlannedRequest) -> String {
    let Prompt::TokenIds(ids) = &request.prompt else { return String::new() };
    serde_json::json!({"model": "paced", "prompt": ids, "max_tokens": request.output_tokens, "stream": true,
                       "temperature": 0.0, "ignore_eos": true, "stream_options": {"include_usage": true}})
    .to_string()
}

/// What the bare loop saw of one request: its send, then every read.
type Stamps = Vec<Instant>;

/// The bare loop; with the CPU seconds of its thread.
fn bare(url: &str, requests: &[PlannedRequest], streams: usize) -> (f64, Vec<Stamps>) {
    let bodies: Arc<Vec<String>> = Arc::new(requests.iter().map(body).collect());
    let url = format!("{url}/v1/completions");
    std::thread::spawn(move || {
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().expect("a runtime");
        let began = thread_cpu();
        let seen = runtime.block_on(async {
            let client = reqwest::Client::builder().no_proxy().http1_only().build().expect("a client");
            let next = Arc::new(AtomicUsize::new(0));
            let mut tasks = tokio::task::JoinSet::new();
            for _ in 0..streams {
                let (client, bodies, next, url) = (client.clone(), bodies.clone(), next.clone(), url.clone());
                tasks.spawn(async move {
                    let mut seen = Vec::new();
                    while let Some(body) = bodies.get(next.fetch_add(1, Ordering::Relaxed)) {
                        let request =
                            client.post(&url).header("content-type", "application/json").body(body.clone());
                        let mut stamps = vec![Instant::now()];
                        let Ok(mut response) = request.send().await else { continue };
                        while let Ok(Some(_)) = response.chunk().await {
                            stamps.push(Instant::now());
                        }
                        seen.push(stamps);
                    }
                    seen
                });
            }
            tasks.join_all().await
        });
        (thread_cpu() - began, seen.into_iter().flatten().collect())
    })
    .join()
    .expect("the bare loop ends")
}

/// The bare loop against a server elsewhere.
fn bare_alone(url: &str, streams: usize, requests: usize) {
    let spec = parse(&format!("random:128/128,n={requests}")).expect("a workload");
    let requests = generate(&spec, 512).expect("requests");
    let (_, seen) = bare(url, &requests, streams);
    let figures = |mut ms: Vec<f64>| {
        ms.sort_by(f64::total_cmp);
        serde_json::json!({"mean": ms.iter().sum::<f64>() / ms.len() as f64, "p99": quantile_sorted(&ms, 0.99)})
    };
    let gap = |w: &[Instant]| (w[1] - w[0]).as_secs_f64() * 1e3;
    let ttft = seen.iter().filter(|s| s.len() > 1).map(|s| gap(&s[..2])).collect();
    let itl = seen.iter().flat_map(|s| s[1..].windows(2).map(gap)).collect();
    let whole = seen.iter().filter(|s| s.len() == 129).count();
    let line = serde_json::json!({"completed": whole, "ttft_ms": figures(ttft), "itl_ms": figures(itl)});
    let _ = writeln!(std::io::stdout(), "{line}");
}

fn main() {
    let arguments: Vec<String> = std::env::args().collect();
    if let Some(at) = arguments.iter().position(|a| a == "--bare") {
        let number = |k: usize| arguments.get(at + k).and_then(|a| a.parse().ok()).expect("a number");
        return bare_alone(arguments.get(at + 1).expect("an address"), number(2), number(3));
    }
    let mut out = std::io::stdout();
    let spec = parse(&format!("random:128/128,n={},concurrency={STREAMS}", STREAMS * 4)).expect("a workload");
    let requests = generate(&spec, 512).expect("requests");
    let tokens = requests.iter().map(|r| f64::from(r.output_tokens)).sum::<f64>();
    for itl in [10, 20] {
        let pace = Pace { itl: Duration::from_millis(itl), ..Pace::default() };
        let server = PacedServer::start(0, pace, 1).expect("a free port");
        let (mut ours, mut least) = (Vec::new(), Vec::new());
        for _ in 0..ROUNDS {
            least.push(bare(&server.base_url(), &requests, STREAMS).0 / tokens * 1e6);
            let options = RunOptions {
                max_concurrency: spec.max_concurrency,
                threads: Some(1),
                ..RunOptions::default()
            };
            let result = run(&Target::new(server.base_url(), "paced"), &requests, &options).expect("a run");
            ours.push(result.health.cpu_s_per_million_tokens.unwrap_or(f64::NAN));
        }
        let mean = |v: &[f64]| v.iter().sum::<f64>() / v.len() as f64;
        let _ = writeln!(
            out,
            "{STREAMS} streams, {itl} ms: CPU s a million tokens: bare loop {:.2} {least:.2?}, dyno {:.2} {ours:.2?}, ratio {:.3}",
            mean(&least),
            mean(&ours),
            mean(&ours) / mean(&least)
        );
    }
}
