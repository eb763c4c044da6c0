//! `dyno tune` as a whole command on the embedded engine: a finished report, kill -9 and Ctrl-C with resume, plans
//! that differ, nothing feasible.

use rustix::process::{Pid, Signal, kill_process};
use serde_json::Value;
use std::collections::BTreeSet;
use std::path::Path;
use std::process::{Child, Command, Output, Stdio};
use std::time::{Duration, Instant};

const PLAN: &str = "tune --model openai/gpt-oss-20b --engine emulated --hardware a100-sxm-80gb --repeats 2 \
    --workload random:64/12,n=12 --workload random:32/4,n=6 --flags async-scheduling,max-num-seqs";

/// Starts `dyno` with these words; what follows `--` goes to every launch of the engine.
fn start(line: &str, dir: &Path, engine_flags: &str) -> Child {
    Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
        .args(line.split_whitespace())
        .arg(dir)
        .args(engine_flags.split_whitespace())
        .stdin(Stdio::null())
        .stdout(Stdio::piped())
        .stderr(Stdio::piped())
        .spawn()
        .unwrap()
}

fn finish(child: Child) -> (Option<i32>, String, String) {
    let Output { status, stdout, stderr } = child.wait_with_output().unwrap();
    let text = |b: Vec<u8>| String::from_utf8_lossy(&b).into_owned();
    let (stdout, stderr) = (text(stdout), text(stderr));
    assert!(!stderr.contains("panicked"), "{stderr}");
    (status.code(), stdout, stderr)
}

fn lines(dir: &Path) -> Vec<Value> {
    let text = std::fs::read_to_string(dir.join("trials.jsonl")).unwrap_or_default();
    text.lines().filter_map(|l| serde_json::from_str(l).ok()).collect()
}

fn trials(dir: &Path) -> Vec<Value> {
    lines(dir).into_iter().filter(|l| l["kind"] == "trial").collect()
}

/// Waits until the record holds this many trials and the next one has begun.
fn wait_for_trials(dir: &Path, n: usize) {
    let until = Instant::now() + Duration::from_secs(240);
    let begun = |n| std::fs::read_dir(dir.join("trials")).is_ok_and(|d| d.flatten().count() > n);
    while trials(dir).len() < n || !begun(n) {
        let told = || {
            let dirs = std::fs::read_dir(dir.join("trials")).into_iter().flatten().flatten();
            let logs = dirs.map(|d| std::fs::read_to_string(d.path().join("engine.log")).unwrap_or_default());
            logs.map(|log| log.lines().last().unwrap_or_default().to_owned()).collect::<Vec<_>>()
        };
        assert!(
            Instant::now() < until,
            "no {n} trials but {} in {}: {:?}",
            trials(dir).len(),
            dir.display(),
            told()
        );
        std::thread::sleep(Duration::from_millis(10));
    }
}

/// Processes that carry this word in their arguments, `dyno tune` itself not counted.
fn engines_with(word: &str) -> Vec<String> {
    let of = |p: std::fs::DirEntry| std::fs::read(p.path().join("cmdline")).ok();
    let all = std::fs::read_dir("/proc").unwrap().flatten().filter_map(of);
    let texts = all.map(|c| String::from_utf8_lossy(&c).replace('\0', " "));
    texts.filter(|c| c.contains(word) && c.contains(" emulate ")).collect()
}

fn signal(child: &Child, signal: Signal) {
    kill_process(Pid::from_child(child), signal).unwrap();
}

fn read(path: &Path) -> String {
    std::fs::read_to_string(path).unwrap_or_else(|e| panic!("{}: {e}", path.display()))
}

#[expect(clippy::too_many_lines, reason = "one campaign from its start to its report")]
#[test]
fn a_campaign_ends_in_a_report_that_the_record_gives_again() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("out");
    let (code, stdout, stderr) =
        finish(start(&format!("{PLAN} --json --out"), &dir, "-- --emulate-version 0.11.0"));
    assert_eq!(code, Some(0), "{stderr}");

    let printed: Value = serde_json::from_str(&stdout).expect("nothing but JSON on stdout");
    let written: Value = serde_json::from_str(&read(&dir.join("recommendation.json"))).unwrap();
    assert_eq!(printed, written);
    for key in [
        "engine",
        "command",
        "env",
        "objective",
        "baseline",
        "recommended",
        "improvement",
        "flags",
        "trials_run",
        "candidates_considered",
        "wall_time_s",
    ] {
        assert!(!written[key].is_null(), "{key} is missing");
    }
    assert_eq!(written["command"][0], "dyno");
    assert!(written["baseline"]["result"]["total_token_throughput"].as_f64().unwrap() > 0.0);
    assert_eq!(written["trials_run"].as_u64().unwrap() as usize, trials(&dir).len());
    assert!(stderr.lines().all(|l| serde_json::from_str::<Value>(l).is_ok()), "{stderr}");

    let report = read(&dir.join("report.md"));
    let headings: Vec<&str> = report.lines().filter(|l| l.starts_with('#')).collect();
    assert_eq!(headings[0], "# Serving openai/gpt-oss-20b on 1 x a100-sxm-80gb (emulated)");
    for part in [
        "## What it gives",
        "## Why",
        "## How much load it carries",
        "## Risks and limits",
        "## How it was found",
        "## Set-up and reproduction",
        "## Raw results",
    ] {
        assert!(headings.contains(&part), "{part} is missing in {headings:?}");
    }
    assert!(
        report.find("```sh").unwrap() < report.find("## What it gives").unwrap(),
        "the command comes first"
    );
    let counts = |l: &&str| l.contains(" considered") && l.starts_with(|c: char| c.is_ascii_digit());
    let line = report.lines().find(counts).expect("what became of the space");
    // The number that begins the part with the word.
    let count = |word: &str| {
        let part = line.split([',', ';']).find(|p| p.contains(word)).unwrap_or("0");
        part.split_whitespace().find_map(|w| w.parse::<u32>().ok()).unwrap_or(0)
    };
    assert!(count(" considered") > 0, "{line}");
    assert_eq!(count(" considered"), count(" simulated") + count(" screened out"), "{line}");
    assert!(dir.join("profile.toml").exists());
    assert!(dir.join("trials/001-emulated-67268548a2/engine.log").exists());

    // The page and the pictures are there without being asked for, and the record alone gives the same bytes.
    let page = read(&dir.join("report.html"));
    assert!(page.contains("emulated: not measured on this hardware") && page.contains("<svg"));
    let pictures: Vec<&str> =
        report.split("](").skip(1).filter_map(|p| p.split_once(')')).map(|p| p.0).collect();
    assert!(pictures.contains(&"launches.svg") && pictures.contains(&"load.svg"), "{pictures:?}");
    let files = ["report.md", "report.html", "recommendation.json"].into_iter().chain(pictures);
    let before: Vec<(&str, String)> = files.map(|f| (f, read(&dir.join(f)))).collect();
    for (file, _) in &before {
        std::fs::remove_file(dir.join(file)).unwrap();
    }
    let (code, _, stderr) = finish(start("report", &dir, ""));
    assert_eq!(code, Some(0), "{stderr}");
    for (file, text) in &before {
        assert_eq!(read(&dir.join(file)), *text, "{file}");
    }

    // Another campaign may not begin here, and this one goes on only under its own plan.
    let (code, _, stderr) = finish(start(&format!("{PLAN} --out"), &dir, ""));
    assert!(code == Some(2) && stderr.contains("--resume"), "{stderr}");
    let (code, _, stderr) = finish(start("tune --seed 9 --resume", &dir, ""));
    assert!(code == Some(2) && stderr.contains("seed: 0 in the record, 9 asked for"), "{stderr}");
    let before = trials(&dir).len();
    let (code, _, stderr) = finish(start("tune --resume", &dir, ""));
    assert!(
        code == Some(0) && trials(&dir).len() == before,
        "a finished campaign launches nothing more: {stderr}"
    );
}

#[test]
fn kill_nine_at_several_points_loses_one_trial_and_leaves_no_engine() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("out");
    let word = format!("9{}", std::process::id());
    let flags = format!("-- --emulate-version 0.11.0 --seed {word}");
    let mut child = start(&format!("{PLAN} --out"), &dir, &flags);
    for finished in [1, 3, 4] {
        wait_for_trials(&dir, finished);
        signal(&child, Signal::KILL);
        finish(child);
        child = start("tune --resume", &dir, "");
    }
    let (code, _, stderr) = finish(child);
    assert_eq!(code, Some(0), "{stderr}");
    assert_eq!(engines_with(&word), Vec::<String>::new());
    let all = trials(&dir);
    let key = |t: &Value| format!("{} {} {}", t["stage"], t["launch"], t["result"]["spec"]["candidate"]);
    let distinct: BTreeSet<String> = all.iter().map(key).collect();
    assert_eq!(distinct.len(), all.len(), "no finished trial was repeated");
    assert!(read(&dir.join("report.md")).contains("## What it gives"));
}

#[test]
fn ctrl_c_stops_cleanly_and_says_how_to_go_on() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("out");
    let word = format!("8{}", std::process::id());
    let flags = format!("-- --seed {word}");
    let child = start(&format!("{PLAN} --out"), &dir, &flags);
    wait_for_trials(&dir, 1);
    signal(&child, Signal::INT);
    let (code, _, stderr) = finish(child);
    assert_eq!(code, Some(130), "{stderr}");
    assert!(stderr.contains(&format!("dyno tune --resume {}", dir.display())), "{stderr}");
    assert_eq!(engines_with(&word), Vec::<String>::new());
    let kept = trials(&dir).len();
    assert!(kept >= 1);

    // Twice, and by the other signal: at once, and the record is as safe.
    let child = start("tune --resume", &dir, "");
    let until = Instant::now() + Duration::from_secs(60);
    while engines_with(&word).is_empty() {
        assert!(Instant::now() < until, "no engine was started");
        std::thread::sleep(Duration::from_millis(10));
    }
    signal(&child, Signal::TERM);
    signal(&child, Signal::TERM);
    let (code, _, stderr) = finish(child);
    assert_eq!(code, Some(130), "{stderr}");
    assert_eq!(engines_with(&word), Vec::<String>::new());
    assert!(trials(&dir).len() >= kept);
}

#[test]
fn when_every_candidate_fails_it_says_why_by_class() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("out");
    let line = "tune --model openai/gpt-oss-20b --engine emulated --hardware a10-24gb --workload random:8/4,n=4 \
                --repeats 2 --out";
    let (code, _, stderr) = finish(start(line, &dir, "-- --no-such-flag-anywhere 1"));
    assert_eq!(code, Some(3), "{stderr}");
    assert!(stderr.contains("every candidate failed") && stderr.contains("flag"), "{stderr}");
    assert!(read(&dir.join("report.md")).contains("Failed launches"));
}

#[test]
fn a_way_out_of_a_refusal_in_two_steps_is_found() {
    let tmp = tempfile::tempdir().unwrap();
    let dir = tmp.path().join("out");
    // With its defaults the cache has no room; with a larger share of the memory not for the model's whole context.
    let line = "tune --model Qwen/Qwen3-14B --engine emulated --hardware rtx-5090-32gb --workload random:64/4,n=8 \
                --search one-factor --flags block-size --repeats 2 --max-trials 8 --out";
    let (code, stdout, stderr) = finish(start(line, &dir, ""));
    assert_eq!(code, Some(0), "{stderr}");
    let all = trials(&dir);
    let flags = |i: usize| all[i]["result"]["spec"]["candidate"]["flags"].to_string();
    let class = |i: usize| all[i]["result"]["failure"]["class"].as_str().unwrap_or("none").to_owned();
    assert_eq!((class(0), class(1)), ("no-kv-room".into(), "too-long".into()), "{} {}", all[0], all[1]);
    assert!(flags(1).contains("gpu-memory-utilization"), "{}", flags(1));
    assert!(
        flags(2).contains("gpu-memory-utilization") && flags(2).contains("max-model-len"),
        "{}",
        flags(2)
    );
    assert_eq!(class(2), "none");
    // The terminal folds its lines.
    let words = stdout.split_whitespace().collect::<Vec<_>>().join(" ");
    assert!(words.contains("whose defaults do not start here"), "{stdout}");
}
