//! The rows of `flows.yaml`.

use crate::diag::{Code, Problems};
use crate::net::{Family, PortSet, Traffic};
use crate::site::ClusterVersion;
use crate::source::{Source, Spanned};
use crate::yaml::{by_word, record, words};

use super::cnis::CniRow;
use super::condition::SiteCondition;
use super::date::Date;
use super::direction::Direction;
use super::ends::{EndKind, EndRow, Endpoint};
use super::needs::{self, NeedRow};
use super::ports::{self, FromPorts, OwnPorts, PortRow, PortTraffic};
use super::regions::{Document, RegionRow, check_source};
use super::{bad_row, check_id};

record! {
    /// `flows.yaml`.
    pub struct Flows {
        /// The container networks.
        pub cnis: Spanned<Vec<CniRow>>,
        /// The flows.
        pub flows: Vec<FlowRow>,
        /// What only an operator can name.
        pub needs: Vec<NeedRow>,
    }
}

by_word!(Family, "An address family.", &Family::BOTH, Family::name);

words! {
    /// What an empty zone or endpoint means for a flow.
    pub enum WhenEmpty {
        /// The policy is incomplete.
        Error = "error",
        /// The flow permits nothing, with a warning.
        Warn = "warn",
        /// The flow permits nothing.
        Skip = "skip",
    }
}

record! {
    /// A flow and its conditions.
    pub struct FlowRow {
        /// Its name, which is the comment on its rules.
        pub id: Spanned<String>,
        /// What it is for.
        pub purpose: String,
        /// What must hold of the site.
        pub when: SiteCondition,
        /// Who opens it.
        pub direction: Direction,
        /// The local end; the zone `hosts` if none is given.
        pub local: Vec<EndRow>,
        /// The other end.
        pub peers: Vec<EndRow>,
        /// Protocols and destination ports.
        pub ports: Vec<PortRow>,
        /// Source ports, if they are fixed.
        pub from_ports: Vec<Spanned<FromPorts>>,
        /// The family, if the flow exists in one only.
        pub family: Option<Family>,
        /// Whether it is permitted in any conntrack state.
        pub untracked: bool = false,
        /// What an empty zone or endpoint means.
        pub when_empty: WhenEmpty = WhenEmpty::Error,
        /// The document.
        pub source: Spanned<String>,
        /// The section of the document.
        pub section: Option<String>,
        /// Whether the document does not say it explicitly.
        pub inferred: bool = false,
        /// When it was read.
        pub retrieved: Date,
    }
}

impl FlowRow {
    /// Whether these hosts of the policy are at one of the ends.
    pub fn has(&self, endpoint: Endpoint) -> bool {
        self.local.iter().chain(&self.peers).any(|end| end.kind == EndKind::Endpoint(endpoint))
    }

    /// Whether its ports are those of the policy's endpoints: it is then one flow for each port.
    pub fn has_endpoint_ports(&self) -> bool {
        self.ports.iter().any(|ports| matches!(ports.traffic, PortTraffic::Endpoint))
    }

    /// The id of its flow to a port of the policy's endpoints.
    pub fn id_of_port(&self, port: u16) -> String {
        format!("{}-{port}", self.id.value)
    }

    /// Whether a policy's flows of this row can have an id.
    pub fn can_have_id(&self, id: &str) -> bool {
        let port = || id.strip_prefix(&self.id.value)?.strip_prefix('-')?.parse::<u16>().ok();
        self.id.value == id || self.has_endpoint_ports() && port().is_some()
    }

    /// The source ports, if they are fixed.
    pub fn source_ports(&self) -> Option<PortSet> {
        ports::union(&self.from_ports)
    }

    /// Checks that endpoints with ports and the word for their ports come together, and alone.
    fn check_endpoints(&self, problems: &mut Problems) {
        let with_port = |end: &EndRow| end.kind == EndKind::Endpoint(Endpoint::AgentEndpoints);
        let all = self.peers.iter().all(with_port) && self.ports.len() == 1;
        let any = self.local.iter().chain(&self.peers).any(with_port);
        if any && !(all && self.has_endpoint_ports()) || self.has_endpoint_ports() && !all {
            let (id, endpoints) = (&self.id.value, Endpoint::AgentEndpoints);
            let message = format!("the flow `{id}` mixes the port of an endpoint with others");
            let help =
                format!("give a row `peers: [{{endpoint: {endpoints}}}]` and `ports: [endpoint]`, and nothing else");
            problems.push_with_help(Code::InvalidPort, self.id.span, message, help);
        }
    }

    /// The families in which the ends can have addresses.
    fn families(&self) -> impl Iterator<Item = Family> {
        let can = |parts: &[EndRow], family| {
            let other = |part: &EndRow| matches!(part.kind, EndKind::Prefix(prefix) if prefix.family() != family);
            parts.is_empty() || !parts.iter().all(other)
        };
        let fits = move |family: &Family| {
            self.family.is_none_or(|only| only == *family) && can(&self.local, *family) && can(&self.peers, *family)
        };
        Family::BOTH.into_iter().filter(fits)
    }

    /// Whether one of its ports is that of the policy's API server.
    pub fn has_api_server_port(&self) -> bool {
        self.ports.iter().any(|ports| matches!(ports.traffic, PortTraffic::ApiServer))
    }

    /// The traffic of the flow in a version of the cluster, with the ports of a policy. Those of endpoints are not
    /// included.
    pub fn traffic(&self, version: ClusterVersion, own: &OwnPorts) -> Traffic {
        let ports = self.ports.iter().filter(|ports| ports.applies(version));
        ports.fold(Traffic::none(), |all, ports| match &ports.traffic {
            PortTraffic::Fixed(traffic) => all.union(traffic),
            PortTraffic::Ssh => all.union(&Traffic::tcp(own.ssh)),
            PortTraffic::ApiServer => all.union(&Traffic::tcp(own.api_server)),
            PortTraffic::NodePorts => all.union(&own.node_ports),
            PortTraffic::Endpoint => all,
        })
    }
}

impl Flows {
    pub(super) fn check(
        &self,
        documents: &[Document],
        regions: &[RegionRow],
        source: &Source,
        problems: &mut Problems,
    ) {
        if self.cnis.value.is_empty() {
            problems.push(Code::EmptyList, self.cnis.span, "`cnis` is empty");
        }
        for (index, row) in self.cnis.value.iter().enumerate() {
            check_source(documents, &row.source, problems);
            check_id(&row.id, "a CNI", problems);
            if row.connections.value.is_empty() {
                let message = format!("the CNI `{}` has no connections", row.id.value);
                problems.push(Code::EmptyList, row.connections.span, message);
            }
            let same = |earlier: &&CniRow| earlier.id.value == row.id.value && earlier.cluster == row.cluster;
            if self.cnis.value[..index].iter().any(|earlier| same(&earlier)) {
                let message = format!("duplicate CNI `{}` of `{}` clusters", row.id.value, row.cluster);
                problems.push_with_help(Code::DuplicateId, row.id.span, message, "merge the two rows");
            }
        }
        needs::check(&self.needs, documents, problems);
        for when in self.needs.iter().map(|row| &row.when) {
            self.check_ids(when, regions, problems);
        }
        for (index, row) in self.flows.iter().enumerate() {
            check_source(documents, &row.source, problems);
            check_id(&row.id, "a flow id", problems);
            for (what, empty) in [("peers", row.peers.is_empty()), ("ports", row.ports.is_empty())] {
                if empty {
                    problems.push(Code::EmptyList, row.id.span, format!("the flow `{}` has no {what}", row.id.value));
                }
            }
            ports::check(row.id.value.as_str(), &row.ports, &row.from_ports, problems);
            row.check_endpoints(problems);
            if row.families().next().is_none() {
                let message = format!("the flow `{}` has no addresses of one family at both ends", row.id.value);
                let help =
                    "give prefixes of the same family in `local` and `peers`, which is that of `family` if given";
                problems.push_with_help(Code::UnknownValue, row.id.span, message, help);
            }
            let parts = row.local.iter().chain(&row.peers).map(|end| &end.when);
            for when in parts.chain([&row.when]) {
                self.check_ids(when, regions, problems);
                when.check_versions(&row.id, problems);
            }
            self.check_meeting(index, regions, source, problems);
        }
    }

    /// Checks that a condition names CNIs and regions of the catalog: it would never hold otherwise.
    fn check_ids(&self, when: &SiteCondition, regions: &[RegionRow], problems: &mut Problems) {
        for id in when.cni.iter().filter(|id| !self.cnis.value.iter().any(|row| row.id.value == id.value)) {
            bad_row(problems, id.span, format!("`{}` is not a CNI of the catalog", id.value));
        }
        let named = when.region.iter().chain(&when.not_region);
        for id in named.filter(|id| !regions.iter().any(|row| row.id.value == id.value)) {
            bad_row(problems, id.span, format!("`{}` is not a region of the catalog", id.value));
        }
    }

    /// Checks that no policy can have two rows of one id and direction: a set of a ruleset would have two contents.
    fn check_meeting(&self, index: usize, regions: &[RegionRow], source: &Source, problems: &mut Problems) {
        let row = &self.flows[index];
        let same_way = |other: &FlowRow| {
            row.direction == other.direction || [row.direction, other.direction].contains(&Direction::Both)
        };
        for other in self.flows[..index].iter().filter(|other| other.id.value == row.id.value && same_way(other)) {
            if row.when.meets(&other.when, regions, &self.cnis.value) {
                let (id, place) = (&row.id.value, source.position(other.id.span.start));
                let way = if row.direction == Direction::Both { other.direction } else { row.direction };
                let way = if way == Direction::Both { "both ways".to_owned() } else { way.to_string() };
                let message = format!(
                    "two rows of the flow `{id}`, {way}, can apply to one policy: this one and the one at {}:{place}",
                    source.name
                );
                let help = "narrow `when` of one row until no site meets both, or merge the rows";
                problems.push_with_help(Code::DuplicateId, row.id.span, message, help);
            }
        }
    }
}
