//! The search against others on seeded landscapes whose best command is known, on a virtual clock.
//!
//! `cargo run --release --example landscapes [-- NUMBER] [--blind | --third] [--one | --three] [--guided] [--json] [-v]`
//!
//! Seeds below a million are those that the search was developed on; `--blind` takes others, and `--third` those that were
//! opened after the blind ones had been. `landscapes serve` offers the same
//! landscapes to other programs by lines of JSON (`scripts/compare-searches`); `landscapes side-by-side` runs whole campaigns with
//! several launches in flight, `landscapes fleet` on a cluster where something goes wrong.

mod bench;
mod engine;
mod fleet;
mod landscape;
mod serve;
mod side_by_side;
mod table;

fn main() {
    let args: Vec<String> = std::env::args().skip(1).collect();
    if args.first().is_some_and(|a| a == "serve") {
        serve::main();
    } else if args.first().is_some_and(|a| a == "side-by-side") {
        side_by_side::main(&args[1..]);
    } else if args.first().is_some_and(|a| a == "fleet") {
        fleet::main(&args[1..]);
    } else {
        table::main(args);
    }
}
