//! Slurm: one batch job a trial, by `sbatch`, `scontrol`, `squeue` and `scancel`, GPUs as generic resources (`--gres=gpu:N`).
//!
//! A job's output is a file, so that a directory has to be shared with the nodes. Jobs that have ended are known to `slurmctld`
//! for some minutes (`MinJobAge`); after that `sacct` is asked, which many a cluster does not have.

use super::config::ExecutorConfig;
use super::contract::{Executor, Job, JobState, Places};
use crate::error::{Error, Result};
use crate::process::{ToolOutput, tool};
use std::collections::{BTreeMap, BTreeSet};
use std::os::unix::fs::DirBuilderExt as _;
use std::path::PathBuf;
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// States of nodes that take jobs now or after those that run there.
const UP: [&str; 6] = ["idle", "mixed", "allocated", "completing", "reserved", "planned"];

/// The cluster that Slurm's commands reach from here (`SLURM_CONF`, else `/etc/slurm`).
#[derive(Debug)]
pub struct Slurm {
    /// More words for `sbatch`: partition, account, time.
    options: Vec<String>,
    /// Shared with the nodes: the jobs' outputs.
    dir: PathBuf,
    now: Mutex<Now>,
}

#[derive(Debug, Default)]
struct Now {
    /// Outputs by the jobs' ids.
    outputs: BTreeMap<String, PathBuf>,
    /// Where a job was seen to run.
    nodes: BTreeMap<String, String>,
    avoided: BTreeSet<String>,
}

impl Slurm {
    /// Errors: the directory for the outputs cannot be made.
    pub fn new(config: &ExecutorConfig) -> Result<Slurm> {
        let home = || std::env::var_os("HOME").map_or_else(std::env::temp_dir, PathBuf::from);
        let dir = config.dir.as_ref().map_or_else(|| home().join(".dyno-jobs"), PathBuf::from);
        let cannot = |e: std::io::Error| {
            Error::usage("the directory for the outputs of Slurm's jobs cannot be made")
                .at(dir.display())
                .source(e)
                .hint("--slurm-dir DIR: one that the nodes share")
        };
        std::fs::DirBuilder::new().recursive(true).mode(0o700).create(&dir).map_err(cannot)?;
        let dir = dir.canonicalize().map_err(cannot)?;
        Ok(Slurm { options: config.options.clone(), dir, now: Mutex::default() })
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    fn ask(what: &str, program: &str, args: &[&str], input: &str) -> Result<String> {
        let out = tool(program, args, input, LIMIT)?;
        if out.code == 0 { Ok(out.stdout) } else { Err(refused(what, &out)) }
    }

    fn sbatch(&self, job: &Job) -> Vec<String> {
        let mut words = vec!["--parsable".to_owned(), format!("--job-name={}", job.name)];
        // dyno itself decides where a lost trial runs again, so that its record tells of it.
        words.extend(["--no-requeue", "--nodes=1", "--ntasks=1"].map(str::to_owned));
        words.push(format!("--gres=gpu:{}", job.gpus));
        words.push(format!("--output={}", self.output_of(&job.name).display()));
        let avoided: Vec<String> = self.now().avoided.iter().cloned().collect();
        if !avoided.is_empty() {
            words.push(format!("--exclude={}", avoided.join(",")));
        }
        words.extend(self.options.iter().cloned());
        words
    }

    fn output_of(&self, name: &str) -> PathBuf {
        self.dir.join(format!("{name}.out"))
    }

    /// Words of the user's that choose a part of the cluster, for `sinfo`.
    fn partition(&self) -> Vec<String> {
        let at = |n: usize| self.options.get(n).cloned();
        let mut words = Vec::new();
        for (n, word) in self.options.iter().enumerate() {
            if word == "-p" || word == "--partition" {
                words.extend(at(n + 1).map(|name| format!("--partition={name}")));
            } else if word.starts_with("--partition=") {
                words.push(word.clone());
            } else if let Some(name) = word.strip_prefix("-p").filter(|_| !word.starts_with("--")) {
                words.push(format!("--partition={name}"));
            }
        }
        words
    }

    /// The job as the database of accounts tells it, where there is one.
    fn of_the_past(&self, id: &str) -> JobState {
        let args = ["-X", "-n", "-P", "-j", id, "-o", "State,NodeList"];
        let told = tool("sacct", &args, "", LIMIT).ok().filter(|out| out.code == 0).map(|out| out.stdout);
        let row = told.as_deref().and_then(|t| t.lines().next()).unwrap_or_default();
        match row.split_once('|') {
            Some((state, node)) => state_of(state.split(' ').next().unwrap_or_default(), "", named(node)),
            // What it printed tells, where it came to an end.
            None if self.now().outputs.get(id).is_some_and(|p| p.exists()) => JobState::Ended { node: None },
            None => JobState::Lost { node: None, why: "Slurm does not know the job any more".to_owned() },
        }
    }
}

impl Executor for Slurm {
    fn name(&self) -> String {
        "Slurm".to_owned()
    }

    fn places(&self, gpus: u32) -> Result<Places> {
        let partition = self.partition();
        let mut args = vec!["-h", "-N", "-o", "%N|%T|%G"];
        args.extend(partition.iter().map(String::as_str));
        let nodes = nodes(&Slurm::ask("list its nodes", "sinfo", &args, "")?);
        let up: Vec<&Node> = nodes.iter().filter(|n| n.up).collect();
        let said = |n: &&Node| format!("{} with {} GPUs", n.name, n.gpus);
        let described = up.iter().map(said).collect::<Vec<_>>().join(", ");
        let on = |n: &&Node| n.gpus / gpus.max(1);
        let launches = up.iter().map(on).sum();
        if launches == 0 {
            let down: Vec<&str> = nodes.iter().filter(|n| !n.up).map(|n| n.name.as_str()).collect();
            let among = partition.first().map_or("Slurm", String::as_str);
            return Err(Error::failed(format!(
                "no node of {among} has the {gpus} GPUs of a launch (in use: {}; out of use: {})",
                said_or_none(&described),
                said_or_none(&down.join(", "))
            ))
            .hint(
                "`sinfo -N -o '%N %T %G'` shows nodes, states and GPUs (gres); lower --num-gpus, or name another \
                 partition with --slurm-options '-p NAME'",
            ));
        }
        Ok(Places { launches, on_one_node: up.iter().map(on).max().unwrap_or(0), described })
    }

    fn submit(&self, job: &Job) -> Result<String> {
        let words = self.sbatch(job);
        let args: Vec<&str> = words.iter().map(String::as_str).collect();
        let said = Slurm::ask("take a job", "sbatch", &args, &script(job))?;
        // `ID`, or `ID;CLUSTER`; warnings may stand before it.
        let id = said.lines().rev().find_map(|l| l.trim().split(';').next().filter(|id| is_id(id)));
        let id = id.map(str::to_owned).ok_or_else(|| {
            Error::failed(format!("sbatch took a job and did not say its number: {}", said.trim()))
        })?;
        self.now().outputs.insert(id.clone(), self.output_of(&job.name));
        Ok(id)
    }

    fn state(&self, id: &str) -> Result<JobState> {
        let out = tool("scontrol", &["show", "job", "-o", id], "", LIMIT)?;
        if out.code != 0 {
            let unknown = out.stderr.contains("Invalid job id");
            return if unknown {
                Ok(self.of_the_past(id))
            } else {
                Err(refused("say how a job stands", &out))
            };
        }
        let value =
            |key: &str| out.stdout.split_whitespace().find_map(|w| w.strip_prefix(key)).unwrap_or_default();
        let node = named(value("NodeList="));
        // Slurm begins some jobs again in spite of all, where it blames the node.
        if !matches!(value("Restarts="), "" | "0") {
            let (why, node) =
                ("Slurm took the node away and began the job again".to_owned(), self.now().nodes.remove(id));
            return Ok(JobState::Lost { node, why });
        }
        if let Some(node) = &node {
            self.now().nodes.insert(id.to_owned(), node.clone());
        }
        Ok(state_of(value("JobState="), value("Reason="), node))
    }

    fn shown(&self, job: &Job) -> String {
        let words: Vec<String> = std::iter::once("sbatch".to_owned()).chain(self.sbatch(job)).collect();
        let command = crate::launch::Launch::from_argv(&words).to_text();
        format!("{command} <<'END_OF_SCRIPT'\n{}END_OF_SCRIPT\n", script(job))
    }

    fn output(&self, id: &str) -> Result<String> {
        let Some(path) = self.now().outputs.get(id).cloned() else { return Ok(String::new()) };
        let bytes = std::fs::read(&path).map_err(|e| {
            Error::failed("the output of a job is not here")
                .at(path.display())
                .source(e)
                .hint("do the nodes share that directory? --slurm-dir names another")
        })?;
        Ok(String::from_utf8_lossy(&bytes).into_owned())
    }

    fn stop(&self, id: &str) -> Result<()> {
        let out = tool("scancel", &[id], "", LIMIT)?;
        let over = out.stderr.contains("Invalid job id") || out.stderr.contains("already completing");
        if out.code == 0 || over { Ok(()) } else { Err(refused("end a job", &out)) }
    }

    fn avoid(&self, nodes: &[String]) -> bool {
        self.now().avoided = nodes.iter().cloned().collect();
        true
    }

    fn alive(&self, prefix: &str) -> Result<Vec<String>> {
        let args = ["-h", "--me", "-t", "PENDING,CONFIGURING,RUNNING,SUSPENDED", "-o", "%i %j"];
        let all = Slurm::ask("list its jobs", "squeue", &args, "")?;
        let ours =
            all.lines().filter_map(|l| l.trim().split_once(' ').filter(|(_, name)| name.starts_with(prefix)));
        Ok(ours.map(|(id, _)| id.to_owned()).collect())
    }
}

impl Drop for Slurm {
    fn drop(&mut self) {
        // What they said is in the record.
        self.now().outputs.values().for_each(|path| drop(std::fs::remove_file(path)));
    }
}

fn said_or_none(list: &str) -> &str {
    if list.is_empty() { "none" } else { list }
}

fn script(job: &Job) -> String {
    format!("#!/bin/sh\n{}", job.script())
}

fn is_id(word: &str) -> bool {
    !word.is_empty() && word.chars().all(|c| c.is_ascii_digit())
}

fn refused(what: &str, out: &ToolOutput) -> Error {
    Error::failed(format!("Slurm does not {what}: {}", out.reason())).hint(
        "`sinfo` has to answer on this machine; partition, account and time limit go into --slurm-options '-p NAME -A NAME \
         -t 2:00:00'",
    )
}

/// A list of nodes as Slurm writes it; a launch has one.
fn named(list: &str) -> Option<String> {
    Some(list.trim()).filter(|l| !l.is_empty() && *l != "(null)" && !l.starts_with("None")).map(str::to_owned)
}

fn state_of(state: &str, reason: &str, node: Option<String>) -> JobState {
    let lost = |why: &str, node| JobState::Lost { node, why: why.to_owned() };
    match state {
        "PENDING" | "CONFIGURING" | "REQUEUED" => JobState::Waiting { why: format!("Slurm: {reason}") },
        "RUNNING" | "COMPLETING" | "SUSPENDED" | "STOPPED" | "SIGNALING" | "STAGE_OUT" => {
            JobState::Running { node }
        }
        // The script's own exit code, or memory that a launch took: the output tells.
        "COMPLETED" | "FAILED" | "OUT_OF_MEMORY" => JobState::Ended { node },
        "NODE_FAIL" => lost("Slurm lost the node", node),
        "PREEMPTED" => lost("a job of higher priority took the node", node),
        "CANCELLED" => lost("somebody cancelled the job", node),
        "TIMEOUT" | "DEADLINE" => {
            lost("the job's time was over (--slurm-options '-t TIME' asks for more)", node)
        }
        other => lost(other, node),
    }
}

/// A node of `sinfo`.
#[derive(Debug, PartialEq, Eq)]
struct Node {
    name: String,
    up: bool,
    gpus: u32,
}

/// Nodes of lines `NAME|STATE|GRES`, each once although it may be in several partitions.
fn nodes(lines: &str) -> Vec<Node> {
    let mut nodes: Vec<Node> = Vec::new();
    for line in lines.lines() {
        let mut words = line.trim().split('|');
        let (Some(name), Some(state), Some(gres)) = (words.next(), words.next(), words.next()) else {
            continue;
        };
        if !nodes.iter().any(|n| n.name == name) {
            // A mark behind the state says that the node does not answer, is powered down, and so on.
            nodes.push(Node { name: name.to_owned(), up: UP.contains(&state), gpus: gpus_of(gres) });
        }
    }
    nodes
}

/// GPUs in a list of generic resources, as `gpu:a100:8(S:0-1),nic:2`.
fn gpus_of(gres: &str) -> u32 {
    // Commas stand inside of the brackets as well.
    let mut depth = 0;
    let plain: String = gres
        .chars()
        .filter(|c| {
            depth += i32::from(*c == '(');
            let keep = depth == 0;
            depth -= i32::from(*c == ')');
            keep
        })
        .collect();
    let counts =
        plain.split(',').filter_map(|one| one.strip_prefix("gpu:")?.rsplit(':').next()?.parse::<u32>().ok());
    counts.sum()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn nodes_states_and_gpus_are_read() {
        let lines = "a1|idle|gpu:a100:8(S:0-1)\na1|idle|gpu:a100:8(S:0-1)\na2|mixed|gpu:h100:4(S:0,1),gpu:l4:2,nic:2\n\
                     a3|down*|gpu:8\na4|idle*|gpu:8\nc1|allocated|(null)\n";
        let said: Vec<(String, bool, u32)> =
            nodes(lines).into_iter().map(|n| (n.name, n.up, n.gpus)).collect();
        let expected =
            [("a1", true, 8), ("a2", true, 6), ("a3", false, 8), ("a4", false, 8), ("c1", true, 0)];
        assert_eq!(said, expected.map(|(name, up, gpus)| (name.to_owned(), up, gpus)));
    }

    #[test]
    fn states_say_whose_fault_it_is() {
        let node = || Some("n1".to_owned());
        let of = |state: &str| state_of(state, "Priority", node());
        assert_eq!(of("PENDING"), JobState::Waiting { why: "Slurm: Priority".into() });
        assert_eq!(of("COMPLETING"), JobState::Running { node: node() });
        for ended in ["COMPLETED", "FAILED", "OUT_OF_MEMORY"] {
            assert_eq!(of(ended), JobState::Ended { node: node() });
        }
        for lost in ["NODE_FAIL", "BOOT_FAIL", "PREEMPTED", "CANCELLED", "TIMEOUT"] {
            assert!(matches!(of(lost), JobState::Lost { node: Some(n), .. } if n == "n1"), "{lost}");
        }
        assert_eq!((named("(null)"), named(" n1 ")), (None, node()));
    }

    #[test]
    fn the_partition_is_found_among_the_options() {
        for words in
            [&["-p", "gpu", "-t", "1:00"][..], &["--partition", "gpu"], &["--partition=gpu"], &["-pgpu"]]
        {
            let dir = tempfile::tempdir().unwrap();
            let mut config = ExecutorConfig::of(super::super::ExecutorKind::Slurm);
            config.options = words.iter().map(|w| (*w).to_owned()).collect();
            config.dir = Some(dir.path().display().to_string());
            assert_eq!(Slurm::new(&config).unwrap().partition(), ["--partition=gpu"], "{words:?}");
        }
    }
}
