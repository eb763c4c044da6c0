//! What every room that touches the machine needs alike: the wall clock, and files that are whole or not there.

mod clock;
mod disk;
mod hub;
mod pieces;
#[cfg(feature = "tls")]
mod tls;

pub use clock::{since_epoch, unix_now};
pub use disk::{
    RECORDS_LIMIT, SETTINGS_LIMIT, WORKLOAD_LIMIT, fingerprint, private_file, read_bounded, read_text,
    write_private, write_whole,
};
pub use hub::hub_cache;
pub use pieces::Pieces;
#[cfg(feature = "tls")]
pub use tls::tls_client;
