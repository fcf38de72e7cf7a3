//! Which programs tables belong to, where their names are well known.

use std::collections::BTreeSet;

use crate::nft::TableFamily;

/// Owners of whole tables, by family and name.
const TABLES: [(TableFamily, &str, &str); 9] = [
    (TableFamily::Inet, "filter", "/etc/nftables.conf"),
    (TableFamily::Inet, "firewalld", "firewalld"),
    (TableFamily::Inet, "netavark", "Podman"),
    (TableFamily::Ip, "docker-bridges", "Docker"),
    (TableFamily::Ip, "firewalld", "firewalld"),
    (TableFamily::Ip, "kube-proxy", "kube-proxy"),
    (TableFamily::Ip6, "docker-bridges", "Docker"),
    (TableFamily::Ip6, "firewalld", "firewalld"),
    (TableFamily::Ip6, "kube-proxy", "kube-proxy"),
];

/// Programs that share the tables of iptables, by how the names of their own chains start.
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

/// The tables of iptables, in the families ip and ip6.
const IPTABLES: [&str; 5] = ["filter", "mangle", "nat", "raw", "security"];

/// The programs that a table probably belongs to, by its name and those of its chains.
pub(super) fn owners(family: TableFamily, table: &str, chains: &BTreeSet<String>) -> Vec<&'static str> {
    let whole = TABLES.iter().filter(|(of, name, _)| (*of, *name) == (family, table)).map(|(.., owner)| *owner);
    if family == TableFamily::Inet || !IPTABLES.contains(&table) {
        return whole.collect();
    }
    // iptables-nft names base chains as iptables always did; people write them in lower case.
    let is_iptables = chains.iter().any(|chain| ["FORWARD", "INPUT", "OUTPUT", "PREROUTING"].contains(&&**chain));
    let has = |start: &str| chains.iter().any(|chain| chain.starts_with(start));
    let guests = GUESTS.iter().filter(|(start, _)| has(start)).map(|(_, owner)| *owner);
    let mut owners: Vec<&str> = guests.chain(is_iptables.then_some("iptables-nft")).collect();
    owners.dedup();
    owners
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn tables_have_probable_owners() {
        let owned = |family, table, chains: &[&str]| {
            owners(family, table, &chains.iter().map(|chain| (*chain).to_owned()).collect())
        };
        assert_eq!(owned(TableFamily::Inet, "filter", &["input"]), ["/etc/nftables.conf"]);
        assert_eq!(owned(TableFamily::Ip6, "kube-proxy", &["filter-input"]), ["kube-proxy"]);
        assert_eq!(owned(TableFamily::Ip, "docker-bridges", &["filter-FORWARD"]), ["Docker"]);
        assert_eq!(owned(TableFamily::Ip6, "filter", &["INPUT", "ufw6-user-input", "ufw-x"]), ["ufw", "iptables-nft"]);
        assert_eq!(owned(TableFamily::Ip, "nat", &["PREROUTING", "DOCKER", "KUBE-SERVICES"]).len(), 3);
        // Written by hand: a table with such a name that is not of iptables, and chains with such names in another table.
        assert_eq!(owned(TableFamily::Ip, "filter", &["input"]), [""; 0]);
        assert_eq!(owned(TableFamily::Inet, "mine", &["DOCKER", "INPUT"]), [""; 0]);
        assert!(GUESTS.is_sorted() && IPTABLES.is_sorted());
    }
}
