//! A group that exists, as `DescribeSecurityGroupAttribute` of the ECS API gives it.

use std::net::IpAddr;
use std::str::FromStr;

use ipnet::IpNet;
use serde::Deserialize;

use super::rule::{FIRST, IpProtocol, LAST, Permission, PortRange, Rule, Way};
use crate::diag::legible;
use crate::net::Prefix;
use crate::wording::count;

/// A group that exists.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct GroupExport {
    /// Its id, if the file has it.
    pub id: Option<String>,
    /// Its rules.
    pub rules: Vec<Rule>,
    /// The place of each rule in the list of the file, from 1.
    pub places: Vec<usize>,
    /// How many rules name other groups: they concern hosts of the cloud, none of the data centre.
    pub other_groups: usize,
}

/// A file that cannot be compared.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum ExportError {
    /// It is no answer of `DescribeSecurityGroupAttribute`.
    #[error("expected the JSON of `DescribeSecurityGroupAttribute`: {0}")]
    Json(String),
    /// It has a part of the rules only.
    #[error(
        "the file has a part of the rules: `NextToken` says that there are more; ask for up to 1000 with `--MaxResults 1000`, or join the lists"
    )]
    Part,
    /// Rules that cannot be compared, with their places from 1. The message lists the first of them.
    #[error("{}", list(.0))]
    Rules(Vec<(usize, String)>),
}

/// How many rules an error lists.
const MAX_REPORTED: usize = 20;

fn list(problems: &[(usize, String)]) -> String {
    let mut lines: Vec<String> = problems
        .iter()
        .take(MAX_REPORTED)
        .map(|(place, problem)| format!("rule {place} of `Permissions.Permission`: {problem}"))
        .collect();
    if let Some(more) = problems.len().checked_sub(MAX_REPORTED).filter(|more| *more > 0) {
        lines.push(format!("and {} more", count(more, "rule")));
    }
    lines.join("\n")
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Attribute {
    permissions: Permissions,
    security_group_id: Option<String>,
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Permissions {
    permission: Vec<Row>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct Row {
    direction: String,
    ip_protocol: String,
    port_range: Option<String>,
    port_range_list_id: Option<String>,
    source_port_range: Option<String>,
    source_cidr_ip: Option<String>,
    ipv6_source_cidr_ip: Option<String>,
    source_group_id: Option<String>,
    source_prefix_list_id: Option<String>,
    dest_cidr_ip: Option<String>,
    ipv6_dest_cidr_ip: Option<String>,
    dest_group_id: Option<String>,
    dest_prefix_list_id: Option<String>,
    policy: Option<String>,
    priority: Option<Number>,
    nic_type: Option<String>,
}

/// A number that older versions of the API write as text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Number {
    Number(u64),
    Text(String),
}

/// The fields for one end of a rule.
struct End<'a> {
    cidr: [(&'static str, &'a Option<String>); 2],
    group: &'a Option<String>,
    list: (&'static str, &'a Option<String>),
}

impl GroupExport {
    /// Reads the answer of the API.
    ///
    /// # Errors
    /// It is not complete, or has a rule whose packets it does not say, with the place of each.
    pub fn parse(text: &str) -> Result<Self, ExportError> {
        let attribute: Attribute = serde_json::from_str(text).map_err(|error| ExportError::Json(error.to_string()))?;
        if given(&attribute.next_token).is_some() {
            return Err(ExportError::Part);
        }
        let mut export =
            Self { id: attribute.security_group_id, rules: Vec::new(), places: Vec::new(), other_groups: 0 };
        let mut problems = Vec::new();
        for (place, row) in (1..).zip(&attribute.permissions.permission) {
            match row.rules() {
                Ok(rules) if rules.is_empty() => export.other_groups += 1,
                Ok(rules) => {
                    export.places.extend(rules.iter().map(|_| place));
                    export.rules.extend(rules);
                }
                Err(problem) => problems.push((place, problem)),
            }
        }
        if problems.is_empty() { Ok(export) } else { Err(ExportError::Rules(problems)) }
    }
}

/// A field that is there and not empty: the API leaves fields out or empty.
fn given(field: &Option<String>) -> Option<&str> {
    field.as_deref().filter(|text| !text.is_empty())
}

impl Row {
    /// The rules of the row, one for each prefix at the other end; none if that is another group.
    fn rules(&self) -> Result<Vec<Rule>, String> {
        let way: Way = word("Direction", &self.direction)?;
        let protocol: IpProtocol = word("IpProtocol", &self.ip_protocol)?;
        let permission = given(&self.policy).map_or(Ok(Permission::Accept), |text| word("Policy", text))?;
        if given(&self.nic_type).is_some_and(|kind| !kind.eq_ignore_ascii_case("intranet")) {
            return Err("it is for the public interface of the classic network, not for a VPC".to_owned());
        }
        if let Some(id) = given(&self.port_range_list_id) {
            return Err(format!(
                "it names the port list `{}`, whose ports the file does not have{}",
                legible(id),
                advice("ports")
            ));
        }
        let source = End {
            cidr: [("SourceCidrIp", &self.source_cidr_ip), ("Ipv6SourceCidrIp", &self.ipv6_source_cidr_ip)],
            group: &self.source_group_id,
            list: ("SourcePrefixListId", &self.source_prefix_list_id),
        };
        let destination = End {
            cidr: [("DestCidrIp", &self.dest_cidr_ip), ("Ipv6DestCidrIp", &self.ipv6_dest_cidr_ip)],
            group: &self.dest_group_id,
            list: ("DestPrefixListId", &self.dest_prefix_list_id),
        };
        let (own, remote) = if way == Way::Egress { (source, destination) } else { (destination, source) };
        let rule = |remote: Prefix, own: Option<Prefix>| -> Result<Rule, String> {
            Ok(Rule {
                way,
                protocol,
                ports: ports("PortRange", &self.port_range, protocol)?,
                remote,
                own,
                source_ports: ports("SourcePortRange", &self.source_port_range, protocol)?,
                permission,
                priority: self.priority()?,
            })
        };
        let prefixes = remote.prefixes()?;
        if prefixes.is_empty() && given(remote.group).is_none() {
            return Err("it names no address at the other end".to_owned());
        }
        let own = own.prefixes()?;
        let of_family = |prefix: Prefix| own.iter().copied().find(|own| own.family() == prefix.family());
        if prefixes.iter().any(|prefix| !own.is_empty() && of_family(*prefix).is_none()) {
            return Err("its ends are of two families".to_owned());
        }
        prefixes.into_iter().map(|prefix| rule(prefix, of_family(prefix))).collect()
    }

    fn priority(&self) -> Result<u8, String> {
        let number = match &self.priority {
            None => return Ok(FIRST),
            Some(Number::Number(number)) => u8::try_from(*number).ok(),
            Some(Number::Text(text)) => text.parse().ok(),
        };
        let number = number.filter(|number| (FIRST..=LAST).contains(number));
        number.ok_or_else(|| format!("`Priority` is not a number from {FIRST} to {LAST}"))
    }
}

impl End<'_> {
    fn prefixes(&self) -> Result<Vec<Prefix>, String> {
        if let Some(id) = given(self.list.1) {
            let name = self.list.0;
            return Err(format!(
                "`{name}` is `{}`, whose prefixes the file does not have{}",
                legible(id),
                advice("prefixes")
            ));
        }
        let given = self.cidr.iter().filter_map(|(name, text)| Some((*name, given(text)?)));
        given
            .map(|(name, text)| {
                prefix(text).ok_or_else(|| format!("`{name}` is `{}`, which is no prefix", legible(text)))
            })
            .collect()
    }
}

fn advice(what: &str) -> String {
    format!("; write a rule for each of its {what} into a copy of the file")
}

/// A prefix as the API has it: with or without length, and with addresses of hosts, which it takes for their prefix.
fn prefix(text: &str) -> Option<Prefix> {
    match text.parse::<IpNet>() {
        Ok(IpNet::V4(net)) => Some(net.into()),
        Ok(IpNet::V6(net)) => Some(net.into()),
        Err(_) => text.parse::<IpAddr>().ok().map(Prefix::from),
    }
}

/// A word in any case: the API reads both, and answers with `TCP` and `Accept`.
fn word<T: FromStr<Err = String>>(field: &str, text: &str) -> Result<T, String> {
    text.to_ascii_lowercase().parse().map_err(|error| format!("`{field}` is `{}`: {error}", legible(text)))
}

/// A range of ports; only TCP and UDP have some.
fn ports(field: &str, text: &Option<String>, protocol: IpProtocol) -> Result<PortRange, String> {
    let Some(text) = given(text).filter(|text| *text != "-1/-1") else { return Ok(None) };
    let range = text.split_once('/').and_then(|(first, last)| Some((first.parse().ok()?, last.parse().ok()?)));
    let range = range.filter(|(first, last): &(u16, u16)| (1..=*last).contains(first));
    let range =
        range.ok_or_else(|| format!("`{field}` is `{}`: expected `FIRST/LAST`, from 1 to 65535", legible(text)))?;
    match protocol {
        IpProtocol::Tcp | IpProtocol::Udp => Ok(Some(range)),
        // Some versions write the range of all ports for protocols without any.
        _ if range == (1, u16::MAX) => Ok(None),
        _ => Err(format!("`{field}` is `{text}`, but `{protocol}` has no ports")),
    }
}
