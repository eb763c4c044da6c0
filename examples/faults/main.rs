//! Faults of the world, injected by the hundred: what becomes of a campaign, a trial, a bench.
//!
//! `cargo build --example contract_engine && cargo run --example faults -- [kills N] [disk N] [clock N] [full N] [http N] [process N] [held N] [--seed S]`
//!
//! Campaigns run on a virtual clock (`campaign`): plan, record, lock, search and verdict are the program's own, only the launches
//! are predictions, so that the verdict is the same each time and a campaign takes a second. Faults of disk and clock come from
//! `shim.c`, which stands between the program and its C library. Benches and trials run in real time, against a server that
//! answers wrongly and against contract engines that fail; `held` stops the client itself.
//!
//! One line a kind on stdout; exit code 1 when anything was lost, blamed wrongly, left behind, or panicked.

mod campaign;
mod disk;
mod full;
mod held;
mod http;
mod kills;
mod process;
mod tally;
mod world;

use std::path::Path;
use std::process::ExitCode;

fn main() -> ExitCode {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "campaign") {
        return campaign::run(Path::new(&args[1]));
    }
    let number = |name: &str| -> u64 {
        let at = args.iter().position(|a| a == name);
        at.and_then(|i| args.get(i + 1)).map_or(0, |n| n.parse().expect("a number"))
    };
    let seed = number("--seed");
    let mut tally = tally::Tally::default();
    kills::run(number("kills"), seed, &mut tally);
    disk::run(disk::Kind::Disk, number("disk"), seed, &mut tally);
    disk::run(disk::Kind::Clock, number("clock"), seed, &mut tally);
    full::run(number("full"), seed, &mut tally);
    http::run(number("http"), seed, &mut tally);
    process::run(number("process"), seed, &mut tally);
    held::run(number("held"), seed, &mut tally);
    tally.print()
}
