//! What `dyno tune` does about each kind of failure, as a whole command: the embedded engine behind a script that fails in the
//! engine's own words at chosen starts.

use serde_json::Value;
use std::fmt::Write as _;
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};

/// A campaign with an engine that fails.
struct Failing {
    tmp: tempfile::TempDir,
}

impl Failing {
    /// `when` is a shell condition on `$n`, the number of this start from 1, and `$*`, the arguments of the engine; where it
    /// holds the engine writes `log` and ends.
    fn new(when: &str, log: &str) -> Failing {
        let tmp = tempfile::tempdir().unwrap();
        let dir = tmp.path().display();
        let mut script =
            format!("#!/bin/sh\nn=$(cat {dir}/n 2>/dev/null || echo 0); n=$((n+1)); echo $n >{dir}/n\n");
        std::fs::write(tmp.path().join("log"), log).unwrap();
        writeln!(script, "if {when}; then cat {dir}/log; exit 1; fi").unwrap();
        writeln!(script, "exec {} emulate \"$@\"", assert_cmd::cargo::cargo_bin!("dyno").display()).unwrap();
        let path = tmp.path().join("engine.sh");
        std::fs::write(&path, script).unwrap();
        std::fs::set_permissions(&path, std::os::unix::fs::PermissionsExt::from_mode(0o755)).unwrap();
        Failing { tmp }
    }

    fn out(&self) -> PathBuf {
        self.tmp.path().join("out")
    }

    /// The end of the campaign: exit code and what it said.
    fn tune(&self, more: &str) -> (Option<i32>, String) {
        let line = format!(
            "tune --model openai/gpt-oss-20b --engine emulated --hardware a100-sxm-80gb --repeats 2 --workload random:64/4,n=8 \
             --search one-factor --flags max-num-seqs --max-trials 8 {more}"
        );
        let Output { status, stdout, stderr } = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
            .args(line.split_whitespace())
            .arg("--engine-command")
            .arg(self.tmp.path().join("engine.sh"))
            .arg("--out")
            .arg(self.out())
            .stdin(Stdio::null())
            .output()
            .unwrap();
        let text = String::from_utf8_lossy(&stdout).into_owned() + &String::from_utf8_lossy(&stderr);
        assert!(!text.contains("panicked"), "{text}");
        (status.code(), text)
    }

    fn starts(&self) -> u32 {
        std::fs::read_to_string(self.tmp.path().join("n")).map_or(0, |n| n.trim().parse().unwrap())
    }

    fn trials(&self) -> Vec<Value> {
        let text = std::fs::read_to_string(self.out().join("trials.jsonl")).unwrap_or_default();
        let all = text.lines().filter_map(|l| serde_json::from_str::<Value>(l).ok());
        all.filter(|l| l["kind"] == "trial").collect()
    }

    fn report(&self) -> String {
        read(&self.out().join("report.md"))
    }
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

fn class(trial: &Value) -> &str {
    trial["result"]["failure"]["class"].as_str().unwrap_or("none")
}

fn flags(trial: &Value) -> &Value {
    &trial["result"]["spec"]["candidate"]["flags"]
}

/// vLLM's banner, so that the log is known as its.
const BANNER: &str =
    "(APIServer pid=1) INFO 11-14 08:12:01 [api_server.py:1839] vLLM API server version 0.11.0\n";

#[test]
fn a_count_that_asks_for_too_much_is_lowered_to_what_the_engine_names() {
    let log = format!(
        "{BANNER}ValueError: max_num_seqs (1024) exceeds available Mamba cache blocks (96). Please lower max_num_seqs to at most 96.\n"
    );
    let it = Failing::new(r#"! echo "$*" | grep -q "max-num-seqs 96""#, &log);
    let (code, text) = it.tune("");
    assert_eq!(code, Some(0), "{text}");
    let all = it.trials();
    assert_eq!(class(&all[0]), "no-kv-room");
    assert_eq!((class(&all[1]), flags(&all[1])["max-num-seqs"].as_i64()), ("none", Some(96)), "{}", all[1]);
    assert!(
        text.split_whitespace().collect::<Vec<_>>().join(" ").contains("whose defaults do not start here"),
        "{text}"
    );
}

#[test]
fn a_value_that_the_engine_refuses_is_launched_once_and_the_rest_is_measured() {
    let log = format!("{BANNER}vllm serve: error: argument --block-size: invalid int value: 'x'\n");
    // The value that is tried first is the one that is refused, whichever it is.
    let refuses = r#"v=$(echo "$*" | grep -o "block-size [0-9]*") && { d=$(dirname "$0"); [ -e $d/v ] || echo "$v" >$d/v; [ "$(cat $d/v)" = "$v" ]; }"#;
    let it = Failing::new(refuses, &log);
    let (code, text) = it.tune("--flags block-size");
    assert_eq!(code, Some(0), "{text}");
    let refused: Vec<Value> = it.trials().into_iter().filter(|t| class(t) != "none").collect();
    assert_eq!(refused.len(), 1, "{refused:?}");
    assert_eq!(class(&refused[0]), "bad-value");
    assert!(it.report().contains("bad-value"), "{}", it.report());
    assert!(it.trials().iter().filter(|t| class(t) == "none").count() >= 2);
}

#[test]
fn a_cause_that_may_lie_outside_gets_a_second_launch_and_the_report_tells_of_the_first() {
    let log = format!(
        "{BANNER}RuntimeError: NCCL error: unhandled system error (run with NCCL_DEBUG=INFO for details)\n"
    );
    let it = Failing::new("[ $n = 1 ]", &log);
    let (code, text) = it.tune("");
    assert_eq!(code, Some(0), "{text}");
    let all = it.trials();
    assert!(all.iter().all(|t| class(t) == "none"));
    assert_eq!(all[0]["result"]["first_failure"]["class"], "communication", "{}", all[0]);
    assert_eq!(it.starts() as usize, all.len() + 1);
    assert!(it.report().contains("was made twice"), "{}", it.report());
}

#[test]
fn what_somebody_holds_is_waited_for() {
    let log = format!(
        "{BANNER}ValueError: Free memory on device (11.2/79.2 GiB) on startup is less than desired GPU memory utilization (0.9, 71.3 GiB).\n"
    );
    let it = Failing::new("[ $n = 1 ]", &log);
    let begun = std::time::Instant::now();
    let (code, text) = it.tune("");
    assert_eq!(code, Some(0), "{text}");
    assert!(begun.elapsed().as_secs() >= 20, "it did not wait");
    assert_eq!(it.trials()[0]["result"]["first_failure"]["class"], "memory-held");
}

#[test]
fn what_no_launch_can_mend_ends_the_campaign_at_once_with_the_reason() {
    for (log, named) in [
        ("OSError: You are trying to access a gated repo.\n401 Client Error.\n", "hub-access"),
        ("ModuleNotFoundError: No module named 'zmq'\n", "missing-library"),
        (
            "RuntimeError: The NVIDIA driver on your system is too old (found version 12020).\n",
            "driver-too-old",
        ),
    ] {
        let it = Failing::new("true", &format!("{BANNER}{log}"));
        let (code, text) = it.tune("");
        assert_eq!(code, Some(3), "{text}");
        assert!(it.starts() <= 2, "{} starts for {named}", it.starts());
        assert!(text.contains(named), "{named}: {text}");
        assert!(it.report().contains(named), "{}", it.report());
    }
}

#[test]
fn warnings_that_cost_speed_stand_in_the_report_with_what_they_cost() {
    let log = "(EngineCore_DP0 pid=9) WARNING 11-14 08:12:30 [fused_moe.py:683] Using default MoE config. Performance might be sub-optimal!\n\
               (EngineCore_DP0 pid=9) WARNING 11-14 08:12:31 [cuda.py:211] Cudagraph is disabled under eager mode\n\
               (EngineCore_DP0 pid=9) WARNING 11-14 08:12:32 [config.py:9] Prefix caching is disabled for this model\n";
    // The condition writes the warnings and is false.
    let tmp = Failing::new("cat $(dirname $0)/log; false", log);
    let (code, text) = tmp.tune("");
    assert_eq!(code, Some(0), "{text}");
    let report = tmp.report();
    for (kind, cost) in [
        ("default MoE config", "not tuned for this GPU"),
        ("eager mode", "each step pays the host's launch"),
        ("Prefix caching is disabled", "computes its whole prompt"),
    ] {
        assert!(report.contains(kind) && report.contains(cost), "{kind}: {report}");
    }
}
