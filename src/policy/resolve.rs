//! What a policy says of DNS.

use std::collections::BTreeSet;
use std::time::Duration;

use super::syntax::Policy;
use crate::diag::{Code, Problems};
use crate::net::{DomainName, Prefix, PrefixSet};
use crate::resolution::{Rules, Trust};
use crate::site::Connection;
use crate::source::Spanned;
use crate::yaml::AddressOrName;

const DAY: Duration = Duration::from_secs(86_400);
/// How long one question waits for its answer.
const TIMEOUT: Duration = Duration::from_secs(2);
/// How often a question is asked.
const ATTEMPTS: u8 = 2;
const MAX_ADDRESSES: u16 = 64;

impl Policy {
    /// How long one question waits for its answer.
    pub fn dns_timeout(&self) -> Duration {
        self.resolve.timeout.map_or(TIMEOUT, |timeout| timeout.0)
    }

    /// How often a question is asked, of each server.
    pub fn dns_attempts(&self) -> u8 {
        self.resolve.attempts.map_or(ATTEMPTS, |attempts| attempts.0)
    }

    fn linger(&self) -> Duration {
        self.resolve.linger.map_or(DAY, |linger| linger.value.0)
    }

    /// How long answers stay that DNS does not confirm.
    pub fn max_stale(&self) -> Duration {
        self.resolve.max_stale.map_or(7 * DAY, |stale| stale.value.0)
    }

    /// By which rules answers change what is known.
    pub fn resolution_rules(&self) -> Rules {
        let networks = &self.networks.value;
        let set = |zones: &[&[Spanned<Prefix>]]| {
            zones.iter().flat_map(|zone| zone.iter()).map(|prefix| prefix.value).collect::<PrefixSet>()
        };
        let leased = self.connection.value == Connection::ExpressConnect;
        let machines: BTreeSet<DomainName> = match &self.cluster.api_server.value {
            AddressOrName::Name(name) => [name.clone()].into(),
            AddressOrName::Address(_) => BTreeSet::new(),
        };
        Rules {
            linger: self.linger(),
            max_stale: self.max_stale(),
            max_addresses: self.resolve.max_addresses.map_or(MAX_ADDRESSES, |count| count.0).into(),
            trust: Trust {
                cloud: leased.then(|| set(&[&networks.cloud_services, &networks.vpc])),
                own: set(&[&networks.hosts, &networks.vpc]),
                machines,
                allow_private: self.resolve.allow_private.iter().map(|name| name.value.clone()).collect(),
            },
        }
    }

    /// Reports waits that contradict each other.
    pub(super) fn check_resolve(&self, problems: &mut Problems) {
        let written = [self.resolve.max_stale, self.resolve.linger].into_iter().flatten().next();
        if let (Some(written), true) = (written, self.max_stale() < self.linger()) {
            let message = "`resolve.max-stale` is shorter than `resolve.linger`";
            let help = "what answers no longer have must not outlive what nobody answers for: lengthen `max-stale`";
            problems.push_with_help(Code::InvalidDuration, written.span, message, help);
        }
    }
}
