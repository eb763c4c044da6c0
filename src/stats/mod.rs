//! Quantiles, bootstrap and t intervals, paired and sequential tests.

mod quantile;

pub use quantile::{mean, quantile_sorted, std_dev};
