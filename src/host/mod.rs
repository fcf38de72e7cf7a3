//! All I/O: files, the clocks, DNS, the kernel's tables, the connections of this host.

pub mod clock;
pub mod dns;
pub mod files;
pub mod foreign;
pub mod generations;
pub mod journal;
pub mod kernel;
pub mod lists;
pub mod modules;
pub mod netlink;
pub mod operator;
pub mod prime;
pub mod programs;
pub mod rollout;
pub mod sessions;
pub mod streams;
pub mod transition;
pub mod users;
pub mod watch;
