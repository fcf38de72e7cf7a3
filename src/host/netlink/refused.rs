//! Which part of a transaction the kernel refused, and why.

use std::fmt;

use rustix::io::Errno;

use crate::host::modules::Modules;
use crate::ruleset::TABLE;

/// A part of the table that a message of a transaction is about.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum RefusedPart {
    /// The table itself.
    Table,
    /// A chain, by its live name.
    Chain(String),
    /// A rule with what it has between braces.
    Rule {
        /// Its chain.
        chain: String,
        /// Its position in the chain, from 1.
        position: usize,
    },
    /// A set.
    Set(String),
    /// A counter.
    Counter(String),
}

impl fmt::Display for RefusedPart {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            RefusedPart::Table => write!(f, "the table `inet {TABLE}`"),
            RefusedPart::Chain(name) => write!(f, "the chain `{name}`"),
            RefusedPart::Rule { chain, position } => write!(f, "rule {position} of the chain `{chain}`"),
            RefusedPart::Set(name) => write!(f, "the set `{name}`"),
            RefusedPart::Counter(name) => write!(f, "the counter `{name}`"),
        }
    }
}

/// A refusal of the kernel.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Refused {
    /// What was refused.
    pub part: RefusedPart,
    /// The kernel's names of the expressions of a rule that may be why: one where the kernel points at it.
    pub expressions: Vec<&'static str>,
    /// The error.
    pub errno: Errno,
    /// The modules that the kernel lacks, if that is why.
    pub missing: Vec<&'static str>,
}

/// A module, by the names that kernels have for it: newer ones the first.
type Names = &'static [&'static str];

/// Modules of the kernel by the name of the expression that needs them. Other expressions are parts of nf_tables.
const MODULES: [(&str, &[Names]); 6] = [
    ("ct", &[&["nft_ct"], &["nf_conntrack"]]),
    ("notrack", &[&["nft_ct"], &["nf_conntrack"]]),
    ("limit", &[&["nft_limit"]]),
    // Two modules before Linux 5.13.
    ("log", &[&["nft_log"], &["nf_log_syslog", "nf_log_ipv4"], &["nf_log_syslog", "nf_log_ipv6"]]),
    ("objref", &[&["nft_objref"]]),
    ("reject", &[&["nft_reject_inet"]]),
];

impl Refused {
    /// A refusal, with the modules that the kernel lacks.
    pub fn new(part: RefusedPart, expressions: Vec<&'static str>, errno: Errno, modules: &Modules) -> Self {
        // All that the transaction names exists, so it is not a name.
        let may_lack = [Errno::NOENT, Errno::OPNOTSUPP, Errno::AFNOSUPPORT].contains(&errno);
        let needed: Vec<Names> = match part {
            _ if !may_lack => Vec::new(),
            RefusedPart::Table | RefusedPart::Chain(_) => vec![&["nf_tables"]],
            // Separate modules before Linux 5.2 and 5.17.
            RefusedPart::Set(_) => vec![&["nf_tables_set"]],
            RefusedPart::Counter(_) => vec![&["nft_counter"]],
            RefusedPart::Rule { .. } => {
                let of_rule = MODULES.iter().filter(|(name, _)| expressions.contains(name));
                of_rule.flat_map(|(_, modules)| modules.iter().copied()).collect()
            }
        };
        let missing = modules.missing(&needed);
        Self { part, expressions, errno, missing }
    }
}

impl fmt::Display for Refused {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { part, expressions, errno, missing } = self;
        let at = match &expressions[..] {
            [] => String::new(),
            names => format!(" (`{}`)", names.join("`, `")),
        };
        if missing.is_empty() {
            return write!(f, "the kernel refused {part}{at}: {errno}; nothing was changed");
        }
        write!(
            f,
            "the kernel has no `{}`, which {part} needs{at}; nothing was changed. Try `modprobe -a {}`, or install the \
             package with the other modules of this kernel",
            missing.join("`, `"),
            missing.join(" ")
        )
    }
}

#[cfg(test)]
mod tests {
    use std::path::Path;

    use super::*;

    fn said(part: RefusedPart, expressions: &[&'static str], errno: Errno) -> String {
        // It has no lists of modules.
        let modules = Modules::of_release(Path::new("/nonexistent"), "6.1.0");
        Refused::new(part, expressions.to_vec(), errno, &modules).to_string()
    }

    #[test]
    fn a_missing_module_is_named_and_no_other() {
        let rule = || RefusedPart::Rule { chain: "input.3".to_owned(), position: 7 };
        let log = said(rule(), &["log"], Errno::NOENT);
        assert!(log.starts_with("the kernel has no `nf_log_syslog`, `nft_log`, which rule 7 of the chain `input.3`"));
        assert!(log.contains("`modprobe -a nf_log_syslog nft_log`") && !log.contains("reject"), "{log}");
        assert!(said(RefusedPart::Counter("c".to_owned()), &[], Errno::OPNOTSUPP).contains("nft_counter"));
        // Another error is no module, and an expression of nf_tables itself is in none.
        for other in [said(rule(), &["log"], Errno::INVAL), said(rule(), &["lookup"], Errno::NOENT)] {
            assert!(other.starts_with("the kernel refused rule 7 of the chain `input.3` (`l"), "{other}");
        }
    }
}
