//! The record of a campaign as Markdown, HTML, pictures and JSON. Pure: values in, strings out; equal records give
//! equal bytes.
//!
//! What the report says is one document ([`doc`]), put together by the parts in `section`; how it is written down is the
//! business of one writer a form. Pictures are drawn in `chart`.

pub mod analysis;
mod block;
mod chart;
pub mod compare;
mod doc;
mod evidence;
pub mod export;
mod page;
mod recommendation;
mod section;
mod subject;
mod terminal;
mod to_html;
mod to_markdown;
mod words;

pub use analysis::Analysis;
pub use evidence::measured_runs;
pub use page::{Report, report};
pub use recommendation::{Recommendation, recommendation};
pub use subject::Subject;
pub use terminal::{closing, opening};

/// A forecast ramp of requests in flight as a picture: the text of an SVG file.
pub fn load_picture(ramp: &analysis::Ramp) -> String {
    section::load::load_picture(ramp)
}

/// Launches that one picture tells apart.
pub const LAUNCHES_IN_A_PICTURE: usize = section::load::SIDE_BY_SIDE;

/// Forecast ramps of several launches, each with its name, in one picture: the text of an SVG file.
pub fn load_pictures(ramps: &[(String, analysis::Ramp)]) -> String {
    section::load::load_pictures(ramps)
}
