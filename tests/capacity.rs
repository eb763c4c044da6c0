//! `dyno capacity` and `dyno explain` as commands: what they say of a known launch, and of bad input.

use assert_cmd::Command;
use serde_json::Value;

fn dyno(args: &[&str]) -> (i32, String, String) {
    let out = Command::cargo_bin("dyno").expect("the binary").args(args).output().expect("it runs");
    let text = |b: &[u8]| String::from_utf8_lossy(b).into_owned();
    (out.status.code().unwrap_or(-1), text(&out.stdout), text(&out.stderr))
}

const LAUNCH: [&str; 8] = [
    "--model",
    "meta-llama/Llama-3.1-8B-Instruct",
    "--hardware",
    "h100-sxm-80gb",
    "--engine-version",
    "0.11.0",
    "--workload",
    "random:512/64",
];

fn study(extra: &[&str]) -> Value {
    let (code, out, err) = dyno(&[&["capacity", "--json", "--draws", "4"], &LAUNCH[..], extra].concat());
    assert_eq!(code, 0, "{err}");
    serde_json::from_str(&out).expect("only JSON on stdout")
}

#[test]
fn the_ramp_has_zones_in_order_and_throughput_that_levels_off() {
    let v = study(&["--loads", "1,4,16,64,256,512,1024"]);
    let points = v["points"].as_array().unwrap();
    assert_eq!(points.len(), 7);
    let throughput = |i: usize| points[i]["predicted"]["request_throughput"]["value"].as_f64().unwrap();
    assert!(throughput(3) > 4.0 * throughput(0));
    assert!(throughput(6) < 1.3 * throughput(4));
    let zones = v["zones"].as_array().unwrap();
    assert_eq!(zones[0]["zone"], "safe");
    assert!(zones.windows(2).all(|w| w[0]["to"] == w[1]["from"]));
    for p in points {
        let (limit, loss) = (p["of_physical_limit"].as_f64().unwrap(), p["loss"].as_f64().unwrap());
        assert!(limit > 0.0 && limit <= 1.0 && loss == 0.0);
    }
}

#[test]
fn a_tighter_slo_leaves_less_load_and_needs_more_replicas() {
    let at = |bound: &str| {
        let v = study(&[
            "--loads",
            "1,8,32,128,512",
            "--slo",
            bound,
            "--target-rate",
            "500",
            "--usd-per-gpu-hour",
            "2",
        ]);
        let load = v["slo_load"]["central"].as_f64().expect("a load keeps it");
        let pessimistic = v["slo_load"]["pessimistic"].as_f64();
        assert!(pessimistic.is_none_or(|p| p <= load));
        // Where no load meets the SLO at the pessimistic end, there is no load to price and no plan that is safe.
        let safe = v["target"]["replicas_safe"].as_u64();
        let price = v["usd_per_million_tokens"].as_f64();
        assert_eq!(
            (price.is_some_and(|c| c > 0.0), safe.is_some()),
            (pessimistic.is_some(), pessimistic.is_some()),
            "{v}"
        );
        (load, safe.unwrap_or(u64::MAX))
    };
    let (loose, few) = at("tpot.p99=60ms");
    let (tight, many) = at("tpot.p99=25ms");
    assert!(tight < loose && many >= few, "{tight} {loose} {many} {few}");
}

#[test]
fn an_open_loop_beyond_capacity_is_refused_a_latency() {
    let v = study(&["--rate", "--loads", "1,100000"]);
    let points = v["points"].as_array().unwrap();
    assert!(points[0]["predicted"]["mean_ttft_ms"]["value"].as_f64().is_some());
    assert!(points[1]["predicted"].get("mean_ttft_ms").is_none());
    assert!(points[1]["latency_refused"].as_str().unwrap().contains("outrun"));
}

#[test]
fn explain_adds_up() {
    let (code, out, err) = dyno(&[&["explain", "--json"], &LAUNCH[..]].concat());
    assert_eq!(code, 0, "{err}");
    let v: Value = serde_json::from_str(&out).unwrap();
    let total: f64 = v["share_of_time_percent"].as_object().unwrap().values().filter_map(Value::as_f64).sum();
    assert!((85.0..=105.0).contains(&total), "{total} % of the time is explained");
    let (_, text, _) = dyno(&[&["explain"], &LAUNCH[..]].concat());
    assert!(text.contains("The mean request by stage") && text.contains('█'));
}

#[test]
fn bad_arguments_are_all_named_at_once() {
    let (code, out, err) =
        dyno(&[&["capacity"], &LAUNCH[..], &["--loads", "0", "--target-rate=-1", "--timeout", "0"]].concat());
    assert_eq!((code, out.as_str()), (2, ""));
    for flag in ["--loads", "--target-rate", "--timeout"] {
        assert!(err.contains(flag), "{flag} is not named in: {err}");
    }
    let (code, _, err) = dyno(&["explain", "--model", "no/such-model", "--hardware", "h100-sxm-80gb"]);
    assert_eq!(code, 2);
    assert!(err.contains("no/such-model"));
}

#[test]
fn several_launches_stand_in_one_table_and_one_picture() {
    let dir = tempfile::tempdir().unwrap();
    let svg = dir.path().join("ramps.svg");
    let first = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/radiant-gpt-oss-20b.toml");
    let other = concat!(env!("CARGO_MANIFEST_DIR"), "/scenarios/radiant-gemma-3-27b.toml");
    let loads = ["--loads", "1,8,64", "--draws", "2"];
    let args = ["capacity", "--scenario", first, "--beside", other, "--svg", svg.to_str().unwrap()];
    let (code, out, err) = dyno(&[&args[..], &loads].concat());
    assert_eq!(code, 0, "{err}");
    let table = out.split("Side by side").nth(1).expect("a table of all launches");
    let drawn = std::fs::read_to_string(&svg).unwrap();
    for model in ["openai/gpt-oss-20b", "google/gemma-3-27b-it"] {
        assert!(table.contains(model), "{table}");
        assert!(
            drawn.matches(&format!("{model} · vllm · h200-sxm-141gb, 8 in flight")).count() >= 2,
            "{drawn}"
        );
    }
    // The other launch's figures are those of its own ramp.
    let v: Value = serde_json::from_str(&dyno(&[&args[..5], &loads, &["--json"]].concat()).1).unwrap();
    let alone: Value =
        serde_json::from_str(&dyno(&[&["capacity", "--json", "--scenario", other][..], &loads].concat()).1)
            .unwrap();
    assert_eq!(v["beside"][0]["points"], alone["points"]);
    let (code, _, err) =
        dyno(&[&["capacity", "--scenario", first][..], &["--beside", "nowhere.toml"]].concat());
    assert!(code != 0 && err.contains("nowhere.toml"), "{err}");
}
