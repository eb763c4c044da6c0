//! A contract engine: a small program that behaves at its edges as `vllm serve`, `sglang.launch_server` and
//! `trtllm-serve` do, so that adapters are tested whole without a GPU.
//!
//! It is called under the engine's own name through a link, and reads what to do from a TOML script that
//! lies beside the link under the same name: `bin/vllm` reads `bin/vllm.toml`. Arguments are judged as the
//! named release judges them, the log is in that release's wording, the port is bound when that engine binds
//! it, token times are exactly those of the script, and failures happen in the phase the script names.
//! Every key is documented in `script.rs`.

#![expect(
    clippy::print_stderr,
    clippy::disallowed_methods,
    reason = "a program of its own: it logs as engines do, spawns workers and ends by exit codes"
)]

mod args;
mod flags;
mod http;
mod life;
mod log;
mod pace;
mod script;
mod shapes;
mod workers;

use script::Script;
use std::path::{Path, PathBuf};

fn main() {
    let argv: Vec<String> = std::env::args().collect();
    if argv.get(1).is_some_and(|a| a == workers::CHILD) {
        workers::be_one(&argv[2..]);
        return;
    }
    let script = match read_script(Path::new(&argv[0])) {
        Ok(script) => script,
        Err(e) => {
            eprintln!("contract engine: {e}");
            std::process::exit(70);
        }
    };
    let launch = args::parse(&script, &argv[1..]);
    life::run(script, launch);
}

/// The script beside the link through which the program was called.
fn read_script(called: &Path) -> Result<Script, String> {
    let mut name = called.as_os_str().to_owned();
    name.push(".toml");
    let file = PathBuf::from(name);
    let text = std::fs::read_to_string(&file).map_err(|e| format!("{}: {e}", file.display()))?;
    toml::from_str(&text).map_err(|e| format!("{}: {e}", file.display()))
}
