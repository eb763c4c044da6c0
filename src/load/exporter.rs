//! Serves the figures of runs in progress to a Prometheus scraper.

use super::live::Live;
use crate::error::{Error, Result};
use axum::Router;
use axum::routing::get;
use std::net::{SocketAddr, TcpListener};

/// `http://ADDRESS/metrics` on a thread of its own, until the process ends.
#[derive(Debug)]
pub struct Exporter {
    pub address: SocketAddr,
}

impl Exporter {
    /// Binds to `address` (port 0 takes a free one); from now on every run of this process is counted.
    pub fn start(address: SocketAddr) -> Result<Exporter> {
        let fail = |e: std::io::Error| {
            Error::usage("the metrics cannot be served there")
                .at(address)
                .source(e)
                .hint("choose another port; 0 takes a free one")
        };
        let listener = TcpListener::bind(address).map_err(fail)?;
        listener.set_nonblocking(true).map_err(fail)?;
        let address = listener.local_addr().map_err(fail)?;
        let runtime = tokio::runtime::Builder::new_current_thread().enable_all().build().map_err(fail)?;
        let live = Live::begin();
        std::thread::spawn(move || {
            runtime.block_on(async move {
                let Ok(listener) = tokio::net::TcpListener::from_std(listener) else { return };
                let format = [("content-type", "text/plain; version=0.0.4; charset=utf-8")];
                let router = Router::new()
                    .route("/metrics", get(move || std::future::ready((format, live.to_text()))));
                let _ = axum::serve(listener, router).await;
            });
        });
        Ok(Exporter { address })
    }
}
