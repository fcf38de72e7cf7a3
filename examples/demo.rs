//! Shows what a policy does, with real packets: `cargo run --example demo [POLICY]`.
//!
//! Compiles one of the example policies with its lockfile, loads the ruleset into a network namespace, and sends probes
//! through it. The expected verdicts are written by hand, so the effect of an edit to the policy is visible. Nothing
//! leaves the namespaces, and the host's own rules are neither read nor changed.

#![expect(clippy::print_stdout, clippy::print_stderr, reason = "it prints its results")]
#![expect(clippy::disallowed_methods, reason = "an example is not part of the core")]

#[path = "../tests/support/mod.rs"]
mod support;

use std::env;
use std::fs;
use std::path::{Path, PathBuf};
use std::process::ExitCode;

use edgeward::emit;
use edgeward::lower::lower;
use edgeward::source::Source;

use support::compile::resolved;
use support::netns::{self, Topology, Verdict};
use support::probes::{self, Row};
use support::scenario::Place;

/// The demo of one example policy.
struct Show {
    /// The policy's name.
    policy: &'static str,
    /// The host or gateway under test.
    place: fn() -> Place,
    /// The probes, as `support::probes` reads them.
    probes: &'static str,
}

const SHOWS: [Show; 2] = [
    Show { policy: "hangzhou-flannel", place: || Place::host("10.0.0.20", "2001:db8::20"), probes: EDGE_HOST },
    Show {
        policy: "shanghai-gateway",
        place: || Place::Gateway(vec!["10.0.0.0/8".to_owned(), "2001:db8:a::/48".to_owned()]),
        probes: GATEWAY,
    },
];

const EDGE_HOST: &str = "
    tcp/10250  192.168.0.9 -> host        accept kubelet         # the cluster to the kubelet, from the VPC
    tcp/10250  203.0.113.66 -> host       drop                   # any other address
    tcp/10251  192.168.0.9 -> host        drop                   # the same, on another port
    tcp/22     10.0.0.9 -> host           accept ssh             # an operator in the management network
    tcp/22     10.0.1.9 -> host           drop                   # an address outside that network
    udp/8472   10.0.7.7 -> host           accept flannel-vxlan   # pods on another host, through the tunnel
    tcp/8080   172.20.3.4 -> host         accept pods            # a pod to its host
    icmp       203.0.113.66 -> host       accept icmp            # a ping
    tcp/6443   host -> 192.168.10.20      accept api-server      # the API server
    tcp/6443   host -> 192.168.10.21      reject                 # the next address: rejected at once
    tcp/443    host -> 100.103.42.233     accept control-plane   # the address of a name, from the lockfile
    tcp/443    host -> 100.98.170.7       accept oss-packages    # an OSS prefix of the region, from the catalog
    tcp/443    host -> 8.8.8.8            reject                 # any other server
    udp/53     host -> 10.0.0.53          accept dns             # the policy's resolver
    udp/53     host -> 8.8.8.8            reject                 # any other resolver
    tcp/443    host -> 2001:db8:1::10     accept package-mirror  # the operator's own flow, over IPv6
";

const GATEWAY: &str = "
    tcp/10250  192.168.10.9 -> 10.1.2.3         accept kubelet        # the cluster to a kubelet, from its vSwitch
    tcp/10250  192.168.11.9 -> 10.1.2.3         reject                # another vSwitch of the VPC
    udp/8472   192.168.11.9 -> 10.1.2.3         accept flannel-vxlan  # the tunnel is open to the whole VPC
    tcp/22     198.51.100.9 -> 10.1.2.3         accept ssh            # an operator
    tcp/22     192.168.10.9 -> 10.1.2.3         reject                # SSH from the cluster
    icmp       100.96.0.7 -> 10.1.2.3           accept icmp           # the health check of the leased line
    tcp/6443   10.1.2.3 -> 192.168.10.20        accept api-server     # the API server
    tcp/443    10.1.2.3 -> 192.168.10.20        reject                # another port of it
    tcp/443    10.1.2.3 -> 100.98.35.7          accept oss-packages   # an OSS prefix of the region, from the catalog
    tcp/873    10.1.2.3 -> 192.168.40.7         accept backup         # the operator's own flow
    tcp/873    10.1.2.3 -> 192.168.41.7         reject                # an address that is not its peer
    tcp/443    2001:db8:a::9 -> 2001:4860::8    reject                # a host to the internet, over IPv6
    tcp/80     10.1.2.3 -> 10.4.5.6             accept                # inside the data centre: left alone
    tcp/443    172.31.0.1 -> 8.8.8.8            accept                # no end in the data centre: left alone
";

/// The verdict on some probes was not the expected one.
const WRONG: u8 = 1;
/// The policy has errors, or the demo has no probes for it.
const USAGE: u8 = 2;
/// Namespaces are not available, or a file cannot be read.
const SYSTEM: u8 = 4;

fn main() -> ExitCode {
    let argument = env::args_os().nth(1);
    let policy = argument.map_or_else(|| PathBuf::from("policies/express-connect-flannel.yaml"), PathBuf::from);
    match run(&policy) {
        Ok(true) => ExitCode::SUCCESS,
        Ok(false) => ExitCode::from(WRONG),
        Err((code, message)) => {
            eprintln!("error: {message}");
            ExitCode::from(code)
        }
    }
}

/// Compiles, loads, probes and prints; returns whether every verdict was the expected one.
fn run(path: &Path) -> Result<bool, (u8, String)> {
    let text =
        fs::read_to_string(path).map_err(|error| (SYSTEM, format!("cannot read `{}`: {error}", path.display())))?;
    let source = Source::new(path.display().to_string(), &text);
    // Without a lockfile no name has an address. That is an error only if the policy needs one.
    let lock_path = path.with_extension("lock.yaml");
    let lock = fs::read_to_string(&lock_path).ok().map(|text| Source::new(lock_path.display().to_string(), &text));
    let intent = resolved(&source, lock.as_ref(), None).map_err(|errors| (USAGE, errors))?;
    let show = SHOWS.iter().find(|show| show.policy == intent.name).ok_or_else(|| {
        let known = SHOWS.map(|show| format!("`{}`", show.policy)).join(" and ");
        (USAGE, format!("the demo has probes for the policies {known}, not for `{}`", intent.name))
    })?;
    netns::available()
        .map_err(|reason| (SYSTEM, format!("the demo needs root, network namespaces, nft(8) and ip(8): {reason}")))?;

    let ruleset = emit::nft(&lower(&intent));
    let place = (show.place)();
    let topology = place.topology();
    topology.load(&ruleset).map_err(|error| (SYSTEM, error))?;
    println!("{}: policy `{}`, target {}", path.display(), intent.name, intent.target);
    println!("{} lines of nft, loaded into a network namespace\n", ruleset.lines().count());

    let rows = probes::parse(show.probes, place.as_host());
    let right = print_table(&topology, &rows);
    println!("\n{right} of {} as expected", rows.len());
    Ok(right == rows.len())
}

/// Sends the probes one by one and prints the verdicts; returns how many were as expected.
fn print_table(topology: &Topology, rows: &[Row]) -> usize {
    let line = |probe: &str, flow: &str, expected: &str, seen: &str, result: &str, note: &str| {
        println!("{probe:<46} {flow:<15} {expected:<9} {seen:<7} {result:<6} {note}");
    };
    line("probe", "flow", "expected", "seen", "result", "what it is");
    let mut right = 0;
    for row in rows {
        let before = topology.counters();
        let seen = topology.probe(&row.probe);
        let after = topology.counters();
        // The right verdict from the wrong rule is an error, too: the flow's counter must have increased.
        let is_counted = row.counter.as_ref().is_none_or(|counter| after.get(counter) > before.get(counter));
        let is_right = seen == row.verdict && is_counted;
        right += usize::from(is_right);
        let flow = row.flow.as_deref().unwrap_or("-");
        let result = if is_right { "ok" } else { "WRONG" };
        line(&row.probe.to_string(), flow, word(row.verdict), word(seen), result, &row.note);
    }
    right
}

fn word(verdict: Verdict) -> &'static str {
    match verdict {
        Verdict::Accept => "accept",
        Verdict::Drop => "drop",
        Verdict::Reject => "reject",
    }
}
