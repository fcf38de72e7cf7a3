//! Base chains of other tables, from the kernel's list of all chains.

use std::cmp::Ordering;
use std::collections::{BTreeMap, BTreeSet};

use super::owners::owners;
use crate::host::netlink::{ListedBase, ListedChain};
use crate::net::{ChainPolicy, Hook};
use crate::nft::{Attachment, ChainType, NETFILTER_HOOKS, NetfilterHook, OWN_FAMILY, TABLE_FAMILIES, TableFamily};

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
    /// With the same priority (`Equal`) the chain that was added last comes first, and the kernel does not list which that is.
    pub fn order(&self, own: Hook) -> Option<Ordering> {
        let Attachment { hook, priority } = Attachment::of(own);
        (self.hook == hook).then(|| self.priority.cmp(&priority.number()))
    }
}

/// The base chains of all tables except edgeward's, which has the name `own`, at the hooks where edgeward has chains.
/// Sorted by hook and priority.
pub(super) fn foreign(listed: Vec<ListedChain>, own: &str) -> Vec<ForeignChain> {
    let mut names: BTreeMap<(&str, String), BTreeSet<String>> = BTreeMap::new();
    for ListedChain { family, table, name, .. } in &listed {
        names.entry((TABLE_FAMILIES.word(*family), table.clone())).or_default().insert(name.clone());
    }
    let foreign = |ListedChain { family, table, name: chain, base }: ListedChain| {
        let ListedBase { kind, hook, priority, policy } = base?;
        if (family, table.as_str()) == (OWN_FAMILY, own) {
            return None;
        }
        let key = (TABLE_FAMILIES.word(family), table);
        let owners = names.get(&key).map(|chains| owners(family, &key.1, chains)).unwrap_or_default();
        Some(ForeignChain { family, table: key.1, chain, kind, hook, priority, policy, owners })
    };
    let mut chains: Vec<ForeignChain> = listed.into_iter().filter_map(foreign).collect();
    chains.sort_by_key(|chain| (NETFILTER_HOOKS.word(chain.hook), chain.priority));
    chains
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::nft::{CHAIN_POLICIES, CHAIN_TYPES};

    /// Family, table, chain, and what a base chain has.
    type Row = (TableFamily, &'static str, &'static str, Option<(ChainType, NetfilterHook, i32, ChainPolicy)>);

    fn listed() -> Vec<ListedChain> {
        use ChainPolicy::{Accept, Drop};
        use ChainType::{Filter, Nat, Route};
        use NetfilterHook::{Forward, Input, Output, Prerouting};
        use TableFamily::{Inet, Ip, Ip6};
        const ROWS: [Row; 14] = [
            (Inet, "edgeward", "input", Some((Filter, Input, 0, Drop))),
            (Inet, "edgeward", "output_tcp", None),
            (Ip, "edgeward", "input", Some((Filter, Input, 0, Accept))),
            (Ip, "filter", "INPUT", Some((Filter, Input, 0, Accept))),
            (Ip, "filter", "FORWARD", Some((Filter, Forward, 0, Drop))),
            (Ip, "filter", "DOCKER", None),
            (Ip, "filter", "DOCKER-USER", None),
            (Ip, "filter", "ufw-user-input", None),
            (Ip, "nat", "OUTPUT", Some((Nat, Output, -100, Accept))),
            (Inet, "firewalld", "filter_INPUT", Some((Filter, Input, 10, Accept))),
            (Inet, "firewalld", "raw_PREROUTING", Some((Filter, Prerouting, -290, Accept))),
            // At a hook where edgeward has no chain.
            (Inet, "n", "ing", None),
            (Ip6, "n", "o", Some((Route, Output, -400, Accept))),
            (Inet, "n", "p", None),
        ];
        let chain = |(family, table, name, base): Row| ListedChain {
            family,
            table: table.to_owned(),
            name: name.to_owned(),
            base: base.map(|(kind, hook, priority, policy)| ListedBase { kind, hook, priority, policy }),
        };
        ROWS.map(chain).into()
    }

    #[test]
    fn chains_at_our_hooks_are_listed_in_their_order() {
        let chains = foreign(listed(), "edgeward");
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
        let chains = foreign(listed(), "edgeward");
        let order = |chain: &str, hook| chains.iter().find(|found| found.chain == chain).unwrap().order(hook);
        assert_eq!(order("INPUT", Hook::Input), Some(Ordering::Equal));
        assert_eq!(order("INPUT", Hook::Forward), None);
        assert_eq!(order("filter_INPUT", Hook::Input), Some(Ordering::Greater));
        assert_eq!(order("OUTPUT", Hook::Output), Some(Ordering::Less));
        assert_eq!(order("OUTPUT", Hook::RawOutput), Some(Ordering::Greater));
        assert_eq!(order("o", Hook::RawOutput), Some(Ordering::Less));
        assert_eq!(order("raw_PREROUTING", Hook::RawPrerouting), Some(Ordering::Greater));
    }
}
