//! The server that a command measures: one that runs already, or one that is started for it.

use super::out::note;
use crate::engine::redact;
use crate::error::{Error, Result};
use crate::launch::{EngineKind, Launch, LaunchFile};
use crate::load::{Cancel, Endpoint, base_url};
use crate::scenario::files_named_by;
use crate::trial::{Commanded, Event, Observer, Session, vocabulary};
use clap::{Args, ValueEnum};
use std::path::{Path, PathBuf};

/// Where the server is, or how to start it.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Address of a running OpenAI-compatible server, such as http://127.0.0.1:8000 (`/v1` at its end is understood)
    #[arg(long, required_unless_present = "command", conflicts_with = "command", help_heading = "Server")]
    pub(super) base_url: Option<String>,
    /// Served model name; the server's first model when absent
    #[arg(long, help_heading = "Server")]
    pub(super) model: Option<String>,
    /// Sent as a bearer token; never recorded
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true, help_heading = "Server")]
    pub(super) api_key: Option<String>,
    /// The engine, for the names of its metrics; recorded
    #[arg(long, help_heading = "Server")]
    pub(super) engine: Option<EngineKind>,
    /// Recorded as the hardware
    #[arg(long, help_heading = "Server")]
    pub(super) hardware: Option<String>,
    /// Token ids of the model; taken from its description when it is known
    #[arg(long, help_heading = "Server")]
    vocab: Option<u32>,
    /// Time allowed for a launched server to be ready, in seconds or as 30m
    #[arg(long, default_value = "30m", value_parser = super::duration::seconds, help_heading = "Server")]
    ready_timeout: f64,
    /// Directory laid over the embedded data files
    #[arg(long, value_name = "DIR", help_heading = "Server")]
    pub(super) data_dir: Option<PathBuf>,
    #[command(flatten, next_help_heading = "Engine in a container")]
    container: super::container::ContainerArgs,
    /// The serving command to launch, after `--`
    #[arg(last = true)]
    pub(super) command: Vec<String>,
}

/// The route of the server that is measured.
#[derive(Debug, Clone, Copy, ValueEnum)]
pub(super) enum Route {
    Completions,
    Chat,
}

impl From<Route> for Endpoint {
    fn from(route: Route) -> Endpoint {
        match route {
            Route::Completions => Endpoint::Completions,
            Route::Chat => Endpoint::Chat,
        }
    }
}

impl ServerArgs {
    /// The engine that is measured; vLLM's names where nothing else is said.
    fn kind(&self) -> EngineKind {
        self.engine.unwrap_or(EngineKind::Vllm)
    }

    /// The size of the model's vocabulary, as given, as known by its name, or one that every model has.
    pub(super) fn vocabulary(&self, session: &Session<'_>) -> u32 {
        let model = session.model();
        let names = [model.root.as_deref(), Some(model.id.as_str()), self.model.as_deref()];
        self.vocab.unwrap_or_else(|| vocabulary(names, self.data_dir.as_deref()))
    }

    /// The command as it may be recorded, quoted.
    pub(super) fn recorded_command(&self) -> Option<String> {
        (!self.command.is_empty()).then(|| Launch::from_argv(&redact::argv(&self.command)).to_text())
    }

    /// The files of options that the command names, as they may be recorded.
    pub(super) fn recorded_files(&self) -> Vec<LaunchFile> {
        let files = files_named_by(&Launch::from_argv(&self.command), &[Path::new("")]);
        files.into_iter().map(|f| LaunchFile { text: redact::options(&f.text), ..f }).collect()
    }

    /// Attaches to the running server, or starts the command and waits until it yields a token.
    pub(super) fn open<'a>(
        &self,
        log: Option<PathBuf>,
        cancel: &Cancel,
        observer: &'a dyn Observer,
    ) -> Result<Session<'a>> {
        if let Some(given) = &self.base_url {
            let (key, model) = (self.api_key.clone(), self.model.clone());
            return Session::attach(&base_url(given)?, self.kind(), key, model, cancel, observer);
        }
        for reaped in crate::process::reap(&crate::process::lease_dir()?) {
            note(format_args!("ended what an earlier run left: {}", reaped.killed.join(", ")));
        }
        let container = self.container.container(None);
        super::container::prepare(container.as_ref())?;
        let command = Commanded {
            argv: self.command.clone(),
            engine: self.kind(),
            api_key: self.api_key.clone(),
            model: self.model.clone(),
            ready_timeout_s: self.ready_timeout,
            log: log.map_or_else(unnamed_log, Ok)?,
            container,
        };
        Session::launch(&command, cancel, observer)
    }
}

/// A place for a log that nobody asked for: kept, since an error may name it.
fn unnamed_log() -> Result<PathBuf> {
    let kept = tempfile::Builder::new().prefix("dyno-log-").suffix(".log").tempfile();
    kept.and_then(|file| file.keep().map_err(|e| e.error)).map(|(_, path)| path).map_err(|e| {
        Error::failed("no place for the server's log can be made").source(e).hint("name an --out")
    })
}

/// Fails before anything is measured when the file could not be written afterwards.
pub(super) fn writable(path: &Path) -> Result<()> {
    std::fs::OpenOptions::new().append(true).create(true).open(path).map(drop).map_err(|e| {
        Error::usage("the output file cannot be written")
            .at(path.display())
            .source(e)
            .hint("is its directory there?")
    })
}

/// Ends the session; what could not be cleared is told. A log that nobody asked for goes when all was well.
pub(super) fn close(session: Session<'_>, keep_log: bool) {
    let log = session.log().filter(|_| !keep_log);
    for left in session.stop().survivors {
        note(format_args!("warning: still there after the stop: {left}"));
    }
    log.map(std::fs::remove_file);
}

/// Tells when a launched server is ready.
pub(super) struct Lines;

impl Observer for Lines {
    fn event(&self, event: &Event<'_>) {
        if let Event::Ready { facts } = event {
            note(format_args!("the server is ready after {:.1} s", facts.startup_s));
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use clap::Parser;

    #[derive(Parser)]
    struct Arguments {
        #[command(flatten)]
        server: ServerArgs,
    }

    #[test]
    fn files_of_options_that_a_launch_names_are_recorded_without_secrets() {
        let dir = tempfile::tempdir().unwrap();
        let path = dir.path().join("serve.yml");
        std::fs::write(&path, "max-num-seqs: 8\napi-key: s3cret-of-mine\n").unwrap();
        let path = path.display().to_string();
        let args = ["dyno", "--", "vllm", "serve", "m", "--config", &path];
        let server = Arguments::try_parse_from(args).unwrap().server;
        let launch = Launch::from_argv(&server.command).with_files(server.recorded_files());
        assert_eq!(launch.integer(&["max-num-seqs"]), Some(8));
        assert_eq!(launch.text(&["api-key"]), Some("<redacted>"));
        assert!(!server.recorded_files()[0].text.contains("s3cret"));
    }
}
