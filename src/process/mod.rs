//! Start, watch and stop a process tree. This is the only room that spawns.
//!
//! A child runs in a session of its own (so that a Ctrl-C at the terminal reaches `dyno` alone) and carries
//! a marker in its environment. Its tree is everything in that session or with that marker, so a
//! grandchild that leaves the group, or that outlives a killed parent, is still found. A [`Lease`] file
//! written before the engine can do anything lets the next `dyno` reap what a killed one left, and a [`guard`]
//! process ends it at once.

pub mod child;
pub mod connected;
pub mod contained;
pub mod guard;
mod guarding;
pub mod lease;
pub mod port;
mod private;
pub mod stop;
pub mod tool;
pub mod tree;
pub mod which;

pub use child::{Exit, Launch, Running};
pub use connected::Connected;
pub use contained::{Contained, ContainerState};
pub use guarding::guard as guard_until_end;
pub use lease::{Lease, Reaped, kill_leased, lease_dir, reap};
pub use port::{free_port, port_free};
pub use stop::{StopReport, held, stop};
pub use tool::{ToolOutput, tool};
pub use tree::{Member, Tree};
pub use which::find_program;

/// Environment variable that marks every process of a trial: `<run id>/<trial id>`.
pub const MARKER: &str = "DYNO_TRIAL";
