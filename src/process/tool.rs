//! Commands of other tools that end by themselves: asked, answered, over.

use super::find_program;
use super::stop::wait_until;
use crate::error::{Error, Result};
use std::time::Duration;

/// What a command said and how it ended.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct ToolOutput {
    /// Exit code; -1 where a signal ended it.
    pub code: i32,
    pub stdout: String,
    pub stderr: String,
}

impl ToolOutput {
    /// The last line with words on stderr, as the tool's own reason.
    pub fn reason(&self) -> &str {
        let last = self.stderr.lines().rev().map(str::trim).find(|l| !l.is_empty());
        last.unwrap_or("it gave no reason")
    }
}

/// Runs a command with `input` on its standard input, to its end, for at most `limit`.
///
/// Errors: no such program, or no end within the limit; it is killed then. An exit code is no error here.
pub fn tool(name: &str, args: &[&str], input: &str, limit: Duration) -> Result<ToolOutput> {
    let program = find_program(name).ok_or_else(|| {
        Error::failed(format!("program `{name}` was not found or is not executable"))
            .hint(format!("install {name}, or put it on PATH"))
    })?;
    let shown = format!("{name} {}", args.first().copied().unwrap_or_default());
    let cannot = |e: std::io::Error| Error::failed(format!("`{shown}` cannot be run")).source(e);
    let handle = duct::cmd(program, args)
        .stdin_bytes(input)
        .stdout_capture()
        .stderr_capture()
        .unchecked()
        .start()
        .map_err(cannot)?;
    if !wait_until(limit, || handle.try_wait().map_or(true, |o| o.is_some())) {
        let _ = handle.kill();
        return Err(Error::failed(format!("`{shown}` gave no answer within {:.0} s", limit.as_secs_f64())));
    }
    let output = handle.wait().map_err(cannot)?;
    Ok(ToolOutput {
        code: output.status.code().unwrap_or(-1),
        stdout: String::from_utf8_lossy(&output.stdout).into_owned(),
        stderr: String::from_utf8_lossy(&output.stderr).into_owned(),
    })
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn input_goes_in_and_words_codes_and_silence_come_out() {
        let limit = Duration::from_secs(20);
        let out = tool("sh", &["-c", "cat; echo why >&2; exit 3"], "text", limit).unwrap();
        assert_eq!((out.code, out.stdout.as_str(), out.reason()), (3, "text", "why"));
        let slow = tool("sleep", &["60"], "", Duration::from_millis(200)).unwrap_err();
        assert!(slow.what.contains("`sleep 60` gave no answer"), "{slow}");
        assert!(tool("no-such-tool", &[], "", limit).unwrap_err().what.contains("no-such-tool"));
    }
}
