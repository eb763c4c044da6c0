//! The record of a campaign as Markdown, HTML and JSON. Pure: values in, strings out; equal records give
//! equal bytes.

mod block;
mod charts;
mod conclusion;
mod html;
mod markdown;
mod recommendation;
mod subject;
mod words;

pub use html::html;
pub use markdown::markdown;
pub use recommendation::recommendation;
pub use subject::Subject;
