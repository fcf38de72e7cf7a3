//! The message where DNS cannot be reached: one line for each server, and not one for each name.

use jiff::Timestamp;

use super::LockfileUpdate;
use crate::diag::shown;
use crate::host::dns::SilentServer;
use crate::net::DomainName;
use crate::report::duration;
use crate::wording::count;

/// No server answered: each server, and what is known of the names that are required.
pub(super) fn message(servers: &[SilentServer], names: &[&DomainName], update: &LockfileUpdate) -> String {
    let mut lines = vec!["no DNS server answered:".to_owned()];
    lines.extend(servers.iter().map(|SilentServer { address, error }| {
        let error = error.as_deref().unwrap_or("no answer in time");
        // An error of the socket names the server itself.
        let prefix = format!("{address}: ");
        format!("  {prefix}{}", error.strip_prefix(&prefix).unwrap_or(error))
    }));
    lines.push(
        "check that these servers answer (`dig @ADDRESS NAME`); `--server ADDRESS` asks another one, and `dns.servers` of \
         the policy names those that are always asked"
            .to_owned(),
    );
    let newest = |name: &DomainName| -> Option<Timestamp> {
        update.new.names.get(name)?.addresses.values().map(|seen| seen.last).max()
    };
    let (known, unknown): (Vec<&DomainName>, Vec<&DomainName>) =
        names.iter().copied().partition(|name| newest(name).is_some());
    let oldest = known.iter().filter_map(|name| newest(name)).min();
    if let Some(oldest) = oldest {
        let age = duration(update.now.duration_since(oldest));
        let stale_at = known.iter().filter_map(|name| update.summary.get(*name)?.stale_at).min();
        let stale = stale_at.map_or_else(String::new, |stale| {
            format!(", stale at {stale} (in {})", duration(stale.duration_since(update.now)))
        });
        let (names, path) = (count(known.len(), "name"), shown(&update.path));
        lines.push(format!("the addresses of {names} in `{path}` stay, the oldest seen {age} ago{stale}"));
    }
    if let Some(first) = unknown.first() {
        let what = match unknown.len() {
            1 => format!("{first} has no known address"),
            all => format!("{first} and {} have no known address", count(all - 1, "other name")),
        };
        lines.push(format!("{what}, so the policy does not compile"));
    }
    lines.join("\n")
}
