//! What is wrong with an input: a code, a span, a message and a help. Rendering is left to `cli`.

use std::borrow::Cow;
use std::path::Path;

use crate::source::Span;

/// How severe a diagnostic is.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Hash)]
pub enum Severity {
    /// Information; nothing has to be changed.
    Note,
    /// Works, but perhaps not as intended.
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
    /// The file is empty.
    EmptyFile = "empty-file", Error;
    /// The file is of another kind.
    UnknownFile = "unknown-file", Error;
    /// The text is not YAML.
    YamlSyntax = "yaml-syntax", Error;
    /// YAML that is not supported: anchors, aliases, tags, directives, several documents.
    YamlFeature = "yaml-feature", Error;
    /// A list where a mapping is expected, and the like.
    WrongType = "wrong-type", Error;
    /// A field that the format does not have.
    UnknownField = "unknown-field", Error;
    /// A key that occurs twice in one mapping.
    DuplicateKey = "duplicate-key", Error;
    /// A required field is missing.
    MissingField = "missing-field", Error;
    /// A format version that this edgeward does not support.
    UnsupportedVersion = "unsupported-version", Error;
    /// A word that is not one of the allowed ones.
    UnknownValue = "unknown-value", Error;
    /// A number outside of its bounds.
    InvalidNumber = "invalid-number", Error;
    /// A policy name or flow id that is not `[a-z][a-z0-9-]*`.
    InvalidName = "invalid-name", Error;
    /// Text with control or invisible characters.
    InvalidText = "invalid-text", Error;
    /// A cluster version that cannot be read.
    InvalidVersion = "invalid-version", Error;
    /// An unquoted cluster version, which YAML reads as a number.
    UnquotedVersion = "unquoted-version", Error;
    /// Not an IP address.
    InvalidAddress = "invalid-address", Error;
    /// Not an address or prefix.
    InvalidPrefix = "invalid-prefix", Error;
    /// A prefix with host bits set.
    HostBits = "host-bits", Error;
    /// An address that no packet of the field or row can have.
    DeadAddress = "dead-address", Error;
    /// Not an absolute host name.
    InvalidHostName = "invalid-host-name", Error;
    /// Not a protocol and port.
    InvalidPort = "invalid-port", Error;
    /// Not a duration.
    InvalidDuration = "invalid-duration", Error;
    /// Not a rate.
    InvalidRate = "invalid-rate", Error;
    /// Not a timestamp.
    InvalidTime = "invalid-time", Error;
    /// A list that must not be empty.
    EmptyList = "empty-list", Error;
    /// A peers file that cannot be used.
    PeersFile = "peers-file", Error;
    /// Two rows with the same id.
    DuplicateId = "duplicate-id", Error;
    /// A region that is not in the catalog.
    UnknownRegion = "unknown-region", Error;
    /// The catalog lacks data about the region that the policy needs.
    RegionDataMissing = "region-data-missing", Error;
    /// Registered clusters can be joined over a leased line only.
    ConnectionNotOffered = "connection-not-offered", Error;
    /// The CNI is not offered by the cluster kind over the connection.
    CniNotOffered = "cni-not-offered", Error;
    /// `scope: broad` where it is not available.
    ScopeNotOffered = "scope-not-offered", Error;
    /// A field that has no effect given the other fields.
    UnusedField = "unused-field", Error;
    /// A zone that a flow needs is empty.
    MissingZone = "missing-zone", Error;
    /// The prefixes of the data centre and of the cloud overlap.
    HostsOverlap = "hosts-overlap", Error;
    /// The pod prefixes overlap those of hosts or the VPC.
    PodsOverlap = "pods-overlap", Error;
    /// In a registered cluster the pod prefixes overlap those of hosts or the VPC, but no vSwitch.
    PodsInsideVpc = "pods-inside-vpc", Warning;
    /// The Service prefixes overlap those of hosts, pods or the cloud.
    ServicesOverlap = "services-overlap", Error;
    /// A zone overlaps the cloud's prefixes, or answers of its names.
    CatalogOverlap = "catalog-overlap", Error;
    /// An answer outside of the VPC, where the cloud's services are reached inside it.
    AnswerOutsideVpc = "answer-outside-vpc", Error;
    /// Prefixes of the region outside of the cloud's services and of the VPC.
    OutsideCloudServices = "outside-cloud-services", Warning;
    /// The list of the cloud's services over a leased line is empty.
    NoCloudServices = "no-cloud-services", Note;
    /// A vSwitch that is not inside the VPC.
    VswitchOutsideVpc = "vswitch-outside-vpc", Warning;
    /// A zone that no flow of the policy reads.
    UnusedZone = "unused-zone", Note;
    /// The vSwitches are given, but not those of pods, which are peers of the same flows.
    NoPodVswitches = "no-pod-vswitches", Note;
    /// The source address alone makes a packet one of a pod.
    PodSource = "pod-source", Note;
    /// Clients of NodePorts that may be the host itself.
    NodePortClients = "node-port-clients", Note;
    /// The API server of a registered cluster is not one of the hosts.
    ApiServerOutsideHosts = "api-server-outside-hosts", Warning;
    /// A control-plane host of a registered cluster that is not one of the hosts.
    ControlPlaneOutsideHosts = "control-plane-outside-hosts", Warning;
    /// A flow without a peer, which permits nothing.
    EmptyPeers = "empty-peers", Warning;
    /// SSH to the host is not permitted from anywhere.
    NoManagement = "no-management", Warning;
    /// The host is not permitted to query any DNS server.
    NoDns = "no-dns", Warning;
    /// A DNS server that is the host itself, such as a stub resolver.
    LoopbackDns = "loopback-dns", Error;
    /// `scope: broad` with cloud services outside of the shared address space.
    BroadPublic = "broad-public", Warning;
    /// Image layers may be stored on hosts that no document names.
    UnnamedLayers = "unnamed-layers", Note;
    /// A row for addresses of the VPC over the public network.
    PublicPods = "public-pods", Warning;
    /// Something that the cluster needs and only the operator can name.
    UnlistedNeed = "unlisted-need", Note;
    /// A row that only permits what another flow permits already.
    CoveredFlow = "covered-flow", Warning;
    /// A row that no packet can match.
    DeadFlow = "dead-flow", Warning;
    /// A row that permits some packets that another flow permits as well.
    OverlappingFlows = "overlapping-flows", Note;
    /// A flow that is open to a large part of the internet.
    WideOpening = "wide-opening", Warning;
    /// A probe that does not describe a packet.
    InvalidProbe = "invalid-probe", Error;
    /// Not nft text or JSON, truncated, or inconsistent.
    RulesetSyntax = "ruleset-syntax", Error;
    /// Part of a ruleset that edgeward does not write and cannot evaluate.
    UnknownConstruct = "unknown-construct", Error;
}

/// A problem, or something worth knowing.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Diagnostic {
    /// The kind.
    pub code: Code,
    /// Where it is.
    pub span: Span,
    /// One sentence: lower case, quotations in backticks, no final period.
    pub message: String,
    /// What to do about it.
    pub help: Option<String>,
}

/// The diagnostics of one run, in the order in which they were found.
///
/// They are bounded: a file with ten million mistakes needs no message about each.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Problems {
    found: Vec<Diagnostic>,
    has_errors: bool,
}

/// The most diagnostics of one run.
pub const MAX_PROBLEMS: usize = 1_000;
/// In bytes.
const MAX_MESSAGE: usize = 400;

/// Whether a character is not seen, but changes how others are: control characters, ends of lines and paragraphs, marks that
/// reverse the direction of text (<https://www.unicode.org/reports/tr9/>), and others without a width. The joiners that some
/// scripts need (U+200C, U+200D) are none.
pub fn is_invisible(c: char) -> bool {
    let is_format = matches!(
        c,
        '\u{ad}'
            | '\u{61c}'
            | '\u{180e}'
            | '\u{200b}'
            | '\u{200e}'..='\u{200f}'
            | '\u{2028}'..='\u{202e}'
            | '\u{2060}'..='\u{206f}'
            | '\u{feff}'
            | '\u{fff9}'..='\u{fffb}'
            | '\u{e0000}'..='\u{e007f}'
    );
    c.is_control() || is_format
}

/// A text as terminals can show it. Names of files, users, and other programs' tables can have any characters.
pub fn escaped(text: &str) -> String {
    escaped_but(text, |_| false)
}

/// The same, with some hidden characters as they are.
pub fn escaped_but(text: &str, is_kept: impl Fn(char) -> bool) -> String {
    let mut shown = String::with_capacity(text.len());
    for c in text.chars() {
        match is_invisible(c) && !is_kept(c) {
            true => shown.extend(c.escape_default()),
            false => shown.push(c),
        }
    }
    shown
}

/// The path of a file as messages show it.
pub fn shown(path: &Path) -> String {
    escaped(&path.to_string_lossy())
}

/// A word as a shell reads it: as it is where that is safe, else in quotes. For commands in messages, which are pasted.
pub fn quoted(word: &str) -> Cow<'_, str> {
    let is_safe = |c: char| c.is_ascii_alphanumeric() || "-_./:=,@%+".contains(c);
    if !word.is_empty() && word.chars().all(|c| is_safe(c) || (!c.is_ascii() && c.is_alphanumeric())) {
        return Cow::Borrowed(word);
    }
    // A control character would change the terminal.
    if word.contains(is_invisible) {
        let escape = |c: char| match c {
            '\'' | '\\' => format!("\\{c}"),
            c if is_invisible(c) => c.to_string().bytes().map(|byte| format!("\\x{byte:02x}")).collect(),
            c => c.to_string(),
        };
        return Cow::Owned(format!("$'{}'", word.chars().map(escape).collect::<String>()));
    }
    Cow::Owned(format!("'{}'", word.replace('\'', r"'\''")))
}

/// The path of a file as a word of a command.
pub fn word(path: &Path) -> String {
    quoted(&path.to_string_lossy()).into_owned()
}

/// A message that is safe to show on a terminal: it quotes input, which may be long or have control characters.
pub fn legible(sentence: &str) -> String {
    if sentence.len() <= MAX_MESSAGE {
        return escaped(sentence);
    }
    let head = sentence.floor_char_boundary(MAX_MESSAGE / 2);
    let tail = sentence.ceil_char_boundary(sentence.len() - MAX_MESSAGE / 4);
    format!("{}…{}", escaped(&sentence[..head]), escaped(&sentence[tail..]))
}

impl Problems {
    /// Adds a diagnostic without help.
    pub fn push(&mut self, code: Code, span: Span, message: impl AsRef<str>) {
        self.add(code, span, message.as_ref(), None);
    }

    /// Adds a diagnostic with help.
    pub fn push_with_help(&mut self, code: Code, span: Span, message: impl AsRef<str>, help: impl AsRef<str>) {
        self.add(code, span, message.as_ref(), Some(help.as_ref()));
    }

    fn add(&mut self, code: Code, span: Span, message: &str, help: Option<&str>) {
        let is_first_error = code.severity() == Severity::Error && !self.has_errors;
        self.has_errors |= is_first_error;
        if self.is_full() && is_first_error {
            // An exit code without its reason would be of no use.
            self.found.pop();
        }
        if !self.is_full() {
            self.found.push(Diagnostic { code, span, message: legible(message), help: help.map(legible) });
        }
    }

    /// Whether further diagnostics are dropped, so that callers need not compute them.
    pub fn is_full(&self) -> bool {
        self.found.len() >= MAX_PROBLEMS
    }

    /// Whether one of them is an error.
    pub fn has_errors(&self) -> bool {
        self.has_errors
    }

    /// The diagnostics, sorted by place, as the user reads the file.
    pub fn into_sorted(mut self) -> Vec<Diagnostic> {
        self.found.sort_by_key(|diagnostic| (diagnostic.span, diagnostic.code));
        self.found.dedup();
        self.found
    }
}

/// The candidate nearest to a typing error, as a help sentence.
pub fn did_you_mean<'a>(written: &str, candidates: impl IntoIterator<Item = &'a str>) -> Option<String> {
    // No word of the formats is longer, and the distance costs the product of the lengths.
    let candidates = candidates.into_iter().filter(|_| written.len() <= 64);
    candidates
        .map(|candidate| (strsim::damerau_levenshtein(written, candidate), candidate))
        .filter(|&(distance, candidate)| distance <= 1 + candidate.len() / 5)
        .min()
        .map(|(_, candidate)| format!("did you mean `{candidate}`?"))
}

/// The same, and all candidates if none is near.
pub fn suggest(written: &str, candidates: &[&str]) -> String {
    did_you_mean(written, candidates.iter().copied()).unwrap_or_else(|| one_of(candidates))
}

/// Lists the candidates.
pub fn one_of(candidates: &[&str]) -> String {
    let quoted: Vec<String> = candidates.iter().map(|candidate| format!("`{candidate}`")).collect();
    format!("one of {}", quoted.join(", "))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn words_are_quoted_where_a_shell_needs_it() {
        for (word, expected) in [
            ("/etc/edgeward/policy.yaml", "/etc/edgeward/policy.yaml"),
            ("my site.yaml", "'my site.yaml'"),
            ("it's", r"'it'\''s'"),
            ("$(reboot)", "'$(reboot)'"),
            ("", "''"),
            ("a\nb'", r"$'a\x0ab\''"),
            ("a\u{202e}b", r"$'a\xe2\x80\xaeb'"),
            ("杭州.yaml", "杭州.yaml"),
            ("~root", "'~root'"),
        ] {
            assert_eq!(quoted(word), expected);
        }
    }
}
