//! The table as a whole: every name stands once, and what is named is there.

use std::cmp::Reverse;
use std::collections::{BTreeMap, BTreeSet, BinaryHeap};

use super::form::{BaseForm, ChainForm, SetForm, Word};
use super::meaning::{self, Need, Needed};
use super::names::identifier;
use super::{Reading, malformed, quoted, unknown};
use crate::diag::Diagnostic;
use crate::net::{ChainPolicy, Family, Hook};
use crate::ruleset::{Base, Chain, Ruleset, Set, SetKind};
use crate::source::Span;

/// How many chains the kernel follows into one another (`NFT_JUMP_STACK_SIZE` in its `nf_tables.h`).
const DEEPEST: usize = 16;

/// A table while it is read.
#[derive(Default)]
pub struct Table {
    ruleset: Ruleset,
    /// What each chain refers to.
    needs: Vec<Vec<Need>>,
    /// The chains by name.
    places: BTreeMap<String, usize>,
}

impl Table {
    /// Adds a counter. What it has counted is no part of a ruleset.
    pub fn counter(&mut self, name: &Word<'_>) -> Reading<()> {
        if !self.ruleset.counters.insert(identifier(name)?) {
            return Err(twice("counter", name));
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
        let family = match &*kind.value {
            "ipv4_addr" => Family::V4,
            "ipv6_addr" => Family::V6,
            other => {
                let message = format!("a set of {}", quoted(other));
                return Err(unknown(kind.span, message, "edgeward has sets of `ipv4_addr` and of `ipv6_addr`"));
            }
        };
        if let Some(flag) = form.flags.iter().find(|flag| flag.value != "interval") {
            let message = format!("a set with the flag {}", quoted(&flag.value));
            return Err(unknown(flag.span, message, "edgeward's sets have the flag `interval`, or none"));
        }
        let kind = if form.flags.is_empty() { SetKind::Hosts } else { SetKind::Prefixes };
        let elements = form.elements.suit(family, kind)?;
        if self.ruleset.sets.insert(name, Set { family, kind, elements, note: String::new() }).is_some() {
            return Err(twice("set", &form.name));
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
            let help = "put the rules into one chain: edgeward has one at each hook";
            return Err(unknown(form.hook.span, "a second base chain at one hook", help));
        }
        let mut needs = Vec::new();
        let rules = form.rules.iter().map(|rule| meaning::rule(rule, &mut needs)).collect::<Reading<_>>()?;
        if self.places.insert(name.clone(), self.ruleset.chains.len()).is_some() {
            return Err(twice("chain", &form.name));
        }
        self.ruleset.chains.push(Chain { name, base, rules });
        self.needs.push(needs);
        Ok(())
    }

    /// Whether nothing has been added.
    pub fn is_empty(&self) -> bool {
        self.ruleset == Ruleset::default()
    }

    /// The ruleset, once all of it has been read.
    pub fn finish(mut self) -> Reading<Ruleset> {
        for need in self.needs.iter().flatten() {
            self.check(need)?;
        }
        let order = self.order()?;
        self.check_forwarding()?;
        let mut chains: Vec<Option<Chain>> = self.ruleset.chains.into_iter().map(Some).collect();
        self.ruleset.chains = order.into_iter().filter_map(|place| chains[place].take()).collect();
        Ok(self.ruleset)
    }

    fn check(&self, Need { span, what }: &Need) -> Reading<()> {
        match what {
            Needed::Set(name, family) => match self.ruleset.sets.get(name) {
                None => Err(missing("set", name, *span)),
                Some(set) if set.family != *family => {
                    let message = format!("the set {} is of the other family", quoted(name));
                    Err(malformed(*span, message, "`ip` compares with sets of `ipv4_addr`, `ip6` with `ipv6_addr`"))
                }
                Some(_) => Ok(()),
            },
            Needed::NoForwarding => Ok(()),
            Needed::Counter(name) if self.ruleset.counters.contains(name) => Ok(()),
            Needed::Counter(name) => Err(missing("counter", name, *span)),
            Needed::Chain(name) => match self.places.get(name).map(|place| &self.ruleset.chains[*place]) {
                None => Err(missing("chain", name, *span)),
                Some(Chain { base: Some(_), .. }) => {
                    let message = format!("{} is a base chain, which the kernel lets nobody jump to", quoted(name));
                    Err(malformed(*span, message, "jump to a chain without a hook"))
                }
                Some(_) => Ok(()),
            },
        }
    }

    /// A forwarded packet has two interfaces, and edgeward's packets have one place for both.
    fn check_forwarding(&self) -> Reading<()> {
        let forwards = |chain: &Chain| chain.base.is_some_and(|base| base.hook == Hook::Forward);
        let mut open: Vec<usize> = self.ruleset.chains.iter().position(forwards).into_iter().collect();
        let mut seen: BTreeSet<usize> = open.iter().copied().collect();
        while let Some(chain) = open.pop() {
            if let Some(need) = self.needs[chain].iter().find(|need| matches!(need.what, Needed::NoForwarding)) {
                let help = "leave the match out: edgeward asks no forwarded packet for its interfaces";
                return Err(unknown(need.span, "an interface of forwarded packets", help));
            }
            open.extend(self.targets(chain).map(|(_, target)| target).filter(|target| seen.insert(*target)));
        }
        Ok(())
    }

    /// The chains in an order in which each stands behind those that it jumps to; as they came where that is so.
    fn order(&self) -> Reading<Vec<usize>> {
        let count = self.needs.len();
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
            if depth[chain] > DEEPEST {
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

    /// Where a chain jumps to, and in which words; several times where it does so several times.
    fn targets(&self, chain: usize) -> impl Iterator<Item = (Span, usize)> + '_ {
        self.needs[chain].iter().filter_map(|need| match &need.what {
            Needed::Chain(name) => Some((need.span, *self.places.get(name)?)),
            Needed::Set(..) | Needed::Counter(_) | Needed::NoForwarding => None,
        })
    }

    fn too_deep(&self, chain: usize, depth: &[usize]) -> Box<Diagnostic> {
        let deepest = self.targets(chain).max_by_key(|(_, target)| depth[*target]);
        let span = deepest.map(|(span, _)| span).unwrap_or_default();
        let message = format!("more than {DEEPEST} chains that jump into one another, which the kernel refuses");
        malformed(span, message, "let fewer chains jump into one another")
    }

    /// Follows jumps between chains that wait for one another until one of them comes again.
    fn looping(&self, waits_for: &[usize]) -> Box<Diagnostic> {
        let mut chain = waits_for.iter().position(|waits| *waits > 0).unwrap_or_default();
        let mut seen = vec![false; waits_for.len()];
        let mut place = Span::default();
        while !std::mem::replace(&mut seen[chain], true) {
            let Some((span, target)) = self.targets(chain).find(|(_, target)| waits_for[*target] > 0) else { break };
            (place, chain) = (span, target);
        }
        let name = quoted(&self.ruleset.chains[chain].name);
        malformed(place, format!("the chain {name} comes back to itself, which the kernel refuses"), "break the circle")
    }
}

fn twice(what: &str, name: &Word<'_>) -> Box<Diagnostic> {
    malformed(
        name.span,
        format!("the {what} {} stands twice", quoted(&name.value)),
        "leave one of them out, or join them",
    )
}

fn missing(what: &str, name: &str, span: Span) -> Box<Diagnostic> {
    malformed(span, format!("there is no {what} {}", quoted(name)), "take the whole table, or mend the name")
}

/// The hooks and priorities of edgeward's base chains. nft lists `filter` and `raw`, its JSON 0 and -300.
fn base(form: &BaseForm<'_>) -> Reading<Base> {
    if form.kind.value != "filter" {
        let message = format!("a base chain of the type {}", quoted(&form.kind.value));
        return Err(unknown(form.kind.span, message, "edgeward's base chains have the type `filter`"));
    }
    let is_raw = match &*form.priority.value {
        "filter" | "0" => Some(false),
        "raw" | "-300" => Some(true),
        _ => None,
    };
    let hook = match (&*form.hook.value, is_raw) {
        ("input", Some(false)) => Hook::Input,
        ("output", Some(false)) => Hook::Output,
        ("forward", Some(false)) => Hook::Forward,
        ("prerouting", Some(true)) => Hook::RawPrerouting,
        ("output", Some(true)) => Hook::RawOutput,
        (hook, _) => {
            let message = format!("a base chain at {} with priority {}", quoted(hook), quoted(&form.priority.value));
            let help = "edgeward's are at `input`, `output` and `forward` with priority `filter`, and at `prerouting` \
                        and `output` with priority `raw`";
            return Err(unknown(form.hook.span, message, help));
        }
    };
    let policy = match form.policy.as_ref().map(|policy| (&*policy.value, policy.span)) {
        None | Some(("accept", _)) => ChainPolicy::Accept,
        Some(("drop", _)) => ChainPolicy::Drop,
        Some((other, span)) => {
            return Err(malformed(span, format!("{} is not a policy", quoted(other)), "write `accept` or `drop`"));
        }
    };
    Ok(Base { hook, policy })
}
