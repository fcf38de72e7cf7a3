//! What is wrong with an input: a code, a place, a sentence and a way out. Rendering is the command line's job.

use crate::source::{Span, Spanned};

/// How grave a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Good to know; nothing to mend.
    Note,
    /// Works, but perhaps not as meant.
    Warning,
    /// Nothing is compiled.
    Error,
}

macro_rules! codes {
    ($($(#[doc = $doc:expr])+ $variant:ident = $name:literal, $severity:ident;)+) => {
        /// The kinds of diagnostics; `docs/diagnostics.md` has a paragraph on each.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
        pub enum Code {
            $($(#[doc = $doc])+ $variant,)+
        }

        impl Code {
            /// Every code, in the order of the documentation.
            pub const ALL: &[Code] = &[$(Code::$variant,)+];

            /// The name as messages show it.
            pub fn name(self) -> &'static str {
                match self { $(Code::$variant => $name,)+ }
            }

            /// The severity of every diagnostic with this code.
            pub fn severity(self) -> Severity {
                match self { $(Code::$variant => Severity::$severity,)+ }
            }
        }
    };
}

codes! {
    /// The file is not UTF-8 text.
    NotText = "not-text", Error;
    /// The file is larger than any policy.
    TooLarge = "too-large", Error;
    /// The file holds nothing.
    EmptyFile = "empty-file", Error;
    /// The text is not YAML.
    YamlSyntax = "yaml-syntax", Error;
    /// YAML that the policy language leaves out: anchors, aliases, tags, directives, several documents.
    YamlFeature = "yaml-feature", Error;
    /// A list where a mapping is wanted, and the like.
    WrongType = "wrong-type", Error;
    /// A field that the format does not have.
    UnknownField = "unknown-field", Error;
    /// A key that stands twice in one mapping.
    DuplicateKey = "duplicate-key", Error;
    /// A required field is not there.
    MissingField = "missing-field", Error;
    /// A format version that this edgeward does not read.
    UnsupportedVersion = "unsupported-version", Error;
    /// A word that is none of the allowed ones.
    UnknownValue = "unknown-value", Error;
    /// A number outside of its bounds.
    InvalidNumber = "invalid-number", Error;
    /// A policy name or flow id that is not `[a-z][a-z0-9-]*`.
    InvalidName = "invalid-name", Error;
    /// Text with control characters.
    InvalidText = "invalid-text", Error;
    /// A cluster version that cannot be read.
    InvalidVersion = "invalid-version", Error;
    /// A cluster version without quotes, which YAML reads as a number.
    UnquotedVersion = "unquoted-version", Error;
    /// Not an IP address.
    InvalidAddress = "invalid-address", Error;
    /// Not an address or prefix.
    InvalidPrefix = "invalid-prefix", Error;
    /// A prefix with bits set behind its length.
    HostBits = "host-bits", Error;
    /// Not an absolute host name.
    InvalidHostName = "invalid-host-name", Error;
    /// Not a protocol and port.
    InvalidPort = "invalid-port", Error;
    /// Not a duration.
    InvalidDuration = "invalid-duration", Error;
    /// Not a rate.
    InvalidRate = "invalid-rate", Error;
    /// Not a point in time.
    InvalidTime = "invalid-time", Error;
    /// A list that must not be empty.
    EmptyList = "empty-list", Error;
    /// A file with peers that cannot be used.
    PeersFile = "peers-file", Error;
    /// Two rows with one id.
    DuplicateId = "duplicate-id", Error;
    /// A region that the catalog does not have.
    UnknownRegion = "unknown-region", Error;
    /// The catalog lacks data of the region that the policy needs.
    RegionDataMissing = "region-data-missing", Error;
    /// Registered clusters join over a leased line only.
    ConnectionNotOffered = "connection-not-offered", Error;
    /// The cluster kind or the connection does not offer the CNI.
    CniNotOffered = "cni-not-offered", Error;
    /// `scope: broad` where it does not exist.
    ScopeNotOffered = "scope-not-offered", Error;
    /// A field that has no meaning beside the others.
    UnusedField = "unused-field", Error;
    /// A zone that a flow needs is empty.
    MissingZone = "missing-zone", Error;
    /// The IDC and the cloud share addresses.
    HostsOverlap = "hosts-overlap", Error;
    /// Pods share addresses with hosts or the VPC.
    PodsOverlap = "pods-overlap", Error;
    /// Pods share addresses with hosts or the VPC of a registered cluster, but with no vSwitch.
    PodsInsideVpc = "pods-inside-vpc", Warning;
    /// Services share addresses with hosts, pods or the cloud.
    ServicesOverlap = "services-overlap", Error;
    /// Nothing says where the cloud's services answer over a leased line.
    NoCloudServices = "no-cloud-services", Note;
    /// A vSwitch that is not inside the VPC.
    VswitchOutsideVpc = "vswitch-outside-vpc", Warning;
    /// The API server of a registered cluster is not one of the hosts.
    ApiServerOutsideHosts = "api-server-outside-hosts", Warning;
    /// A flow without a peer, which opens nothing.
    EmptyPeers = "empty-peers", Warning;
    /// No prefix may reach the host by SSH.
    NoManagement = "no-management", Warning;
    /// The host may ask no DNS server.
    NoDns = "no-dns", Warning;
    /// `100.0.0.0/8` is wider than the shared address space.
    BroadPublic = "broad-public", Warning;
    /// Image layers may come from hosts that no document names.
    UnnamedLayers = "unnamed-layers", Note;
    /// A row that permits nothing that another flow does not permit.
    CoveredFlow = "covered-flow", Warning;
    /// A row that no packet can be of.
    DeadFlow = "dead-flow", Warning;
    /// A row that permits packets that another flow permits, too.
    OverlappingFlows = "overlapping-flows", Note;
    /// A flow that the policy opens to much of the internet.
    WideOpening = "wide-opening", Warning;
    /// A probe that describes no packet.
    InvalidProbe = "invalid-probe", Error;
    /// Not nft text or JSON, cut off, or at odds with itself.
    RulesetSyntax = "ruleset-syntax", Error;
    /// A part of a ruleset that edgeward does not write and cannot judge.
    UnknownConstruct = "unknown-construct", Error;
}

/// One thing that is wrong, or worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// What kind of thing.
    pub code: Code,
    /// Where it stands.
    pub span: Span,
    /// One sentence, lower case, literals in backticks, no final period.
    pub message: String,
    /// The way out.
    pub help: Option<String>,
}

/// The diagnostics of one run, in the order in which they were found.
///
/// Beyond a bound they are not kept: a file of ten million mistakes is a mistake of its own.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<Diagnostic>,
    has_errors: bool,
}

const MOST_PROBLEMS: usize = 1_000;
const LONGEST_SENTENCE: usize = 400;

/// A sentence as a terminal may show it: it quotes input, which may hold control characters, or a megabyte.
pub fn legible(sentence: &str) -> String {
    let escaped = |text: &str| -> String {
        let escape = |c: char| if c.is_control() { c.escape_default().to_string() } else { c.to_string() };
        text.chars().map(escape).collect()
    };
    if sentence.len() <= LONGEST_SENTENCE {
        return escaped(sentence);
    }
    let head = sentence.floor_char_boundary(LONGEST_SENTENCE / 2);
    let tail = sentence.ceil_char_boundary(sentence.len() - LONGEST_SENTENCE / 4);
    format!("{}…{}", escaped(&sentence[..head]), escaped(&sentence[tail..]))
}

impl Problems {
    /// Adds a diagnostic without help.
    pub fn push(&mut self, code: Code, span: Span, message: impl AsRef<str>) {
        self.add(code, span, message.as_ref(), None);
    }

    /// Adds a diagnostic that says the way out.
    pub fn push_with_help(&mut self, code: Code, span: Span, message: impl AsRef<str>, help: impl AsRef<str>) {
        self.add(code, span, message.as_ref(), Some(help.as_ref()));
    }

    fn add(&mut self, code: Code, span: Span, message: &str, help: Option<&str>) {
        self.has_errors |= code.severity() == Severity::Error;
        if !self.is_full() {
            self.found.push(Diagnostic { code, span, message: legible(message), help: help.map(legible) });
        }
    }

    /// Whether further diagnostics are not kept, so that nothing need be spent on them.
    pub fn is_full(&self) -> bool {
        self.found.len() >= MOST_PROBLEMS
    }

    /// Whether anything in here forbids to go on.
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// The diagnostics, sorted by place: what the user reads from top to bottom.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|diagnostic| (diagnostic.span, diagnostic.code));
        self.found.dedup();
        self.found
    }
}

/// What a candidate for a typing error suggests, as a help sentence.
pub fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // Longer than any word of the language: no typing error, and the distance costs the product of the lengths.
    let candidates = candidates.into_iter().filter(|_| written.len() <= 64);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(written, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= 1 + candidate.len() / 5)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// The same, and all candidates where none is near.
pub fn suggest(written: &Spanned<String>, candidates: &[&str]) -> String {
    did_you_mean(&written.value, candidates.iter().copied()).unwrap_or_else(|| one_of(candidates))
}

/// Lists what may be written.
pub fn one_of(candidates: &[&str]) -> String {
    let quoted: Vec<String> = candidates.iter().map(|candidate| format!("`{candidate}`")).collect();
    format!("one of {}", quoted.join(", "))
}
