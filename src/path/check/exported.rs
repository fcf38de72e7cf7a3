//! Tables of routes as devices export them: `ip -j route`, FRR's `show ip route json`, the cloud's DescribeRouteEntryList.

use std::collections::{BTreeMap, HashSet};

use serde::Deserialize;
use serde_json::Value;

use crate::diag::legible;
use crate::net::{Family, Prefix};

/// The routes of a device; of several to one destination those that it uses.
#[derive(Clone, Debug, Default)]
pub struct Exported {
    /// The routes, in the order of the files.
    pub routes: Vec<ExportedRoute>,
}

/// A route that a device has.
#[derive(Clone, Debug)]
pub struct ExportedRoute {
    /// Its destination.
    pub prefix: Prefix,
    /// What it points to: addresses, ids, or interfaces as `dev eth0`; several share the packets.
    pub hops: Vec<String>,
    /// Where the device says so, the neighbours by which it reaches these.
    pub resolved: Vec<String>,
    /// Whether it discards packets.
    pub is_discarded: bool,
}

impl ExportedRoute {
    /// Whether it has all addresses of its family.
    pub fn is_default(&self) -> bool {
        self.prefix.net().prefix_len() == 0
    }
}

/// A text that is no table of routes.
#[derive(Clone, Debug, PartialEq, Eq, thiserror::Error)]
pub enum NotATable {
    /// It is no JSON.
    #[error("not JSON: {0}")]
    Json(String),
    /// It is other JSON.
    #[error(
        "expected what `ip -j route`, `vtysh -c 'show ip route json'` or DescribeRouteEntryList of the cloud prints: {0}"
    )]
    Other(String),
    /// The cloud has more pages of the list.
    #[error(
        "the list is not complete: ask DescribeRouteEntryList for the next page with `NextToken`, and give all files"
    )]
    Incomplete,
}

impl Exported {
    /// Adds the routes of a text.
    ///
    /// # Errors
    /// The text is not one of the three kinds, has a route that cannot be read, or one that is there already; then nothing
    /// is added.
    pub fn add(&mut self, text: &str) -> Result<(), NotATable> {
        let value: Value = serde_json::from_str(text).map_err(|error| NotATable::Json(error.to_string()))?;
        let routes = match value {
            Value::Array(rows) => kernel(rows)?,
            Value::Object(map) if map.contains_key("RouteEntrys") => cloud(Value::Object(map))?,
            Value::Object(map) => frr(map)?,
            _ => return Err(NotATable::Other("found neither a list nor an object".to_owned())),
        };
        let mut known: HashSet<Prefix> = self.routes.iter().map(|route| route.prefix).collect();
        let mut added = Vec::new();
        for Read { destination: prefix, hops, resolved, is_discarded } in routes {
            if !known.insert(prefix) {
                return Err(other(format!("the route to `{}` is there twice", prefix.net())));
            }
            // A name in the file must not look like another line of a report.
            let [hops, resolved] = [hops, resolved].map(|hops| hops.iter().map(|hop| legible(hop)).collect());
            added.push(ExportedRoute { prefix, hops, resolved, is_discarded });
        }
        self.routes.extend(added);
        Ok(())
    }
}

/// A route as it was read.
struct Read {
    destination: Prefix,
    hops: Vec<String>,
    /// The next hops by which those are reached.
    resolved: Vec<String>,
    is_discarded: bool,
}

fn other(error: impl std::fmt::Display) -> NotATable {
    NotATable::Other(legible(&error.to_string()))
}

fn prefix(text: &str) -> Result<Prefix, NotATable> {
    text.parse().map_err(|_| other(format!("`{text}` is not a destination")))
}

/// A route of `ip -j route`.
#[derive(Deserialize)]
struct KernelRoute {
    dst: String,
    #[serde(rename = "type")]
    kind: Option<String>,
    gateway: Option<String>,
    via: Option<Via>,
    dev: Option<String>,
    /// Where it is not that of `main`; only `ip route show table all` prints it.
    table: Option<String>,
    /// IPv6 only.
    pref: Option<String>,
    #[serde(default)]
    metric: u64,
    #[serde(default)]
    nexthops: Vec<KernelHop>,
    #[serde(default)]
    flags: Vec<String>,
}

/// A next hop of the other family.
#[derive(Deserialize)]
struct Via {
    host: String,
}

#[derive(Deserialize)]
struct KernelHop {
    gateway: Option<String>,
    via: Option<Via>,
    dev: Option<String>,
    #[serde(default)]
    flags: Vec<String>,
}

fn hop(gateway: Option<String>, via: Option<Via>, dev: Option<String>) -> Option<String> {
    gateway.or(via.map(|via| via.host)).or(dev.map(|dev| format!("dev {dev}")))
}

/// The kernel uses the route with the lowest metric, and no dead one.
fn kernel(rows: Vec<Value>) -> Result<Vec<Read>, NotATable> {
    let is_dead = |flags: &[String]| flags.iter().any(|flag| flag == "dead");
    let mut best: BTreeMap<Prefix, (u64, Read)> = BTreeMap::new();
    for row in rows {
        let route: KernelRoute = serde_json::from_value(row).map_err(other)?;
        let is_v6 = route.pref.is_some() || route.gateway.as_ref().is_some_and(|gateway| gateway.contains(':'));
        let destination = match (&*route.dst, is_v6) {
            ("default", true) => prefix("::/0")?,
            ("default", false) => prefix("0.0.0.0/0")?,
            (text, _) => prefix(text)?,
        };
        if is_dead(&route.flags) || route.table.is_some_and(|table| table != "main") {
            continue;
        }
        let is_discarded = matches!(route.kind.as_deref(), Some("blackhole" | "unreachable" | "prohibit" | "throw"));
        let mut hops: Vec<String> = hop(route.gateway, route.via, route.dev).into_iter().collect();
        let live = route.nexthops.into_iter().filter(|hop| !is_dead(&hop.flags));
        hops.extend(live.filter_map(|one| hop(one.gateway, one.via, one.dev)));
        if is_discarded {
            hops = route.kind.into_iter().collect();
        }
        let is_better = best.get(&destination).is_none_or(|(metric, _)| route.metric < *metric);
        if is_better {
            let resolved = Vec::new();
            best.insert(destination, (route.metric, Read { destination, hops, resolved, is_discarded }));
        }
    }
    Ok(best.into_values().map(|(_, route)| route).collect())
}

/// A route of `show ip route json`.
#[derive(Deserialize)]
struct FrrRoute {
    #[serde(default)]
    selected: bool,
    #[serde(default)]
    nexthops: Vec<FrrHop>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct FrrHop {
    ip: Option<String>,
    interface_name: Option<String>,
    #[serde(default)]
    active: bool,
    /// It is reached by others, which are listed, too.
    #[serde(default)]
    recursive: bool,
    /// It is one by which a recursive one is reached.
    #[serde(default)]
    resolver: bool,
    /// A route that discards packets has one that says so.
    blackhole: Option<bool>,
    unreachable: Option<bool>,
}

/// FRR lists all routes of a destination, and marks the one that it has selected.
fn frr(table: serde_json::Map<String, Value>) -> Result<Vec<Read>, NotATable> {
    let mut found = Vec::new();
    for (destination, routes) in table {
        let destination = prefix(&destination)?;
        let routes: Vec<FrrRoute> = serde_json::from_value(routes).map_err(other)?;
        for route in routes.into_iter().filter(|route| route.selected) {
            let discards = |hop: &FrrHop| hop.blackhole == Some(true) || hop.unreachable == Some(true);
            let is_discarded = route.nexthops.iter().any(discards);
            let live = route.nexthops.into_iter().filter(|hop| hop.active);
            let mut resolved = Vec::new();
            let mut hops = Vec::new();
            for one in live {
                let found = hop(one.ip, None, one.interface_name);
                if !one.recursive {
                    resolved.extend(found.clone());
                }
                if !one.resolver {
                    hops.extend(found);
                }
            }
            if is_discarded {
                hops = vec!["blackhole".to_owned()];
            }
            found.push(Read { destination, hops, resolved, is_discarded });
        }
    }
    Ok(found)
}

/// What DescribeRouteEntryList answers.
#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CloudList {
    route_entrys: CloudEntries,
    #[serde(default)]
    next_token: Option<String>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CloudEntries {
    route_entry: Vec<CloudRoute>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CloudRoute {
    destination_cidr_block: String,
    status: Option<String>,
    #[serde(default)]
    next_hops: CloudHops,
}

#[derive(Default, Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CloudHops {
    #[serde(default)]
    next_hop: Vec<CloudHop>,
}

#[derive(Deserialize)]
#[serde(rename_all = "PascalCase")]
struct CloudHop {
    #[serde(default)]
    next_hop_id: String,
    #[serde(default)]
    next_hop_type: String,
}

/// The cloud's own routes, such as those to vSwitches, have no id as their next hop.
fn cloud(list: Value) -> Result<Vec<Read>, NotATable> {
    let list: CloudList = serde_json::from_value(list).map_err(other)?;
    if list.next_token.is_some_and(|token| !token.is_empty()) {
        return Err(NotATable::Incomplete);
    }
    // A route that is being made or deleted carries no packets.
    let is_changing = |status: &String| matches!(&**status, "Pending" | "Creating" | "Deleting");
    let in_force = |route: &CloudRoute| !route.status.as_ref().is_some_and(is_changing);
    let mut found = Vec::new();
    for route in list.route_entrys.route_entry.into_iter().filter(in_force) {
        let destination = prefix(&route.destination_cidr_block)?;
        let hops = route.next_hops.next_hop.into_iter();
        let id = |hop: CloudHop| if hop.next_hop_id.is_empty() { hop.next_hop_type } else { hop.next_hop_id };
        let hops = hops.map(id).collect();
        found.push(Read { destination, hops, resolved: Vec::new(), is_discarded: false });
    }
    Ok(found)
}

impl Exported {
    /// Whether it has routes of a family.
    pub fn has(&self, family: Family) -> bool {
        self.routes.iter().any(|route| route.prefix.family() == family)
    }
}
