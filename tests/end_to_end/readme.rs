//! The commands that README and the documentation tell a reader to type. Those of the embedded engine and those that predict are
//! run as they stand, one after the other in one directory; a campaign on a real engine is planned (`--dry-run`) and not launched.

use std::path::{Path, PathBuf};
use std::process::Command;

/// Lines of the shell blocks of a Markdown file, continuations joined.
fn commands(file: &Path) -> Vec<Vec<String>> {
    let text = std::fs::read_to_string(file).unwrap_or_else(|e| panic!("{}: {e}", file.display()));
    let mut inside = false;
    let mut lines = Vec::new();
    for line in text.lines() {
        match line {
            "```sh" => inside = true,
            l if l.starts_with("```") => inside = false,
            l if inside => lines.push(l.to_owned()),
            _ => {}
        }
    }
    let joined = lines.join("\n").replace("\\\n", " ");
    joined
        .lines()
        .filter(|l| l.starts_with("dyno "))
        .map(|l| shlex::split(l).unwrap_or_else(|| panic!("{}: a shell does not read `{l}`", file.display())))
        .collect()
}

/// The command as it can be run here, and the exit codes that are right.
fn here(words: &[String]) -> Option<(Vec<String>, &'static [i32])> {
    let has = |w: &str| words.iter().any(|x| x == w);
    let mut out: Vec<String> = words[1..].to_vec();
    match words[1].as_str() {
        "tune" if has("emulated") => Some((out, &[0])),
        "tune" => {
            let own = out.iter().position(|w| w == "--").unwrap_or(out.len());
            let out_dir = out.iter().position(|w| w == "--out")?;
            let mut more = vec!["--dry-run".to_owned()];
            if !has("--hardware") {
                more.extend(["--hardware".to_owned(), "a100-sxm-80gb".to_owned()]);
            }
            out.splice(own..own, more);
            out.drain(out_dir..out_dir + 2);
            Some((out, &[0]))
        }
        // What a campaign wrote before.
        "predict" | "capacity" | "explain" => {
            // The profile is one that a campaign on a GPU would have written.
            if let Some(at) = out.iter().position(|w| w == "--profile") {
                out.drain(at..at + 2);
            }
            Some((out, &[0]))
        }
        "doctor" => {
            out.push("--offline".to_owned());
            Some((out, &[0, 4]))
        }
        "export" | "report" => Some((out, &[0])),
        // They need a server, or two results.
        "bench" | "compare" | "ramp" => None,
        other => panic!("`dyno {other}`: say here how it is tried"),
    }
}

fn stand_in(from: &Path, to: &Path) {
    for name in ["run.json", "trials.jsonl", "analysis.json"] {
        std::fs::copy(from.join(name), to.join(name)).unwrap();
    }
    let report = Command::new(assert_cmd::cargo::cargo_bin!("dyno")).arg("report").arg(to).output().unwrap();
    assert!(report.status.success(), "{}", String::from_utf8_lossy(&report.stderr));
}

#[test]
fn what_the_documentation_says_can_be_typed() {
    let root = Path::new(env!("CARGO_MANIFEST_DIR"));
    let mut files: Vec<PathBuf> = std::fs::read_dir(root.join("docs/src"))
        .unwrap()
        .map(|e| e.unwrap().path())
        .filter(|p| p.extension().is_some_and(|e| e == "md"))
        .collect();
    files.push(root.join("README.md"));
    let mut all: Vec<Vec<String>> = files.iter().flat_map(|f| commands(f)).collect();
    all.sort();
    all.dedup();
    // The campaigns first: the others read what they write.
    all.sort_by_key(|words| words[1] != "tune" || !words.iter().any(|w| w == "emulated"));
    let dir = tempfile::tempdir().unwrap();
    let mut run = 0;
    for words in &all {
        let Some((args, codes)) = here(words) else { continue };
        let out = Command::new(assert_cmd::cargo::cargo_bin!("dyno"))
            .args(&args)
            .current_dir(dir.path())
            .env("HF_HUB_OFFLINE", "1")
            .output()
            .unwrap();
        let code = out.status.code().unwrap_or(-1);
        let said = String::from_utf8_lossy(&out.stderr);
        run += 1;
        // On a machine that other work keeps busy the client says so, and no figure counts: the commands that read the
        // campaign are then tried on a recorded one.
        if code == 3 && said.contains("no-valid-run") && words[1] == "tune" {
            stand_in(&root.join("tests/campaigns/clear-win"), &dir.path().join("first-report"));
            continue;
        }
        assert!(codes.contains(&code), "`{}` gave {code}:\n{said}", words.join(" "));
    }
    assert!(run >= 8, "{run} of {} commands", all.len());
    assert!(dir.path().join("first-report/report.html").exists());
}
