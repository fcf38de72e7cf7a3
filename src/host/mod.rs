//! Everything outside of the process: files, and in time the kernel, the clock and DNS.

pub mod clock;
pub mod dns;
pub mod files;
pub mod kernel;
pub mod netlink;
