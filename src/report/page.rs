//! The report put together: one document, written as Markdown, as HTML and as pictures of their own.

use super::doc::Page;
use super::section::{answer, gives, limits, load, quality, record, search, setup, trade, why};
use super::subject::Subject;
use super::to_html::to_html;
use super::to_markdown::to_markdown;
use super::words::date;

/// The files of a report beside `recommendation.json`.
#[derive(Debug, Clone, PartialEq)]
pub struct Report {
    /// `report.md`.
    pub markdown: String,
    /// `report.html`.
    pub html: String,
    /// Name and text of each picture that `report.md` shows.
    pub pictures: Vec<(String, String)>,
}

/// Writes the report; equal records give equal bytes.
pub fn report(s: &Subject<'_>) -> Report {
    let page = page(s);
    let pictures =
        page.figures().into_iter().map(|(name, svg)| (format!("{name}.svg"), svg.file())).collect();
    Report { markdown: to_markdown(&page), html: to_html(&page), pictures }
}

pub(super) fn page(s: &Subject<'_>) -> Page {
    let sections = [
        gives::section(s),
        why::section(s),
        quality::section(s),
        load::section(s),
        trade::section(s),
        Some(limits::section(s)),
        Some(search::section(s)),
        Some(setup::section(s)),
        record::section(s),
    ];
    Page {
        title: answer::title(s),
        byline: format!("dyno {}, {}", s.run.dyno_version, date(s.run.created_unix_s)),
        lead: answer::lead(s),
        sections: sections.into_iter().flatten().collect(),
        engines: s.run.plan.engines.iter().map(ToString::to_string).collect(),
    }
}
