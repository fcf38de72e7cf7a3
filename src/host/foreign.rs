//! Whose rules judge the same packets: base chains of other tables, legacy iptables, units that load rules at boot.
//!
//! An accept of ours ends our own chain only. Every other base chain at the hook still sees the packet, before or
//! after, and may drop it; so all of them are listed, whatever their policy. Not listed are chains that see frames
//! and not packets (families bridge, arp and netdev), the hook ingress, and postrouting, where edgeward has no chain.

mod units;

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

use serde_json::Value;

use super::kernel::{KernelError, list_chains};
use crate::net::{Family, Hook};

pub use units::{Flushes, LegacyTables, Unit};

/// Why others' rules are not known.
#[derive(Debug, thiserror::Error)]
pub enum ForeignError {
    /// nft does not say.
    #[error(transparent)]
    Kernel(#[from] KernelError),
    /// nft says it otherwise than this version knows; who passed over it could pass over a chain that drops.
    #[error("what nft lists of the chains is not understood: {0}")]
    Malformed(String),
    /// A file or folder cannot be read.
    #[error("cannot read `{}`", .0.display())]
    Io(std::path::PathBuf, #[source] std::io::Error),
}

/// A base chain of another table at a hook where edgeward has one, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    /// The table's family: `ip`, `ip6` or `inet`.
    pub family: String,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// Its type: `filter`, `nat` or `route`. Each may drop; one of the type `nat` sees the first packet of a flow only.
    pub kind: String,
    /// The hook: `input`, `output`, `forward` or `prerouting`.
    pub hook: String,
    /// The priority; smaller ones come first.
    pub priority: i32,
    /// Whether it drops what none of its rules decides. The rules themselves are not looked at.
    pub drops: bool,
    /// Who it probably belongs to, where table and chains have well-known names; several share iptables' tables.
    pub owners: Vec<&'static str>,
}

impl ForeignChain {
    /// Whether it sees packets of a family.
    pub fn sees(&self, family: Family) -> bool {
        let name = match family {
            Family::V4 => "ip",
            Family::V6 => "ip6",
        };
        self.family == "inet" || self.family == name
    }

    /// When it sees a packet: before edgeward's chain at a hook (`Less`), or after; `None` where it is at another hook.
    ///
    /// With the same priority (`Equal`) the chain that was made last comes first, which nft does not tell.
    pub fn order(&self, ours: Hook) -> Option<Ordering> {
        let (hook, priority) = match ours {
            Hook::Input | Hook::Output | Hook::Forward => (ours.name(), 0),
            Hook::RawPrerouting => ("prerouting", -300),
            Hook::RawOutput => ("output", -300),
        };
        (self.hook == hook).then(|| self.priority.cmp(&priority))
    }
}

/// The hooks where edgeward has chains.
const HOOKS: [&str; 4] = ["forward", "input", "output", "prerouting"];

/// Owners of whole tables, by family and name.
const TABLES: [(&str, &str, &str); 9] = [
    ("inet", "filter", "/etc/nftables.conf"),
    ("inet", "firewalld", "firewalld"),
    ("inet", "netavark", "Podman"),
    ("ip", "docker-bridges", "Docker"),
    ("ip", "firewalld", "firewalld"),
    ("ip", "kube-proxy", "kube-proxy"),
    ("ip6", "docker-bridges", "Docker"),
    ("ip6", "firewalld", "firewalld"),
    ("ip6", "kube-proxy", "kube-proxy"),
];

/// Those who share the tables of iptables, by what the names of their own chains begin with.
const GUESTS: [(&str, &str); 8] = [
    ("CILIUM_", "Cilium"),
    ("DOCKER", "Docker"),
    ("FLANNEL-", "flannel"),
    ("KUBE-", "Kubernetes"),
    ("LIBVIRT_", "libvirt"),
    ("cali-", "Calico"),
    ("ufw-", "ufw"),
    ("ufw6-", "ufw"),
];

/// The tables of iptables, which stand in the families ip and ip6.
const IPTABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];

/// Reads the base chains of all tables except one of the family inet, at the hooks where edgeward has chains.
///
/// In the order of hooks and priorities.
///
/// # Errors
/// nft is missing, not permitted, fails, or lists what is not understood.
pub fn chains(own: &str) -> Result<Vec<ForeignChain>, ForeignError> {
    understand(list_chains()?.text(), own)
}

/// Whether rules of legacy iptables are in force, which nft does not list (`/proc/net/ip_tables_names`).
///
/// # Errors
/// A file breaks off.
pub fn legacy_tables() -> Result<LegacyTables, ForeignError> {
    units::legacy_tables(Path::new("/proc/thread-self/net"))
}

/// The units that are enabled and flush rules, below a root folder: `/`, but for tests.
///
/// # Errors
/// A folder is there and cannot be read.
pub fn units(root: &Path) -> Result<Vec<Unit>, ForeignError> {
    units::enabled(root)
}

/// A chain as nft lists it; `base` is absent where packets do not enter it by themselves.
struct Listed {
    family: String,
    table: String,
    name: String,
    base: Option<Base>,
}

struct Base {
    kind: String,
    hook: String,
    priority: i32,
    drops: bool,
}

/// Reads what `nft -j list chains` says.
fn understand(text: &str, own: &str) -> Result<Vec<ForeignChain>, ForeignError> {
    let listing: Value = serde_json::from_str(text).map_err(|error| ForeignError::Malformed(error.to_string()))?;
    let objects = listing.get("nftables").and_then(Value::as_array);
    let mut listed = Vec::new();
    for object in objects.ok_or_else(|| malformed(&listing))? {
        let members: Vec<_> = object.as_object().into_iter().flatten().collect();
        match &members[..] {
            [(word, chain)] if *word == "chain" => listed.push(self::chain(chain).ok_or_else(|| malformed(chain))?),
            [(word, _)] if ["metainfo", "table"].contains(&word.as_str()) => {}
            _ => return Err(malformed(object)),
        }
    }
    let mut chains_of: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for chain in &listed {
        chains_of.entry((chain.family.clone(), chain.table.clone())).or_default().insert(chain.name.clone());
    }
    let foreign = |Listed { family, table, name, base }: Listed| {
        let Base { kind, hook, priority, drops } = base?;
        let is_own = family == "inet" && table == own;
        let sees_packets = ["inet", "ip", "ip6"].contains(&family.as_str());
        if is_own || !sees_packets || !HOOKS.contains(&hook.as_str()) {
            return None;
        }
        let key = (family, table);
        let owners = chains_of.get(&key).map(|chains| owners(&key.0, &key.1, chains)).unwrap_or_default();
        let (family, table) = key;
        Some(ForeignChain { family, table, chain: name, kind, hook, priority, drops, owners })
    };
    let mut chains: Vec<ForeignChain> = listed.into_iter().filter_map(foreign).collect();
    chains.sort_by(|one, other| (&one.hook, one.priority).cmp(&(&other.hook, other.priority)));
    Ok(chains)
}

fn malformed(value: &Value) -> ForeignError {
    ForeignError::Malformed(value.to_string().chars().take(200).collect())
}

fn chain(value: &Value) -> Option<Listed> {
    let text = |key| value.get(key)?.as_str().map(str::to_owned);
    let base = match value.get("hook") {
        None => None,
        Some(_) => {
            let priority = i32::try_from(value.get("prio")?.as_i64()?).ok()?;
            let drops = match value.get("policy") {
                None => false,
                Some(policy) => match policy.as_str()? {
                    "accept" => false,
                    "drop" => true,
                    _ => return None,
                },
            };
            Some(Base { kind: text("type")?, hook: text("hook")?, priority, drops })
        }
    };
    Some(Listed { family: text("family")?, table: text("table")?, name: text("name")?, base })
}

/// Who a table probably belongs to, by its name and those of its chains.
fn owners(family: &str, table: &str, chains: &BTreeSet<String>) -> Vec<&'static str> {
    let whole = TABLES.iter().filter(|(of, name, _)| (*of, *name) == (family, table)).map(|(.., owner)| *owner);
    if family == "inet" || !IPTABLES.contains(&table) {
        return whole.collect();
    }
    // iptables-nft names base chains as iptables always did; people write them in small letters.
    let is_iptables = chains.iter().any(|chain| ["FORWARD", "INPUT", "OUTPUT", "PREROUTING"].contains(&&**chain));
    let has = |begin: &str| chains.iter().any(|chain| chain.starts_with(begin));
    let guests = GUESTS.iter().filter(|(begin, _)| has(begin)).map(|(_, owner)| *owner);
    let mut owners: Vec<&str> = guests.chain(is_iptables.then_some("iptables-nft")).collect();
    owners.dedup();
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    /// As nft 1.0.6 lists them, but for line breaks.
    const TEXT: &str = r#"{"nftables": [{"metainfo": {"version": "1.0.6", "release_name": "Lester Gooch #5", "json_schema_version": 1}},
        {"chain": {"family": "inet", "table": "edgeward", "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "edgeward", "name": "output_tcp", "handle": 2}},
        {"chain": {"family": "ip", "table": "edgeward", "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}},
        {"chain": {"family": "ip", "table": "filter", "name": "INPUT", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "accept"}},
        {"chain": {"family": "ip", "table": "filter", "name": "FORWARD", "handle": 2, "type": "filter", "hook": "forward", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "ip", "table": "filter", "name": "DOCKER", "handle": 4}},
        {"chain": {"family": "ip", "table": "filter", "name": "DOCKER-USER", "handle": 5}},
        {"chain": {"family": "ip", "table": "filter", "name": "ufw-user-input", "handle": 6}},
        {"chain": {"family": "ip", "table": "nat", "name": "OUTPUT", "handle": 2, "type": "nat", "hook": "output", "prio": -100, "policy": "accept"}},
        {"chain": {"family": "inet", "table": "firewalld", "name": "filter_INPUT", "handle": 1, "type": "filter", "hook": "input", "prio": 10, "policy": "accept"}},
        {"chain": {"family": "inet", "table": "firewalld", "name": "raw_PREROUTING", "handle": 2, "type": "filter", "hook": "prerouting", "prio": -290, "policy": "accept"}},
        {"chain": {"family": "netdev", "table": "x", "name": "i", "handle": 1, "type": "filter", "hook": "ingress", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "arp", "table": "a", "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "bridge", "table": "b", "name": "input", "handle": 1, "type": "filter", "hook": "input", "prio": 0, "policy": "drop"}},
        {"chain": {"family": "inet", "table": "n", "name": "ing", "handle": 1, "type": "filter", "hook": "ingress", "prio": 0, "policy": "accept"}},
        {"chain": {"family": "ip6", "table": "n", "name": "o", "handle": 2, "type": "route", "hook": "output", "prio": -400}},
        {"chain": {"family": "inet", "table": "n", "name": "p", "handle": 3, "type": "filter", "hook": "postrouting", "prio": 10, "policy": "accept"}}]}"#;

    #[test]
    fn chains_at_our_hooks_are_listed_in_their_order() {
        let chains = understand(TEXT, "edgeward").unwrap();
        let shown: Vec<String> = chains
            .iter()
            .map(|found| {
                let ForeignChain { family, table, chain, kind, hook, priority, drops, owners } = found;
                let policy = if *drops { "drop" } else { "accept" };
                format!("{hook} {priority} {family} {table} {chain} {kind} {policy} {owners:?}")
            })
            .collect();
        let expected = [
            r#"forward 0 ip filter FORWARD filter drop ["Docker", "ufw", "iptables-nft"]"#,
            "input 0 ip edgeward input filter accept []",
            r#"input 0 ip filter INPUT filter accept ["Docker", "ufw", "iptables-nft"]"#,
            r#"input 10 inet firewalld filter_INPUT filter accept ["firewalld"]"#,
            "output -400 ip6 n o route accept []",
            r#"output -100 ip nat OUTPUT nat accept ["iptables-nft"]"#,
            r#"prerouting -290 inet firewalld raw_PREROUTING filter accept ["firewalld"]"#,
        ];
        assert_eq!(shown, expected);
    }

    #[test]
    fn order_is_told_for_each_of_our_chains() {
        let chains = understand(TEXT, "edgeward").unwrap();
        let order = |chain: &str, hook| chains.iter().find(|found| found.chain == chain).unwrap().order(hook);
        assert_eq!(order("INPUT", Hook::Input), Some(Ordering::Equal));
        assert_eq!(order("INPUT", Hook::Forward), None);
        assert_eq!(order("filter_INPUT", Hook::Input), Some(Ordering::Greater));
        assert_eq!(order("OUTPUT", Hook::Output), Some(Ordering::Less));
        assert_eq!(order("OUTPUT", Hook::RawOutput), Some(Ordering::Greater));
        assert_eq!(order("o", Hook::RawOutput), Some(Ordering::Less));
        assert_eq!(order("raw_PREROUTING", Hook::RawPrerouting), Some(Ordering::Greater));
        let sees = |chain: &str| {
            let found = chains.iter().find(|found| found.chain == chain).unwrap();
            [Family::V4, Family::V6].map(|family| found.sees(family))
        };
        assert_eq!([sees("INPUT"), sees("o"), sees("filter_INPUT")], [[true, false], [false, true], [true, true]]);
    }

    #[test]
    fn tables_have_probable_owners() {
        let owned = |family, table, chains: &[&str]| {
            owners(family, table, &chains.iter().map(|chain| (*chain).to_owned()).collect())
        };
        assert_eq!(owned("inet", "filter", &["input"]), ["/etc/nftables.conf"]);
        assert_eq!(owned("ip6", "kube-proxy", &["filter-input"]), ["kube-proxy"]);
        assert_eq!(owned("ip", "docker-bridges", &["filter-FORWARD"]), ["Docker"]);
        assert_eq!(owned("ip6", "filter", &["INPUT", "ufw6-user-input", "ufw-x"]), ["ufw", "iptables-nft"]);
        assert_eq!(owned("ip", "nat", &["PREROUTING", "DOCKER", "KUBE-SERVICES"]).len(), 3);
        // By hand: a table of that name, and not of iptables; chains of that name, and not in a table of iptables.
        assert_eq!(owned("ip", "filter", &["input"]), [""; 0]);
        assert_eq!(owned("inet", "mine", &["DOCKER", "INPUT"]), [""; 0]);
        assert!(TABLES.is_sorted() && GUESTS.is_sorted() && IPTABLES.is_sorted() && HOOKS.is_sorted());
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let none = r#"{"nftables": [{"metainfo": {}}]}"#;
        assert_eq!(understand(none, "edgeward").unwrap(), []);
        let broken = [
            "",
            "{}",
            "[]",
            r#"{"nftables": {}}"#,
            r#"{"nftables": [1]}"#,
            r#"{"nftables": [{"hook": {}}]}"#,
            r#"{"nftables": [{"chain": {}, "table": {}}]}"#,
            &TEXT.replace(r#""family": "ip6", "#, ""),
            &TEXT.replace(r#""type": "route", "#, ""),
            &TEXT.replace(r#""prio": -400"#, r#""prio": "raw""#),
            &TEXT.replace(r#""prio": -400"#, r#""prio": 4000000000"#),
            &TEXT.replace(r#""policy": "drop""#, r#""policy": "queue""#),
            &TEXT[..TEXT.len() - 2],
        ];
        for text in broken {
            assert!(matches!(understand(text, "edgeward"), Err(ForeignError::Malformed(_))), "{text}");
        }
    }
}
