//! The forecast of a ramp: the scenario put together from the command line and the running server.

use super::super::out::note;
use super::super::predict::read_profile;
use super::RampArgs;
use crate::capacity::simulated::{Options, ramp};
use crate::capacity::{Axis, Forecast};
use crate::cost::{Catalogs, Predictor};
use crate::error::{Error, Result};
use crate::launch::{EngineKind, Launch};
use crate::scenario::{Key, Record, read_beside};
use crate::trial::Session;
use clap::Args;
use std::path::{Path, PathBuf};

/// What the forecast rests on.
#[derive(Debug, Args)]
pub(super) struct ExpectArgs {
    /// Fitted profile (`dyno fit`, or `profile.toml` of a campaign); the physical prior answers without one
    #[arg(long, value_name = "FILE")]
    profile: Option<PathBuf>,
    /// Hub name or directory of the served model, where its served name does not say
    #[arg(long, value_name = "MODEL")]
    predict_model: Option<String>,
    /// How the running server was launched, so that its flags count: "vllm serve … --max-num-seqs 64"
    #[arg(long, value_name = "COMMAND", conflicts_with = "command")]
    serve_command: Option<String>,
    /// Release of the engine; what the server says when absent
    #[arg(long)]
    engine_version: Option<String>,
    /// GPUs of the launch, where its flags do not say
    #[arg(long)]
    num_gpus: Option<u32>,
    /// Simulated draws of the coefficients behind each interval of the forecast
    #[arg(long, default_value_t = 16)]
    draws: u32,
    /// Measure without a forecast
    #[arg(long, conflicts_with = "profile")]
    no_forecast: bool,
}

/// The ramp as the model expects it; None where it knows too little, which is said.
///
/// Errors: a profile was given, and no forecast can be made with it.
pub(super) fn forecast(
    args: &RampArgs,
    session: &Session<'_>,
    slo: &[(Key, f64)],
) -> Result<Option<Forecast>> {
    if args.expect.no_forecast {
        return Ok(None);
    }
    match simulated(args, session, slo) {
        Ok(forecast) => Ok(Some(forecast)),
        Err(e) if args.expect.profile.is_some() => Err(e),
        Err(e) => {
            note(format!("no forecast, the loads are found by measuring alone: {e}"));
            Ok(None)
        }
    }
}

fn simulated(args: &RampArgs, session: &Session<'_>, slo: &[(Key, f64)]) -> Result<Forecast> {
    let catalogs = Catalogs::load(args.server.data_dir.as_deref())?;
    let profile = read_profile(args.expect.profile.as_deref())?;
    let record = scenario(args, session, &catalogs)?;
    let predictor = Predictor { draws: args.expect.draws, ..Predictor::new(&catalogs, profile.as_ref()) };
    let options = Options {
        axis: Axis::from(args.by),
        max_concurrency: args.to.min(f64::from(u32::MAX)) as u32,
        slo: slo.to_vec(),
        timeout_s: crate::load::RunOptions::default().request_timeout.as_secs_f64(),
        ..Options::default()
    };
    let study = ramp(&record, &predictor, &options)?;
    let made_at =
        humantime::format_rfc3339_seconds(std::time::UNIX_EPOCH + crate::host::since_epoch()).to_string();
    Ok(Forecast { made_at, study })
}

fn scenario(args: &RampArgs, session: &Session<'_>, catalogs: &Catalogs) -> Result<Record> {
    let hardware = args
        .server
        .hardware
        .clone()
        .ok_or_else(|| Error::usage("the hardware is not known").hint("--hardware ID"))?;
    let engine = args.server.engine.unwrap_or(EngineKind::Vllm);
    let command = match (&args.expect.serve_command, args.server.command.is_empty()) {
        (Some(command), _) => Some(command.clone()),
        (None, false) => Some(Launch::from_argv(&args.server.command).to_text()),
        (None, true) => None,
    };
    let said = command.as_deref().map(Launch::parse).and_then(|c| c.model);
    let names: Vec<String> = [
        args.expect.predict_model.clone(),
        said,
        session.model().root.clone(),
        args.server.model.clone(),
        Some(session.model().id.clone()),
    ]
    .into_iter()
    .flatten()
    .collect();
    let model = names
        .iter()
        .find(|n| catalogs.models.find(n).is_ok())
        .ok_or_else(|| {
            Error::usage(format!("no description of the model is known under {}", names.join(", ")))
                .hint("--predict-model NAME or DIRECTORY")
        })?
        .clone();
    let facts = session.facts();
    let mut record = [Record {
        engine: Some(engine),
        engine_version: args.expect.engine_version.clone().or_else(|| facts.version.clone()),
        serve_command: command,
        model: Some(model),
        hardware: Some(hardware),
        num_gpus: args.expect.num_gpus,
        workload: Some(args.workload.clone()),
        resolved: Some(facts.resolved.clone()).filter(|r| !r.is_empty()),
        ..Record::default()
    }];
    read_beside(&mut record, &[Path::new("")]);
    let [record] = record;
    Ok(record)
}
