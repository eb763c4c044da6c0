//! Quantiles, bootstrap and t intervals, paired and sequential tests.

mod interval;
mod noise;
mod paired;
mod quantile;

pub use interval::{Interval, sample_variance, t_critical, t_interval, t_p_value};
pub use noise::{PooledNoise, holm};
pub use paired::{log_ratios, paired_bootstrap, paired_ratio, pairs_needed, pooled_interval};
pub use quantile::{mean, quantile_sorted, std_dev};
