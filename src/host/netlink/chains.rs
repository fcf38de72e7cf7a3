//! The chains of all tables that see IP packets.

use super::channel::Completion;
use super::table::{CHAIN_HOOK, CHAIN_NAME, CHAIN_POLICY, CHAIN_TYPE, HOOK_NUMBER, HOOK_PRIORITY, HOOKS, POLICIES};
use super::{NetlinkError, NetlinkSocket, until_whole, wire};
use crate::net::ChainPolicy;
use crate::nft::{CHAIN_TYPES, ChainType, NetfilterHook, TableFamily};

/// `NFTA_CHAIN_TABLE`
const CHAIN_TABLE: u16 = 1;

/// `NFPROTO_INET`, `NFPROTO_IPV4`, `NFPROTO_IPV6` (`netfilter.h`). Chains of other families see frames.
const FAMILIES: [(TableFamily, u8); 3] = [(TableFamily::Inet, 1), (TableFamily::Ip, 2), (TableFamily::Ip6, 10)];

/// A chain of any table.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ListedChain {
    /// The family of its table.
    pub family: TableFamily,
    /// Its table.
    pub table: String,
    /// Its name.
    pub name: String,
    /// What a base chain has, where it is at a hook at which edgeward has chains.
    pub base: Option<ListedBase>,
}

/// What makes a chain a base chain.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub struct ListedBase {
    /// Its type.
    pub kind: ChainType,
    /// Its hook.
    pub hook: NetfilterHook,
    /// Its priority.
    pub priority: i32,
    /// Its policy.
    pub policy: ChainPolicy,
}

/// Reads a message about a chain of a family.
fn read(family: TableFamily, message: &[u8]) -> Result<ListedChain, NetlinkError> {
    let text = |kind| wire::find_text(message, kind).map(str::to_owned).ok_or(NetlinkError::Garbled);
    let (table, name) = (text(CHAIN_TABLE)?, text(CHAIN_NAME)?);
    let base = match wire::find(message, CHAIN_HOOK) {
        None => None,
        Some(attached) => {
            let number = wire::find_u32(attached, HOOK_NUMBER).ok_or(NetlinkError::Garbled)?;
            let priority = wire::find_u32(attached, HOOK_PRIORITY).ok_or(NetlinkError::Garbled)?.cast_signed();
            let kind = CHAIN_TYPES.value(&text(CHAIN_TYPE)?).ok_or(NetlinkError::Garbled)?;
            let policy = match wire::find_u32(message, CHAIN_POLICY) {
                None => ChainPolicy::Accept,
                Some(number) => {
                    let known = POLICIES.into_iter().find(|(_, known)| *known == number);
                    known.ok_or(NetlinkError::Garbled)?.0
                }
            };
            let hook = HOOKS.into_iter().find(|(_, known)| *known == number).map(|(hook, _)| hook);
            hook.map(|hook| ListedBase { kind, hook, priority, policy })
        }
    };
    Ok(ListedChain { family, table, name, base })
}

impl NetlinkSocket {
    /// The chains of all tables that see IP packets, without their rules.
    ///
    /// # Errors
    /// They cannot be read, one is not understood, or tables keep changing.
    pub fn chains(&mut self) -> Result<Vec<ListedChain>, NetlinkError> {
        let mut all = Vec::new();
        for (family, number) in FAMILIES {
            all.extend(until_whole(|| self.chains_of(family, number))?);
        }
        Ok(all)
    }

    fn chains_of(&mut self, family: TableFamily, number: u8) -> Result<Vec<ListedChain>, NetlinkError> {
        let mut chains = Vec::new();
        let mut each = |message: &[u8]| {
            chains.push(read(family, message)?);
            Ok(())
        };
        let (mut bytes, last) = (Vec::new(), self.channel.next());
        let flags = wire::ALL | wire::ACKNOWLEDGE;
        wire::message_of(&mut bytes, wire::GET_CHAINS, flags, last, (number, 0), |_| {});
        self.channel.send(&bytes, last)?;
        match self.channel.receive(last, &mut each)? {
            Completion::Done => Ok(chains),
            Completion::Refused(refusal) => Err((&refusal).into()),
        }
    }
}
