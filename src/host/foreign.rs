//! Rules of other programs that see the same packets: base chains of other tables, legacy iptables, units that load
//! rules at boot.
//!
//! An accept in edgeward's chain ends that chain only. Each other base chain at the hook still sees the packet, before
//! or after, and may drop it. So all of them are listed, regardless of their policy. Not listed are chains that see
//! frames (families bridge, arp and netdev), and chains at hooks where edgeward has none (ingress, postrouting).

mod chains;
mod error;
mod owners;
mod units;

use std::path::Path;

use super::kernel::KernelError;
use super::netlink::NetlinkSocket;

pub use chains::ForeignChain;
pub use error::ForeignError;
pub use units::{Flushes, LegacyTables, Unit};

/// Reads the base chains of all tables except edgeward's, which has the name `own`, at the hooks where edgeward has
/// chains. Sorted by hook and priority.
///
/// # Errors
/// The kernel does not list them, or in a form that is not understood. Skipping one could skip a chain that drops.
pub fn chains(own: &str) -> Result<Vec<ForeignChain>, ForeignError> {
    let listed = NetlinkSocket::open().and_then(|mut socket| socket.chains()).map_err(KernelError::from)?;
    Ok(chains::foreign(listed, own))
}

/// Whether rules of legacy iptables are loaded, which nft does not list (`/proc/net/ip_tables_names`).
///
/// # Errors
/// A file cannot be read to its end.
pub fn legacy_tables() -> Result<LegacyTables, ForeignError> {
    units::legacy_tables(Path::new("/proc/thread-self/net"))
}

/// The units that are enabled and flush rules, below a root folder: `/`, except in tests.
///
/// # Errors
/// A folder exists and cannot be read.
pub fn units(root: &Path) -> Result<Vec<Unit>, ForeignError> {
    units::enabled(root)
}
