//! Other packet filters that see the same packets as a ruleset.

use std::cmp::Ordering;
use std::path::Path;

use super::MAX_LISTED;
use crate::cli::render;
use crate::diag::shown;
use crate::host::foreign::{self, Flushes, ForeignChain};
use crate::net::Hook;
use crate::nft::{CHAIN_POLICIES, NETFILTER_HOOKS, TABLE_FAMILIES};
use crate::ruleset::{Ruleset, TABLE};

/// Other packet filters on this host.
#[derive(Debug, Default)]
pub(crate) struct OtherFilters {
    /// Base chains of other tables at the hooks of a ruleset, with the hook.
    pub(crate) chains: Vec<(Hook, ForeignChain)>,
    /// Units that flush tables, legacy tables, and what could not be read, in sentences.
    pub(crate) warnings: Vec<String>,
}

/// Looks for filters that see the packets that a ruleset filters.
pub(crate) fn other_filters(ruleset: &Ruleset) -> OtherFilters {
    let mut others = OtherFilters::default();
    let hooks: Vec<Hook> = ruleset.chains.iter().filter_map(|chain| Some(chain.base?.hook)).collect();
    let shared = |chain: &ForeignChain| {
        let filtering = [Hook::Input, Hook::Output, Hook::Forward].into_iter();
        filtering.filter(|hook| hooks.contains(hook)).find(|hook| chain.order(*hook).is_some())
    };
    match foreign::chains(TABLE) {
        Ok(chains) => {
            others.chains = chains.into_iter().filter_map(|chain| Some((shared(&chain)?, chain))).collect();
        }
        Err(error) => others.warnings.push(format!("the chains of other tables are not known: {error}")),
    }
    match foreign::legacy_tables() {
        Ok(legacy) => others.warnings.extend(legacy.tables.iter().map(|(family, table)| {
            format!("legacy iptables has a table `{table}` ({}); nft does not list its rules", family.name())
        })),
        Err(error) => others.warnings.push(format!("legacy iptables could not be read: {error}")),
    }
    match foreign::units(Path::new("/")) {
        Ok(units) => {
            let flushing = units.iter().filter(|unit| unit.flushes == Flushes::Everything);
            others.warnings.extend(flushing.map(|unit| {
                let (name, enabled_by) = (&unit.name, shown(&unit.enabled_by));
                format!(
                    "`{name}` is enabled ({enabled_by}): when it starts and stops it flushes all of nftables, \
                     edgeward's table too; `systemctl disable {name}`"
                )
            }));
        }
        Err(error) => others.warnings.push(format!("the units of systemd could not be read: {error}")),
    }
    others
}

/// When another chain sees packets: `before` edgeward, `after` it, or `beside` it at the same priority.
pub(crate) fn order(hook: Hook, chain: &ForeignChain) -> &'static str {
    match chain.order(hook) {
        Some(Ordering::Less) => "before",
        Some(Ordering::Greater) => "after",
        _ => "beside",
    }
}

/// A chain of another table in a sentence.
pub(crate) fn describe(hook: Hook, chain: &ForeignChain) -> String {
    let order = order(hook, chain);
    let policy = CHAIN_POLICIES.word(chain.policy);
    let owner = match &chain.owners[..] {
        [] => String::new(),
        owners => format!(", probably of {}", owners.join(", ")),
    };
    format!(
        "`{} {} {}` (hook {}, priority {}, policy {policy}{owner}) sees packets {order} edgeward: it may deny what \
         edgeward permits, and cannot permit what edgeward denies",
        TABLE_FAMILIES.word(chain.family),
        chain.table,
        chain.chain,
        NETFILTER_HOOKS.word(chain.hook),
        chain.priority
    )
}

/// Shows other packet filters.
pub(crate) fn show_filters(others: &OtherFilters) {
    for (hook, chain) in others.chains.iter().take(MAX_LISTED) {
        render::note(&describe(*hook, chain));
    }
    for warning in &others.warnings {
        render::warning(warning);
    }
}
