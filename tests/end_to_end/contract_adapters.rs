//! Each adapter whole, over a contract engine whose timing is known: arguments judged by the release's own
//! help, readiness, facts read back, measurement, caches, stop.

use crate::contract::Bench;
use llm_dyno::launch::EngineKind::{self, Sglang, Trtllm, Vllm};
use llm_dyno::scenario::Key;
use llm_dyno::trial::Measured;
use serde_json::json;

fn metric(run: &Measured, name: &str) -> f64 {
    let key = Key::from_name(name).expect("a known key");
    let result = run.observation.result.as_ref().expect("a result");
    result.get(key).unwrap_or_else(|| panic!("no {name}"))
}

const ENGINES: [EngineKind; 3] = [Vllm, Sglang, Trtllm];

/// Workers as the engine has them; the flavours differ only in their titles.
fn workers(engine: EngineKind) -> &'static str {
    match engine {
        Vllm => "workers = [{ name = 'VLLM::EngineCore' }, { name = 'VLLM::Worker' }]\n",
        Sglang => "workers = [{ name = 'sglang::scheduler' }, { name = 'sglang::detokenizer' }]\n",
        _ => "workers = [{ name = 'mpi4py.futures' }, { name = 'orted', own_session = true }]\n",
    }
}

#[test]
fn times_are_those_of_the_engine() {
    for engine in ENGINES {
        let bench = Bench::new();
        let timing = "ttft_ms = 20.0\ntpot_ms = 12.0\nslots = 4\n";
        bench.install(engine, &format!("{timing}{}", workers(engine)));
        let mut spec = bench.spec(engine);
        spec["workloads"][0]["output_len"] = json!(11);
        let trial = bench.trial(&spec);
        let (facts, runs) = trial.measured();
        assert!(facts.startup_s < 5.0, "{engine}: {}", facts.startup_s);
        let key = |k: &str| metric(&runs[0], k);
        assert_eq!((key("completed"), key("failed")), (8.0, 0.0), "{engine}");
        assert_eq!(key("total_input_tokens"), 8.0 * 32.0, "{engine}");
        assert_eq!(key("total_output_tokens"), 8.0 * 11.0, "{engine}");
        // A loaded machine can only be late, and a token is never early.
        for (k, exact) in [("median_ttft_ms", 20.0), ("median_tpot_ms", 12.0), ("median_e2el_ms", 140.0)] {
            let got = key(k);
            assert!(got > exact - 1.0 && got < exact * 1.2 + 8.0, "{engine}: {k} is {got}, not {exact}");
        }
        // Two waves of four: the engine's pace bounds the throughput.
        assert!(key("output_throughput") < 88.0 / 0.28 * 1.01, "{engine}: {}", key("output_throughput"));
        assert_eq!(runs[0].invalid, Vec::<String>::new(), "{engine}");
        assert_eq!(trial.result.leftovers, Vec::<String>::new(), "{engine}");
    }
}

#[test]
fn facts_are_read_back() {
    for engine in ENGINES {
        let bench = Bench::new();
        bench.install(engine, "kv_tokens = 524288\nmodel_len = 16384\nslots = 48\n");
        let trial = bench.trial(&bench.spec(engine));
        let (facts, _) = trial.measured();
        let expected = match engine {
            Vllm => ("0.33.0", 524_288, 16_384, None),
            Sglang => ("0.5.10", 524_288, 16_384, Some(48)),
            _ => ("1.2.0", 524_288, 16_384, Some(48)),
        };
        assert_eq!(facts.version.as_deref(), Some(expected.0), "{engine}");
        assert_eq!(facts.resolved["num_kv_tokens"], expected.1, "{engine}: {:?}", facts.resolved);
        assert_eq!(facts.resolved["max_model_len"], expected.2, "{engine}: {:?}", facts.resolved);
        if let Some(seqs) = expected.3 {
            assert_eq!(facts.resolved["max_num_seqs"], seqs, "{engine}: {:?}", facts.resolved);
        }
    }
}

/// Log wording, flags and the shape of the answers drifted over the releases.
#[test]
fn releases_from_oldest_to_newest_are_understood() {
    let releases: [(EngineKind, &[&str]); 3] = [
        (Vllm, &["0.10.2", "0.11.0", "0.14.1", "0.18.1", "0.24.0", "0.28.0", "0.33.0"]),
        (Sglang, &["0.5.3", "0.5.4.post2", "0.5.10", "0.5.20", "0.5.23"]),
        (Trtllm, &["1.0.0", "1.2.0rc1", "1.3.0rc2"]),
    ];
    for (engine, versions) in releases {
        for version in versions {
            let bench = Bench::new();
            bench.install(engine, &format!("version = '{version}'\nkv_tokens = 131072\n"));
            let trial = bench.trial(&bench.spec(engine));
            let (facts, runs) = trial.measured();
            assert_eq!(facts.version.as_deref(), Some(*version), "{engine}");
            assert_eq!(facts.resolved["num_kv_tokens"], 131_072, "{engine} {version}");
            assert_eq!(runs[0].invalid, Vec::<String>::new(), "{engine} {version}");
        }
    }
}

#[test]
fn a_flag_that_the_release_lacks_is_never_sent() {
    for (engine, version, flag) in [
        (Vllm, "0.11.0", "stream-interval"),
        (Sglang, "0.5.23", "cuda-graph-max-bs"),
        (Trtllm, "1.2.0", "no_such_option"),
    ] {
        let bench = Bench::new();
        bench.install(engine, &format!("version = '{version}'\n"));
        let mut spec = bench.spec(engine);
        spec["candidate"]["flags"] = json!({flag: 4});
        let trial = bench.trial(&spec);
        let failure = trial.failure();
        let told = if engine == Trtllm {
            // Keys of the YAML are judged by the engine alone, which names the one it refuses.
            "bad-flag"
        } else {
            assert!(!trial.stderr.contains("launch "), "{engine} was launched");
            "flag-not-in-version"
        };
        assert_eq!(failure.class.id(), told, "{engine}: {failure:?}");
        assert!(failure.root_cause.contains(flag), "{engine}: {failure:?}");
    }
}

#[test]
fn flags_reach_the_engine_in_its_own_form() {
    for (engine, flags, seqs) in [
        (Vllm, json!({"max-num-seqs": 2, "async-scheduling": false, "kv-cache-dtype": "fp8"}), 2.0),
        (Sglang, json!({"max-running-requests": 2, "disable-overlap-schedule": true}), 2.0),
        (Trtllm, json!({"max_batch_size": 2, "kv_cache_config.free_gpu_memory_fraction": 0.85}), 2.0),
    ] {
        let bench = Bench::new();
        bench.install(engine, "ttft_ms = 30.0\ntpot_ms = 5.0\n");
        let mut spec = bench.spec(engine);
        spec["candidate"]["flags"] = flags;
        let trial = bench.trial(&spec);
        let (_, runs) = trial.measured();
        // Eight requests two at a time, 50 ms each: the flag is what makes it slow.
        let duration = metric(&runs[0], "duration");
        assert!(duration > 4.0 * 0.049 * 2.0 / seqs && duration < 2.0, "{engine}: {duration}");
    }
}

/// Equal prompts would be served from the prefix cache; a trial's repeats must not be.
#[test]
fn repeats_do_not_profit_from_the_prefix_cache() {
    for engine in ENGINES {
        let bench = Bench::new();
        bench.install(engine, "");
        let mut spec = bench.spec(engine);
        spec["repeats"] = json!(3);
        spec["workloads"][0]["input_len"] = json!(128);
        let trial = bench.trial(&spec);
        let (_, runs) = trial.measured();
        assert_eq!(runs.len(), 3, "{engine}: {runs:?}");
        for run in runs {
            assert!(run.cache_hit_ratio.is_none_or(|r| r < 0.01), "{engine}: {:?}", run.cache_hit_ratio);
            assert_eq!(run.invalid, Vec::<String>::new(), "{engine}");
        }
    }
}

/// vLLM up to 0.24 shares a port silently, so a second server must be found before the launch.
#[test]
fn an_engine_is_never_confused_with_another_on_its_port() {
    let bench = Bench::new();
    bench.install(Vllm, "version = '0.11.0'\n");
    let held = std::net::TcpListener::bind("127.0.0.1:0").expect("a port");
    let mut spec = bench.spec(Vllm);
    spec["fixed_args"] = json!(["--port", held.local_addr().expect("an address").port().to_string()]);
    let out = bench.trial(&spec);
    assert_eq!(out.failure().class.id(), "port-in-use", "{:?}", out.failure());
}
