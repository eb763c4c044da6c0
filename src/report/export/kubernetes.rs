//! Clusters: Deployment and Service, KServe, Helm values.

use super::{Deployment, patience_s, yaml};
use crate::launch::EngineKind;
use serde_json::{Map, Value, json};

const PERIOD_S: u64 = 10;

pub(super) fn deployment(d: &Deployment) -> String {
    let labels = json!({"app": d.name});
    let mut documents = Vec::new();
    if let Some(map) = config_map(d) {
        documents.push(map);
    }
    documents.push(json!({
        "apiVersion": "apps/v1", "kind": "Deployment", "metadata": {"name": d.name, "labels": labels},
        "spec": {
            "replicas": 1,
            "selector": {"matchLabels": labels},
            // A GPU is not given twice: the old one goes before the new one comes.
            "strategy": {"type": "Recreate"},
            "template": {"metadata": {"labels": labels}, "spec": pod(d)},
        },
    }));
    documents.push(json!({
        "apiVersion": "v1", "kind": "Service", "metadata": {"name": d.name, "labels": labels},
        "spec": {"selector": labels, "ports": [{"name": "http", "port": 80, "targetPort": "http"}]},
    }));
    yaml(d, &documents)
}

pub(super) fn kserve(d: &Deployment) -> String {
    let mut documents: Vec<Value> = config_map(d).into_iter().collect();
    let mut predictor = pod(d);
    predictor.insert("minReplicas".into(), json!(1));
    // KServe knows the container that serves by this name.
    if let Some(c) = predictor.get_mut("containers").and_then(|c| c.get_mut(0)) {
        c["name"] = json!("kserve-container");
    }
    documents.push(json!({
        "apiVersion": "serving.kserve.io/v1beta1", "kind": "InferenceService",
        "metadata": {"name": d.name, "annotations": {"serving.kserve.io/deploymentMode": "RawDeployment"}},
        "spec": {"predictor": predictor},
    }));
    yaml(d, &documents)
}

fn config_map(d: &Deployment) -> Option<Value> {
    let data: Map<String, Value> =
        d.files.iter().enumerate().map(|(i, f)| (format!("options-{i}"), json!(f.1))).collect();
    (!data.is_empty()).then(|| {
        json!({"apiVersion": "v1", "kind": "ConfigMap", "metadata": {"name": format!("{}-options", d.name)}, "data": data})
    })
}

fn pod(d: &Deployment) -> Map<String, Value> {
    let mut env: Vec<Value> = d.env.iter().map(|(k, v)| json!({"name": k, "value": v})).collect();
    let mut mounts = Vec::new();
    let mut volumes = Vec::new();
    let mut resources = json!({});
    if d.gpu {
        env.push(json!({
            "name": "HF_TOKEN",
            "valueFrom": {"secretKeyRef": {"name": "hf-token", "key": "token", "optional": true}},
        }));
        mounts.push(json!({"name": "model-cache", "mountPath": "/root/.cache/huggingface"}));
        volumes.push(json!({"name": "model-cache", "persistentVolumeClaim": {"claimName": "model-cache"}}));
        // Workers of one launch share memory; the default of 64 MiB is too little.
        mounts.push(json!({"name": "shm", "mountPath": "/dev/shm"}));
        volumes.push(json!({"name": "shm", "emptyDir": {"medium": "Memory", "sizeLimit": "16Gi"}}));
        let gpus = json!({"nvidia.com/gpu": d.gpus.to_string()});
        resources = json!({"requests": gpus, "limits": gpus});
    }
    for (i, f) in d.files.iter().enumerate() {
        mounts.push(json!({"name": "options", "mountPath": f.0, "subPath": format!("options-{i}")}));
    }
    if !d.files.is_empty() {
        volumes.push(json!({"name": "options", "configMap": {"name": format!("{}-options", d.name)}}));
    }
    let probe = |more: Value| {
        let mut p = json!({"httpGet": {"path": d.health, "port": "http"}, "periodSeconds": PERIOD_S, "timeoutSeconds": 5});
        if let (Some(p), Some(more)) = (p.as_object_mut(), more.as_object()) {
            p.extend(more.clone());
        }
        p
    };
    let mut container = json!({
        "name": "engine",
        "image": d.image,
        "command": [d.argv[0]],
        // $(NAME) would be taken for a variable.
        "args": d.argv[1..].iter().map(|w| w.replace("$(", "$$(")).collect::<Vec<_>>(),
        "ports": [{"name": "http", "containerPort": d.port, "protocol": "TCP"}],
        // Ten times the start that was measured: a cold cache downloads the weights first.
        "startupProbe": probe(json!({"failureThreshold": patience_s(d) / PERIOD_S})),
        "readinessProbe": probe(json!({"failureThreshold": 2})),
        "livenessProbe": probe(json!({"failureThreshold": 6})),
    });
    if let Some(c) = container.as_object_mut() {
        for (name, list) in [("env", env), ("volumeMounts", mounts)] {
            if !list.is_empty() {
                c.insert(name.into(), Value::Array(list));
            }
        }
        if resources != json!({}) {
            c.insert("resources".into(), resources);
        }
    }
    let mut spec = Map::new();
    spec.insert("containers".into(), json!([container]));
    if !volumes.is_empty() {
        spec.insert("volumes".into(), Value::Array(volumes));
    }
    // Requests in flight are finished before the engine goes.
    spec.insert("terminationGracePeriodSeconds".into(), json!(120));
    spec
}

/// Values of vLLM's production-stack chart.
pub(super) fn helm(d: &Deployment) -> Result<String, String> {
    if d.engine != EngineKind::Vllm {
        return Err(format!(
            "the Helm values are those of vLLM's production-stack; the engine here is {}",
            d.engine
        ));
    }
    let (repository, tag) = d.image.rsplit_once(':').unwrap_or((&d.image, "latest"));
    // The chart writes `vllm serve MODEL` and the address itself.
    let after_model = d.argv.iter().position(|w| *w == d.model).map_or(2, |i| i + 1);
    let mut args: Vec<&String> = d.argv.iter().skip(after_model).collect();
    for flag in ["--host", "--port"] {
        if let Some(i) = args.iter().position(|w| *w == flag) {
            args.drain(i..(i + 2).min(args.len()));
        }
    }
    let env: Vec<Value> = d.env.iter().map(|(k, v)| json!({"name": k, "value": v})).collect();
    let mut model = json!({
        "name": d.name, "repository": repository, "tag": tag, "modelURL": d.model, "replicaCount": 1,
        "requestCPU": 8, "requestMemory": "64Gi", "requestGPU": d.gpus, "pvcStorage": "200Gi", "pvcAccessMode": ["ReadWriteOnce"],
        "vllmConfig": {"extraArgs": args},
    });
    if !env.is_empty() {
        model["env"] = Value::Array(env);
    }
    Ok(yaml(d, &[json!({"servingEngineSpec": {"modelSpec": [model]}})]))
}
