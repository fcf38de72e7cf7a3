//! Commands that messages tell the user to run: they can be pasted, and work with the state folder, the lockfile, the
//! catalog and the target of the run that printed them.

use std::process::Command;

use super::host::{ELSEWHERE, Host, OFFICE, Run, policy, zone};
use super::refreshes::serve;

/// The options of every run here: nothing is where it is by default, and every name needs quotes.
const OPTIONS: &str = "--state-dir 'the state' --catalog 'the $catalog'";
const INPUTS: &str = "'my site.yaml' --lock \"it's locked.yaml\" --target edge-host";

/// A host whose files have names with spaces.
struct Site(Host);

impl Site {
    fn new() -> Self {
        let host = Host::new();
        host.write_catalog("the $catalog", "vips: [100.118.28.0/24, ", "vips: [100.118.28.0/24, 100.99.77.0/24, ");
        host.write("my site.yaml", &policy(OFFICE));
        host.write("it's locked.yaml", &host.read("policy.lock.yaml"));
        for gone in ["policy.yaml", "policy.lock.yaml", "other.yaml", "other.lock.yaml"] {
            std::fs::remove_file(host.path(gone)).unwrap();
        }
        Self(host)
    }

    /// Runs a line as a user types it.
    fn shell(&self, line: &str) -> Run {
        let script = format!("edgeward() {{ \"$EDGEWARD\" \"$@\"; }}\n{line}");
        let mut command = Command::new("timeout");
        command.args(["--kill-after=1", "60", "bash", "-uc", &script]).current_dir(self.0.folder.path());
        command.env("EDGEWARD", env!("CARGO_BIN_EXE_edgeward")).env("NO_COLOR", "1").env_remove("SSH_CONNECTION");
        self.0.run(&mut command)
    }

    /// Runs a verb with the options of the site, and what follows.
    fn verb(&self, line: &str) -> Run {
        self.shell(&format!("edgeward {line} {OPTIONS}"))
    }

    /// The command of a message that begins like this; nothing else may be needed to run it.
    #[track_caller]
    fn hint(&self, run: &Run, start: &str) -> String {
        let found = commands(run).into_iter().find(|command| command.starts_with(start));
        found.unwrap_or_else(|| panic!("no `{start} …` in:\n{}", run.said()))
    }

    /// Runs the command of a message that begins like this.
    #[track_caller]
    fn paste(&self, run: &Run, start: &str) -> Run {
        self.shell(&self.hint(run, start))
    }
}

/// The commands that a message quotes, each on one line.
fn commands(run: &Run) -> Vec<String> {
    let said = run.said().replace('\n', " ");
    let quoted = said.split('`').skip(1).step_by(2);
    quoted.filter(|text| text.starts_with("edgeward ") || text.starts_with("cp ")).map(str::to_owned).collect()
}

#[test]
fn commands_of_messages_can_be_pasted() {
    need_namespaces!();
    let site = Site::new();
    let host = &site.0;
    // Nothing is in force yet.
    let nothing = site.verb("status --check").ends(1);
    assert!(site.hint(&nothing, "edgeward apply").contains("--state-dir 'the state'"), "{nothing:?}");
    site.verb(&format!("refresh {INPUTS}")).ends(2).says(&["edgeward apply --resolve 'my site.yaml'"]);
    // The plan, the change, and its confirmation.
    let plan = site.verb(&format!("apply {INPUTS} --dry-run")).ends(0);
    let applied = site.paste(&plan, "edgeward apply").ends(0);
    assert!(host.rules().contains("100.99.77.0/24"), "the catalog of the run");
    site.paste(&applied, "edgeward confirm").ends(0).says(&["generation 1 is confirmed"]);
    let confirmed = site.verb("confirm").ends(0);
    site.paste(&confirmed, "edgeward status").ends(0).says(&["generation 1 is in force"]);
    site.verb("status --check").ends(0);
    // An edited policy.
    host.write("my site.yaml", &policy(ELSEWHERE));
    let check = site.verb("status --check").ends(1);
    site.hint(&check, "cp ");
    let server = serve(host, zone(&["203.0.113.7"]));
    let address = server.address();
    let refreshed = site.verb(&format!("refresh {INPUTS} --server {address}")).ends(0);
    let applied = site.hint(&refreshed, "edgeward apply").replace("--resolve", "");
    let applied = site.shell(&applied).ends(0);
    assert!(host.lets_in(ELSEWHERE));
    // It is pending, and undone.
    let refused = site.verb(&format!("apply {INPUTS}")).ends(5);
    site.hint(&refused, "edgeward confirm");
    site.paste(&refused, "edgeward rollback").ends(0);
    site.paste(&applied, "edgeward confirm").ends(5);
    assert!(host.lets_in(OFFICE));
    let refused = site.verb(&format!("apply {INPUTS} -m 'try again'")).ends(5);
    let again = site.paste(&refused, "edgeward apply").ends(0);
    site.paste(&refused, "edgeward confirm").ends(0);
    assert!(host.lets_in(ELSEWHERE));
    drop(again);
    site.verb("history").ends(0).says(&["message: try again"]);
    // Going back.
    let plan = site.verb("rollback --dry-run -m \"it's bad\"").ends(0);
    let back = site.paste(&plan, "edgeward rollback").ends(0);
    assert!(host.lets_in(OFFICE));
    site.verb("history --limit 1").ends(0).says(&["message: it's bad"]);
    site.paste(&back, "cp ").ends(0);
    assert_eq!(host.read("my site.yaml"), policy(OFFICE));
    site.verb("status --check").ends(0);
    let history = site.verb("rollback").ends(2);
    site.paste(&history, "edgeward history").ends(0).says(&["generation 1"]);
    let history = site.verb("rollback 99").ends(2);
    site.paste(&history, "edgeward history").ends(0).says(&["generation 1"]);
    let history = site.verb("history 99").ends(2);
    site.paste(&history, "edgeward history").ends(0).says(&["generation 1"]);
    // Rules of others, and no rules.
    host.nft("insert rule inet edgeward input tcp dport 4444 accept");
    let changed = site.verb("status --check").ends(1);
    site.paste(&changed, "edgeward diff").ends(1).says(&["the ruleset was edited by hand"]);
    host.nft("insert rule inet edgeward input meta skuid 4711 accept");
    let unreadable = site.verb("status --check").ends(1);
    site.paste(&unreadable, "edgeward diff").ends(4).says(&["skuid"]);
    let refused = site.verb(&format!("apply {INPUTS}")).ends(4);
    site.paste(&refused, "edgeward apply").ends(0);
    host.nft("flush ruleset");
    let gone = site.verb("status --check").ends(1);
    site.paste(&gone, "edgeward boot").ends(0);
    assert!(host.lets_in(OFFICE));
    // Names without addresses.
    host.write("it's locked.yaml", "version: 1\nnames: []\n");
    let unresolved = site.verb(&format!("apply {INPUTS}")).ends(3);
    let resolve = site.hint(&unresolved, "edgeward resolve");
    server.mute(true);
    site.shell(&format!("{resolve} --server {address}")).ends(3).says(&["no DNS server answered"]);
    let offline = site.shell("edgeward resolve 'my site.yaml' --lock \"it's locked.yaml\" --offline");
    assert_eq!(
        site.hint(&offline.ends(3), "edgeward resolve"),
        "edgeward resolve 'my site.yaml' --lock 'it'\\''s locked.yaml'"
    );
}
