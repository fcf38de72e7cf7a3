//! Writes expressions, as nft sends them.

use super::expression::{
    ACCEPT, COMPARISONS, COUNTER, DATA, DROP, Decision, Expression, GOTO, JUMP, Load, NAME, PACKETS, REGISTER, SetName,
    VALUE, VERDICT, VERDICT_CHAIN, VERDICT_CODE, VERDICT_REGISTER,
};
use crate::host::netlink::wire;

/// The name that nft asks the kernel to complete with a number.
pub const NEW_SET: &str = "__set%d";
/// The same for a map.
pub const NEW_MAP: &str = "__map%d";

/// `NFTA_LIST_ELEM`
const ELEMENT: u16 = 1;

/// Writes an expression as an element of a list.
pub fn push(bytes: &mut Vec<u8>, expression: &Expression<'_>) {
    wire::nested(bytes, ELEMENT, |bytes| {
        wire::text(bytes, NAME, name(expression));
        // It has no attributes.
        if *expression != Expression::Notrack {
            wire::nested(bytes, DATA, |bytes| push_data(bytes, expression));
        }
    });
}

/// The kernel's name of an expression.
pub fn name(expression: &Expression<'_>) -> &'static str {
    match expression {
        Expression::Load(Load::Meta(_)) => "meta",
        Expression::Load(Load::Ct(_)) => "ct",
        Expression::Load(Load::Payload { .. }) => "payload",
        Expression::Compare(..) => "cmp",
        Expression::Range(..) => "range",
        Expression::Mask(_) => "bitwise",
        Expression::Lookup(_) | Expression::Map(_) => "lookup",
        Expression::Decide(_) => "immediate",
        Expression::Counter(_) => "objref",
        Expression::Limit { .. } => "limit",
        Expression::Log(_) => "log",
        Expression::Reject { .. } => "reject",
        Expression::Notrack => "notrack",
    }
}

/// The attributes have the numbers that [`Expression::read`] names.
fn push_data(bytes: &mut Vec<u8>, expression: &Expression<'_>) {
    let bytes = &mut *bytes;
    match expression {
        Expression::Load(Load::Meta(key) | Load::Ct(key)) => {
            number(bytes, 2, *key);
            number(bytes, 1, REGISTER);
        }
        Expression::Load(Load::Payload { base, offset, length }) => {
            number(bytes, 1, REGISTER);
            number(bytes, 2, *base);
            number(bytes, 3, *offset);
            number(bytes, 4, *length);
        }
        Expression::Compare(comparison, data) => {
            number(bytes, 1, REGISTER);
            let operator = COMPARISONS.iter().find(|(known, _)| known == comparison);
            number(bytes, 2, operator.map_or(0, |(_, operator)| *operator));
            value(bytes, 3, data);
        }
        Expression::Range(low, high) => {
            number(bytes, 1, REGISTER);
            number(bytes, 2, 0);
            value(bytes, 3, low);
            value(bytes, 4, high);
        }
        Expression::Mask(mask) => {
            number(bytes, 1, REGISTER);
            number(bytes, 2, REGISTER);
            // A register has 16 bytes.
            number(bytes, 3, u32::try_from(mask.len()).unwrap_or(u32::MAX));
            value(bytes, 4, mask);
            value(bytes, 5, &vec![0; mask.len()]);
        }
        Expression::Lookup(set) => {
            number(bytes, 2, REGISTER);
            push_set(bytes, set, NEW_SET);
        }
        Expression::Map(set) => {
            number(bytes, 2, REGISTER);
            number(bytes, 3, VERDICT_REGISTER);
            push_set(bytes, set, NEW_MAP);
        }
        Expression::Decide(decision) => {
            number(bytes, 1, VERDICT_REGISTER);
            push_decision(bytes, 2, decision);
        }
        Expression::Counter(name) => {
            number(bytes, 1, COUNTER);
            wire::text(bytes, 2, name);
        }
        Expression::Limit { rate, seconds, burst } => {
            wire::attribute(bytes, 1, &rate.to_be_bytes());
            wire::attribute(bytes, 2, &seconds.to_be_bytes());
            number(bytes, 3, *burst);
            number(bytes, 4, PACKETS);
            number(bytes, 5, 0);
        }
        Expression::Log(prefix) => wire::text(bytes, 2, prefix),
        Expression::Reject { kind, code } => {
            number(bytes, 1, *kind);
            wire::attribute(bytes, 2, &[*code]);
        }
        Expression::Notrack => {}
    }
}

fn push_set(bytes: &mut Vec<u8>, set: &SetName<'_>, new: &str) {
    match set {
        SetName::Known(name) => wire::text(bytes, 1, name),
        SetName::New(id) => {
            wire::text(bytes, 1, new);
            number(bytes, 4, *id);
        }
    }
}

/// Writes a verdict as an attribute of the type `nft_data_attributes`.
pub fn push_decision(bytes: &mut Vec<u8>, kind: u16, decision: &Decision<'_>) {
    let (code, chain) = match decision {
        Decision::Accept => (ACCEPT, None),
        Decision::Drop => (DROP, None),
        Decision::Jump(chain) => (JUMP, Some(chain)),
        Decision::Goto(chain) => (GOTO, Some(chain)),
    };
    wire::nested(bytes, kind, |bytes| {
        wire::nested(bytes, VERDICT, |bytes| {
            wire::attribute(bytes, VERDICT_CODE, &code.to_be_bytes());
            if let Some(chain) = chain {
                wire::text(bytes, VERDICT_CHAIN, chain);
            }
        });
    });
}

/// Writes a value as an attribute of the type `nft_data_attributes`.
pub fn value(bytes: &mut Vec<u8>, kind: u16, value: &[u8]) {
    wire::nested(bytes, kind, |bytes| wire::attribute(bytes, VALUE, value));
}

/// Writes a number in network byte order, as messages about tables have them.
pub fn number(bytes: &mut Vec<u8>, kind: u16, number: u32) {
    wire::attribute(bytes, kind, &number.to_be_bytes());
}
