//! What is known of parts and models, and a record held against it.

use super::super::drafting;
use crate::engine::{Drafter, EngineConfig, half_of_a_service};
use crate::error::{Error, Result};
use crate::hardware::{self, Hardware};
use crate::launch::GpuLayout;
use crate::model;
use crate::scenario::Record;
use std::path::Path;

/// What is known of parts and models; loaded once.
#[derive(Debug, Clone)]
pub struct Catalogs {
    pub hardware: hardware::Catalog,
    pub models: model::Catalog,
}

impl Catalogs {
    /// The embedded data, and that of a directory over it.
    pub fn load(data_dir: Option<&Path>) -> Result<Catalogs> {
        Ok(Catalogs { hardware: hardware::Catalog::load(data_dir)?, models: model::Catalog::load(data_dir)? })
    }
}

/// Refuses a record whose `num_gpus` is not what its launch takes: every rate and price a GPU would be wrong by it.
pub(super) fn same_gpus(record: &Record, hardware: &Hardware, config: &EngineConfig) -> Result<()> {
    let launch = record.launch();
    let layout = GpuLayout::of(&launch);
    if let Some(shown) = GpuLayout::visible(&launch).filter(|n| layout.known && *n < config.gpus()) {
        return Err(Error::usage(format!(
            "the command's environment shows {shown} GPUs to the engine, and the launch takes {} ({})",
            config.gpus(),
            layout.words()
        ))
        .hint("mend CUDA_VISIBLE_DEVICES (HIP_VISIBLE_DEVICES) or the sizes in the command"));
    }
    match record.num_gpus {
        Some(said) if hardware.is_gpu() && layout.known && said != config.gpus() => Err(Error::usage(
            format!("num_gpus says {said}, and the launch takes {} ({})", config.gpus(), layout.words()),
        )
        .hint(
            "mend num_gpus or the sizes in the command; replicas behind a router are launches of their own",
        )),
        _ => Ok(()),
    }
}

/// Refuses one half of a service, which answers no request alone.
pub(super) fn whole_engine(record: &Record) -> Result<()> {
    match half_of_a_service(&record.launch()) {
        Some(how) => Err(Error::infeasible(format!(
            "this launch is one half of a disaggregated service ({how}): prompts are computed and tokens decoded on \
             different engines, which is not predicted"
        ))),
        None => Ok(()),
    }
}

/// Looks up how large the draft model of a launch is.
pub(in super::super) fn size_drafter(config: &mut EngineConfig, catalogs: &Catalogs) {
    let Some(s) = config.speculative.as_mut().filter(|s| s.method == Drafter::DraftModel) else { return };
    let name = s.draft_model.clone().unwrap_or_default();
    match catalogs.models.find(&name) {
        Ok(model) => s.draft_size = Some(drafting::draft_size(&model)),
        Err(_) => config
            .unmodelled
            .push(format!("draft model {name} (not known here: taken as a twentieth of the model)")),
    }
}
