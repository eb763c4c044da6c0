//! An engine in a container: what the image is, what it gets of the host, and what its end was.

use super::engine_help::Installed;
use super::types::ImageFacts;
use crate::engine::Adapter;
use crate::error::{Error, Result};
use crate::launch::{Container, ContainerGpus, ContainerRun, ContainerRuntime, EngineKind, Mount};
use crate::process::{Contained, Lease, MARKER, contained};
use std::collections::BTreeMap;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// A look at what is stored here.
const LOOK: Duration = Duration::from_secs(60);
/// Images of engines have ten gigabytes and more.
const PULL: Duration = Duration::from_secs(3 * 3600);
/// Variables of this process that an engine in a container needs as well.
const PASSED: [&str; 14] = [
    "HF_TOKEN",
    "HUGGING_FACE_HUB_TOKEN",
    "HF_ENDPOINT",
    "HF_HUB_OFFLINE",
    "TRANSFORMERS_OFFLINE",
    "CUDA_VISIBLE_DEVICES",
    "HIP_VISIBLE_DEVICES",
    "HTTP_PROXY",
    "HTTPS_PROXY",
    "NO_PROXY",
    "http_proxy",
    "https_proxy",
    "no_proxy",
    // The mark by which the processes of a launch are known, inside as well.
    MARKER,
];

/// A container that is to run an engine.
pub(super) struct Inside {
    container: Container,
    engine: EngineKind,
    image: ImageFacts,
    mounts: Vec<Mount>,
    devices: Vec<u32>,
}

impl Inside {
    /// `paths` are words of the launch; those that are files or directories here are mounted where they stand, to be read.
    ///
    /// Errors: the runtime is not there or does not answer, or the image is not stored here.
    pub(super) fn new<'w>(
        container: &Container,
        engine: EngineKind,
        paths: impl Iterator<Item = &'w str>,
    ) -> Result<Inside> {
        let image = stored(container)?;
        let mut mounts = caches(&image);
        for path in paths.filter(|p| p.starts_with('/') && Path::new(p).exists()) {
            if !mounts.iter().any(|m: &Mount| m.inside == path) {
                mounts.push(Mount { host: path.to_owned(), inside: path.to_owned(), writable: false });
            }
        }
        Ok(Inside { container: container.clone(), engine, image, mounts, devices: Vec::new() })
    }

    /// With these GPUs alone; none named: with those of the machine.
    pub(super) fn on(self, devices: &[u32]) -> Inside {
        Inside { devices: devices.to_vec(), ..self }
    }

    /// The engine's program inside the image, named by the user or usual.
    pub(super) fn program(&self, given: Option<&[String]>, adapter: &dyn Adapter) -> Vec<String> {
        let usual = || Container::program(self.engine, adapter.programs().first().copied());
        given.map_or_else(usual, <[String]>::to_vec)
    }

    /// The engine of the image, to be asked for its flags.
    pub(super) fn installed(&self, given: Option<&[String]>, adapter: &dyn Adapter) -> Installed {
        let run = ContainerRun { owned: None, port: None, ..self.run(&BTreeMap::new()) };
        Installed { program: self.container.run_words(&run, &self.program(given, adapter)), help: None }
    }

    /// The command that runs `argv` in a container of its own, which stands in the lease from now on.
    pub(super) fn started_by(
        &self,
        argv: &[String],
        env: &BTreeMap<String, String>,
        lease: &mut Lease,
        port: u16,
    ) -> Result<Vec<String>> {
        let mark = lease.tree.marker.clone();
        // Unique on this machine, as the mark is.
        let name = format!("dyno-{}-{port}", mark.split('/').next().unwrap_or_default());
        lease.contain(Contained { runtime: self.container.runtime, name: name.clone() })?;
        let run = ContainerRun { owned: Some((name, mark)), port: Some(port), ..self.run(env) };
        Ok(self.container.run_words(&run, argv))
    }

    /// What the image is, and the command that ran it.
    pub(super) fn facts(self, run: &[String]) -> ImageFacts {
        ImageFacts { run: crate::engine::redact::argv(run), ..self.image }
    }

    fn run(&self, env: &BTreeMap<String, String>) -> ContainerRun {
        // The numbers of a list count the machine's GPUs, and a container that has some of them counts those.
        let numbered = |name: &str| name.ends_with("_VISIBLE_DEVICES") && !self.devices.is_empty();
        let here = |name: &&&str| **name == MARKER || (std::env::var_os(name).is_some() && !numbered(name));
        let mut names: Vec<String> = PASSED.iter().filter(here).map(|n| (*n).to_owned()).collect();
        names.extend(env.keys().cloned());
        names.sort();
        names.dedup();
        ContainerRun {
            owned: None,
            port: None,
            gpus: gpus(self.engine),
            devices: self.devices.clone(),
            env: names,
            mounts: self.mounts.clone(),
            image_id: self.image.id.clone(),
        }
    }
}

/// GPUs of this machine, by the device files of their drivers. The embedded engine needs none.
fn gpus(engine: EngineKind) -> ContainerGpus {
    if engine == EngineKind::Emulated {
        ContainerGpus::None
    } else if Path::new("/dev/nvidiactl").exists() {
        ContainerGpus::Nvidia
    } else if Path::new("/dev/kfd").exists() {
        ContainerGpus::Amd
    } else {
        ContainerGpus::None
    }
}

/// The hub's cache, and one of compiled code that outlives the container: without it each launch compiles anew.
fn caches(image: &ImageFacts) -> Vec<Mount> {
    let mut out = Vec::new();
    let home = std::env::var_os("HOME").map(PathBuf::from);
    let cache = std::env::var_os("XDG_CACHE_HOME").map(PathBuf::from).or(home.map(|h| h.join(".cache")));
    let Some(cache) = cache else { return out };
    let digits = image.id.trim_start_matches("sha256:");
    let compiled = cache.join("dyno/images").join(digits.get(..12).unwrap_or(digits));
    if std::fs::create_dir_all(&compiled).is_ok() {
        out.push(Mount {
            host: compiled.display().to_string(),
            inside: "/root/.cache".to_owned(),
            writable: true,
        });
    }
    let hub = std::env::var_os("HF_HOME").map_or_else(|| cache.join("huggingface"), PathBuf::from);
    if hub.is_dir() {
        let inside = "/root/.cache/huggingface".to_owned();
        out.push(Mount { host: hub.display().to_string(), inside, writable: true });
    }
    out
}

/// The engine that is installed here, or that of an image.
pub fn installed_in(
    adapter: &dyn Adapter,
    program: Option<&[String]>,
    container: Option<&Container>,
) -> Result<Installed> {
    match container {
        None => super::engine_help::installed(adapter, program),
        Some(c) => Ok(Inside::new(c, adapter.kind(), std::iter::empty())?.installed(program, adapter)),
    }
}

/// What the runtime has stored under the image's name.
pub(super) fn stored(container: &Container) -> Result<ImageFacts> {
    let (runtime, image) = (container.runtime, container.image.as_str());
    let format = "{{.Id}} {{range .RepoDigests}}{{.}} {{end}}";
    let text =
        contained::ask(runtime, &["image", "inspect", "--format", format, image], LOOK).map_err(|e| {
            let missing = e.what.contains("says:");
            let hint = format!("get it with `{runtime} pull {}`", crate::launch::quote(image));
            if missing {
                Error::failed(format!("the image `{image}` is not here")).source(e).hint(hint)
            } else {
                e
            }
        })?;
    let mut words = text.split_whitespace().map(str::to_owned);
    let id =
        words.next().ok_or_else(|| Error::failed(format!("`{runtime}` does not say what `{image}` is")))?;
    Ok(ImageFacts { name: image.to_owned(), run: Vec::new(), id, digest: words.next() })
}

/// What the image is, once the runtime is known to answer.
///
/// Errors: no such program, a daemon that is not there, an image that is not stored here.
pub fn look(container: &Container) -> Result<ImageFacts> {
    answers(container.runtime)?;
    stored(container)
}

fn answers(runtime: ContainerRuntime) -> Result<()> {
    contained::ask(runtime, &["info"], LOOK).map(drop).map_err(|e| match e.hint {
        Some(_) => e,
        None => e.hint(format!("is the daemon of `{runtime}` running, and may this user speak to it?")),
    })
}

/// Makes sure, before anything is measured, that the runtime answers and that the image is here; it is pulled where it
/// is not.
///
/// Errors: no such program, a daemon that is not there, an image that cannot be had, each with the runtime's own words.
pub fn prepare(container: &Container, pulling: impl FnOnce()) -> Result<ImageFacts> {
    let runtime = container.runtime;
    answers(runtime)?;
    if let Ok(facts) = stored(container) {
        return Ok(facts);
    }
    pulling();
    contained::ask(runtime, &["pull", &container.image], PULL).map_err(|e| {
        Error::failed(format!("the image `{}` is not here and cannot be pulled", container.image))
            .source(e)
            .hint("is the name right, and does this machine reach its registry? log in where it asks for it")
    })?;
    stored(container)
}
