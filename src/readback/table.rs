//! The table as a whole: each name is defined once, and each name in use is defined.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::form::{BaseForm, ChainForm, SetForm, Word};
use super::meaning::{self, Required, Requirement};
use super::names::identifier;
use super::problem::{Reading, check_rules, malformed, quoted, unknown};
use crate::diag::Diagnostic;
use crate::net::{ChainPolicy, Hook};
use crate::nft::{Attachment, CHAIN_POLICIES, CHAIN_TYPES, ChainType, INTERVAL, NETFILTER_HOOKS, Priority, SET_TYPES};
use crate::ruleset::{Base, Chain, Ruleset, Set, SetKind};
use crate::source::Span;

/// How deep the kernel lets chains jump (`NFT_JUMP_STACK_SIZE` in its `nf_tables.h`).
const MAX_JUMP_DEPTH: usize = 16;

/// A table while it is read.
#[derive(Default)]
pub struct TableBuilder {
    ruleset: Ruleset,
    /// What each chain requires of the table.
    requirements: Vec<Vec<Requirement>>,
    /// The indices of chains by name.
    indices: BTreeMap<String, usize>,
    /// How many rules its chains have.
    rules: usize,
}

impl TableBuilder {
    /// Adds a counter. Its values are not part of a ruleset.
    pub fn counter(&mut self, name: &Word<'_>) -> Reading<()> {
        if !self.ruleset.counters.insert(identifier(name)?) {
            return Err(duplicate("counter", name));
        }
        Ok(())
    }

    /// Adds a set.
    pub fn set(&mut self, form: SetForm<'_>) -> Reading<()> {
        let name = identifier(&form.name)?;
        let Some(kind) = form.type_of_elements else {
            return Err(malformed(
                form.name.span,
                "a set without a type",
                "write `type ipv4_addr` or `type ipv6_addr`",
            ));
        };
        let family = SET_TYPES.value(&kind.value).ok_or_else(|| {
            let message = format!("unsupported type of elements {}", quoted(&kind.value));
            unknown(kind.span, message, "use sets of `ipv4_addr` or `ipv6_addr`")
        })?;
        if let Some(flag) = form.flags.iter().find(|flag| flag.value != INTERVAL) {
            let message = format!("unsupported flag {} of a set", quoted(&flag.value));
            return Err(unknown(flag.span, message, "use the flag `interval`, or none"));
        }
        let kind = if form.flags.is_empty() { SetKind::Hosts } else { SetKind::Prefixes };
        let elements = form.elements.fit(family, kind)?;
        if self.ruleset.sets.insert(name, Set { family, kind, elements, note: String::new() }).is_some() {
            return Err(duplicate("set", &form.name));
        }
        Ok(())
    }

    /// Adds a chain with its rules.
    pub fn chain(&mut self, form: ChainForm<'_>) -> Reading<()> {
        let name = identifier(&form.name)?;
        let base = form.base.as_ref().map(base).transpose()?;
        if let (Some(base), Some(form)) = (base, &form.base)
            && self.ruleset.chains.iter().filter_map(|chain| chain.base).any(|other| other.hook == base.hook)
        {
            let help = "put the rules into one chain: edgeward has one for each hook";
            return Err(unknown(form.hook.span, "a second base chain at one hook", help));
        }
        self.rules += form.rules.len();
        check_rules(self.rules, form.name.span)?;
        let mut requirements = Vec::new();
        let rules = form.rules.iter().map(|rule| meaning::rule(rule, &mut requirements)).collect::<Reading<_>>()?;
        if self.indices.insert(name.clone(), self.ruleset.chains.len()).is_some() {
            return Err(duplicate("chain", &form.name));
        }
        self.ruleset.chains.push(Chain { name, base, rules });
        self.requirements.push(requirements);
        Ok(())
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.ruleset == Ruleset::default()
    }

    /// The ruleset, after all of it has been added.
    pub fn finish(mut self) -> Reading<Ruleset> {
        for requirement in self.requirements.iter().flatten() {
            self.check(requirement)?;
        }
        let order = self.order()?;
        self.check_forwarding()?;
        let mut chains: Vec<Option<Chain>> = self.ruleset.chains.into_iter().map(Some).collect();
        self.ruleset.chains = order.into_iter().filter_map(|index| chains[index].take()).collect();
        Ok(self.ruleset)
    }

    fn check(&self, Requirement { span, required }: &Requirement) -> Reading<()> {
        match required {
            Required::Set(name, family) => match self.ruleset.sets.get(name) {
                None => Err(missing("set", name, *span)),
                Some(set) if set.family != *family => {
                    let message = format!("the set {} has addresses of the other family", quoted(name));
                    Err(malformed(
                        *span,
                        message,
                        "compare `ip` with sets of `ipv4_addr`, `ip6` with sets of `ipv6_addr`",
                    ))
                }
                Some(_) => Ok(()),
            },
            Required::NoForwarding => Ok(()),
            Required::Counter(name) if self.ruleset.counters.contains(name) => Ok(()),
            Required::Counter(name) => Err(missing("counter", name, *span)),
            Required::Chain(name) => match self.indices.get(name).map(|index| &self.ruleset.chains[*index]) {
                None => Err(missing("chain", name, *span)),
                Some(Chain { base: Some(_), .. }) => {
                    let message = format!("the kernel refuses a jump to the base chain {}", quoted(name));
                    Err(malformed(*span, message, "jump to a chain without a hook"))
                }
                Some(_) => Ok(()),
            },
        }
    }

    /// A forwarded packet has two interfaces, and [`Packet`](crate::net::Packet) has one.
    fn check_forwarding(&self) -> Reading<()> {
        let forwards = |chain: &Chain| chain.base.is_some_and(|base| base.hook == Hook::Forward);
        let mut open: Vec<usize> = self.ruleset.chains.iter().position(forwards).into_iter().collect();
        let mut seen: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(chain) = open.pop() {
            let mut requirements = self.requirements[chain].iter();
            if let Some(found) = requirements.find(|one| matches!(one.required, Required::NoForwarding)) {
                let help = "remove the match: edgeward does not match the interfaces of forwarded packets";
                return Err(unknown(found.span, "a match on the interface of forwarded packets", help));
            }
            open.extend(self.targets(chain).map(|(_, target)| target).filter(|target| seen.insert(*target)));
        }
        Ok(())
    }

    /// The chains in an order in which each comes after those that it jumps to; otherwise in the order of the text.
    fn order(&self) -> Reading<Vec<usize>> {
        let count = self.requirements.len();
        let targets: Vec<Vec<usize>> =
            (0..count).map(|chain| self.targets(chain).map(|(_, to)| to).collect()).collect();
        let mut callers: Vec<Vec<usize>> = vec![Vec::new(); count];
        let mut waits_for: Vec<usize> = targets.iter().map(Vec::len).collect();
        for (chain, targets) in targets.iter().enumerate() {
            targets.iter().for_each(|target| callers[*target].push(chain));
        }
        let mut ready: BinaryHeap<Reverse<usize>> =
            (0..count).filter(|chain| waits_for[*chain] == 0).map(Reverse).collect();
        let (mut order, mut depth) = (Vec::with_capacity(count), vec![1; count]);
        while let Some(Reverse(chain)) = ready.pop() {
            order.push(chain);
            if depth[chain] > MAX_JUMP_DEPTH {
                return Err(self.too_deep(chain, &depth));
            }
            for &caller in &callers[chain] {
                depth[caller] = depth[caller].max(depth[chain] + 1);
                waits_for[caller] -= 1;
                if waits_for[caller] == 0 {
                    ready.push(Reverse(caller));
                }
            }
        }
        if order.len() < count { Err(self.looping(&waits_for)) } else { Ok(order) }
    }

    /// The chains that a chain jumps to, and where it does. One for each jump.
    fn targets(&self, chain: usize) -> impl Iterator<Item = (Span, usize)> + '_ {
        self.requirements[chain].iter().filter_map(|one| match &one.required {
            Required::Chain(name) => Some((one.span, *self.indices.get(name)?)),
            Required::Set(..) | Required::Counter(_) | Required::NoForwarding => None,
        })
    }

    fn too_deep(&self, chain: usize, depth: &[usize]) -> Box<Diagnostic> {
        let deepest = self.targets(chain).max_by_key(|(_, target)| depth[*target]);
        let span = deepest.map(|(span, _)| span).unwrap_or_default();
        let message = format!("chains jump more than {MAX_JUMP_DEPTH} levels deep, which the kernel refuses");
        malformed(span, message, "use fewer levels of chains")
    }

    /// Follows jumps between chains that wait for each other, until a chain comes a second time.
    fn looping(&self, waits_for: &[usize]) -> Box<Diagnostic> {
        let mut chain = waits_for.iter().position(|waits| *waits > 0).unwrap_or_default();
        let mut seen = vec![false; waits_for.len()];
        let mut place = Span::default();
        while !std::mem::replace(&mut seen[chain], true) {
            let Some((span, target)) = self.targets(chain).find(|(_, target)| waits_for[*target] > 0) else { break };
            (place, chain) = (span, target);
        }
        let name = quoted(&self.ruleset.chains[chain].name);
        malformed(place, format!("the chain {name} jumps back to itself, which the kernel refuses"), "break the loop")
    }
}

fn duplicate(what: &str, name: &Word<'_>) -> Box<Diagnostic> {
    malformed(name.span, format!("duplicate {what} {}", quoted(&name.value)), "remove one of them, or merge them")
}

fn missing(what: &str, name: &str, span: Span) -> Box<Diagnostic> {
    malformed(span, format!("unknown {what} {}", quoted(name)), "pass the whole table, or correct the name")
}

/// Reads what makes a chain a base chain. nft lists priorities by name in text and by number in JSON.
fn base(form: &BaseForm<'_>) -> Reading<Base> {
    if CHAIN_TYPES.value(&form.kind.value) != Some(ChainType::Filter) {
        let message = format!("unsupported type {} of a base chain", quoted(&form.kind.value));
        return Err(unknown(form.kind.span, message, "use the type `filter`"));
    }
    let attachment = NETFILTER_HOOKS
        .value(&form.hook.value)
        .zip(Priority::read(&form.priority.value))
        .map(|(hook, priority)| Attachment { hook, priority });
    let hook = attachment.and_then(Attachment::own_hook).ok_or_else(|| {
        let [hook, priority] = [&form.hook, &form.priority].map(|word| quoted(&word.value));
        let help = "use `input`, `output` or `forward` with priority `filter`, or `prerouting` or `output` with \
                    priority `raw`";
        unknown(form.hook.span, format!("unsupported base chain at {hook} with priority {priority}"), help)
    })?;
    let policy = match &form.policy {
        None => ChainPolicy::Accept,
        Some(policy) => CHAIN_POLICIES.value(&policy.value).ok_or_else(|| {
            let message = format!("{} is not a policy", quoted(&policy.value));
            malformed(policy.span, message, "write `accept` or `drop`")
        })?,
    };
    Ok(Base { hook, policy })
}
