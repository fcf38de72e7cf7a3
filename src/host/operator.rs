//! Who runs the program. It is recorded, and grants nothing.

#![expect(clippy::disallowed_methods, reason = "this is a module that may")]

use std::fmt;

use serde::{Deserialize, Serialize};

use super::{sessions, users};
use crate::diag::is_invisible;

/// A name from the environment is recorded up to so many characters.
const MAX_NAME: usize = 64;
/// The unit of a watcher that is a process of its own.
const WATCHER: &str = "watch";

/// The user, and how the user came to this host.
#[derive(Clone, Debug, Default, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "kebab-case", from = "Recorded")]
pub struct Operator {
    /// The user that runs the program.
    pub user: String,
    /// The user that called sudo.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub sudo_user: Option<String>,
    /// The address that the SSH session comes from.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub ssh_client: Option<String>,
    /// The unit of systemd that runs the program, or `watch` for the process that undoes a change at its deadline.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub unit: Option<String>,
}

/// An operator as records have one. Before version 3 of the state it was a text.
#[derive(Deserialize)]
#[serde(untagged)]
enum Recorded {
    Text(String),
    #[serde(rename_all = "kebab-case")]
    Fields {
        user: String,
        #[serde(default)]
        sudo_user: Option<String>,
        #[serde(default)]
        ssh_client: Option<String>,
        #[serde(default)]
        unit: Option<String>,
    },
}

impl From<Recorded> for Operator {
    fn from(recorded: Recorded) -> Self {
        match recorded {
            Recorded::Text(text) => match text.strip_suffix(" by sudo)").and_then(|text| text.split_once(" (")) {
                Some((user, before)) => {
                    Self { user: user.to_owned(), sudo_user: Some(before.to_owned()), ..Self::default() }
                }
                None => Self { user: text, ..Self::default() },
            },
            Recorded::Fields { user, sudo_user, ssh_client, unit } => Self { user, sudo_user, ssh_client, unit },
        }
    }
}

impl Operator {
    /// A user of whom only the name is known.
    pub fn named(user: impl Into<String>) -> Self {
        Self { user: user.into(), ..Self::default() }
    }

    /// Who runs this process.
    pub fn current() -> Self {
        let user = user();
        let sudo_user = std::env::var("SUDO_USER").ok().map(|name| bounded(&name));
        let sudo_user = sudo_user.filter(|before| !before.is_empty() && *before != user);
        let ssh_client = sessions::ssh_client();
        // A session's processes may be in the unit of sshd.
        let unit = if ssh_client.is_none() { unit() } else { None };
        Self { user, sudo_user, ssh_client, unit }
    }

    /// The watcher of a change. The session that it was started from may be that of another user.
    pub fn watcher() -> Self {
        Self { user: user(), unit: Some(unit().unwrap_or_else(|| WATCHER.to_owned())), ..Self::default() }
    }
}

impl fmt::Display for Operator {
    /// `root`, `root (alice by sudo, from 10.0.0.9)`, `root (edgeward-refresh.service)`.
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let Self { user, sudo_user, ssh_client, unit } = self;
        let parts = [
            sudo_user.as_ref().map(|before| format!("{before} by sudo")),
            ssh_client.as_ref().map(|address| format!("from {address}")),
            unit.clone(),
        ];
        let parts: Vec<String> = parts.into_iter().flatten().collect();
        match parts.is_empty() {
            true => f.write_str(user),
            false => write!(f, "{user} ({})", parts.join(", ")),
        }
    }
}

/// The name of the user that runs this process.
fn user() -> String {
    users::name(rustix::process::getuid().as_raw())
}

/// The service that this process belongs to, by its control group.
fn unit() -> Option<String> {
    let groups = std::fs::read_to_string("/proc/self/cgroup").ok()?;
    service(&groups).map(bounded)
}

/// The last service in the paths of control groups (cgroups(7)). A session of a user is a scope.
fn service(groups: &str) -> Option<&str> {
    let paths = groups.lines().filter_map(|line| line.splitn(3, ':').nth(2));
    paths.filter_map(|path| path.rsplit('/').next()).find(|name| name.ends_with(".service"))
}

/// A text of the environment as it is recorded.
fn bounded(text: &str) -> String {
    text.chars().filter(|c| !is_invisible(*c)).take(MAX_NAME).collect()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_operator_is_read_as_it_was_written() {
        let alice = Operator {
            sudo_user: Some("alice".to_owned()),
            ssh_client: Some("10.0.0.9".to_owned()),
            ..Operator::named("root")
        };
        let text = serde_json::to_string(&alice).unwrap();
        assert_eq!(text, r#"{"user":"root","sudo-user":"alice","ssh-client":"10.0.0.9"}"#);
        assert_eq!(serde_json::from_str::<Operator>(&text).unwrap(), alice);
        assert_eq!(alice.to_string(), "root (alice by sudo, from 10.0.0.9)");
        let timer = Operator { unit: Some("edgeward-refresh.service".to_owned()), ..Operator::named("root") };
        assert_eq!(timer.to_string(), "root (edgeward-refresh.service)");
        // As version 2 wrote them.
        let old = |text: &str| serde_json::from_str::<Operator>(&format!("{text:?}")).unwrap();
        assert_eq!(old("root"), Operator::named("root"));
        assert_eq!(old("root (alice by sudo)"), Operator { ssh_client: None, ..alice });
    }

    #[test]
    fn a_unit_is_a_service() {
        assert_eq!(service("0::/system.slice/edgeward-refresh.service\n"), Some("edgeward-refresh.service"));
        assert_eq!(service("12:pids:/x\n1:name=systemd:/system.slice/a.service\n"), Some("a.service"));
        assert_eq!(service("0::/user.slice/user-0.slice/session-3.scope\n"), None);
        assert_eq!(service(""), None);
    }
}
