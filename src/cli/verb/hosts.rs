//! `edgeward hosts`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::cli::context::{BoundPolicy, LockArguments, load_catalog, load_policy};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::Severity;
use crate::net::DomainName;

/// Print the lockfile's addresses as a hosts file or as dnsmasq records
///
/// Clients that take names from this output connect to the addresses that the rules permit, even if DNS answers with
/// others in the meantime.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward hosts policy.yaml
  edgeward hosts policy.yaml --format dnsmasq > /etc/dnsmasq.d/edgeward.conf")]
pub(crate) struct Arguments {
    /// The policy file
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    lock: LockArguments,
    /// A hosts file or dnsmasq's configuration
    #[arg(long, value_enum, default_value_t)]
    format: HostsFormat,
}

#[derive(Clone, Copy, Debug, Default, PartialEq, Eq, ValueEnum)]
enum HostsFormat {
    /// Lines for `/etc/hosts`
    #[default]
    Hosts,
    /// `host-record` lines
    Dnsmasq,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let loaded = load_policy(&arguments.policy, &catalog, None, Severity::Warning)?;
    // A name without an address is an error: left out, clients would ask DNS for it.
    let BoundPolicy { loaded, resolution, .. } = arguments.lock.bind(&arguments.policy, loaded)?;
    let mut text = format!("# edgeward: the addresses that the policy `{}` allows\n", loaded.intent.name);
    for name in loaded.intent.names().into_keys() {
        text.extend(resolution.addresses(name).map(|address| line(arguments.format, name, address)));
    }
    render::output(&text)
}

fn line(format: HostsFormat, name: &DomainName, address: IpAddr) -> String {
    match format {
        HostsFormat::Hosts => format!("{address}\t{name}\n"),
        HostsFormat::Dnsmasq => format!("host-record={name},{address}\n"),
    }
}
