//! The closing words of a campaign, as plain text for a terminal.

use super::section::answer::{cards, sentence, title};
use super::subject::Subject;
use std::fmt::Write;

/// The answer, before and after, the command alone on its line, and what to do next. `dir` is the campaign's directory.
pub fn closing(s: &Subject<'_>, dir: &str) -> String {
    let mut out = format!("\n{}\n\n{}\n", title(s), wrapped(&sentence(s).plain(), 100));
    let cards = cards(s);
    if !cards.is_empty() {
        out.push('\n');
        let name = cards.iter().map(|c| c.name.chars().count()).max().unwrap_or(0);
        let value = cards.iter().map(|c| c.value.chars().count()).max().unwrap_or(0);
        for c in &cards {
            let line = format!("  {:<name$}  {:>value$}  {}", c.name, c.value, c.note);
            let _ = writeln!(out, "{}", line.trim_end());
        }
    }
    if let Some(command) = s.winner().and_then(|w| s.command(w)) {
        // Alone on its line and not broken: it is there to be copied.
        let _ = write!(out, "\n{command}\n");
    }
    let _ = write!(
        out,
        "\nReport   {dir}/report.html  {dir}/report.md\nNext     dyno export {dir} --format docker\n"
    );
    out
}

/// Lines of at most `width` characters, broken between words.
fn wrapped(text: &str, width: usize) -> String {
    let mut lines: Vec<String> = Vec::new();
    for word in text.split_whitespace() {
        match lines.last_mut() {
            Some(l) if l.chars().count() + 1 + word.chars().count() <= width => {
                l.push(' ');
                l.push_str(word);
            }
            _ => lines.push(word.to_owned()),
        }
    }
    lines.join("\n")
}
