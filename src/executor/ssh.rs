//! ssh: a list of hosts, one launch at a time on each, over a connection that lives as long as the launch.
//!
//! The order goes down the connection, the report comes back up. Where the connection ends, because the tuner did or the
//! network, dyno on the other side stops its engine: nothing is left there that somebody would have to look for.

use super::config::ExecutorConfig;
use super::contract::{Executor, Job, JobState, Places};
use super::order::found;
use crate::error::{Error, Result};
use crate::launch::quote;
use crate::process::{Connected, tool};
use std::collections::{BTreeMap, VecDeque};
use std::sync::{Mutex, MutexGuard, PoisonError};
use std::time::{Duration, Instant};

/// ssh's own exit code where the connection failed, now or later.
const CONNECTION: i32 = 255;
/// A host that was lost is left alone for so long.
const REST: Duration = Duration::from_secs(60);
/// A look at a host.
const LOOK: Duration = Duration::from_secs(40);

/// Hosts that are reached by ssh.
pub struct Ssh {
    hosts: Vec<String>,
    options: Vec<String>,
    programs: Vec<String>,
    /// Outputs of the connections.
    dir: tempfile::TempDir,
    now: Mutex<Now>,
}

#[derive(Default)]
struct Now {
    /// Jobs for which no host was free yet.
    waiting: VecDeque<Job>,
    /// Connections by the jobs' names.
    jobs: BTreeMap<String, On>,
    /// Hosts that get no more jobs.
    avoided: Vec<String>,
    /// Hosts that were lost, and when.
    lost: BTreeMap<String, Instant>,
}

/// A job on its host.
struct On {
    host: String,
    connection: Connected,
}

impl Ssh {
    /// Errors: no hosts, or no place for the outputs.
    pub fn new(config: &ExecutorConfig) -> Result<Ssh> {
        if config.hosts.is_empty() {
            return Err(Error::usage("--executor ssh needs hosts").hint("such as --ssh-hosts gpu1,gpu2"));
        }
        let dir = tempfile::tempdir()
            .map_err(|e| Error::failed("there is no place for the outputs of ssh").source(e))?;
        let (hosts, options, programs) = (config.hosts.clone(), config.options.clone(), config.programs());
        Ok(Ssh { hosts, options, programs, dir, now: Mutex::default() })
    }

    fn now(&self) -> MutexGuard<'_, Now> {
        self.now.lock().unwrap_or_else(PoisonError::into_inner)
    }

    /// The words that run `command` on a host. ssh never asks for anything, and notices within half a minute that the other
    /// side is gone.
    fn words(&self, host: &str, command: &str) -> Vec<String> {
        let fixed =
            "ssh -T -o BatchMode=yes -o ConnectTimeout=15 -o ServerAliveInterval=10 -o ServerAliveCountMax=3";
        let fixed = fixed.split(' ').map(str::to_owned);
        // What the user says comes first: ssh takes the first value that it gets.
        let mut words: Vec<String> = vec!["ssh".to_owned()];
        words.extend(self.options.iter().cloned().chain(fixed.skip(1)));
        // Whatever the login shell there is, this is for a POSIX one.
        words.extend(["--".to_owned(), host.to_owned(), format!("sh -c {}", quote(command))]);
        words
    }

    /// What is wrong with a host, or nothing.
    fn look(&self, host: &str) -> Result<(), String> {
        let words = self.words(host, &format!("{}exec \"$dyno\" --version", found(&self.programs)));
        let words: Vec<&str> = words.iter().map(String::as_str).collect();
        let out = tool(words[0], &words[1..], "", LOOK).map_err(|e| e.what)?;
        let version = format!("dyno {}", env!("CARGO_PKG_VERSION"));
        match out.code {
            0 if out.stdout.contains(&version) => Ok(()),
            0 => Err(format!("it has {}, and here is {version}", out.stdout.trim())),
            _ if out.stdout.trim().is_empty() => Err(out.reason().to_owned()),
            _ => Err(out.stdout.trim().to_owned()),
        }
    }

    /// Gives waiting jobs to hosts that are free.
    fn place(&self, now: &mut Now) -> Result<()> {
        now.lost.retain(|_, since| since.elapsed() < REST);
        while let Some(host) = self.free_host(now) {
            let Some(job) = now.waiting.pop_front() else { break };
            let words = self.words(&host, &format!("{} --connected", job.command));
            let mut connection = Connected::start(&words, &self.dir.path().join(&job.name))?;
            // A connection that failed is seen by its exit code.
            let _ = connection.say(&job.order);
            now.jobs.insert(job.name, On { host, connection });
        }
        Ok(())
    }

    fn free_host(&self, now: &Now) -> Option<String> {
        let busy = |host: &str| now.jobs.values().any(|on| on.host == host && on.connection.exit().is_none());
        let open = |host: &String| !now.avoided.contains(host) && !now.lost.contains_key(host);
        self.hosts.iter().find(|h| !busy(h) && open(h)).cloned()
    }
}

impl Executor for Ssh {
    fn name(&self) -> String {
        "ssh".to_owned()
    }

    fn places(&self, _gpus: u32) -> Result<Places> {
        let looks: Vec<Result<(), String>> = std::thread::scope(|scope| {
            let looking: Vec<_> = self.hosts.iter().map(|h| scope.spawn(|| self.look(h))).collect();
            looking
                .into_iter()
                .map(|l| l.join().unwrap_or_else(|_| Err("the look failed".to_owned())))
                .collect()
        });
        let said = |(host, look): (&String, &Result<(), String>)| match look {
            Ok(()) => host.clone(),
            Err(why) => format!("{host} is left out ({why})"),
        };
        let described: Vec<String> = self.hosts.iter().zip(&looks).map(said).collect();
        let described = described.join(", ");
        let launches = looks.iter().filter(|l| l.is_ok()).count() as u32;
        let mut now = self.now();
        for (host, _) in self.hosts.iter().zip(&looks).filter(|(_, l)| l.is_err()) {
            now.lost.insert(host.clone(), Instant::now());
        }
        if launches == 0 {
            return Err(Error::failed(format!("no host can run trials: {described}")).hint(format!(
                "`ssh HOST dyno --version` has to say {} without asking for anything; --executor-program names another \
                 place, --ssh-options goes to ssh",
                env!("CARGO_PKG_VERSION")
            )));
        }
        Ok(Places { launches, on_one_node: 1, described })
    }

    fn submit(&self, job: &Job) -> Result<String> {
        let mut now = self.now();
        now.waiting.push_back(job.clone());
        self.place(&mut now)?;
        Ok(job.name.clone())
    }

    fn state(&self, id: &str) -> Result<JobState> {
        let mut now = self.now();
        self.place(&mut now)?;
        let Some(on) = now.jobs.get(id) else {
            let why = "no host is free".to_owned();
            let waits = now.waiting.iter().any(|job| job.name == id);
            return Ok(if waits { JobState::Waiting { why } } else { JobState::NotPlaced { why } });
        };
        let (host, exit) = (on.host.clone(), on.connection.exit());
        let node = Some(host.clone());
        match exit {
            None => Ok(JobState::Running { node }),
            Some(CONNECTION) => {
                let said = on.connection.printed();
                let why = said.lines().rev().find(|l| !l.trim().is_empty()).unwrap_or("the connection ended");
                let why = format!("ssh: {}", why.trim());
                now.lost.insert(host, Instant::now());
                Ok(JobState::Lost { node, why })
            }
            Some(_) => Ok(JobState::Ended { node }),
        }
    }

    fn shown(&self, job: &Job) -> String {
        let host = self.hosts.first().map_or("HOST", String::as_str);
        crate::launch::Launch::from_argv(&self.words(host, &format!("{} --connected", job.command))).to_text()
    }

    fn output(&self, id: &str) -> Result<String> {
        Ok(self.now().jobs.get(id).map(|on| on.connection.printed()).unwrap_or_default())
    }

    fn stop(&self, id: &str) -> Result<()> {
        let mut now = self.now();
        now.waiting.retain(|job| job.name != id);
        if let Some(on) = now.jobs.get_mut(id) {
            on.connection.hang_up();
        }
        Ok(())
    }

    fn avoid(&self, nodes: &[String]) -> bool {
        self.now().avoided = nodes.to_vec();
        true
    }

    /// None: a launch ends with its connection, and a connection with its tuner.
    fn alive(&self, _prefix: &str) -> Result<Vec<String>> {
        Ok(Vec::new())
    }
}
