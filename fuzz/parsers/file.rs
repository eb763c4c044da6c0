//! Bytes as a file with a name, without leaving one behind.

use std::fs::File;
use std::io::Write;
use std::os::fd::AsRawFd;

/// A file in memory that holds these bytes, and the path under which this process can open it.
pub(crate) fn holding(bytes: &[u8]) -> (File, String) {
    let fd = rustix::fs::memfd_create("input", rustix::fs::MemfdFlags::CLOEXEC).expect("a file in memory");
    let mut file = File::from(fd);
    file.write_all(bytes).expect("memory");
    let path = format!("/proc/self/fd/{}", file.as_raw_fd());
    (file, path)
}
