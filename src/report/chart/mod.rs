//! Pictures as SVG, drawn here: the same shapes stand inside the HTML page, where its style sheet colours them, and in
//! files of their own, which carry that style. Every picture has a title, a description in words, and marks that can be
//! reached by pointer and keyboard.
//!
//! A charting crate was tried against this: it writes fixed colours, so one picture cannot be read in light and dark, and
//! no titles or roles, so it says nothing to a screen reader.

mod axis;
mod budget;
mod forest;
mod launches;
mod load;
mod scatter;
mod svg;

pub(super) use budget::{Budget, budget};
pub(super) use forest::{Forest, ForestRow, forest};
pub(super) use launches::{Launch, launches};
pub(super) use load::{Curve, EQUALS, LoadPicture, Look, Span as ZoneBand, load};
pub(super) use scatter::{Dot, Scatter, scatter};
pub(super) use svg::{STYLE, Shape, Svg, Tone, escape};
