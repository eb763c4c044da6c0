//! Several copies of an engine under one load: each on GPUs and a port of its own, behind a router or behind the client's own
//! turn. Started, watched, measured and stopped as one system.

use super::launch::{Process, Start, Started, port};
use super::session::Session;
use super::{Failure, Observer, TrialSpec};
use crate::engine::Class;
use crate::load::Cancel;
use crate::telemetry::EngineClient;
use std::collections::BTreeMap;
use std::path::Path;
use std::sync::Arc;

/// Starts every replica of the candidate, and the router where there is one.
pub(super) fn started(spec: &TrialSpec, observer: &dyn Observer) -> Result<Started, Box<Failure>> {
    let copies = spec.candidate.replicas();
    let mut all: Option<Started> = None;
    for k in 0..copies {
        let name = if k == 0 { "engine".to_owned() } else { format!("engine-{k}") };
        let next = part(spec, k, copies).and_then(|one| Started::of_one(&one, &name, None, observer));
        all = Some(match (all, next) {
            (None, next) => next?,
            (Some(all), Ok(next)) => joined(all, next),
            (Some(all), Err(failure)) => return Err(given_up(all, failure, observer)),
        });
    }
    let Some(mut all) = all else { return Err(no_share(spec, copies)) };
    if let Some(router) = &spec.router {
        match routed(spec, router, &all, observer) {
            Ok((process, url)) => {
                all.beside.push(process);
                all.others.clear();
                all.base_url = url;
            }
            Err(failure) => return Err(given_up(all, failure, observer)),
        }
    }
    match controlled(&all) {
        Ok(client) => all.client = Arc::new(client),
        Err(e) => {
            let failure = all.failing.of(Class::Unknown, "start", &e, "");
            return Err(given_up(all, failure, observer));
        }
    }
    Ok(all)
}

/// What one replica is given of the launch.
fn part(spec: &TrialSpec, k: u32, copies: u32) -> Result<TrialSpec, Box<Failure>> {
    let each = spec.num_gpus / copies;
    if each * copies != spec.num_gpus {
        return Err(no_share(spec, copies));
    }
    let mut one = TrialSpec { num_gpus: each, ..spec.clone() };
    let range = (k * each) as usize..((k + 1) * each) as usize;
    one.devices = match (spec.devices.get(range.clone()), seen()) {
        (Some(own), _) => own.to_vec(),
        // What this process sees of the machine, as a scheduler gave it.
        (None, Some(seen)) => seen.get(range).map(<[u32]>::to_vec).unwrap_or_default(),
        (None, None) => (k * each..(k + 1) * each).collect(),
    };
    // A port that the user gave is the first replica's.
    let mut after = false;
    for word in &mut one.fixed_args {
        let number = word.strip_prefix("--port=").map(str::to_owned).or_else(|| after.then(|| word.clone()));
        if let Some(n) = number.and_then(|n| n.parse::<u16>().ok()) {
            let next = n.saturating_add(k as u16);
            *word = if after { next.to_string() } else { format!("--port={next}") };
        }
        after = word == "--port";
    }
    Ok(one)
}

/// GPUs by number that the environment shows to this process.
fn seen() -> Option<Vec<u32>> {
    let list = std::env::var("CUDA_VISIBLE_DEVICES").ok()?;
    list.split(',').map(|d| d.trim().parse().ok()).collect()
}

fn no_share(spec: &TrialSpec, copies: u32) -> Box<Failure> {
    let failing = super::failing::Failing {
        engine: spec.candidate.engine,
        log: Path::new(&spec.dir).join("engine.log"),
        secrets: super::secrets::Secrets::of(spec),
    };
    let what = format!("{copies} replicas cannot share {} GPUs evenly", spec.num_gpus);
    failing.of(Class::BadValue, "start", &what, "")
}

fn joined(mut all: Started, mut next: Started) -> Started {
    let number = all.beside.len() + 1;
    next.process.iter_mut().for_each(|p| p.place = Some(format!("replica {number}")));
    all.others.push(next.base_url);
    all.others.extend(next.others);
    all.beside.extend(next.process);
    all.beside.extend(next.beside);
    all
}

/// Ends what was started; the failure is what it was.
pub(super) fn given_up(all: Started, failure: Box<Failure>, observer: &dyn Observer) -> Box<Failure> {
    Session::new(all, &Cancel::new(), observer).stop();
    failure
}

/// The router's process, and its address.
fn routed(
    spec: &TrialSpec,
    template: &[String],
    all: &Started,
    observer: &dyn Observer,
) -> Result<(Process, String), Box<Failure>> {
    let mut failing = all.failing.clone();
    failing.log = Path::new(&spec.dir).join("router.log");
    let port = port(None, &failing)?;
    let urls: Vec<String> = std::iter::once(&all.base_url).chain(&all.others).cloned().collect();
    let start = Start {
        adapter: all.adapter,
        failing,
        argv: crate::launch::router_words(template, &urls, port, &spec.model),
        env: BTreeMap::new(),
        files: Vec::new(),
        port,
        api_key: all.api_key.clone(),
        lease: (Path::new(&spec.dir), "router"),
        id: &spec.id,
        grace_s: all.adapter.stop_grace_s(),
        inside: None,
        devices: &[],
    };
    let mut started = start.spawn(observer)?;
    started.process.iter_mut().for_each(|p| p.place = Some("router".to_owned()));
    let url = started.base_url;
    let failing = all.failing.clone();
    started.process.map(|p| (p, url)).ok_or_else(|| failing.of(Class::NotInstalled, "start", "no router", ""))
}

/// The control client of all engines, which also asks the router whether it answers.
fn controlled(all: &Started) -> Result<EngineClient, String> {
    let at = |url: &str| EngineClient::at(url, all.adapter.endpoints(), all.api_key.clone());
    let ports = all.processes().map(|p| format!("http://127.0.0.1:{}", p.port));
    let mut engines: Vec<EngineClient> = Vec::new();
    for url in ports {
        let client = at(&url).map_err(|e| e.to_string())?;
        let router = url == all.base_url && !engines.is_empty();
        engines.push(if router { client.as_router() } else { client });
    }
    let mut engines = engines.into_iter();
    let first = engines.next().ok_or("no replica was started")?;
    Ok(first.beside(engines.collect()))
}

#[cfg(test)]
mod tests {
    use super::*;

    fn spec(more: &str) -> TrialSpec {
        let text = format!(
            r#"{{"id":"001","candidate":{{"engine":"emulated","flags":{{"replicas":2}}}},"model":"m","hardware":"cpu",
               "workloads":[],"ready_timeout_s":1,"run_timeout_s":1,"dir":"d"{more}}}"#
        );
        serde_json::from_str(&text).unwrap()
    }

    #[test]
    fn each_replica_has_gpus_and_a_port_of_its_own() {
        let four = spec(r#","num_gpus":4,"devices":[4,5,6,7],"fixed_args":["--port","8100","--x"]"#);
        let parts: Vec<TrialSpec> = (0..2).map(|k| part(&four, k, 2).unwrap()).collect();
        assert_eq!((parts[0].num_gpus, &parts[0].devices[..]), (2, &[4, 5][..]));
        assert_eq!((parts[1].num_gpus, &parts[1].devices[..]), (2, &[6, 7][..]));
        assert_eq!(parts[1].fixed_args, ["--port", "8101", "--x"]);
        let e = part(&spec(r#","num_gpus":3"#), 0, 2).unwrap_err();
        assert!(e.root_cause.contains("2 replicas cannot share 3 GPUs evenly"), "{}", e.root_cause);
    }
}
