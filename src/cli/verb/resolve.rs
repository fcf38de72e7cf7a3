//! `edgeward resolve`.

mod unreachable;

use std::collections::BTreeSet;
use std::io::IsTerminal;
use std::net::{IpAddr, SocketAddr};
use std::path::{Path, PathBuf};

use anyhow::{Context, anyhow};
use jiff::{SignedDuration, Timestamp};

use crate::cli::context::{
    BoundPolicy, ListFormat, LoadedPolicy, LockArguments, MAX_LOCK_WAIT, load_catalog, load_if_exists, load_policy,
};
use crate::cli::document::{NameDocument, RefusedDocument, ResolveDocument};
use crate::cli::failure::Failure;
use crate::cli::{hint, render};
use crate::diag::{Severity, shown};
use crate::host::clock::Moment;
use crate::host::dns::{Hickory, Settings, SilentServer, system_servers};
use crate::host::{files, streams};
use crate::net::{DomainName, Family, Slip, parse_address};
use crate::report::{DocumentVersion, duration};
use crate::resolution::{self, Answer, Change, Question, Reply, Resolution, Summary};
use crate::wording::{count, for_number};

const DNS_PORT: u16 = 53;
/// Queries in flight at once: enough to hide the latency, few enough for a small server.
const MAX_CONCURRENT_QUERIES: usize = 64;

/// Ask DNS for the names of a policy, and write the answers to its lockfile
///
/// Addresses that an answer no longer has stay for a while (`resolve.linger`), a failed query changes nothing, and
/// addresses outside of the trusted prefixes are refused. The exit code is 3 if DNS gave no address for a name that a
/// flow requires.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward resolve policy.yaml
  edgeward resolve policy.yaml --server 10.0.0.53 --server 10.0.1.53:5353
  edgeward resolve policy.yaml --offline")]
pub(crate) struct Arguments {
    /// The policy file; `-` is standard input
    #[arg(value_name = "POLICY")]
    policy: PathBuf,
    #[command(flatten)]
    lock: LockArguments,
    #[command(flatten)]
    servers: ServerArguments,
    /// Do not ask DNS; show what the lockfile has, and how old it is
    #[arg(long)]
    offline: bool,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

/// Which servers are asked.
#[derive(Debug, clap::Args)]
pub(crate) struct ServerArguments {
    /// Ask this server in place of the policy's `dns.servers`; can be given several times
    #[arg(long = "server", value_name = "ADDR[:PORT]", value_parser = parse_server)]
    servers: Vec<SocketAddr>,
}

impl ServerArguments {
    /// Whether none was given.
    pub(crate) fn is_empty(&self) -> bool {
        self.servers.is_empty()
    }
}

fn parse_server(text: &str) -> Result<SocketAddr, String> {
    text.parse().or_else(|_| {
        let address = text.strip_prefix('[').and_then(|rest| rest.strip_suffix(']')).unwrap_or(text);
        parse_address(address).map(|address| (address, DNS_PORT).into()).map_err(|error| Slip::explain(address, &error))
    })
}

pub(crate) fn run(arguments: &Arguments, catalog: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(catalog)?;
    let loaded = load_policy(&arguments.policy, &catalog, None, Severity::Warning)?;
    let mode = if arguments.offline { LockfileMode::Offline } else { LockfileMode::Write };
    let lock = arguments.lock.path(&arguments.policy)?;
    let update = update_lockfile(lock, &loaded, &Resolution::default(), &arguments.servers, mode)?;
    let result = match arguments.format {
        // One line for each server says it all.
        ListFormat::Text if update.silent.is_some() => update.changes(),
        ListFormat::Text => update.text(&update.summary),
        ListFormat::Json => render::document(&update.document(&loaded))?,
    };
    match render::try_output(&result) {
        // As with rules, the exit code says what was done.
        Err(error) if mode == LockfileMode::Write => {
            let path = shown(&update.path);
            render::warning(&format!("{}: {error}; the answers are in `{path}`", render::NOT_WRITTEN));
        }
        written => written.map_err(render::not_written)?,
    }
    update.check_required(&loaded)
}

/// The answers of DNS for a policy's names, and the lockfile with them.
pub(crate) struct LockfileUpdate {
    summary: Summary,
    new: Resolution,
    now: Timestamp,
    offline: bool,
    /// How long addresses stay that answers no longer have.
    linger: SignedDuration,
    path: PathBuf,
    /// The servers, if none of them answered.
    silent: Option<Vec<SilentServer>>,
}

/// What happens to a lockfile.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum LockfileMode {
    /// DNS is not asked.
    Offline,
    /// DNS is asked, and nothing is written.
    Ask,
    /// DNS is asked, and the answers are written.
    Write,
}

/// Asks for the names of a policy, and writes the answers to its lockfile. `known` may have newer answers than that.
pub(crate) fn update_lockfile(
    path: PathBuf,
    loaded: &LoadedPolicy,
    known: &Resolution,
    servers: &ServerArguments,
    mode: LockfileMode,
) -> Result<LockfileUpdate, Failure> {
    if streams::is_stream(&path) {
        return Err(Failure::usage(anyhow!("`{}` is a stream: the lockfile is written, so name a file", shown(&path))));
    }
    // Locked from reading the old answers to writing the new ones: two runs would each lose the other's answers.
    let _held = match mode {
        LockfileMode::Write => files::lock_file(&path, MAX_LOCK_WAIT, &mut |waiting| render::note(waiting))?,
        LockfileMode::Offline | LockfileMode::Ask => None,
    };
    let written = load_if_exists(&path, &loaded.cloud.metadata())?.unwrap_or_default();
    let newest = written.clone().newer_of(known, &Moment::now(), loaded.policy.resolve.linger.value.0);
    let update = update_known(path, loaded, &newest, servers, mode)?;
    if mode == LockfileMode::Write && update.new != written {
        files::write(&update.path, &update.new.yaml()).map_err(|error| cannot("write", &update.path, error))?;
    }
    Ok(update)
}

/// Asks for the names of a policy, and updates known answers. `path` is the lockfile that messages name.
pub(crate) fn update_known(
    path: PathBuf,
    loaded: &LoadedPolicy,
    known: &Resolution,
    servers: &ServerArguments,
    mode: LockfileMode,
) -> Result<LockfileUpdate, Failure> {
    let (moment, offline) = (Moment::now(), mode == LockfileMode::Offline);
    let names = loaded.intent.names();
    let questions: Vec<Question> =
        names.keys().flat_map(|&name| Family::BOTH.map(|family| Question { name: name.clone(), family })).collect();
    let rules = loaded.policy.resolution_rules(&loaded.cloud);
    let (answers, silent) = if offline || questions.is_empty() {
        (vec![Answer { reply: Reply::Timeout, server: None }; questions.len()], None)
    } else {
        ask(servers, loaded, &questions)?
    };
    let answers: Vec<(Question, Answer)> = questions.into_iter().zip(answers).collect();
    let now = known.time(&moment, rules.linger);
    let (new, summary) = resolution::update(known, &answers, &moment, &rules);
    warn_of_bounds(&summary, rules.max_gathered);
    if known.doubts(&moment, rules.linger) {
        render::warning(&format!(
            "the clock shows {}, and the answers in `{}` were received until {now}; the clock is not believed until it has \
             run evenly for an hour",
            moment.time,
            shown(&path)
        ));
    }
    let linger = SignedDuration::try_from(rules.linger).unwrap_or(SignedDuration::MAX);
    Ok(LockfileUpdate { summary, new, now, offline, linger, path, silent })
}

/// Warns of names that gathered more addresses than a policy permits.
fn warn_of_bounds(summary: &Summary, bound: usize) {
    for (name, change) in summary.iter().filter(|(_, change)| !change.dropped.is_empty()) {
        let dropped = match change.dropped.len() {
            1 => "the oldest address is dropped".to_owned(),
            number => format!("the {} are dropped", count(number, "oldest address")),
        };
        render::warning(&format!("{name} has more addresses than `resolve.max-gathered` permits ({bound}); {dropped}"));
    }
}

fn cannot(what: &str, path: &Path, error: std::io::Error) -> Failure {
    Failure::system(anyhow::Error::from(error).context(format!("cannot {what} `{}`", shown(path))))
}

/// The answers, and the servers if none of them answered.
fn ask(
    chosen: &ServerArguments,
    loaded: &LoadedPolicy,
    questions: &[Question],
) -> Result<(Vec<Answer>, Option<Vec<SilentServer>>), Failure> {
    let written = loaded.policy.dns.iter().flat_map(|dns| &dns.value.servers);
    let mut servers: Vec<SocketAddr> = chosen.servers.clone();
    if servers.is_empty() {
        servers = written.map(|server| (server.value, DNS_PORT).into()).collect();
    }
    if servers.is_empty() {
        servers = system_servers().context("cannot read the system's DNS servers").map_err(Failure::system)?;
    }
    let settings = Settings {
        servers,
        timeout: loaded.policy.resolve.timeout.0,
        attempts: loaded.policy.resolve.attempts.0,
        concurrency: MAX_CONCURRENT_QUERIES,
    };
    let resolver = Hickory::new(settings).map_err(Failure::system)?;
    let on_terminal = std::io::stderr().is_terminal();
    let total = count(questions.len(), "question");
    let answers = resolver.ask_noting(questions, &mut |done| {
        if on_terminal {
            render::progress(&format!("\r{done} of {total} answered"));
        }
    });
    if on_terminal {
        render::progress("\r\x1b[K");
    }
    Ok(answers)
}

impl LockfileUpdate {
    /// What changed, for people: addresses that were added or have expired, answers that were refused, and until when
    /// the former addresses of these names stay.
    pub(crate) fn changes(&self) -> String {
        let is_news = |change: &Change| {
            !change.added.is_empty()
                || !change.expired.is_empty()
                || !change.dropped.is_empty()
                || !change.refused.is_empty()
                || change.too_many.is_some()
        };
        let news: Summary = self
            .summary
            .iter()
            .filter(|(_, change)| is_news(change))
            .map(|(name, change)| {
                let news = Change { kept: BTreeSet::new(), ..change.clone() };
                (name.clone(), news)
            })
            .collect();
        self.text(&news)
    }

    /// What DNS said, for programs.
    fn document(&self, loaded: &LoadedPolicy) -> ResolveDocument {
        let name = |(name, change): (&DomainName, &Change)| NameDocument {
            name: name.to_string(),
            said: if self.offline { "DNS was not asked".to_owned() } else { outcome(change) },
            servers: change.servers.iter().map(|(family, server)| (family.name(), server.to_string())).collect(),
            added: change.added.clone(),
            kept: change.kept.clone(),
            lingering: change.lingering.clone(),
            expired: change.expired.clone(),
            dropped: change.dropped.clone(),
            refused: change
                .refused
                .iter()
                .map(|(address, why)| RefusedDocument { address: *address, why: why.to_string() })
                .collect(),
            too_many: change.too_many,
            stale_at: change.stale_at,
            addresses: self.new.addresses(name).collect(),
        };
        ResolveDocument {
            version: DocumentVersion,
            policy: loaded.intent.name.clone(),
            lockfile: self.path.clone(),
            names: self.summary.iter().map(name).collect(),
        }
    }

    /// Binds the policy to the answers. A required name that got none in this run keeps its known addresses, and is a
    /// failure for the end of the run.
    pub(crate) fn bind(
        self,
        lock: &LockArguments,
        policy: &Path,
        loaded: LoadedPolicy,
    ) -> Result<(BoundPolicy, Option<Failure>), Failure> {
        let unresolved = self.check_required(&loaded).err();
        match (lock.bind_to(policy, loaded, self.new), unresolved) {
            (Ok(policy), unresolved) => Ok((policy, unresolved)),
            (Err(_), Some(failure)) | (Err(failure), None) => Err(failure),
        }
    }

    /// What happened to the addresses of names.
    fn text(&self, summary: &Summary) -> String {
        let Self { new, now, offline, linger, .. } = self;
        let mut text = String::new();
        for (name, change) in summary {
            let outcome = if *offline { age(name, change, new, *now) } else { outcome(change) };
            text.push_str(&format!("{name}: {outcome}\n"));
            let seen = new.names.get(name).map(|record| &record.addresses);
            let ttl = |address: &IpAddr| {
                let ttl = seen.and_then(|seen| seen.get(address)).and_then(|seen| seen.ttl);
                ttl.map_or_else(String::new, |ttl| format!(" (ttl {ttl})"))
            };
            let until = |address: &IpAddr| {
                let until = seen.and_then(|seen| seen.get(address)?.last.checked_add(*linger).ok());
                // After a failure they stay longer, until they are stale.
                let until = until.filter(|until| *until >= *now && change.answered());
                until.map_or_else(String::new, |until| format!(" until {until}"))
            };
            let marks = [("+", &change.added, "added"), ("=", &change.kept, "kept"), ("-", &change.expired, "expired")];
            let stays = |address| format!("  ~ {address} not in the answer, stays{}\n", until(address));
            text.extend(change.lingering.iter().map(stays));
            for (mark, addresses, word) in marks {
                text.extend(addresses.iter().map(|address| format!("  {mark} {address}{} {word}\n", ttl(address))));
            }
            if !change.dropped.is_empty() {
                let dropped = count(change.dropped.len(), "address");
                text.push_str(&format!("  - {dropped} dropped, the oldest: more than `resolve.max-gathered`\n"));
            }
            text.extend(change.refused.iter().map(|(address, why)| format!("  ! {address} refused: {why}\n")));
            text.extend(change.too_many.iter().map(|number| {
                let addresses = count(*number, "address");
                format!("  ! {addresses} in one answer, refused; `resolve.max-addresses` permits more\n")
            }));
        }
        text
    }

    /// Whether any name got an answer.
    pub(crate) fn has_answers(&self) -> bool {
        self.summary.values().any(Change::answered)
    }

    /// Fails if DNS gave no address in this run for a name that a flow requires.
    pub(crate) fn check_required(&self, loaded: &LoadedPolicy) -> Result<(), Failure> {
        let Self { summary, new, now, offline, path, silent, .. } = self;
        let names = loaded.intent.names();
        let required = names.iter().filter(|(_, optional)| !**optional).map(|(name, _)| *name);
        let without = |name: &DomainName| match offline {
            true => new.addresses(name).next().is_none(),
            false => !summary.get(name).is_some_and(Change::answered),
        };
        let missing: Vec<&DomainName> = required.filter(|name| without(name)).collect();
        if missing.is_empty() {
            return Ok(());
        }
        if *offline {
            let names: Vec<String> = missing.iter().map(|name| format!("  {name}")).collect();
            let error = anyhow!(
                "{} without an address in `{}`, and DNS was not asked:\n{}\n`{}` asks for them",
                count(missing.len(), "name"),
                shown(path),
                names.join("\n"),
                hint::again("resolve", &["offline", "format"]),
            );
            return Err(Failure::unresolved(missing.into_iter().cloned().collect(), error));
        }
        if let Some(servers) = silent {
            let message = unreachable::message(servers, &missing, self);
            return Err(Failure::unresolved(missing.into_iter().cloned().collect(), anyhow!("{message}")));
        }
        let lines: Vec<String> = missing
            .iter()
            .map(|name| match summary.get(*name) {
                Some(change) if !change.lingering.is_empty() => {
                    format!("  {name}: {}; {}", outcome(change), age(name, change, new, *now))
                }
                Some(change) => {
                    format!("  {name}: {}; no address is known, so the policy does not compile", outcome(change))
                }
                None => format!("  {name}"),
            })
            .collect();
        let error = anyhow!(
            "{} could not be resolved; the addresses in `{}` stay:\n{}",
            count(missing.len(), "name"),
            shown(path),
            lines.join("\n"),
        );
        Err(Failure::unresolved(missing.into_iter().cloned().collect(), error))
    }
}

/// How old the addresses of a name are, and when they go stale.
fn age(name: &DomainName, change: &Change, new: &Resolution, now: Timestamp) -> String {
    let newest =
        new.names.get(name).into_iter().flat_map(|record| record.addresses.values()).map(|seen| seen.last).max();
    let Some(newest) = newest else { return "no address is known".to_owned() };
    let age = duration(now.duration_since(newest));
    let stale = change
        .stale_at
        .map_or_else(String::new, |stale| format!(", stale at {stale} (in {})", duration(stale.duration_since(now))));
    let staying = change.lingering.len();
    format!("{} {}, seen {age} ago{stale}", count(staying, "address"), for_number(staying, "stays", "stay"))
}

/// What DNS answered for a name, both families in one line.
fn outcome(change: &Change) -> String {
    let word = |reply: &Reply| match reply {
        Reply::Addresses { addresses, .. } => count(addresses.len(), "address"),
        Reply::NoData => "no data".to_owned(),
        Reply::NxDomain => "no such name".to_owned(),
        Reply::ServFail => "the server failed".to_owned(),
        Reply::Refused => "the server refused".to_owned(),
        Reply::Timeout => "no answer in time".to_owned(),
        Reply::Truncated => "a truncated answer".to_owned(),
        Reply::Loop => "a loop of names".to_owned(),
        Reply::Broken(why) => format!("an invalid answer ({why})"),
    };
    let key = |family: &Family| if *family == Family::V4 { "A" } else { "AAAA" };
    let words: Vec<String> =
        change.replies.iter().map(|(family, reply)| format!("{} {}", key(family), word(reply))).collect();
    words.join(", ")
}
