//! The document as one self-contained page: no other file, no network; its only script copies, filters and shows what a
//! mark is.

use super::chart::{STYLE, escape};
use super::doc::{Block, Cell, Page, Row, Span, Table, Text, Tone};
use std::fmt::Write;

const CSS: &str = include_str!("page.css");
const SCRIPT: &str = include_str!("page.js");

pub(super) fn to_html(page: &Page) -> String {
    let mut out = String::from("<!doctype html>\n<html lang=\"en\">\n<head>\n<meta charset=\"utf-8\">\n");
    out.push_str("<meta name=\"viewport\" content=\"width=device-width, initial-scale=1\">\n");
    out.push_str("<meta name=\"color-scheme\" content=\"light dark\">\n");
    // Nothing is fetched and nothing is sent, whatever text a log line smuggles in.
    out.push_str(
        "<meta http-equiv=\"Content-Security-Policy\" content=\"default-src 'none'; style-src 'unsafe-inline'; \
         script-src 'unsafe-inline'; img-src data:\">\n",
    );
    let _ = write!(
        out,
        "<title>{}</title>\n<style>\n{CSS}{STYLE}</style>\n</head>\n<body>\n",
        escape(&page.title)
    );
    out.push_str("<a class=\"skip\" href=\"#main\">Skip to the report</a>\n");
    let _ = write!(
        out,
        "<header><p class=\"mut\">{}</p>\n<h1>{}</h1></header>\n",
        escape(&page.byline),
        escape(&page.title)
    );
    let mut w = Writer { out, figures: 0 };
    w.out.push_str("<main id=\"main\">\n");
    w.blocks(&page.lead);
    w.nav(page);
    for s in &page.sections {
        let _ = write!(w.out, "<section id=\"{}\">\n<h2>{}</h2>\n", s.id, escape(s.title));
        w.blocks(&s.blocks);
        w.out.push_str("</section>\n");
    }
    let _ = write!(
        w.out,
        "</main>\n<div id=\"tip\" role=\"status\" aria-live=\"polite\" hidden></div>\n<script>\n{SCRIPT}</script>\n</body>\n</html>\n"
    );
    w.out
}

struct Writer {
    out: String,
    figures: usize,
}

impl Writer {
    fn nav(&mut self, page: &Page) {
        self.out.push_str("<nav aria-label=\"Parts of the report\">");
        for s in &page.sections {
            let _ = write!(self.out, "<a href=\"#{}\">{}</a> ", s.id, escape(s.title));
        }
        self.out.push_str("</nav>\n");
        if page.engines.len() > 1 {
            self.out.push_str(
                "<p class=\"filter\"><label>Show <select id=\"engine\"><option value=\"\">all engines</option>",
            );
            for e in &page.engines {
                let _ = write!(self.out, "<option value=\"{0}\">{0}</option>", escape(e));
            }
            self.out.push_str("</select></label></p>\n");
        }
    }

    fn blocks(&mut self, blocks: &[Block]) {
        for b in blocks {
            self.block(b);
        }
    }

    fn block(&mut self, b: &Block) {
        match b {
            Block::Para(t) => {
                let _ = writeln!(self.out, "<p>{}</p>", inline(t));
            }
            Block::Tag(t) => {
                let _ = writeln!(self.out, "<p><span class=\"tag\">{}</span></p>", escape(t));
            }
            Block::Code { text, .. } => {
                let _ = writeln!(
                    self.out,
                    "<div class=\"code\"><pre tabindex=\"0\">{}</pre><button type=\"button\" class=\"copy\">Copy</button></div>",
                    escape(text.trim_end())
                );
            }
            Block::Table(t) => self.table(t),
            Block::Figure { svg, .. } => {
                self.figures += 1;
                let id = format!("f{}", self.figures);
                let _ = writeln!(
                    self.out,
                    "<figure><figcaption>{}</figcaption><div class=\"fig\" tabindex=\"0\" role=\"region\" aria-label=\"{}\">{}</div>\n\
                     <p class=\"mut\">{}</p></figure>",
                    escape(&svg.title),
                    escape(&svg.title),
                    svg.inline(&id),
                    escape(&svg.description)
                );
            }
            Block::List(items) => {
                self.out.push_str("<ul>");
                for i in items {
                    let _ = write!(self.out, "<li>{}</li>", inline(i));
                }
                self.out.push_str("</ul>\n");
            }
            Block::Fold { summary, blocks } => {
                let _ = writeln!(self.out, "<details><summary>{}</summary>", inline(summary));
                self.blocks(blocks);
                self.out.push_str("</details>\n");
            }
            Block::Cards(cards) => {
                self.out.push_str("<div class=\"cards\">");
                for c in cards {
                    let _ = write!(
                        self.out,
                        "<div><span>{}</span><b class=\"{}\">{}</b><span class=\"mut\">{}</span></div>",
                        escape(&c.name),
                        c.tone.class(),
                        escape(&c.value),
                        escape(&c.note)
                    );
                }
                self.out.push_str("</div>\n");
            }
        }
    }

    fn table(&mut self, t: &Table) {
        self.out.push_str("<div class=\"scroll\" tabindex=\"0\" role=\"region\"");
        let name = if t.caption.is_empty() { "table" } else { &t.caption };
        let _ = write!(self.out, " aria-label=\"{}\"><table>", escape(name));
        if !t.caption.is_empty() {
            let _ = write!(self.out, "<caption>{}</caption>", escape(&t.caption));
        }
        self.out.push_str("<thead><tr>");
        for (h, n) in t.head.iter().zip(&t.numeric) {
            let class = if *n { " class=\"n\"" } else { "" };
            let _ = write!(self.out, "<th scope=\"col\"{class}>{}</th>", escape(h));
        }
        self.out.push_str("</tr></thead><tbody>\n");
        for r in &t.rows {
            self.row(t, r);
        }
        self.out.push_str("</tbody></table></div>\n");
    }

    fn row(&mut self, t: &Table, r: &Row) {
        let engine = r.engine.as_ref().map_or(String::new(), |e| format!(" data-engine=\"{}\"", escape(e)));
        let _ = write!(self.out, "<tr{engine}>");
        for (c, numeric) in r.cells.iter().zip(&t.numeric) {
            let _ = write!(self.out, "<td{}>{}</td>", class(c, *numeric), inline(&c.text));
        }
        self.out.push_str("</tr>\n");
    }
}

fn class(c: &Cell, numeric: bool) -> String {
    let tone = c.tone.class();
    match (numeric, tone.is_empty() || c.tone == Tone::Plain) {
        (true, true) => " class=\"n\"".to_owned(),
        (true, false) => format!(" class=\"n {tone}\""),
        (false, false) => format!(" class=\"{tone}\""),
        (false, true) => String::new(),
    }
}

fn inline(t: &Text) -> String {
    t.0.iter()
        .map(|s| match s {
            Span::Plain(t) => escape(t),
            Span::Strong(t) => format!("<b>{}</b>", escape(t)),
            Span::Code(t) => format!("<code>{}</code>", escape(t)),
        })
        .collect()
}

#[cfg(test)]
mod tests {
    use super::super::doc::Section;
    use super::*;

    #[test]
    fn whatever_a_name_holds_stays_text() {
        let evil = "</script><script>alert(1)</script><img src=x onerror=alert(1)>\" onmouseover=\"x";
        let mut table = Table::new(evil, &["a"]);
        table.rows.push(Row { cells: vec![Cell::from(evil)], engine: Some(evil.to_owned()) });
        let page = Page {
            title: evil.into(),
            byline: evil.into(),
            lead: vec![Block::Tag(evil.into()), Block::Code { language: "sh", text: evil.into() }],
            sections: vec![Section { id: "x", title: "X", blocks: vec![Block::Table(table)] }],
            engines: vec![evil.into(), "b".into()],
        };
        let html = to_html(&page);
        assert!(
            !html.contains("<script>alert") && !html.contains("<img") && !html.contains("\" onmouseover=\"")
        );
        assert_eq!(html.matches("<script>").count(), 1);
        let own = html.replace("http://www.w3.org/2000/svg", "");
        assert!(!own.contains("http://") && !own.contains("https://"), "the page asks for nothing");
    }
}
