//! The host: leftovers of earlier servers, ports, disk, limits, and the model hub.

use super::{Finding, Level};
use crate::model::{self, Model};
use crate::process::port_free;
use crate::units::Bytes;
use procfs::Current as _;
use rustix::process::{Resource, getrlimit};
use std::net::{TcpStream, ToSocketAddrs};
use std::path::{Path, PathBuf};
use std::time::Duration;

pub(super) fn findings(ports: &[u16], offline: bool, model: Option<&Model>) -> Vec<Finding> {
    let mut out = leftovers();
    out.extend(ports.iter().map(|p| port(*p)));
    out.extend(memory(model));
    out.extend(disk(model));
    out.push(open_files());
    out.extend(hub(offline, model));
    out
}

/// Names by which engines' processes are known: titles that they set, and their command lines.
const ENGINE_MARKS: &[&str] = &[
    "VLLM::",
    "vllm serve",
    "vllm.entrypoints",
    "sglang::",
    "sglang.launch_server",
    "sglang serve",
    "trtllm-serve",
    "dyno emulate",
];

fn leftovers() -> Vec<Finding> {
    let me = std::process::id() as i32;
    let processes = procfs::process::all_processes().into_iter().flatten().flatten();
    let running: Vec<String> = processes
        .filter(|p| p.pid != me)
        .filter_map(|p| {
            let line = p.cmdline().ok()?.join(" ");
            is_engine(&line)
                .then(|| format!("process {}: {}", p.pid, line.chars().take(80).collect::<String>()))
        })
        .collect();
    if running.is_empty() {
        return vec![Finding::new("host", Level::Good, "no engine is running")];
    }
    let warn = |text: String| {
        Finding::new("host", Level::Warning, text)
            .hint("an engine is running: it takes memory and spoils numbers")
    };
    running.into_iter().map(warn).collect()
}

/// Whether a command line is an engine's, and not that of somebody who looks for one or edits its file.
fn is_engine(line: &str) -> bool {
    let first = line.split_whitespace().next().unwrap_or_default();
    let program = first.rsplit('/').next().unwrap_or_default();
    let onlooker = ["sh", "bash", "zsh", "grep", "rg", "less", "tail", "vi", "vim", "nano", "timeout", "ssh"];
    !onlooker.contains(&program) && ENGINE_MARKS.iter().any(|m| line.contains(m))
}

fn port(port: u16) -> Finding {
    if port_free(port) {
        return Finding::new("host", Level::Good, format!("port {port} is free"));
    }
    Finding::new("host", Level::Warning, format!("port {port} is in use")).hint(
        "some engines find that out only after the model is loaded, others share the port without a word",
    )
}

fn memory(model: Option<&Model>) -> Option<Finding> {
    let free = Bytes(procfs::Meminfo::current().ok()?.mem_available?);
    let text = format!("host memory: {free} available");
    let need = model.map_or(0, Model::weight_bytes);
    if free.0 < need {
        let f = Finding::new("host", Level::Warning, format!("{text}, the weights are {}", Bytes(need)));
        return Some(
            f.hint("loading reads them through the page cache: slow, and other programs are pushed out"),
        );
    }
    Some(Finding::new("host", Level::Good, text))
}

/// Places that grow, and what they may need.
fn disk(model: Option<&Model>) -> Vec<Finding> {
    let home = std::env::var_os("HOME").map(PathBuf::from).unwrap_or_default();
    let var = |name: &str, default: PathBuf| std::env::var_os(name).map_or(default, PathBuf::from);
    let weights = model.filter(|m| !is_cached(m)).map_or(0, Model::weight_bytes);
    let gib = |n: u64| n << 30;
    let mut out: Vec<Finding> = [
        ("model cache", crate::host::hub_cache().unwrap_or_else(|| home.join(".cache")), weights + gib(1)),
        ("vLLM's compile cache", var("VLLM_CACHE_ROOT", home.join(".cache/vllm")), gib(5)),
        ("Triton's kernel cache", var("TRITON_CACHE_DIR", home.join(".triton")), gib(2)),
        ("temporary files", std::env::temp_dir(), gib(2)),
    ]
    .into_iter()
    .filter_map(|(what, dir, need)| room(what, &dir, need))
    .collect();
    out.extend(room("shared memory", Path::new("/dev/shm"), gib(1) / 2));
    out
}

fn room(what: &str, dir: &Path, need: u64) -> Option<Finding> {
    let there = dir.ancestors().find(|d| d.exists())?;
    let fs = rustix::fs::statvfs(there).ok()?;
    let free = Bytes(fs.f_bavail * fs.f_frsize);
    let text = format!("{what} ({}): {free} free", dir.display());
    if free.0 >= need {
        return Some(Finding::new("host", Level::Good, text));
    }
    Some(Finding::new("host", Level::Warning, format!("{text}, about {} are needed", Bytes(need))))
}

/// A client with a thousand streams needs as many sockets, and the server does too.
fn open_files() -> Finding {
    match getrlimit(Resource::Nofile).current {
        Some(n) if n < 4096 => Finding::new("host", Level::Warning, format!("open files are limited to {n}"))
            .hint("`ulimit -n 65535` before starting: each request in flight is a socket on both sides"),
        Some(n) => Finding::new("host", Level::Good, format!("open files: {n}")),
        None => Finding::new("host", Level::Good, "open files: unlimited"),
    }
}

fn is_cached(m: &Model) -> bool {
    let local = Path::new(&m.id).is_dir();
    local
        || crate::host::hub_cache().is_some_and(|c| model::cached(&c, &m.id).is_some_and(|d| has_weights(&d)))
}

fn has_weights(dir: &Path) -> bool {
    let files = std::fs::read_dir(dir).into_iter().flatten().flatten();
    files
        .into_iter()
        .any(|e| e.path().extension().is_some_and(|x| x == "safetensors" || x == "bin") && e.path().exists())
}

fn hub(offline: bool, model: Option<&Model>) -> Vec<Finding> {
    let mut out = Vec::new();
    let set = |name: &str| std::env::var(name).is_ok_and(|v| !v.is_empty() && v != "0");
    let cached = model.is_some_and(is_cached);
    if let Some(m) = model {
        out.push(if cached {
            Finding::new("hub", Level::Good, format!("{}: weights are on this machine", m.id))
        } else {
            Finding::new("hub", Level::Note, format!("{}: weights are not on this machine", m.id)).hint(
                "the first start downloads them; `hf download` beforehand keeps that out of the campaign",
            )
        });
    }
    // Whether a token is set may be said, the token never.
    let token =
        if set("HF_TOKEN") { "HF_TOKEN is set" } else { "HF_TOKEN is not set (gated models need it)" };
    out.push(Finding::new("hub", Level::Note, token));
    if set("HF_HUB_OFFLINE") {
        let level = if cached || model.is_none() { Level::Note } else { Level::Bad };
        out.push(Finding::new("hub", level, "HF_HUB_OFFLINE is set: nothing will be downloaded"));
    } else if offline {
        out.push(Finding::new("hub", Level::Note, "not tried to reach (--offline)"));
    } else {
        out.push(reach(&hub_host()));
    }
    out
}

/// Host and port of the hub, or of the mirror that HF_ENDPOINT names.
fn hub_host() -> String {
    let endpoint = std::env::var("HF_ENDPOINT").unwrap_or_else(|_| "https://huggingface.co".to_owned());
    host_port(&endpoint)
}

fn host_port(endpoint: &str) -> String {
    let (scheme, rest) = endpoint.split_once("://").unwrap_or(("https", endpoint));
    let host = rest.split('/').next().unwrap_or(rest);
    match host.rsplit_once(':') {
        Some(_) => host.to_owned(),
        None => format!("{host}:{}", if scheme == "http" { 80 } else { 443 }),
    }
}

fn reach(host: &str) -> Finding {
    let proxied = ["https_proxy", "HTTPS_PROXY"].iter().any(|v| std::env::var_os(v).is_some());
    if proxied {
        return Finding::new("hub", Level::Note, format!("{host} is reached through a proxy: not tried"));
    }
    let address = host.to_socket_addrs().ok().and_then(|mut a| a.next());
    let open = address.is_some_and(|a| TcpStream::connect_timeout(&a, Duration::from_secs(2)).is_ok());
    if open {
        Finding::new("hub", Level::Good, format!("{host} answers"))
    } else {
        Finding::new("hub", Level::Warning, format!("{host} does not answer"))
            .hint("models must be on this machine; HF_HUB_OFFLINE=1 spares each start its tries")
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn engines_are_told_from_those_who_look_for_them() {
        for line in ["/venv/bin/python3 /venv/bin/vllm serve m", "VLLM::EngineCore", "sglang::scheduler_TP0"]
        {
            assert!(is_engine(line), "{line}");
        }
        for line in ["grep vllm serve", "bash -c vllm serve m", "vim vllm.py", "python train.py", ""] {
            assert!(!is_engine(line), "{line}");
        }
    }

    #[test]
    fn endpoints_become_host_and_port() {
        assert_eq!(host_port("https://huggingface.co"), "huggingface.co:443");
        assert_eq!(host_port("http://mirror:8080/hf"), "mirror:8080");
        assert_eq!(host_port("http://mirror/"), "mirror:80");
    }

    #[test]
    fn a_port_in_use_is_seen() {
        let held = std::net::TcpListener::bind("127.0.0.1:0").unwrap();
        let n = held.local_addr().unwrap().port();
        assert_eq!(port(n).level, Level::Warning);
    }

    #[test]
    fn room_is_judged_by_need() {
        let dir = std::env::temp_dir().join("not-there-yet");
        assert_eq!(room("x", &dir, 1).unwrap().level, Level::Good);
        assert_eq!(room("x", &dir, u64::MAX).unwrap().level, Level::Warning);
    }
}
