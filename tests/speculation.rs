//! Speculation, quantised weights and KV types of a launch: from the engine's own flags to step cost, memory and prediction.

use llm_dyno::cost::{Catalogs, Coefficients, Predictor, Setup, StepShape, StepTime};
use llm_dyno::engine::Drafter;
use llm_dyno::launch::LaunchFile;
use llm_dyno::scenario::{Key, Record};

const MODEL: &str = "meta-llama/Llama-3.1-8B-Instruct";

fn record(engine: &str, version: &str, command: &str, workload: &str) -> Record {
    serde_json::from_value(serde_json::json!({
        "engine": engine, "engine_version": version, "model": MODEL, "hardware": "h100-sxm-80gb",
        "serve_command": command, "workload": serde_json::from_str::<serde_json::Value>(workload).unwrap(),
    }))
    .unwrap()
}

const LOAD: &str =
    r#"{"dataset":"random","input_len":500,"output_len":200,"num_prompts":64,"max_concurrency":8,"seed":1}"#;

fn vllm(extra: &str) -> Record {
    record("vllm", "0.19.0", &format!("vllm serve {MODEL} {extra}"), LOAD)
}

fn sglang(extra: &str) -> Record {
    record("sglang", "0.5.9", &format!("python3 -m sglang.launch_server --model-path {MODEL} {extra}"), LOAD)
}

fn trtllm(yaml: &str) -> Record {
    let mut r =
        record("trtllm", "1.2.0", &format!("trtllm-serve {MODEL} --extra_llm_api_options o.yaml"), LOAD);
    r.files = vec![LaunchFile { path: "o.yaml".into(), text: yaml.into() }];
    r
}

fn setup(r: &Record) -> Setup {
    Setup::new(r, &Catalogs::load(None).unwrap()).unwrap()
}

fn speculation(r: &Record) -> (Drafter, u32, u32, bool) {
    let c = setup(r).config;
    assert_eq!(c.unmodelled, Vec::<String>::new());
    let s = c.speculative.expect("it speculates");
    (s.method, s.num_speculative_tokens, s.verified, c.overlap)
}

#[test]
fn every_engine_says_speculation_in_its_own_words() {
    let ngram =
        r#"--speculative-config '{"method":"ngram","num_speculative_tokens":3,"prompt_lookup_max":4}'"#;
    assert_eq!(speculation(&vllm(ngram)), (Drafter::Ngram, 3, 3, false), "lookups hold up the host");
    let eagle = r#"--speculative-config '{"model":"yuhuili/EAGLE3-LLaMA3.1-Instruct-8B","num_speculative_tokens":2}'"#;
    assert_eq!(
        speculation(&vllm(eagle)),
        (Drafter::Eagle3, 2, 2, true),
        "the method from the drafter's name"
    );
    let chain = "--speculative-algorithm EAGLE3 --speculative-draft-model-path d --speculative-num-steps 3 \
                 --speculative-eagle-topk 1 --speculative-num-draft-tokens 4";
    assert_eq!(speculation(&sglang(chain)), (Drafter::Eagle3, 3, 3, true));
    let tree = "--speculative-algorithm EAGLE --speculative-draft-model-path d";
    assert_eq!(speculation(&sglang(tree)), (Drafter::Eagle, 5, 7, true), "the defaults are a tree");
    let mtp = "speculative_config:\n  decoding_type: MTP\n  num_nextn_predict_layers: 2\n";
    assert_eq!(speculation(&trtllm(mtp)), (Drafter::Mtp, 2, 2, true));
    let lookup = "speculative_config:\n  decoding_type: NGram\n  max_draft_len: 4\n";
    assert_eq!(speculation(&trtllm(lookup)), (Drafter::Ngram, 4, 4, false));
    let unknown =
        setup(&vllm(r#"--speculative-config '{"method":"medusa","num_speculative_tokens":3}'"#)).config;
    assert!(
        unknown.speculative.is_none() && unknown.unmodelled[0].contains("medusa"),
        "{:?}",
        unknown.unmodelled
    );
}

fn decode(s: &Setup, rows: u32, verified: u32) -> u64 {
    let shape = StepShape {
        decode_rows: rows,
        speculative_tokens: rows * verified,
        decode_ctx: u64::from(rows) * 1000,
        decode_ctx_window: u64::from(rows) * 1000,
        ..StepShape::default()
    };
    s.physical(&Coefficients::default()).step(&shape).device
}

#[test]
fn verifying_costs_little_at_one_row_and_much_at_many_and_a_drafter_costs_by_its_size() {
    let plain = setup(&vllm(""));
    let of = |json: &str| setup(&vllm(&format!("--speculative-config '{json}'")));
    let ngram = of(r#"{"method":"ngram","num_speculative_tokens":3}"#);
    let share = |rows| decode(&ngram, rows, 3) as f64 / decode(&plain, rows, 0) as f64;
    assert!(share(1) < 1.05 && share(256) > 1.5, "{} {}", share(1), share(256));
    let eagle = of(r#"{"method":"eagle3","model":"d","num_speculative_tokens":3}"#);
    let small = of(
        r#"{"method":"draft_model","model":"meta-llama/Llama-3.2-1B-Instruct","num_speculative_tokens":3}"#,
    );
    let (n, e, d) = (decode(&ngram, 1, 3), decode(&eagle, 1, 3), decode(&small, 1, 3));
    assert!(n < e && e < d, "{n} {e} {d}");
    assert!(
        decode(&eagle, 1, 3)
            < decode(&of(r#"{"method":"eagle3","model":"d","num_speculative_tokens":6}"#), 1, 6)
    );
    // What the drafter holds is not there for KV.
    assert!(
        plain.memory.kv_tokens == ngram.memory.kv_tokens && eagle.memory.kv_tokens < plain.memory.kv_tokens
    );
    assert!(small.memory.kv_tokens < eagle.memory.kv_tokens);
}

#[test]
fn a_prediction_follows_the_acceptance_and_says_what_is_assumed() {
    let catalogs = Catalogs::load(None).unwrap();
    let predictor = Predictor { draws: 0, ..Predictor::new(&catalogs, None) };
    let tpot = |r: &Record| predictor.predict(r, false).unwrap().get(Key::MeanTpotMs).unwrap();
    let eagle = r#"--speculative-config '{"method":"eagle3","model":"d","num_speculative_tokens":3}'"#;
    let told = |text: &str| Record { acceptance: Some(text.parse().unwrap()), ..vllm(eagle) };
    let (plain, none, half, most) =
        (tpot(&vllm("")), tpot(&told("0")), tpot(&told("0.5")), tpot(&told("0.9,0.8,0.7")));
    assert!(none.value > plain.value, "a drafter that is never right costs: {} {}", none.value, plain.value);
    assert!(
        most.value < half.value && half.value < plain.value,
        "{} {} {}",
        most.value,
        half.value,
        plain.value
    );
    let assumed = predictor.predict(&vllm(eagle), false).unwrap();
    let width = |i: llm_dyno::cost::Interval| (i.p95 / i.p05).ln();
    assert!(width(assumed.get(Key::MeanTpotMs).unwrap()) > 1.1 * width(half), "assumed is wider than told");
    let notes = assumed.notes.join("\n");
    assert!(notes.contains("assumed") && notes.contains("random token ids"), "{notes}");
}

#[test]
fn speculation_pays_at_few_rows_and_stops_at_some_batch() {
    let eagle = vllm(r#"--speculative-config '{"method":"eagle3","model":"d","num_speculative_tokens":5}'"#);
    let low = Record { acceptance: Some("0.4".parse().unwrap()), ..eagle };
    let p = setup(&low).payoff(&Coefficients::default()).unwrap();
    let gain = |rows| p.gains.iter().find(|g| g.0 == rows).unwrap().1;
    assert!(gain(1) > gain(64) && gain(64) > gain(1024), "{:?}", p.gains);
    let n = p.stops_at.expect("at so many rows verification binds");
    assert!(gain(1) > 1.0 && n > 1 && n <= 1024, "{p:?}");
}

/// Fewer bits of weights: faster steps, room for more tokens. Fewer bits of KV: more tokens, faster reads.
#[test]
fn quantised_weights_and_kv_change_step_time_and_room_in_every_engine() {
    let cases = [
        (vllm(""), vllm("--quantization fp8"), vllm("--kv-cache-dtype fp8")),
        (sglang(""), sglang("--quantization fp8"), sglang("--kv-cache-dtype fp8_e5m2")),
        (
            trtllm("{}"),
            trtllm("quant_config:\n  quant_algo: FP8\n"),
            trtllm("kv_cache_config:\n  dtype: fp8\n"),
        ),
    ];
    for (plain, weights, kv) in cases {
        let (p, w, k) = (setup(&plain), setup(&weights), setup(&kv));
        let name = p.config.engine;
        let held = w.memory.weights.gib() / p.memory.weights.gib();
        assert!((0.5..0.62).contains(&held), "{name}: {held} of the bytes; embedding and head stay");
        let step = decode(&w, 1, 0) as f64 / decode(&p, 1, 0) as f64;
        assert!((0.45..0.8).contains(&step), "{name}: {step} of the step");
        assert!(w.memory.kv_tokens > p.memory.kv_tokens, "{name}");
        let room = k.memory.kv_tokens as f64 / p.memory.kv_tokens as f64;
        assert!((1.95..2.05).contains(&room), "{name}: {room} of the room");
        assert!(decode(&k, 256, 0) < decode(&p, 256, 0), "{name}: KV is read in fewer bytes");
        assert_eq!(k.memory.weights, p.memory.weights);
    }
}

#[test]
fn four_bits_hold_less_than_eight_in_every_engine() {
    let of = |r: &Record| setup(r).memory.weights.gib();
    let pairs = [
        (vllm("--quantization fp8"), vllm("--quantization modelopt_fp4")),
        (sglang("--quantization fp8"), sglang("--quantization modelopt_fp4")),
        (trtllm("quant_config:\n  quant_algo: FP8\n"), trtllm("quant_config:\n  quant_algo: NVFP4\n")),
    ];
    for (eight, four) in pairs {
        assert!(of(&four) < 0.75 * of(&eight), "{} {}", of(&four), of(&eight));
    }
}
