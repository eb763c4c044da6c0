//! `dyno`: see the library's `cli` room.

fn main() -> std::process::ExitCode {
    llm_dyno::cli::main()
}
