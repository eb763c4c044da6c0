//! One machine: docker and podman commands, compose, systemd.

use super::{Deployment, comment, patience_s, yaml};
use crate::launch::quote;
use serde_json::{Map, Value, json};

/// `docker run` or `podman run`, one option a line.
pub(super) fn run(d: &Deployment, runtime: &str) -> String {
    let mut lines = vec![format!("{runtime} run --rm --name {}", d.name)];
    if d.gpu {
        lines.push(if runtime == "podman" {
            // Podman knows GPUs by the container device interface.
            "--device nvidia.com/gpu=all".to_owned()
        } else if d.gpus == 1 {
            "--gpus '\"device=0\"'".to_owned()
        } else {
            format!("--gpus {}", d.gpus)
        });
        // Workers of one launch share memory.
        lines.push("--ipc host".to_owned());
        lines.push("-v \"$HOME/.cache/huggingface:/root/.cache/huggingface\"".to_owned());
        lines.push("-e HF_TOKEN".to_owned());
    }
    for (k, v) in &d.env {
        lines.push(format!("-e {}", quote(&format!("{k}={v}"))));
    }
    for (path, _) in &d.files {
        lines.push(format!("-v \"$PWD/{}:{}:ro\"", base(path), path));
    }
    lines.push(format!("-p 127.0.0.1:{0}:{0}", d.port));
    // The image's own entry point differs between releases; this one does not.
    lines.push(format!("--entrypoint {}", quote(&d.argv[0])));
    lines.push(quote(&d.image));
    let words: Vec<String> = d.argv[1..].iter().map(|w| quote(w)).collect();
    lines.push(words.join(" "));
    let mut out = comment(d);
    for (path, text) in &d.files {
        out.push_str(&format!("cat > {} <<'EOF'\n{}\nEOF\n", quote(base(path)), text.trim_end()));
    }
    format!("{out}{}\n", lines.join(" \\\n  "))
}

fn base(path: &str) -> &str {
    path.rsplit('/').next().unwrap_or(path)
}

pub(super) fn compose(d: &Deployment) -> String {
    let mut service = Map::new();
    service.insert("image".into(), json!(d.image));
    service.insert("entrypoint".into(), json!([d.argv[0]]));
    // A dollar sign would be taken for a variable.
    let words: Vec<String> = d.argv[1..].iter().map(|w| w.replace('$', "$$")).collect();
    service.insert("command".into(), json!(words));
    service.insert("ports".into(), json!([format!("127.0.0.1:{0}:{0}", d.port)]));
    let mut env: Map<String, Value> =
        d.env.iter().map(|(k, v)| (k.clone(), json!(v.replace('$', "$$")))).collect();
    if d.gpu {
        env.insert("HF_TOKEN".into(), json!("${HF_TOKEN:-}"));
        service.insert("ipc".into(), json!("host"));
        service.insert("volumes".into(), json!(["model-cache:/root/.cache/huggingface"]));
        service.insert(
            "deploy".into(),
            json!({"resources": {"reservations": {"devices": [
                {"driver": "nvidia", "count": d.gpus, "capabilities": ["gpu"]}
            ]}}}),
        );
    }
    if !env.is_empty() {
        service.insert("environment".into(), Value::Object(env));
    }
    if !d.files.is_empty() {
        let mounts: Vec<Value> = (0..d.files.len())
            .map(|i| json!({"source": format!("options-{i}"), "target": d.files[i].0}))
            .collect();
        service.insert("configs".into(), json!(mounts));
    }
    let probe = format!("http://127.0.0.1:{}{}", d.port, d.health);
    if d.gpu {
        service.insert(
            "healthcheck".into(),
            json!({
                "test": ["CMD", "python3", "-c", format!("import urllib.request as u; u.urlopen('{probe}', timeout=5)")],
                "interval": "10s", "timeout": "6s", "retries": 3, "start_period": format!("{}s", patience_s(d)),
            }),
        );
    }
    service.insert("restart".into(), json!("unless-stopped"));
    let mut root = Map::new();
    root.insert("services".into(), json!({ d.name.clone(): Value::Object(service) }));
    if d.gpu {
        root.insert("volumes".into(), json!({"model-cache": {}}));
    }
    if !d.files.is_empty() {
        let configs: Map<String, Value> = d
            .files
            .iter()
            .enumerate()
            .map(|(i, f)| (format!("options-{i}"), json!({"content": f.1.replace('$', "$$")})))
            .collect();
        root.insert("configs".into(), Value::Object(configs));
    }
    yaml(d, &[Value::Object(root)])
}

pub(super) fn systemd(d: &Deployment) -> String {
    // systemd takes double quotes and expands % and $.
    let word = |w: &str| {
        let w = w.replace('%', "%%").replace('$', "$$");
        let plain = |c: char| c.is_ascii_alphanumeric() || "-_./:=,+@%".contains(c);
        if !w.is_empty() && w.chars().all(plain) {
            w
        } else {
            format!("\"{}\"", w.replace('\\', "\\\\").replace('"', "\\\""))
        }
    };
    let mut out = comment(d);
    for (path, text) in &d.files {
        out.push_str(&format!("# Needs the file {path}:\n"));
        out.extend(text.lines().map(|l| format!("#   {l}\n")));
    }
    let env: String =
        d.env.iter().map(|(k, v)| format!("Environment={}\n", word(&format!("{k}={v}")))).collect();
    let argv: Vec<String> = d.argv.iter().map(|w| word(w)).collect();
    out.push_str(&format!(
        "[Unit]\nDescription={} by {}\nWants=network-online.target\nAfter=network-online.target\n\n[Service]\n\
         # The token of the hub, if the model needs one: HF_TOKEN=...\nEnvironmentFile=-/etc/{}.env\n{env}\
         # A path of its own: systemd looks programs up in its own list of directories.\nExecStart=/usr/bin/env {}\n\
         Restart=on-failure\nRestartSec=10\nTimeoutStartSec={}\nTimeoutStopSec=120\nKillMode=mixed\nLimitNOFILE=65536\n\n\
         [Install]\nWantedBy=multi-user.target\n",
        d.model.replace('%', "%%"),
        d.engine,
        d.name,
        argv.join(" "),
        patience_s(d),
    ));
    out
}
