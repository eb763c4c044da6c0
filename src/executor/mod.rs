//! Where a trial runs when it does not run here: on the nodes of a cluster, as a job of the cluster's own scheduler.
//!
//! A trial goes out as a value in the job's script ([`Job`]), runs there as `dyno trial --job`, and its result comes back
//! in the job's output as marked lines with checksums ([`channel`]). An [`Executor`] only knows how its scheduler is asked:
//! start, state, output, stop. The record stays with the tuner, and a node that is lost is nobody's fault but its own.

pub mod channel;
mod config;
mod contract;
mod kubernetes;
mod order;
mod ray;
mod slurm;
mod ssh;

pub use config::{ExecutorConfig, ExecutorKind};
pub use contract::{Executor, Job, JobState, Places};
pub use kubernetes::Kubernetes;
pub use order::{FileText, Hello, Order, Report, job};
pub use ray::Ray;
pub use slurm::Slurm;
pub use ssh::Ssh;

use crate::error::Result;

/// The executor of a plan.
///
/// Errors: an address that cannot be used.
pub fn executor(config: &ExecutorConfig) -> Result<Box<dyn Executor>> {
    match config.kind {
        ExecutorKind::Ray => Ok(Box::new(Ray::new(config)?)),
        ExecutorKind::Slurm => Ok(Box::new(Slurm::new(config)?)),
        ExecutorKind::Ssh => Ok(Box::new(Ssh::new(config)?)),
        ExecutorKind::Kubernetes => Ok(Box::new(Kubernetes::new(config)?)),
    }
}
