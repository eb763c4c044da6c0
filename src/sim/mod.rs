//! Discrete-event simulation of the engines' schedulers on a [`StepTime`] model.
//! No I/O, no clock: simulated time is integer nanoseconds.
//!
//! A request passes three stages: the **front end** (one server, first come first served), the
//! **scheduler** with its steps on the device, and the **emission** of each step's tokens. Host work of a
//! step hides behind the device under overlapped scheduling ([`SimOptions::overlap`]).

mod client;
pub mod driver;
pub(crate) mod engine_loop;
mod fast_forward;
mod front_end;
pub mod kv;
mod names;
mod pipeline;
pub mod policy;
mod prefix;
pub mod replicas;
pub mod result;
mod router;
mod sample_stats;
pub mod scheduler;
pub mod screen;
mod shared;
pub mod step;
mod totals;

pub use client::{Arrival, FollowUp};
pub use driver::{SimOptions, simulate};
pub use kv::KvLayout;
pub use prefix::block_hashes;
pub use replicas::simulate_replicas;
pub use result::{RequestOutcome, RunBreakdown, SimResult};
pub use router::{Fleet, Routing, simulate_routed};
pub use scheduler::Scheduler;
pub use screen::{Demand, Load, Screen, Screened};
pub use step::{StepCost, StepShape, StepTime};

/// How many cases the simulator's properties draw: `few`, or `PROPTEST_CASES` for a long search.
#[cfg(test)]
fn drawn_cases(few: u32) -> u32 {
    std::env::var("PROPTEST_CASES").ok().and_then(|cases| cases.parse().ok()).unwrap_or(few)
}
