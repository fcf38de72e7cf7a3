//! The kernel's numbers for the words of rules and chains.

use crate::net::{ChainPolicy, CtState, Family, RateUnit};
use crate::nft::NetfilterHook;

/// `NFPROTO_IPV4`, `NFPROTO_IPV6` (`netfilter.h`)
pub const FAMILIES: [(Family, u8); 2] = [(Family::V4, 2), (Family::V6, 10)];

/// `LOOPBACK_IFINDEX` (`net/flow.h`): the same in every network namespace.
pub const LOOPBACK_INDEX: u32 = 1;

/// The bits of RST and ACK in the flags of TCP (RFC 9293 section 3.1).
pub const NOT_OPENING_FLAGS: u8 = 0x04 | 0x10;

/// `NFT_REJECT_ICMPX_UNREACH` of `enum nft_reject_types`
pub const REJECT_KIND: u32 = 2;
/// `NFT_REJECT_ICMPX_ADMIN_PROHIBITED` of `enum nft_reject_inet_code`
pub const REJECT_CODE: u8 = 3;

/// `enum nf_inet_hooks` (`netfilter.h`): `NF_INET_PRE_ROUTING`, `…_LOCAL_IN`, `…_FORWARD`, `…_LOCAL_OUT`
pub const HOOKS: [(NetfilterHook, u32); 4] = [
    (NetfilterHook::Prerouting, 0),
    (NetfilterHook::Input, 1),
    (NetfilterHook::Forward, 2),
    (NetfilterHook::Output, 3),
];

/// `NF_DROP`, `NF_ACCEPT` (`netfilter.h`)
pub const POLICIES: [(ChainPolicy, u32); 2] = [(ChainPolicy::Drop, 0), (ChainPolicy::Accept, 1)];

/// The bit of a state (`NF_CT_STATE_BIT` and `enum ip_conntrack_info` of `nf_conntrack_common.h`).
pub fn state_bit(state: CtState) -> u32 {
    match state {
        CtState::Invalid => 1,
        CtState::Established => 1 << 1,
        CtState::Related => 1 << 2,
        CtState::New => 1 << 3,
        CtState::Untracked => 1 << 6,
    }
}

/// The seconds of a unit of time.
pub fn seconds_of_unit(unit: RateUnit) -> u64 {
    match unit {
        RateUnit::Second => 1,
        RateUnit::Minute => 60,
        RateUnit::Hour => 60 * 60,
        RateUnit::Day => 24 * 60 * 60,
    }
}

/// The unit of time with a number of seconds.
pub fn unit_of_seconds(seconds: u64) -> Option<RateUnit> {
    RateUnit::ALL.into_iter().find(|unit| seconds_of_unit(*unit) == seconds)
}
