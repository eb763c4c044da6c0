//! Options of an engine in a container, as `tune`, `bench`, `ramp` and `doctor` have them.

use super::out::note;
use crate::error::Result;
use crate::launch::{Container, ContainerNetwork, ContainerRuntime};
use crate::process::find_program;
use clap::Args;

#[derive(Debug, Default, Args)]
pub(super) struct ContainerArgs {
    /// Start the engine from this image; dyno owns name, network, GPUs, shared memory and mounts of its containers
    #[arg(long, value_name = "IMAGE")]
    pub(super) engine_image: Option<String>,
    /// docker, podman or nerdctl [default: the first of them that is installed]
    #[arg(long, requires = "engine_image", value_name = "NAME")]
    container_runtime: Option<ContainerRuntime>,
    /// host, or mapped (a port of the loopback that the runtime maps) [default: host]
    #[arg(long, requires = "engine_image", value_name = "NETWORK")]
    container_network: Option<ContainerNetwork>,
    /// More words for the runtime's `run`, such as '--ulimit memlock=-1 -v /models:/models'
    #[arg(long, requires = "engine_image", value_name = "WORDS", allow_hyphen_values = true)]
    container_options: Option<String>,
}

impl ContainerArgs {
    /// The container that was asked for, else the one of an earlier plan.
    pub(super) fn container(&self, old: Option<&Container>) -> Option<Container> {
        let Some(image) = &self.engine_image else { return old.cloned() };
        let here = || ContainerRuntime::ALL.into_iter().find(|r| find_program(r.program()).is_some());
        let options = self.container_options.as_deref().map(|text| crate::launch::split(text).0);
        Some(Container {
            image: image.clone(),
            runtime: self.container_runtime.or_else(here).unwrap_or_default(),
            network: self.container_network.unwrap_or_default(),
            options: options.unwrap_or_default(),
        })
    }
}

/// Makes sure that the runtime answers and the image is here, before anything is measured.
pub(super) fn prepare(container: Option<&Container>) -> Result<()> {
    let Some(c) = container else { return Ok(()) };
    crate::trial::prepare(c, || note(format_args!("getting the image {} with {}", c.image, c.runtime)))
        .map(drop)
}
