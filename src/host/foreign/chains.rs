//! Base chains of other tables, from nft's list of all chains.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

use super::error::ForeignError;
use super::owners::owners;
use crate::net::{ChainPolicy, Hook};
use crate::nft::{
    Attachment, CHAIN_POLICIES, CHAIN_TYPES, ChainType, NETFILTER_HOOKS, NetfilterHook, OWN_FAMILY, TABLE_FAMILIES,
    TableFamily,
};

/// Characters of a list that an error shows.
const MAX_QUOTED: usize = 200;

/// A base chain of another table at a hook where edgeward has one, too.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ForeignChain {
    /// The table's family.
    pub family: TableFamily,
    /// The table.
    pub table: String,
    /// The chain.
    pub chain: String,
    /// Its type. A chain of any type may drop packets.
    pub kind: ChainType,
    /// The hook.
    pub hook: NetfilterHook,
    /// The priority: chains with smaller ones see a packet first.
    pub priority: i32,
    /// The policy. The rules are not read.
    pub policy: ChainPolicy,
    /// The programs that it probably belongs to, where names are well known. Several share the tables of iptables.
    pub owners: Vec<&'static str>,
}

impl ForeignChain {
    /// When it sees a packet: before edgeward's chain at a hook (`Less`) or after it (`Greater`); `None` where it is at
    /// another hook.
    ///
    /// With the same priority (`Equal`) the chain that was added last comes first, and nft does not list which that is.
    pub fn order(&self, own: Hook) -> Option<Ordering> {
        let Attachment { hook, priority } = Attachment::of(own);
        (self.hook == hook).then(|| self.priority.cmp(&priority.number()))
    }
}

/// A chain as nft lists it.
struct ListedChain {
    family: String,
    table: String,
    name: String,
    /// Only base chains have it.
    base: Option<ListedBase>,
}

/// What nft lists of a base chain.
struct ListedBase {
    kind: ChainType,
    hook: String,
    priority: i32,
    policy: ChainPolicy,
}

/// Reads the output of `nft -j list chains`: the base chains of all tables except edgeward's, which has the name `own`,
/// at the hooks where edgeward has chains. Sorted by hook and priority.
pub(super) fn read(text: &str, own: &str) -> Result<Vec<ForeignChain>, ForeignError> {
    let list: Value = serde_json::from_str(text).map_err(|error| ForeignError::Malformed(error.to_string()))?;
    let objects = list.get("nftables").and_then(Value::as_array);
    let mut listed = Vec::new();
    for object in objects.ok_or_else(|| malformed(&list))? {
        let members: Vec<_> = object.as_object().into_iter().flatten().collect();
        match &members[..] {
            [(word, value)] if *word == "chain" => listed.push(chain(value).ok_or_else(|| malformed(value))?),
            [(word, _)] if ["metainfo", "table"].contains(&word.as_str()) => {}
            _ => return Err(malformed(object)),
        }
    }
    let mut names: BTreeMap<(String, String), BTreeSet<String>> = BTreeMap::new();
    for chain in &listed {
        names.entry((chain.family.clone(), chain.table.clone())).or_default().insert(chain.name.clone());
    }
    let foreign = |ListedChain { family: family_word, table, name, base }: ListedChain| {
        let ListedBase { kind, hook, priority, policy } = base?;
        // Other families see frames, and edgeward has no chain at other hooks.
        let (family, hook) = (TABLE_FAMILIES.value(&family_word)?, NETFILTER_HOOKS.value(&hook)?);
        if (family, table.as_str()) == (OWN_FAMILY, own) {
            return None;
        }
        let (key, chain) = ((family_word, table), name);
        let owners = names.get(&key).map(|chains| owners(family, &key.1, chains)).unwrap_or_default();
        Some(ForeignChain { family, table: key.1, chain, kind, hook, priority, policy, owners })
    };
    let mut chains: Vec<ForeignChain> = listed.into_iter().filter_map(foreign).collect();
    chains.sort_by_key(|chain| (NETFILTER_HOOKS.word(chain.hook), chain.priority));
    Ok(chains)
}

fn malformed(value: &Value) -> ForeignError {
    ForeignError::Malformed(value.to_string().chars().take(MAX_QUOTED).collect())
}

fn chain(value: &Value) -> Option<ListedChain> {
    let text = |key| value.get(key)?.as_str();
    let base = match value.get("hook") {
        None => None,
        Some(_) => {
            let priority = i32::try_from(value.get("prio")?.as_i64()?).ok()?;
            let policy = match value.get("policy") {
                None => ChainPolicy::Accept,
                Some(policy) => CHAIN_POLICIES.value(policy.as_str()?)?,
            };
            let (kind, hook) = (CHAIN_TYPES.value(text("type")?)?, text("hook")?.to_owned());
            Some(ListedBase { kind, hook, priority, policy })
        }
    };
    let [family, table, name] = ["family", "table", "name"].map(|key| text(key).map(str::to_owned));
    Some(ListedChain { family: family?, table: table?, name: name?, base })
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
        let chains = read(TEXT, "edgeward").unwrap();
        let shown: Vec<String> = chains
            .iter()
            .map(|found| {
                let ForeignChain { family, table, chain, kind, hook, priority, policy, owners } = found;
                let (hook, family) = (NETFILTER_HOOKS.word(*hook), TABLE_FAMILIES.word(*family));
                let (kind, policy) = (CHAIN_TYPES.word(*kind), CHAIN_POLICIES.word(*policy));
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
    fn order_is_known_for_each_of_our_chains() {
        let chains = read(TEXT, "edgeward").unwrap();
        let order = |chain: &str, hook| chains.iter().find(|found| found.chain == chain).unwrap().order(hook);
        assert_eq!(order("INPUT", Hook::Input), Some(Ordering::Equal));
        assert_eq!(order("INPUT", Hook::Forward), None);
        assert_eq!(order("filter_INPUT", Hook::Input), Some(Ordering::Greater));
        assert_eq!(order("OUTPUT", Hook::Output), Some(Ordering::Less));
        assert_eq!(order("OUTPUT", Hook::RawOutput), Some(Ordering::Greater));
        assert_eq!(order("o", Hook::RawOutput), Some(Ordering::Less));
        assert_eq!(order("raw_PREROUTING", Hook::RawPrerouting), Some(Ordering::Greater));
    }

    #[test]
    fn what_is_not_understood_is_an_error() {
        let none = r#"{"nftables": [{"metainfo": {}}]}"#;
        assert_eq!(read(none, "edgeward").unwrap(), []);
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
            &TEXT.replace(r#""type": "route""#, r#""type": "tunnel""#),
            &TEXT.replace(r#""prio": -400"#, r#""prio": "raw""#),
            &TEXT.replace(r#""prio": -400"#, r#""prio": 4000000000"#),
            &TEXT.replace(r#""policy": "drop""#, r#""policy": "queue""#),
            &TEXT[..TEXT.len() - 2],
        ];
        for text in broken {
            assert!(matches!(read(text, "edgeward"), Err(ForeignError::Malformed(_))), "{text}");
        }
    }
}
