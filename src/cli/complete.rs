//! `dyno completions SHELL` and `dyno man DIR`: what a package installs beside the program.

use crate::error::{Error, Result};
use clap::CommandFactory;
use std::path::{Path, PathBuf};

#[derive(Debug, clap::Args)]
pub(super) struct CompletionsArgs {
    /// bash, zsh, fish, elvish or powershell
    shell: clap_complete::Shell,
}

#[derive(Debug, clap::Args)]
pub(super) struct ManArgs {
    /// Directory to write dyno.1 and one page a command into
    dir: PathBuf,
}

pub(super) fn completions<C: CommandFactory>(args: &CompletionsArgs) {
    let mut text = Vec::new();
    clap_complete::generate(args.shell, &mut C::command(), "dyno", &mut text);
    super::out::line(String::from_utf8_lossy(&text).trim_end());
}

pub(super) fn man<C: CommandFactory>(args: &ManArgs) -> Result<()> {
    let cannot = |e: std::io::Error, at: &Path| {
        Error::failed("the manual pages cannot be written").at(at.display()).source(e)
    };
    std::fs::create_dir_all(&args.dir).map_err(|e| cannot(e, &args.dir))?;
    clap_mangen::generate_to(C::command(), &args.dir).map_err(|e| cannot(e, &args.dir))?;
    super::out::line(format!(
        "written to {}: try `man -l {}/dyno.1`",
        args.dir.display(),
        args.dir.display()
    ));
    Ok(())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn every_command_has_a_page_and_is_completed() {
        let dir = tempfile::tempdir().unwrap();
        let args = ManArgs { dir: dir.path().to_owned() };
        man::<super::super::Cli>(&args).unwrap();
        let page = std::fs::read_to_string(dir.path().join("dyno-compare.1")).unwrap();
        assert!(page.contains("max\\-regression") || page.contains("max-regression"), "{page}");
        assert!(dir.path().join("dyno.1").exists());
        let mut text = Vec::new();
        clap_complete::generate(
            clap_complete::Shell::Bash,
            &mut super::super::Cli::command(),
            "dyno",
            &mut text,
        );
        let text = String::from_utf8(text).unwrap();
        assert!(text.contains("--max-regression") && text.contains("export"), "{}", text.len());
    }
}
