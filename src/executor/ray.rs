//! Ray: one job a trial, by the Jobs API over HTTP (`/api/jobs/`), GPUs as Ray's own resource.
//!
//! Ray gives the job's entry point the GPUs it reserved (`CUDA_VISIBLE_DEVICES`). Where a node dies, Ray marks its jobs as
//! failed with a word on the supervisor that it runs beside each job.

use super::config::ExecutorConfig;
use super::contract::{Executor, Job, JobState, Places};
use crate::error::{Error, Result};
use crate::telemetry::{Http, brief};
use serde::Deserialize;
use serde_json::{Value, json};
use std::collections::BTreeMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;

/// Where Ray's dashboard listens unless told otherwise.
const ADDRESS: &str = "http://127.0.0.1:8265";
/// Ray's own variables for the address of the Jobs API, and for a token where the cluster asks for one.
const ADDRESS_VARIABLE: &str = "RAY_API_SERVER_ADDRESS";
const TOKEN_VARIABLE: &str = "RAY_AUTH_TOKEN";
const LIMIT: Duration = Duration::from_secs(30);
/// Most bytes of a job's script: Ray gives it to a shell as one word, and Linux takes 128 KiB in one.
const SCRIPT_LIMIT: usize = 120 << 10;

/// The Jobs API of one cluster.
#[derive(Debug)]
pub struct Ray {
    http: Http,
    /// Addresses of nodes by Ray's ids of them.
    nodes: Mutex<BTreeMap<String, String>>,
}

/// A job as the API tells it; other keys are of no use here.
#[derive(Debug, Deserialize)]
struct Details {
    #[serde(default)]
    submission_id: Option<String>,
    status: String,
    #[serde(default)]
    message: Option<String>,
    #[serde(default)]
    error_type: Option<String>,
    #[serde(default)]
    driver_node_id: Option<String>,
}

/// A node as the State API tells it.
#[derive(Debug, Deserialize)]
struct Node {
    node_id: String,
    #[serde(default)]
    node_ip: String,
    #[serde(default)]
    state: String,
    #[serde(default)]
    resources_total: BTreeMap<String, f64>,
}

impl Ray {
    /// Errors: an address that is none.
    pub fn new(config: &ExecutorConfig) -> Result<Ray> {
        let address = config.address.clone().or_else(|| variable(ADDRESS_VARIABLE));
        let address = address.unwrap_or_else(|| ADDRESS.to_owned());
        let with_scheme = if address.contains("://") { address } else { format!("http://{address}") };
        let http = Http::at(&with_scheme, variable(TOKEN_VARIABLE))
            .map_err(|e| Error::usage("the Jobs API of Ray cannot be asked").at(&with_scheme).source(e))?;
        Ok(Ray { http, nodes: Mutex::default() })
    }

    fn ask(&self, what: &str, answer: Result<(u16, String), String>) -> Result<String> {
        let fail = |why: String| {
            Error::failed(format!("Ray does not {what}: {why}")).at(self.http.base()).hint(
                "is the cluster up, and is this the address of its dashboard (--ray-address, such as \
                 http://HEAD:8265; `ray start --head --dashboard-host 0.0.0.0` opens it to other machines)?",
            )
        };
        match answer {
            Err(why) => Err(fail(why)),
            Ok((200, text)) => Ok(text),
            Ok((status, text)) => Err(fail(format!("status {status}, {}", last_line(&text)))),
        }
    }

    fn read<T: for<'de> Deserialize<'de>>(&self, what: &str, path: &str) -> Result<T> {
        let text = self.ask(what, self.http.get(path, LIMIT))?;
        serde_json::from_str(&text).map_err(|e| {
            Error::failed(format!("Ray does not {what}: its answer cannot be read: {}", brief(&text)))
                .at(format!("{}{path}", self.http.base()))
                .source(e)
                .hint("is this the dashboard of Ray 2.9 or later?")
        })
    }

    /// The nodes that are alive.
    fn alive_nodes(&self) -> Result<Vec<Node>> {
        let all: Value = self.read("list its nodes", "/api/v0/nodes?limit=1000&detail=true")?;
        let rows = all.pointer("/data/result/result").cloned().unwrap_or_default();
        let nodes: Vec<Node> = serde_json::from_value(rows).map_err(|e| {
            Error::failed("the list of Ray's nodes cannot be read").at(self.http.base()).source(e)
        })?;
        let mut known = self.nodes.lock().unwrap_or_else(PoisonError::into_inner);
        known.extend(nodes.iter().map(|n| (n.node_id.clone(), n.node_ip.clone())));
        Ok(nodes.into_iter().filter(|n| n.state == "ALIVE").collect())
    }

    /// The node's address, or Ray's id of it where nobody says it.
    fn node_name(&self, id: Option<String>) -> Option<String> {
        let id = id?;
        let known = |ray: &Ray| ray.nodes.lock().unwrap_or_else(PoisonError::into_inner).get(&id).cloned();
        known(self).or_else(|| self.alive_nodes().ok().and_then(|_| known(self))).or(Some(id))
    }
}

impl Executor for Ray {
    fn name(&self) -> String {
        format!("Ray at {}", self.http.base())
    }

    fn places(&self, gpus: u32) -> Result<Places> {
        let nodes = self.alive_nodes()?;
        let gpus_of = |n: &Node| n.resources_total.get("GPU").copied().unwrap_or(0.0) as u32;
        let on = |n: &Node| gpus_of(n) / gpus.max(1);
        let described: Vec<String> =
            nodes.iter().map(|n| format!("{} with {} GPUs", n.node_ip, gpus_of(n))).collect();
        let described = described.join(", ");
        let launches = nodes.iter().map(on).sum();
        if launches == 0 {
            return Err(Error::failed(format!(
                "no node of this Ray cluster has the {gpus} GPUs of a launch: {described}"
            ))
            .at(self.http.base())
            .hint(
                "lower --num-gpus; a node's GPUs are what `ray start` found there or was told by --num-gpus",
            ));
        }
        Ok(Places { launches, on_one_node: nodes.iter().map(on).max().unwrap_or(0), described })
    }

    fn shown(&self, job: &Job) -> String {
        serde_json::to_string_pretty(&body(job)).unwrap_or_default()
    }

    fn submit(&self, job: &Job) -> Result<String> {
        let size = job.script().len();
        if size > SCRIPT_LIMIT {
            return Err(Error::failed(format!(
                "the trial takes {} KiB as a job of Ray, and {} are the most",
                size >> 10,
                SCRIPT_LIMIT >> 10
            ))
            .hint("give large inputs as files that the nodes have under the same path"));
        }
        let answer = self.http.post("/api/jobs/", Some(&body(job)), LIMIT);
        self.ask("take a job", answer).map(|_| job.name.clone())
    }

    fn state(&self, id: &str) -> Result<JobState> {
        let mut details: Details = self.read("say how a job stands", &format!("/api/jobs/{id}"))?;
        let node = self.node_name(details.driver_node_id.take());
        Ok(state_of(details, node))
    }

    fn output(&self, id: &str) -> Result<String> {
        #[derive(Deserialize)]
        struct Logs {
            logs: String,
        }
        self.read::<Logs>("give a job's output", &format!("/api/jobs/{id}/logs")).map(|l| l.logs)
    }

    fn stop(&self, id: &str) -> Result<()> {
        match self.http.post(&format!("/api/jobs/{id}/stop"), None, LIMIT) {
            Ok((404, _)) => Ok(()),
            answer => self.ask("stop a job", answer).map(drop),
        }
    }

    fn alive(&self, prefix: &str) -> Result<Vec<String>> {
        let all: Vec<Details> = self.read("list its jobs", "/api/jobs/")?;
        let ours = all.into_iter().filter(|d| matches!(d.status.as_str(), "PENDING" | "RUNNING"));
        Ok(ours.filter_map(|d| d.submission_id).filter(|id| id.starts_with(prefix)).collect())
    }
}

fn body(job: &Job) -> Value {
    json!({
        "entrypoint": job.script(),
        "submission_id": job.name,
        "entrypoint_num_gpus": job.gpus,
        // A launch has its node's processors by its GPUs; Ray's own default for a job is none as well.
        "entrypoint_num_cpus": 0,
        "metadata": {"job_name": job.name, "started_by": "dyno"},
    })
}

fn state_of(details: Details, node: Option<String>) -> JobState {
    let why = last_line(details.message.as_deref().unwrap_or_default());
    // Releases before 2.45 say what it was in the message alone.
    let says = |words: &str| details.message.as_deref().is_some_and(|m| m.contains(words));
    match (details.status.as_str(), details.error_type.as_deref()) {
        ("PENDING", _) => JobState::Waiting { why },
        ("RUNNING", _) => JobState::Running { node },
        ("SUCCEEDED", _) | ("FAILED", Some("JOB_ENTRYPOINT_COMMAND_ERROR")) => JobState::Ended { node },
        ("FAILED", Some("JOB_SUPERVISOR_ACTOR_START_TIMEOUT")) => JobState::NotPlaced { why },
        ("FAILED", None) if says("failed with exit code") => JobState::Ended { node },
        ("FAILED", None) if says("failed to start within") => JobState::NotPlaced { why },
        ("STOPPED", _) => JobState::Lost { node, why: "somebody stopped the job".to_owned() },
        (status, _) => JobState::Lost { node, why: format!("{status}: {why}") },
    }
}

/// What a message comes to: a traceback says it in its last line.
fn last_line(text: &str) -> String {
    brief(text.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or_default())
}

fn variable(name: &str) -> Option<String> {
    std::env::var(name).ok().filter(|v| !v.is_empty())
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(status: &str, error_type: Option<&str>, message: &str) -> JobState {
        let details = Details {
            submission_id: None,
            status: status.into(),
            message: Some(message.into()),
            error_type: error_type.map(str::to_owned),
            driver_node_id: None,
        };
        state_of(details, Some("10.0.0.2".into()))
    }

    #[test]
    fn a_lost_node_is_told_from_a_command_that_failed() {
        let node = Some("10.0.0.2".to_owned());
        let died = "Job supervisor actor died: The actor died unexpectedly before finishing this task.";
        for error in [Some("JOB_SUPERVISOR_ACTOR_DIED"), None] {
            assert!(
                matches!(state("FAILED", error, died), JobState::Lost { why, .. } if why.contains("died"))
            );
        }
        let failed = "Job entrypoint command failed with exit code 1, last available logs (truncated to 20,000 chars):\nx";
        for error in [Some("JOB_ENTRYPOINT_COMMAND_ERROR"), None] {
            assert_eq!(state("FAILED", error, failed), JobState::Ended { node: node.clone() });
        }
        let late =
            "Job supervisor actor failed to start within 900.0 seconds. This timeout can be configured";
        for error in [Some("JOB_SUPERVISOR_ACTOR_START_TIMEOUT"), None] {
            assert!(matches!(state("FAILED", error, late), JobState::NotPlaced { .. }));
        }
        assert!(matches!(state("STOPPED", None, ""), JobState::Lost { .. }));
        assert!(matches!(state("PENDING", None, "waiting for resources"), JobState::Waiting { .. }));
    }
}
