//! `dyno paced`: the known-timing server, to check this and other clients against.

use crate::error::Result;
use crate::load::paced::{Pace, PacedServer};
use clap::Args;
use std::time::Duration;

/// A server whose token times are known in advance, to check load clients against.
#[derive(Debug, Args)]
pub(super) struct PacedArgs {
    #[arg(long, default_value_t = 8001)]
    port: u16,
    /// Time to the first token, milliseconds
    #[arg(long, default_value_t = 100.0)]
    ttft_ms: f64,
    /// Time between tokens, milliseconds
    #[arg(long, default_value_t = 10.0)]
    itl_ms: f64,
    /// Tokens in one chunk
    #[arg(long, default_value_t = 1)]
    tokens_per_chunk: u32,
    /// Chunks in one write
    #[arg(long, default_value_t = 1)]
    burst: u32,
    /// Chat: send no chunk with only the role first
    #[arg(long)]
    no_role_chunk: bool,
    /// Chat: the first N tokens are reasoning deltas
    #[arg(long, default_value_t = 0)]
    reasoning: u32,
    /// Name of the reasoning field
    #[arg(long, default_value = "reasoning_content")]
    reasoning_key: String,
    /// Every token's text is empty
    #[arg(long)]
    empty_text: bool,
    /// A comment line before every chunk
    #[arg(long)]
    keep_alive: bool,
    /// The finish reason in a chunk of its own
    #[arg(long)]
    separate_finish: bool,
    /// Stop after N tokens, whatever was asked for
    #[arg(long)]
    early_stop: Option<u32>,
    /// Share of the streams that are cut half way
    #[arg(long, default_value_t = 0.0)]
    truncate_share: f64,
    /// Share of the streams with an error object half way
    #[arg(long, default_value_t = 0.0)]
    in_band_error_share: f64,
    /// Share of the requests answered by --error-status
    #[arg(long, default_value_t = 0.0)]
    error_share: f64,
    #[arg(long, default_value_t = 500)]
    error_status: u16,
    /// Share of the answers that are not JSON
    #[arg(long, default_value_t = 0.0)]
    garbage_share: f64,
    /// Share of the requests that are never answered
    #[arg(long, default_value_t = 0.0)]
    hang_share: f64,
    /// Send no usage even when asked for
    #[arg(long)]
    no_usage: bool,
    /// Threads that serve; one more paces
    #[arg(long, default_value_t = 1)]
    threads: usize,
}

/// Serves until interrupted.
pub(super) fn run(args: PacedArgs) -> Result<()> {
    let ms = |v: f64| Duration::try_from_secs_f64(v / 1e3).unwrap_or_default();
    let pace = Pace {
        ttft: ms(args.ttft_ms),
        itl: ms(args.itl_ms),
        tokens_per_chunk: args.tokens_per_chunk.max(1),
        burst: args.burst.max(1),
        role_chunk: !args.no_role_chunk,
        reasoning: args.reasoning,
        reasoning_key: args.reasoning_key,
        empty_text: args.empty_text,
        keep_alive: args.keep_alive,
        separate_finish: args.separate_finish,
        early_stop: args.early_stop,
        truncate_share: args.truncate_share,
        in_band_error_share: args.in_band_error_share,
        error_share: args.error_share,
        error_status: args.error_status,
        garbage_share: args.garbage_share,
        hang_share: args.hang_share,
        no_usage: args.no_usage,
    };
    crate::load::raise_file_limit(10_000)?;
    let server = PacedServer::start(args.port, pace, args.threads)?;
    super::out::note(format_args!("serving on {}; Ctrl-C ends it", server.base_url()));
    super::interrupt::wait_for_interrupt()
}
