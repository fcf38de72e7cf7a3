//! Changes to a live table as nft text: what the batches of `host::netlink` are compared with.

use edgeward::emit;
use edgeward::live::Change;
use edgeward::net::Family;
use edgeward::nft::{Attachment, CHAIN_POLICIES, NETFILTER_HOOKS};
use edgeward::ruleset::SetKind;

/// Changes as the commands of one transaction.
pub fn text(changes: &[Change]) -> String {
    changes.iter().map(|change| command(change) + "\n").collect()
}

fn command(change: &Change) -> String {
    const OWN: &str = "inet edgeward";
    match change {
        Change::AddTable => format!("add table {OWN}"),
        Change::AddCounter(name) => format!("add counter {OWN} {name}"),
        Change::AddSet { name, family, kind } => {
            let family = if *family == Family::V4 { "ipv4_addr" } else { "ipv6_addr" };
            let flags = if *kind == SetKind::Prefixes { " flags interval;" } else { "" };
            format!("create set {OWN} {name} {{ type {family};{flags} }}")
        }
        Change::AddChain { name, base: None } => format!("add chain {OWN} {name}"),
        Change::AddChain { name, base: Some(base) } => {
            let Attachment { hook, priority } = Attachment::of(base.hook);
            let (hook, policy) = (NETFILTER_HOOKS.word(hook), CHAIN_POLICIES.word(base.policy));
            let base = format!("type filter hook {hook} priority {}; policy {policy};", priority.number());
            format!("add chain {OWN} {name} {{ {base} }}")
        }
        Change::FlushChain(name) => format!("flush chain {OWN} {name}"),
        Change::AddRule { chain, rule } => format!("add rule {OWN} {chain} {}", emit::rule(rule)),
        Change::DeleteChain(name) => format!("delete chain {OWN} {name}"),
        Change::DeleteSet(name) => format!("delete set {OWN} {name}"),
        Change::DeleteCounter(name) => format!("delete counter {OWN} {name}"),
        Change::DeleteTable => format!("delete table {OWN}"),
    }
}
