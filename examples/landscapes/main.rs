//! The search against others on seeded landscapes whose best command is known, on a virtual clock.
//!
//! `cargo run --release --example landscapes [-- NUMBER] [--blind] [--one | --three] [--guided] [-v]`
//!
//! Seeds below a million are those that the search was developed on; `--blind` takes others.

mod bench;
mod landscape;

fn main() {
    bench::main();
}
