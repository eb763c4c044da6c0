//! The streaming client and its timing: sends planned requests to an OpenAI-compatible server and measures.
//!
//! [`run()`] is one blocking call: it starts its own client threads (each a single-threaded runtime with its own
//! connections, so that no token waits for another thread's work), sends every request, and returns a
//! [`LoadResult`]. Call it from a plain thread; from async code through `spawn_blocking`.
//!
//! Definitions (those of `vllm bench serve`, with its known errors mended):
//! - bytes arrive when the kernel says that they came in, not when a client thread gets round to reading them; where
//!   it gives no stamp, the clock is read after the bytes and before they are parsed;
//! - a request is sent when its first byte is handed to an open connection; what came before that is send lateness;
//! - TTFT: actual send to the first chunk that carries a token. The role chunk of a chat carries none; a token
//!   may have an empty text; a reasoning or tool-call delta is a token;
//! - E2E: actual send to the last chunk that carries a token; TPOT: (E2E - TTFT) / (output tokens - 1);
//! - ITL: gaps between token-carrying chunks, pooled over all completed requests. Where a server puts several
//!   tokens in a chunk, the extra keys `mean_token_gap_ms` and `tokens_per_chunk` say so;
//! - token counts come from the server's `usage` (or token ids), never from the number of chunks;
//! - a stream that ends without a finish reason is lost, not completed.

mod address;
mod block;
mod calibrate;
mod client;
mod event;
mod exporter;
#[doc(hidden)]
pub mod fuzzing;
mod health;
mod http;
mod lag;
mod live;
mod metrics;
mod options;
mod outcome;
pub mod paced;
mod parts;
mod plan;
mod priority;
mod repeat;
mod request;
mod run;
mod socket;
mod sse;
mod steady;
mod stream;
#[cfg_attr(not(feature = "tls"), path = "no_tls.rs")]
mod tls;
mod validity;

pub use address::base_url;
pub use block::block;
pub use calibrate::calibrate;
pub use event::{Content, Event, read_event};
pub use exporter::Exporter;
pub use health::{ClientHealth, Late};
pub use metrics::summarize;
pub use options::{Counting, Endpoint, Goodput, Progress, RunOptions, Secret, Target};
pub use outcome::{ErrorCount, ErrorKind, LoadResult, Oddity, Row};
pub use plan::raise_file_limit;
pub use run::run;
pub use sse::SseParser;
pub use steady::steady;
/// Stops everything that shares it; cloning shares.
pub use tokio_util::sync::CancellationToken as Cancel;
pub use validity::{Distortion, judge};

#[cfg(test)]
mod semantics;
