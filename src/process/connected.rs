//! A command that ends with us: its standard input is a pipe of ours, which the kernel closes however we end.

use super::child::session;
use super::find_program;
use crate::error::{Error, Result};
use std::io::Write as _;
use std::path::{Path, PathBuf};

/// A started command that reads from us.
#[derive(Debug)]
pub struct Connected {
    handle: duct::Handle,
    pipe: Option<std::io::PipeWriter>,
    output: PathBuf,
}

impl Connected {
    /// Starts the command with what it prints in the file `output`.
    pub fn start(argv: &[String], output: &Path) -> Result<Connected> {
        let (name, rest) =
            argv.split_first().ok_or_else(|| Error::failed("an empty command cannot be started"))?;
        let program = find_program(name)
            .ok_or_else(|| Error::failed(format!("program `{name}` was not found or is not executable")))?;
        let cannot = |e: std::io::Error| Error::failed(format!("`{name}` cannot be run")).source(e);
        let out = crate::host::private_file(output).map_err(cannot)?;
        let err = out.try_clone().map_err(cannot)?;
        let (reader, pipe) = std::io::pipe().map_err(cannot)?;
        let handle = session(program, rest)
            .stdin_file(reader)
            .stdout_file(out)
            .stderr_file(err)
            .unchecked()
            .start()
            .map_err(cannot)?;
        Ok(Connected { handle, pipe: Some(pipe), output: output.to_owned() })
    }

    /// Sends a line. Blocks while the command does not read and the pipe is full.
    pub fn say(&mut self, line: &str) -> std::io::Result<()> {
        match &mut self.pipe {
            Some(pipe) => pipe.write_all(format!("{line}\n").as_bytes()),
            None => Ok(()),
        }
    }

    /// Closes the command's standard input: it is to end.
    pub fn hang_up(&mut self) {
        self.pipe = None;
    }

    /// The exit code once it has ended; -1 where a signal ended it.
    pub fn exit(&self) -> Option<i32> {
        match self.handle.try_wait() {
            Ok(Some(output)) => Some(output.status.code().unwrap_or(-1)),
            Ok(None) => None,
            Err(_) => Some(-1),
        }
    }

    /// What it has printed so far.
    pub fn printed(&self) -> String {
        let bytes = std::fs::read(&self.output).unwrap_or_default();
        String::from_utf8_lossy(&bytes).into_owned()
    }
}

impl Drop for Connected {
    fn drop(&mut self) {
        self.pipe = None;
        if self.exit().is_none() {
            let _ = self.handle.kill();
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::process::stop::wait_until;
    use std::time::Duration;

    #[test]
    fn it_hears_what_is_said_and_ends_when_nobody_speaks_any_more() {
        let dir = tempfile::tempdir().unwrap();
        let argv = ["sh", "-c", "read line; echo \"heard $line\"; cat; echo over; exit 4"].map(str::to_owned);
        let mut command = Connected::start(&argv, &dir.path().join("out")).unwrap();
        command.say("one").unwrap();
        assert!(wait_until(Duration::from_secs(20), || command.printed().contains("heard one")));
        assert_eq!(command.exit(), None);
        command.hang_up();
        assert!(wait_until(Duration::from_secs(20), || command.exit() == Some(4)));
        assert_eq!(command.printed(), "heard one\nover\n");
    }
}
