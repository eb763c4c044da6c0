//! The server that a command measures: one that runs already, or one that is started for it.

use crate::engine::{Adapter, adapter};
use crate::error::{Error, Result};
use crate::load::{Cancel, Secret, ServedModel};
use crate::process::{Launch, Running, free_port};
use crate::scenario::EngineKind;
use crate::telemetry::EngineClient;
use clap::Args;
use std::path::{Path, PathBuf};
use std::time::Duration;

/// Token ids of prompts stay below this when the model's vocabulary is not known: every tokenizer has them.
const SMALL_VOCABULARY: u32 = 512;

/// Where the server is, or how to start it.
#[derive(Debug, Args)]
pub(super) struct ServerArgs {
    /// Address of a running OpenAI-compatible server, such as http://127.0.0.1:8000
    #[arg(long, required_unless_present = "command", conflicts_with = "command")]
    pub(super) base_url: Option<String>,
    /// Served model name; the server's first model when absent
    #[arg(long)]
    pub(super) model: Option<String>,
    /// Sent as a bearer token; never recorded
    #[arg(long, env = "OPENAI_API_KEY", hide_env_values = true)]
    pub(super) api_key: Option<String>,
    /// The engine, for the names of its metrics; recorded
    #[arg(long)]
    pub(super) engine: Option<EngineKind>,
    /// Recorded as the hardware
    #[arg(long)]
    pub(super) hardware: Option<String>,
    /// Token ids of the model; taken from its description when it is known
    #[arg(long)]
    vocab: Option<u32>,
    /// Seconds allowed for a launched server to be ready
    #[arg(long, default_value_t = 1800.0)]
    ready_timeout: f64,
    /// Directory laid over the embedded data files
    #[arg(long, value_name = "DIR")]
    pub(super) data_dir: Option<PathBuf>,
    /// The serving command to launch, after `--`
    #[arg(last = true)]
    pub(super) command: Vec<String>,
}

impl ServerArgs {
    pub(super) fn key(&self) -> Option<Secret> {
        self.api_key.clone().map(Secret::new)
    }

    /// What is known of the engine; vLLM's names where nothing else is said.
    pub(super) fn adapter(&self) -> &'static dyn Adapter {
        adapter(self.engine.unwrap_or(EngineKind::Vllm))
    }

    /// The size of the model's vocabulary, as given, as known by its name, or one that every model has.
    pub(super) fn vocabulary(&self, server: &Server) -> u32 {
        let known = || {
            let catalog = crate::model::Catalog::load(self.data_dir.as_deref()).ok()?;
            let names = [server.model.root.as_ref(), Some(&server.model.id)];
            names.into_iter().flatten().find_map(|name| catalog.find(name).ok()).map(|m| m.vocab)
        };
        self.vocab.or_else(known).unwrap_or(SMALL_VOCABULARY)
    }
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

/// The server under load, started here or not.
pub(super) struct Server {
    pub(super) base_url: String,
    pub(super) model: ServedModel,
    launched: Option<Running>,
    port: Option<u16>,
}

impl Server {
    pub(super) fn open(args: &ServerArgs, log: Option<PathBuf>, cancel: &Cancel) -> Result<Server> {
        let Some(base_url) = args.base_url.clone() else { return Server::launch(args, log, cancel) };
        let model = match &args.model {
            Some(name) => ServedModel { id: name.clone(), root: None, max_model_len: None },
            None => first(
                crate::load::served_models(&base_url, args.key().as_ref(), Duration::from_secs(30))?,
                &base_url,
            )?,
        };
        Ok(Server { base_url, model, launched: None, port: None })
    }

    fn launch(args: &ServerArgs, log: Option<PathBuf>, cancel: &Cancel) -> Result<Server> {
        let mut argv = args.command.clone();
        let port = if let Some(port) = port_of(&argv) {
            port
        } else {
            let port = free_port()?;
            argv.extend(["--port".to_owned(), port.to_string()]);
            port
        };
        if !crate::process::port_free(port) {
            return Err(Error::failed(format!("port {port} is in use"))
                .hint("stop what listens there, or give the command another --port"));
        }
        let log = log
            .unwrap_or_else(|| std::env::temp_dir().join(format!("dyno-bench-{}.log", std::process::id())));
        let marker = format!("bench/{}", std::process::id());
        let running = Running::start(&Launch {
            argv,
            env: std::collections::BTreeMap::new(),
            dir: None,
            log: log.clone(),
            marker,
        })?;
        let base_url = format!("http://127.0.0.1:{port}");
        let limit = Duration::try_from_secs_f64(args.ready_timeout).unwrap_or(Duration::from_secs(1800));
        let alive = || running.exit().map(|e| e.to_string());
        let ready = crate::load::wait_ready(&base_url, args.key().as_ref(), limit, cancel, alive)
            .and_then(|models| first(models, &base_url))
            .map_err(|e| {
                e.at(log.display()).hint(format!("`dyno diagnose {}` reads the log", log.display()))
            });
        let mut server = Server {
            base_url,
            model: ServedModel { id: String::new(), root: None, max_model_len: None },
            launched: Some(running),
            port: Some(port),
        };
        match ready {
            Ok(model) => {
                server.model = args.model.clone().map_or(model.clone(), |id| ServedModel { id, ..model });
                Ok(server)
            }
            Err(e) => {
                server.close();
                Err(e)
            }
        }
    }

    pub(super) fn log(&self) -> Option<PathBuf> {
        self.launched.as_ref().map(|r| r.log.clone())
    }

    /// The control client of the engine, and what is known of it; None when it has no metrics under the names of
    /// the engine it is said (or by default taken) to be.
    pub(super) fn control(&self, args: &ServerArgs) -> Option<EngineClient> {
        let client =
            EngineClient::at(&self.base_url, args.adapter().endpoints(), args.api_key.clone()).ok()?;
        client.scrape().is_some().then_some(client)
    }

    pub(super) fn close(self) {
        if let Some(running) = self.launched {
            let report = crate::process::stop(running, Duration::from_secs(20), self.port);
            for left in report.survivors {
                super::out::note(format!("warning: still running after the stop: {left}"));
            }
        }
    }
}

fn first(models: Vec<ServedModel>, base_url: &str) -> Result<ServedModel> {
    models.into_iter().next().ok_or_else(|| Error::failed("the server serves no model").at(base_url))
}

/// The value of `--port` in a serving command.
fn port_of(argv: &[String]) -> Option<u16> {
    argv.iter().enumerate().find_map(|(i, a)| match a.strip_prefix("--port") {
        Some("") => argv.get(i + 1)?.parse().ok(),
        Some(rest) => rest.strip_prefix('=')?.parse().ok(),
        None => None,
    })
}
