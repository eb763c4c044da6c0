//! Starting a campaign.

use std::process::{Command, Stdio};

/// `dyno tune` with these words (none with blanks in it), its streams for the test alone.
pub(crate) fn tune(words: &str) -> Command {
    let mut command = Command::new(assert_cmd::cargo::cargo_bin!("dyno"));
    command.arg("tune").args(words.split_whitespace());
    command.stdin(Stdio::null()).stdout(Stdio::piped()).stderr(Stdio::piped());
    command
}
