//! `edgeward hosts`.

use std::net::IpAddr;
use std::path::{Path, PathBuf};

use clap::ValueEnum;

use crate::cli::context::{BoundPolicy, LoadedPolicy, LockArguments, load_catalog, load_policy};
use crate::cli::document::{HostDocument, HostsDocument};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::Severity;
use crate::net::DomainName;
use crate::report::DocumentVersion;
use crate::resolution::Resolution;

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
    /// The policy file; `-` is standard input
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    lock: LockArguments,
    /// A hosts file, dnsmasq's configuration, or JSON
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
    /// For programs
    Json,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let loaded = load_policy(&arguments.policy, &catalog, None, Severity::Warning)?;
    // A name without an address is an error: left out, clients would ask DNS for it.
    let BoundPolicy { loaded, resolution, .. } = arguments.lock.bind(&arguments.policy, loaded)?;
    let entry: fn(&DomainName, IpAddr) -> String = match arguments.format {
        HostsFormat::Json => return render::output(&render::document(&document(&loaded, &resolution))?),
        HostsFormat::Hosts => hosts_entry,
        HostsFormat::Dnsmasq => dnsmasq_entry,
    };
    let mut text = format!("# edgeward: the addresses that the policy `{}` allows\n", loaded.intent.name);
    for name in loaded.intent.names().into_keys() {
        text.extend(resolution.addresses(name).map(|address| entry(name, address)));
    }
    render::output(&text)
}

fn hosts_entry(name: &DomainName, address: IpAddr) -> String {
    format!("{address}\t{name}\n")
}

fn dnsmasq_entry(name: &DomainName, address: IpAddr) -> String {
    format!("host-record={name},{address}\n")
}

fn document<'a>(loaded: &'a LoadedPolicy, resolution: &Resolution) -> HostsDocument<'a> {
    let names = loaded.intent.names().into_keys();
    let host =
        |name: &'a DomainName| HostDocument { name: name.as_str(), addresses: resolution.addresses(name).collect() };
    HostsDocument { version: DocumentVersion, policy: &loaded.intent.name, hosts: names.map(host).collect() }
}
