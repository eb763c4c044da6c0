//! The record of a campaign as Markdown, HTML and JSON. Pure: values in, strings out; equal records give
//! equal bytes.

mod block;
mod conclusion;
mod markdown;
mod recommendation;
mod subject;
mod words;

pub use markdown::markdown;
pub use recommendation::recommendation;
pub use subject::Subject;
