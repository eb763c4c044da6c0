//! The embedded engine over the wire: endpoints, token counts, prefix cache, errors, timing against the
//! simulator's own prediction, shutdown.

use llm_dyno::cost::{Physical, StepTime};
use llm_dyno::emulate::{Asked, Log, Plan, plan, serve};
use llm_dyno::load::{self, RunOptions, Target};
use llm_dyno::scenario::Key;
use llm_dyno::sim::{SimOptions, policy, simulate};
use llm_dyno::workload;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::net::{SocketAddr, TcpStream};
use std::sync::mpsc;
use std::thread::JoinHandle;
use std::time::Duration;

/// A server in this process on a port of its own.
struct Served {
    base: String,
    address: SocketAddr,
    plan: Plan,
    stop: Option<tokio::sync::oneshot::Sender<()>>,
    thread: Option<JoinHandle<llm_dyno::error::Result<()>>>,
}

fn planned(flags: &str) -> Plan {
    let line = format!(
        "openai/gpt-oss-20b --hardware a100-sxm-80gb --port 0 --startup-s 0 --noise 0 --seed 1 --emulate-version 0.11.0 {flags}"
    );
    let words: Vec<String> = line.split_whitespace().map(str::to_owned).collect();
    match plan(&words, BTreeMap::new(), 1).expect("a good command line") {
        Asked::Serve(p) => *p,
        Asked::Help(text) => panic!("{text}"),
    }
}

fn start(flags: &str) -> Served {
    let plan = planned(flags);
    let (stop, stopped) = tokio::sync::oneshot::channel::<()>();
    let (tell, ready) = mpsc::channel();
    let served = plan.clone();
    let thread = std::thread::spawn(move || {
        let runtime =
            tokio::runtime::Builder::new_multi_thread().worker_threads(2).enable_all().build().unwrap();
        runtime.block_on(serve(
            served,
            Log::silent(),
            move |address| tell.send(address).unwrap(),
            async move {
                let _ = stopped.await;
            },
        ))
    });
    let address = ready.recv_timeout(Duration::from_secs(20)).expect("the server becomes ready");
    Served { base: format!("http://{address}"), address, plan, stop: Some(stop), thread: Some(thread) }
}

impl Served {
    /// Stops the server and says how it ended.
    fn end(mut self) -> llm_dyno::error::Result<()> {
        drop(self.stop.take());
        self.thread.take().unwrap().join().unwrap()
    }

    fn get(&self, path: &str) -> (u16, String) {
        call(reqwest::Client::new().get(format!("{}{path}", self.base)))
    }

    fn post(&self, path: &str, body: &Value) -> (u16, String) {
        call(reqwest::Client::new().post(format!("{}{path}", self.base)).body(body.to_string()))
    }

    fn complete(&self, body: Value) -> Value {
        let (status, text) = self.post("/v1/completions", &body);
        assert_eq!(status, 200, "{text}");
        serde_json::from_str(&text).unwrap()
    }

    fn metric(&self, name: &str) -> f64 {
        let (_, text) = self.get("/metrics");
        let line = text.lines().find(|l| l.starts_with(name) && !l.starts_with('#'));
        line.and_then(|l| l.rsplit(' ').next()).unwrap_or_else(|| panic!("{name} in {text}")).parse().unwrap()
    }
}

fn call(request: reqwest::RequestBuilder) -> (u16, String) {
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let response = request.timeout(Duration::from_secs(20)).send().await.unwrap();
        (response.status().as_u16(), response.text().await.unwrap())
    })
}

/// The JSON chunks of an event stream; the last event must be `[DONE]`.
fn events(text: &str) -> Vec<Value> {
    let mut data: Vec<&str> = text.split("\n\n").filter_map(|e| e.strip_prefix("data: ")).collect();
    assert_eq!(data.pop(), Some("[DONE]"), "{text}");
    data.iter().map(|d| serde_json::from_str(d).unwrap_or_else(|e| panic!("{e}: {d}"))).collect()
}

#[test]
fn every_endpoint_answers_as_vllm_does() {
    let s = start("--served-model-name served other --max-model-len 4096");
    assert_eq!(s.get("/health"), (200, String::new()));
    assert_eq!(s.get("/ping").0, 200);
    let version: Value = serde_json::from_str(&s.get("/version").1).unwrap();
    assert_eq!((version["version"].as_str(), version["emulated"].as_bool()), (Some("0.11.0"), Some(true)));
    let models: Value = serde_json::from_str(&s.get("/v1/models").1).unwrap();
    assert_eq!(models["data"][0]["id"], "served");
    assert_eq!(models["data"][1]["id"], "other");
    assert_eq!(models["data"][0]["max_model_len"], 4096);
    let info: Value = serde_json::from_str(&s.get("/server_info").1).unwrap();
    assert_eq!(info["vllm_config"]["max_num_seqs"], 256);
    assert_eq!(s.post("/reset_prefix_cache", &json!({})).0, 200);
    assert_eq!(s.get("/no/such/path").0, 404);
    let (_, metrics) = s.get("/metrics");
    let blocks = format!("num_gpu_blocks=\"{}\"", s.plan.memory.blocks);
    assert!(metrics.contains("vllm:cache_config_info{") && metrics.contains(&blocks), "{metrics}");
    s.end().unwrap();
}

#[test]
fn tokens_are_counted_alike_in_every_way_of_asking() {
    let s = start("");
    let prompts = json!([[1, 2, 3], [4, 5, 6, 7]]);
    let whole = s.complete(json!({"prompt": prompts, "max_tokens": 6, "return_token_ids": true}));
    assert_eq!(whole["usage"], json!({"prompt_tokens": 7, "total_tokens": 19, "completion_tokens": 12}));
    let (_, text) = s.post(
        "/v1/completions",
        &json!({"prompt": prompts, "max_tokens": 6, "stream": true, "return_token_ids": true,
            "stream_options": {"include_usage": true, "continuous_usage_stats": true}}),
    );
    let chunks = events(&text);
    assert_eq!(chunks.last().unwrap()["usage"], whole["usage"]);
    for index in 0..2 {
        let mine: Vec<&Value> =
            chunks.iter().map(|c| &c["choices"][0]).filter(|c| c["index"] == index).collect();
        let ids: Vec<&Value> = mine.iter().flat_map(|c| c["token_ids"].as_array().unwrap()).collect();
        let words: String = mine.iter().map(|c| c["text"].as_str().unwrap()).collect();
        let choice = &whole["choices"][index];
        assert_eq!(ids, choice["token_ids"].as_array().unwrap().iter().collect::<Vec<_>>());
        assert_eq!(words, choice["text"].as_str().unwrap());
        assert_eq!(mine.last().unwrap()["finish_reason"], "length");
    }
    // Chat: the role comes first and is no token.
    let (_, text) = s.post(
        "/v1/chat/completions",
        &json!({"messages": [{"role": "user", "content": "hello"}], "max_completion_tokens": 4, "stream": true,
            "stream_options": {"include_usage": true}}),
    );
    let chunks = events(&text);
    assert_eq!(chunks[0]["choices"][0]["delta"], json!({"role": "assistant", "content": ""}));
    assert_eq!(chunks.last().unwrap()["usage"]["completion_tokens"], 4);
    assert_eq!(s.metric("vllm:generation_tokens_total"), 12.0 + 12.0 + 4.0);
    s.end().unwrap();
}

#[test]
fn errors_are_vllms() {
    let s = start("--max-model-len 64 --api-key secret");
    let post = |body: &str, key: &str| {
        let request = reqwest::Client::new().post(format!("{}/v1/completions", s.base));
        call(request.bearer_auth(key).body(body.to_owned()))
    };
    assert_eq!(post("{\"prompt\": [1]}", "wrong").0, 401);
    for (body, status, part) in [
        ("{\"prompt\": [1", 400, "JSON decode error"),
        ("{\"prompt\": [1], \"model\": \"absent\"}", 404, "The model `absent` does not exist."),
        ("{\"prompt\": [999999]}", 400, "Token id 999999 is out of vocabulary"),
        ("{\"prompt\": [1], \"max_tokens\": 64}", 400, "maximum context length is 64 tokens"),
        ("{}", 400, "missing field `prompt`"),
    ] {
        let (got, text) = post(body, "secret");
        assert_eq!(got, status, "{text}");
        let error: Value = serde_json::from_str(&text).unwrap();
        assert!(error["error"]["message"].as_str().unwrap().contains(part), "{text}");
        assert_eq!(error["error"]["code"], status);
    }
    s.end().unwrap();
}

#[test]
fn a_repeated_prompt_hits_the_prefix_cache_until_it_is_reset() {
    let s = start("--block-size 16");
    let prompt: Vec<u32> = (0..160).collect();
    let body = json!({"prompt": prompt, "max_tokens": 2});
    s.complete(body.clone());
    assert_eq!(s.metric("vllm:prefix_cache_hits_total"), 0.0);
    s.complete(body.clone());
    let hits = s.metric("vllm:prefix_cache_hits_total");
    assert_eq!(hits, 144.0, "all full blocks but the one with the last token");
    s.post("/reset_prefix_cache", &json!({}));
    s.complete(body.clone());
    assert_eq!(s.metric("vllm:prefix_cache_hits_total"), hits);
    let mut salted = body;
    salted["cache_salt"] = json!("another run");
    s.complete(salted);
    assert_eq!(s.metric("vllm:prefix_cache_hits_total"), hits);
    assert_eq!(s.metric("vllm:prefix_cache_queries_total"), 640.0);
    s.end().unwrap();
}

#[test]
fn a_client_that_goes_away_frees_its_place() {
    let s = start("");
    let body = json!({"prompt": [1, 2, 3], "max_tokens": 100_000, "stream": true}).to_string();
    let request = reqwest::Client::new().post(format!("{}/v1/completions", s.base)).body(body);
    let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
    runtime.block_on(async {
        let response = request.timeout(Duration::from_secs(2)).send().await.unwrap();
        assert!(response.text().await.is_err(), "cut by the client's timeout");
    });
    drop(runtime);
    let freed = (0..100).any(|_| {
        std::thread::sleep(Duration::from_millis(20));
        s.metric("vllm:num_requests_running") == 0.0
    });
    assert!(freed, "the aborted request still runs");
    assert_eq!(s.metric("vllm:request_success_total{engine=\"0\",model_name=\"openai/gpt-oss-20b\",finished_reason=\"abort\"}"), 1.0);
    s.end().unwrap();
}

#[test]
fn the_wire_keeps_the_simulators_time() {
    let s = start("--max-num-seqs 8");
    let spec = workload::parse("random:300/24,n=40,rate=30,seed=5").unwrap();
    let requests = workload::generate(&spec, s.plan.model.vocab).unwrap();
    let measured =
        load::run(&Target::new(&s.base, "openai/gpt-oss-20b"), &requests, &RunOptions::default()).unwrap();
    let times = Physical::new(&s.plan.hardware, &s.plan.model, &s.plan.config, &s.plan.coefficients);
    let mut scheduler = policy::build(&s.plan.config, &s.plan.layout(), times.window());
    let options = SimOptions { overlap: s.plan.config.overlap, ..SimOptions::default() };
    let predicted = simulate(workload::shapes(&spec).unwrap(), scheduler.as_mut(), &times, &options).metrics;
    assert_eq!(measured.metrics.get(Key::Completed), Some(40.0));
    assert_eq!(measured.metrics.get(Key::TotalOutputTokens), predicted.get(Key::TotalOutputTokens));
    let of = |m: &llm_dyno::scenario::Metrics, key| m.get(key).unwrap();
    // The engine's own clock does not know how busy the machine is.
    let itl = 1e3 * s.metric("vllm:inter_token_latency_seconds_sum")
        / s.metric("vllm:inter_token_latency_seconds_count");
    let predicted_itl = of(&predicted, Key::MeanItlMs);
    assert!((itl / predicted_itl - 1.0).abs() < 0.1, "engine {itl}, simulator {predicted_itl}");
    // On the wire an idle machine is exact; a busy one may be late, but nothing may come early.
    for key in [Key::MeanTpotMs, Key::MeanTtftMs, Key::Duration] {
        let (m, p) = (of(&measured.metrics, key), of(&predicted, key));
        assert!(m > 0.8 * p && m < 2.0 * p, "{key:?}: wire {m}, simulator {p}");
    }
    s.end().unwrap();
}

#[test]
fn after_the_stop_nothing_listens_and_streams_have_ended() {
    let s = start("");
    let address = s.address;
    let url = format!("{}/v1/completions", s.base);
    let client = std::thread::spawn(move || {
        let body = json!({"prompt": [1], "max_tokens": 100_000, "stream": true}).to_string();
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().unwrap();
        runtime.block_on(async {
            let response = reqwest::Client::new().post(url).body(body).send().await?;
            response.text().await
        })
    });
    let running = (0..200).any(|_| {
        std::thread::sleep(Duration::from_millis(10));
        s.metric("vllm:num_requests_running") == 1.0
    });
    assert!(running);
    s.end().unwrap();
    // Either the error event of an ending engine or a cut connection, but never a clean end.
    let ended = client.join().unwrap();
    assert!(ended.map_or(true, |text| text.contains("shutting down")));
    assert!(TcpStream::connect(address).is_err());
}

#[test]
fn injected_faults_strike_as_told() {
    let s = start("--fault http-500-share=0.5");
    let statuses: Vec<u16> =
        (0..4).map(|_| s.post("/v1/completions", &json!({"prompt": [1], "max_tokens": 1})).0).collect();
    assert_eq!(statuses, [200, 500, 200, 500]);
    s.end().unwrap();

    let s = start("--fault garbage");
    let (_, text) = s.post("/v1/completions", &json!({"prompt": [1]}));
    assert!(serde_json::from_str::<Value>(&text).is_err());
    s.end().unwrap();

    let s = start("--fault truncate-share=1");
    let (_, text) = s.post("/v1/completions", &json!({"prompt": [1], "max_tokens": 50, "stream": true}));
    assert!(text.contains("data: ") && !text.contains("[DONE]"), "{text}");
    s.end().unwrap();

    let s = start("--fault die-after=2");
    assert_eq!(s.post("/v1/completions", &json!({"prompt": [1], "max_tokens": 1})).0, 200);
    assert_eq!(s.post("/v1/completions", &json!({"prompt": [1], "max_tokens": 1})).0, 500);
    let died = s.thread_end();
    assert!(died.unwrap_err().what.contains("EngineDeadError"));
}

impl Served {
    /// Waits until the server ends by itself.
    fn thread_end(mut self) -> llm_dyno::error::Result<()> {
        let stop = self.stop.take();
        let ended = self.thread.take().unwrap().join().unwrap();
        drop(stop);
        ended
    }
}
