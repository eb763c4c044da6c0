//! `dyno trial --job`: a trial for a tuner on another machine. Its report goes to standard output as marked lines, and nothing
//! of it stays here.

use super::{Args, Lines, problems, tell, text_of};
use crate::cli::interrupt::on_interrupt;
use crate::cli::{machine, out};
use crate::error::{Error, Kind, Result};
use crate::executor::{FileText, Hello, Order, channel};
use crate::load::Cancel;
use crate::trial::{TrialResult, TrialSpec, run_trial};
use std::io::Read as _;
use std::os::unix::fs::DirBuilderExt as _;
use std::path::{Path, PathBuf};

/// Most bytes of a file that go back to the tuner: the start and the end of a longer one.
const FILE_LIMIT: usize = 8 << 20;
/// Bytes of its start.
const HEAD: usize = 1 << 20;

pub(super) fn run(args: &Args) -> Result<()> {
    let cancel = on_interrupt();
    let text = if args.connected { first_line(&cancel)? } else { text_of(&args.spec)? };
    let (name, quiet) = (args.spec.display().to_string(), args.quiet);
    let refused = |e: Error| {
        say("refused", &e.to_string());
        e
    };
    let order = order(&text, &name).map_err(refused)?;
    let home = Home::make(&order.job, quiet).map_err(refused)?;
    let spec = home.spec(&order).map_err(refused)?;
    super::super::container::prepare(spec.container.as_ref()).map_err(refused)?;
    say("hello", &hello(&order));
    let result = run_trial(&spec, &cancel, &Lines { quiet });
    report(&home, &result, &cancel)
}

/// The first line of standard input. Where that ends, the tuner has gone or wants no more: the trial is stopped.
fn first_line(cancel: &Cancel) -> Result<String> {
    let mut text = String::new();
    std::io::stdin()
        .read_line(&mut text)
        .map_err(|e| Error::usage("the order of a trial cannot be read").at("standard input").source(e))?;
    let cancel = cancel.clone();
    std::thread::spawn(move || {
        let _ = std::io::copy(&mut std::io::stdin(), &mut std::io::sink());
        cancel.cancel();
    });
    Ok(text)
}

/// What the tuner gets of a trial that has ended.
fn report(home: &Home, result: &TrialResult, cancel: &Cancel) -> Result<()> {
    if cancel.is_cancelled() {
        // Whoever stopped the job, it says nothing of the candidate.
        return Err(Error::new(Kind::Interrupted, "the trial was stopped before its end"));
    }
    for file in home.files() {
        say("file", &file);
    }
    say("result", result);
    Ok(())
}

fn say(kind: &str, value: &impl serde::Serialize) {
    if let Ok(line) = channel::line(kind, value) {
        out::line(line);
    }
}

fn hello(order: &Order) -> Hello {
    let host = std::fs::read_to_string("/proc/sys/kernel/hostname").unwrap_or_default();
    Hello {
        job: order.job.clone(),
        dyno_version: env!("CARGO_PKG_VERSION").to_owned(),
        host: host.trim().to_owned(),
        machine: machine::facts(),
    }
}

/// Errors: an order that cannot be read, of another release, or with a specification that is not valid.
fn order(text: &str, name: &str) -> Result<Order> {
    let bad = |e: serde_json::Error| Error::usage("the order of a trial cannot be read").at(name).source(e);
    let value: serde_json::Value = serde_json::from_str(text).map_err(bad)?;
    let (theirs, ours) = (value["dyno_version"].as_str().unwrap_or_default(), env!("CARGO_PKG_VERSION"));
    if theirs != ours {
        return Err(Error::usage(format!("the tuner is dyno {theirs}, and here is dyno {ours}"))
            .hint("install the same release on both sides"));
    }
    let order: Order = serde_json::from_value(value).map_err(bad)?;
    let plain = |c: char| c.is_ascii_alphanumeric() || c == '-';
    if order.job.is_empty() || !order.job.chars().all(plain) {
        return Err(Error::usage("the job's name may hold letters, digits and dashes alone").at(name));
    }
    let found = problems(&order.spec, name);
    if found.is_empty() {
        Ok(order)
    } else {
        Err(Error::problems("the order of a trial is not valid", found))
    }
}

/// The directory of a job, removed with this value. One that was left by a killed `dyno` is known by its lease.
struct Home(PathBuf);

impl Home {
    fn make(job: &str, quiet: bool) -> Result<Home> {
        let user = rustix::process::geteuid().as_raw();
        let all = std::env::temp_dir().join(format!("dyno-jobs-{user}"));
        let made = |dir: &Path| {
            std::fs::DirBuilder::new().recursive(true).mode(0o700).create(dir).map_err(|e| {
                Error::failed("the directory of the job cannot be made").at(dir.display()).source(e)
            })
        };
        made(&all)?;
        for reaped in crate::process::reap(&all) {
            tell(quiet, &format!("ended what an earlier job left: {}", reaped.killed.join(", ")));
        }
        let dir = all.join(job);
        made(&dir.join("trial"))?;
        Ok(Home(dir))
    }

    fn trial(&self) -> PathBuf {
        self.0.join("trial")
    }

    /// The specification with the names that its files have here.
    fn spec(&self, order: &Order) -> Result<TrialSpec> {
        let mut spec = order.spec.clone();
        spec.dir = self.trial().display().to_string();
        for (n, (name, text)) in order.files.iter().enumerate() {
            let here = self.0.join(format!("input-{n}"));
            crate::host::write_private(&here, text.as_bytes()).map_err(|e| {
                Error::failed("a file of the trial cannot be written").at(here.display()).source(e)
            })?;
            let reference = spec.quality.as_mut().and_then(|q| q.reference.as_mut());
            reference.into_iter().filter(|r| *r == name).for_each(|r| *r = here.display().to_string());
        }
        Ok(spec)
    }

    /// What the launch wrote, but for the specification, which the tuner has.
    fn files(&self) -> Vec<FileText> {
        let entries = std::fs::read_dir(self.trial()).into_iter().flatten().filter_map(std::io::Result::ok);
        let mut files: Vec<FileText> = entries
            .filter_map(|e| {
                let name = e.file_name().to_str()?.to_owned();
                let plain = e.file_type().is_ok_and(|t| t.is_file());
                let wanted = plain && name != "spec.json" && !name.ends_with(".lease.json");
                wanted.then(|| ends_of(&e.path()).map(|text| FileText { name, text }))?
            })
            .collect();
        files.sort_by(|a, b| a.name.cmp(&b.name));
        files
    }
}

impl Drop for Home {
    fn drop(&mut self) {
        let _ = std::fs::remove_dir_all(&self.0);
    }
}

/// A file's text, without its middle where it is long.
fn ends_of(path: &Path) -> Option<String> {
    let mut bytes = Vec::new();
    std::fs::File::open(path).ok()?.read_to_end(&mut bytes).ok()?;
    let cut = bytes.len().saturating_sub(FILE_LIMIT);
    if cut == 0 {
        return Some(String::from_utf8_lossy(&bytes).into_owned());
    }
    let (head, tail) = (&bytes[..HEAD], &bytes[HEAD + cut..]);
    let said = format!("\n[dyno: {cut} bytes of the middle were left on the node]\n");
    Some(String::from_utf8_lossy(head).into_owned() + &said + &String::from_utf8_lossy(tail))
}
