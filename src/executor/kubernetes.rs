//! Kubernetes: one Job a trial, by `kubectl`, in an image that holds the engine and dyno.
//!
//! What kubectl is asked for is text and JSON; the manifest is held against the API's schemas, and the states against what the
//! API's documentation gives. Not seen on a real cluster.

use super::config::ExecutorConfig;
use super::contract::{Executor, Job, JobState, Places};
use crate::error::{Error, Result};
use crate::process::{ToolOutput, tool};
use serde_json::{Value, json};
use std::time::Duration;

const LIMIT: Duration = Duration::from_secs(60);
/// The resource by which nodes count their GPUs, unless told otherwise.
const GPU: &str = "nvidia.com/gpu";
/// Every job of dyno's bears it.
const LABEL: &str = "app.kubernetes.io/managed-by=dyno";
/// Jobs that nobody fetched go after a day.
const KEPT_S: u32 = 86_400;

/// A namespace of a cluster.
#[derive(Debug)]
pub struct Kubernetes {
    namespace: String,
    context: Option<String>,
    image: String,
    gpu: String,
}

impl Kubernetes {
    /// Errors: no image is named.
    pub fn new(config: &ExecutorConfig) -> Result<Kubernetes> {
        let image = config.image.clone().ok_or_else(|| {
            Error::usage("--executor kubernetes needs an image")
                .hint("--kubernetes-image IMAGE: one that holds the engine and dyno of this release")
        })?;
        Ok(Kubernetes {
            namespace: config.namespace.clone().unwrap_or_else(|| "default".to_owned()),
            context: config.context.clone(),
            image,
            gpu: config.gpu_resource.clone().unwrap_or_else(|| GPU.to_owned()),
        })
    }

    fn kubectl(&self, what: &str, args: &[&str], input: &str) -> Result<ToolOutput> {
        let context = self.context.as_deref().map(|c| ["--context", c]);
        let scope = ["--namespace", self.namespace.as_str()];
        let args: Vec<&str> =
            context.iter().flatten().copied().chain(scope).chain(args.iter().copied()).collect();
        let out = tool("kubectl", &args, input, LIMIT)?;
        if out.code == 0 {
            return Ok(out);
        }
        Err(Error::failed(format!("kubectl does not {what}: {}", out.reason()))
            .at(format!("namespace {}", self.namespace))
            .hint("`kubectl get jobs` in that namespace has to answer; --kubernetes-context names another cluster"))
    }

    fn json(&self, what: &str, args: &[&str]) -> Result<Value> {
        let out = self.kubectl(what, &[args, &["-o", "json"]].concat(), "")?;
        serde_json::from_str(&out.stdout)
            .map_err(|e| Error::failed(format!("kubectl does not {what}: its answer is no JSON")).source(e))
    }

    /// The job as the API takes it.
    fn manifest(&self, job: &Job) -> Value {
        let gpus = json!({self.gpu.clone(): job.gpus.to_string()});
        let labels = json!({"app.kubernetes.io/managed-by": "dyno", "app.kubernetes.io/name": "dyno-trial"});
        json!({
            "apiVersion": "batch/v1",
            "kind": "Job",
            "metadata": {"name": job.name, "namespace": self.namespace, "labels": labels},
            "spec": {
                // dyno itself decides where a lost trial runs again, so that its record tells of it.
                "backoffLimit": 0,
                "ttlSecondsAfterFinished": KEPT_S,
                "template": {
                    "metadata": {"labels": labels},
                    "spec": {
                        "restartPolicy": "Never",
                        // An engine is stopped in its own order.
                        "terminationGracePeriodSeconds": 60,
                        "containers": [{
                            "name": "trial",
                            "image": self.image,
                            "command": ["/bin/sh", "-c"],
                            // $(NAME) would be taken for a variable.
                            "args": [job.script().replace("$(", "$$(")],
                            "resources": {"requests": gpus, "limits": gpus},
                            "volumeMounts": [{"name": "shm", "mountPath": "/dev/shm"}],
                        }],
                        // Workers of one launch share memory; the default of 64 MiB is too little.
                        "volumes": [{"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}],
                    },
                },
            },
        })
    }
}

impl Executor for Kubernetes {
    fn name(&self) -> String {
        format!("Kubernetes, namespace {}", self.namespace)
    }

    fn places(&self, gpus: u32) -> Result<Places> {
        let nodes = self.json("list the nodes", &["get", "nodes"])?;
        let rows = nodes["items"].as_array().cloned().unwrap_or_default();
        let counted = |node: &Value| -> u32 {
            let count = node["status"]["allocatable"][&self.gpu].as_str();
            let ready = node["spec"]["unschedulable"].as_bool() != Some(true);
            count.filter(|_| ready).and_then(|c| c.parse().ok()).unwrap_or(0)
        };
        let with: Vec<(String, u32)> =
            rows.iter().map(|n| (text(&n["metadata"]["name"]), counted(n))).filter(|(_, c)| *c > 0).collect();
        let launches = with.iter().map(|(_, c)| c / gpus.max(1)).sum();
        let described: Vec<String> =
            with.iter().map(|(name, c)| format!("{name} with {c} {}", self.gpu)).collect();
        if launches == 0 {
            let have = if described.is_empty() { "none at all".to_owned() } else { described.join(", ") };
            return Err(Error::failed(format!("no node has {gpus} {} for a launch: {have}", self.gpu)).hint(
                "lower --num-gpus, or name the resource of the nodes' GPUs with --kubernetes-gpu-resource",
            ));
        }
        let on_one_node = with.iter().map(|(_, c)| c / gpus.max(1)).max().unwrap_or(0);
        Ok(Places { launches, on_one_node, described: described.join(", ") })
    }

    fn submit(&self, job: &Job) -> Result<String> {
        self.kubectl("take a job", &["create", "-f", "-"], &self.manifest(job).to_string())?;
        Ok(job.name.clone())
    }

    fn state(&self, id: &str) -> Result<JobState> {
        let job = self.json(
            "show a job",
            &["get", "jobs", "--ignore-not-found", "--field-selector", &format!("metadata.name={id}")],
        )?;
        let selector = format!("job-name={id}");
        let pods = self.json("show the pods of a job", &["get", "pods", "--selector", &selector])?;
        state_of(&job["items"][0], &pods["items"][0])
    }

    fn shown(&self, job: &Job) -> String {
        serde_json::to_string_pretty(&self.manifest(job)).unwrap_or_default()
    }

    fn output(&self, id: &str) -> Result<String> {
        let out = self.kubectl("give a job's output", &["logs", &format!("job/{id}"), "--tail=-1"], "")?;
        Ok(out.stdout)
    }

    fn stop(&self, id: &str) -> Result<()> {
        self.kubectl("delete a job", &["delete", "job", id, "--ignore-not-found", "--wait=false"], "")
            .map(drop)
    }

    fn alive(&self, prefix: &str) -> Result<Vec<String>> {
        let jobs = self.json("list jobs", &["get", "jobs", "--selector", LABEL])?;
        let rows = jobs["items"].as_array().cloned().unwrap_or_default();
        let alive = rows
            .iter()
            .filter(|j| j["status"]["completionTime"].is_null() && condition(j, "Failed").is_none());
        Ok(alive.map(|j| text(&j["metadata"]["name"])).filter(|name| name.starts_with(prefix)).collect())
    }
}

fn text(value: &Value) -> String {
    value.as_str().unwrap_or_default().to_owned()
}

/// The condition of this type, where it holds.
fn condition<'v>(of: &'v Value, kind: &str) -> Option<&'v Value> {
    let all = of["status"]["conditions"].as_array()?;
    all.iter().find(|c| c["type"] == kind && c["status"] == "True")
}

/// What a job and its pod say together.
///
/// Errors: an image or a set-up that will never start; it is an error only once it has lasted.
fn state_of(job: &Value, pod: &Value) -> Result<JobState> {
    let node = pod["spec"]["nodeName"].as_str().map(str::to_owned);
    let lost = |why: String| Ok(JobState::Lost { node: node.clone(), why });
    if job.is_null() {
        return lost("the job was deleted".to_owned());
    }
    if let Some(taken) = condition(pod, "DisruptionTarget") {
        return lost(format!("{}: {}", text(&taken["reason"]), text(&taken["message"])));
    }
    let terminated = &pod["status"]["containerStatuses"][0]["state"]["terminated"];
    if condition(job, "Complete").is_some() || !terminated.is_null() {
        return Ok(JobState::Ended { node });
    }
    if condition(job, "Failed").is_some() {
        // Evicted, node lost: the pod has no container that ended, or is no more.
        let reason = text(&pod["status"]["reason"]);
        return lost(if reason.is_empty() { "its pod is gone".to_owned() } else { reason });
    }
    let waiting = &pod["status"]["containerStatuses"][0]["state"]["waiting"];
    let reason = text(&waiting["reason"]);
    if reason.contains("Image") || reason.starts_with("Create") && reason.ends_with("Error") {
        return Err(Error::failed(format!(
            "the pod does not start: {reason}: {}",
            text(&waiting["message"])
        ))
        .hint("is the image's name right, and may the nodes pull it?"));
    }
    if pod["status"]["phase"] == "Running" {
        return Ok(JobState::Running { node });
    }
    let scheduled = pod["status"]["conditions"].as_array().into_iter().flatten();
    let why =
        scheduled.filter(|c| c["status"] == "False").map(|c| text(&c["message"])).find(|m| !m.is_empty());
    Ok(JobState::Waiting { why: why.unwrap_or_else(|| "the pod is pending".to_owned()) })
}

#[cfg(test)]
mod tests {
    use super::*;

    fn state(job: Value, pod: Value) -> JobState {
        state_of(&job, &pod).unwrap()
    }

    #[test]
    fn a_pod_that_was_taken_away_is_told_from_one_that_ended() {
        let running = json!({"status": {"active": 1}});
        let failed = json!({"status": {"conditions": [{"type": "Failed", "status": "True", "reason": "BackoffLimitExceeded"}]}});
        let on = |status: Value| json!({"spec": {"nodeName": "gpu-3"}, "status": status});
        let node = Some("gpu-3".to_owned());
        let ended =
            on(json!({"phase": "Failed", "containerStatuses": [{"state": {"terminated": {"exitCode": 1}}}]}));
        assert_eq!(state(failed.clone(), ended), JobState::Ended { node: node.clone() });
        let taken = on(
            json!({"phase": "Failed", "conditions": [{"type": "DisruptionTarget", "status": "True",
            "reason": "DeletionByTaintManager", "message": "Taint manager: deleting due to NoExecute taint"}]}),
        );
        assert!(
            matches!(state(failed.clone(), taken), JobState::Lost { node: n, why } if n == node && why.contains("Taint"))
        );
        let evicted = on(json!({"phase": "Failed", "reason": "Evicted"}));
        assert_eq!(state(failed, evicted), JobState::Lost { node: node.clone(), why: "Evicted".into() });
        assert_eq!(state(running.clone(), on(json!({"phase": "Running"}))), JobState::Running { node });
        let pending = json!({"status": {"phase": "Pending", "conditions": [{"type": "PodScheduled", "status": "False",
            "message": "0/4 nodes are available: 4 Insufficient nvidia.com/gpu."}]}});
        assert!(
            matches!(state(running.clone(), pending), JobState::Waiting { why } if why.contains("Insufficient"))
        );
        assert!(matches!(state(Value::Null, Value::Null), JobState::Lost { .. }));
        let no_image = json!({"status": {"phase": "Pending", "containerStatuses": [{"state": {"waiting":
            {"reason": "ImagePullBackOff", "message": "Back-off pulling image"}}}]}});
        assert!(state_of(&running, &no_image).unwrap_err().what.contains("ImagePullBackOff"));
    }
}
