//! The document as Markdown, for a terminal's pager, an editor or a forge.

use super::doc::{Block, Cell, Page, Span, Table, Text};
use std::fmt::Write;

pub(super) fn to_markdown(page: &Page) -> String {
    let mut out = format!("# {}\n\n{}\n\n", escape(&page.title), escape(&page.byline));
    blocks(&mut out, &page.lead);
    for s in &page.sections {
        let _ = write!(out, "## {}\n\n", escape(s.title));
        blocks(&mut out, &s.blocks);
    }
    format!("{}\n", out.trim_end())
}

fn blocks(out: &mut String, blocks: &[Block]) {
    for b in blocks {
        block(out, b);
    }
}

fn block(out: &mut String, b: &Block) {
    match b {
        Block::Para(t) => {
            let _ = write!(out, "{}\n\n", inline(t));
        }
        Block::Tag(t) => {
            let _ = write!(out, "> {}\n\n", escape(t));
        }
        Block::Code { language, text } => {
            // A fence longer than any in the text.
            let mut fence = "```".to_owned();
            while text.contains(&fence) {
                fence.push('`');
            }
            let _ = write!(out, "{fence}{language}\n{}\n{fence}\n\n", printable(text.trim_end()));
        }
        Block::Table(t) => table(out, t),
        Block::Figure { name, svg } => {
            let _ = write!(out, "![{}: {}]({name}.svg)\n\n", escape(&svg.title), escape(&svg.description));
        }
        Block::List(items) => {
            for i in items {
                let _ = writeln!(out, "- {}", inline(i));
            }
            out.push('\n');
        }
        Block::Fold { summary, blocks: inner } => {
            let _ = write!(out, "<details>\n<summary>{}</summary>\n\n", summary_html(summary));
            blocks(out, inner);
            out.push_str("</details>\n\n");
        }
        Block::Cards(cards) => {
            out.push_str("| | | |\n| --- | --: | --- |\n");
            for c in cards {
                let value = format!("**{}**", in_cell(&escape(&c.value)));
                row(out, &[in_cell(&escape(&c.name)), value, in_cell(&escape(&c.note))]);
            }
            out.push('\n');
        }
    }
}

fn table(out: &mut String, t: &Table) {
    if !t.caption.is_empty() {
        let _ = write!(out, "{}\n\n", escape(&t.caption));
    }
    let head: Vec<String> = t.head.iter().map(|h| escape(h)).collect();
    let rule: Vec<&str> = t.numeric.iter().map(|n| if *n { "--:" } else { "---" }).collect();
    let _ = writeln!(out, "| {} |\n| {} |", head.join(" | "), rule.join(" | "));
    for r in &t.rows {
        let cells: Vec<String> = r.cells.iter().map(cell).collect();
        row(out, &cells);
    }
    out.push('\n');
}

/// One blank on either side of a cell, one in an empty cell.
fn row(out: &mut String, cells: &[String]) {
    for c in cells {
        out.push_str("| ");
        if !c.is_empty() {
            out.push_str(c);
            out.push(' ');
        }
    }
    out.push_str("|\n");
}

fn cell(c: &Cell) -> String {
    in_cell(&inline(&c.text))
}

/// A cell is one line without borders.
fn in_cell(text: &str) -> String {
    text.split_whitespace().collect::<Vec<_>>().join(" ").replace('|', "\\|")
}

fn inline(t: &Text) -> String {
    let all: String =
        t.0.iter()
            .map(|s| match s {
                Span::Plain(t) => escape(t),
                Span::Strong(t) => format!("**{}**", escape(t)),
                Span::Code(t) => code(t),
            })
            .collect();
    all.replace('\n', " ")
}

/// A code span whose fence is longer than any run of backticks inside.
fn code(text: &str) -> String {
    let text = printable(&text.split_whitespace().collect::<Vec<_>>().join(" "));
    if text.is_empty() {
        return String::new();
    }
    let mut fence = "`".to_owned();
    while text.contains(&fence) {
        fence.push('`');
    }
    let pad = if text.starts_with('`') || text.ends_with('`') { " " } else { "" };
    format!("{fence}{pad}{text}{pad}{fence}")
}

/// Text in which nothing is taken for a mark or an element.
fn escape(text: &str) -> String {
    let mut out = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\\' | '`' | '*' | '[' | ']' | '~' | '$' => {
                out.push('\\');
                out.push(c);
            }
            '_' => out.push_str("\\_"),
            '<' => out.push_str("&lt;"),
            '>' => out.push_str("&gt;"),
            '&' => out.push_str("&amp;"),
            // A new line could be a heading, a list or an end of the paragraph.
            '\n' => out.push(' '),
            c if c.is_control() => out.push('\u{fffd}'),
            c => out.push(c),
        }
    }
    // A line that begins so would be a heading, a list or a quote.
    if out.starts_with(['#', '+', '-']) && out.chars().nth(1).is_some_and(|c| c == ' ' || c == '#') {
        out.insert(0, '\\');
    }
    out
}

/// Text that commands no terminal: a report is read in a pager too.
fn printable(text: &str) -> String {
    let harmful = |c: char| c.is_control() && !matches!(c, '\n' | '\t');
    text.chars().map(|c| if harmful(c) { '\u{fffd}' } else { c }).collect()
}

/// Inside an element of HTML, Markdown's marks do not count.
fn summary_html(t: &Text) -> String {
    let html = |t: &str| super::chart::escape(t).replace('\n', " ");
    t.0.iter()
        .map(|s| match s {
            Span::Plain(t) => html(t),
            Span::Strong(t) => format!("<b>{}</b>", html(t)),
            Span::Code(t) => format!("<code>{}</code>", html(t)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::doc::{code, strong, text};
    use super::*;

    #[test]
    fn foreign_text_makes_no_marks() {
        let t = text!["<b>*x*</b> | [y](z)", code("a|`b`"), strong("_s_")];
        assert_eq!(cell(&t.into()), "&lt;b&gt;\\*x\\*&lt;/b&gt; \\| \\[y\\](z)`` a\\|`b` ``**\\_s\\_**");
        assert_eq!(escape("# no heading"), "\\# no heading");
        assert_eq!(escape("m\n# h\u{1b}[31m"), "m # h\u{fffd}\\[31m");
        assert_eq!(super::code("a\n# b\u{1b}[31m"), "`a # b\u{fffd}[31m`");
        let mut out = String::new();
        block(&mut out, &Block::Code { language: "sh", text: "a\n\u{7}b".into() });
        assert!(out.contains("a\n\u{fffd}b"), "{out:?}");
        assert_eq!(escape("+25.6 %"), "+25.6 %");
    }

    #[test]
    fn a_fence_is_longer_than_what_it_holds() {
        let mut out = String::new();
        block(&mut out, &Block::Code { language: "text", text: "```\nx".into() });
        assert!(out.starts_with("````text\n") && out.ends_with("````\n\n"), "{out}");
    }
}
