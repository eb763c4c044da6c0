//! `--metrics-listen`: the figures of runs in progress for a Prometheus scraper.

use crate::error::Result;
use crate::load::Exporter;
use std::net::SocketAddr;

#[derive(Debug, clap::Args)]
pub(super) struct MetricsArgs {
    /// Serve the figures of the runs in progress at http://ADDRESS:PORT/metrics for Prometheus, such as
    /// 127.0.0.1:9400; port 0 takes a free one and says which
    #[arg(long, value_name = "ADDRESS:PORT")]
    metrics_listen: Option<SocketAddr>,
}

impl MetricsArgs {
    /// Begins to serve, where asked for; `say` is told where.
    pub(super) fn start(&self, say: impl FnOnce(&str)) -> Result<()> {
        let Some(address) = self.metrics_listen else { return Ok(()) };
        let exporter = Exporter::start(address)?;
        say(&format!("metrics of the runs: http://{}/metrics", exporter.address));
        Ok(())
    }
}
