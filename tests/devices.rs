//! `edgeward routes` in the syntaxes of devices: the real `ip`, FRR and BIRD read what is written for them.

#![allow(clippy::unwrap_used, clippy::panic, clippy::print_stderr)]
#![allow(clippy::disallowed_methods, clippy::disallowed_types)]

#[macro_use]
mod support;

#[path = "devices/bgp.rs"]
mod bgp;
#[path = "devices/check.rs"]
mod check;
#[path = "devices/formats.rs"]
mod formats;
#[path = "devices/routers.rs"]
mod routers;
#[path = "devices/terraform.rs"]
mod terraform;

use std::fs;
use std::path::PathBuf;
use std::process::{Command, Output};

use tempfile::TempDir;

/// A policy of the repository in a folder of its own, with its lockfile and another end.
struct Site {
    folder: TempDir,
}

/// What the examples do not have.
const PATH: &str = "path:\n  hosts: {asn: 65010}\n  core-switch: {next-hop: 10.255.0.2, next-hop-v6: \"fd00:ff::2\", asn: 65001}\n  \
                    vbr: {cloud-ip: 10.255.0.2, idc-ip: 10.255.0.1, asn: 45104}\n";

impl Site {
    fn new(policy: &str, more: &str) -> Self {
        let folder = tempfile::tempdir().unwrap();
        let text = fs::read_to_string(format!("policies/{policy}.yaml")).unwrap();
        fs::write(folder.path().join("policy.yaml"), text + more).unwrap();
        fs::copy(format!("policies/{policy}.lock.yaml"), folder.path().join("policy.lock.yaml")).unwrap();
        Self { folder }
    }

    /// A site with both families on the line.
    fn dual_stack(policy: &str, more: &str) -> Self {
        let site = Self::new(policy, more);
        site.replace("vpc: [192.168.0.0/16]", "vpc: [192.168.0.0/16, \"fd00:1::/48\"]");
        site.replace("hosts: [10.0.0.0/8]", "hosts: [10.0.0.0/8, \"fd00:10::/64\"]");
        site
    }

    fn policy(&self) -> PathBuf {
        self.folder.path().join("policy.yaml")
    }

    fn replace(&self, from: &str, to: &str) {
        let text = fs::read_to_string(self.policy()).unwrap();
        assert!(text.contains(from), "{text}");
        fs::write(self.policy(), text.replace(from, to)).unwrap();
    }

    fn run(&self, verb: &str, arguments: &[&str]) -> Output {
        let mut command = Command::new(env!("CARGO_BIN_EXE_edgeward"));
        command.arg(verb).arg(self.policy()).args(arguments).env("NO_COLOR", "1").output().unwrap()
    }

    #[track_caller]
    fn print(&self, verb: &str, arguments: &[&str]) -> String {
        let output = self.run(verb, arguments);
        assert!(output.status.success(), "{output:?}");
        String::from_utf8(output.stdout).unwrap()
    }

    /// The routes in the syntax of a device, and what takes them away.
    #[track_caller]
    fn device(&self, format: &str) -> (String, String) {
        let written = |more: &[&str]| self.print("routes", &[&["--format", format], more].concat());
        (written(&[]), written(&["--undo"]))
    }

    /// The destinations of the core switch, without those that are taken for given, in order.
    fn destinations(&self) -> Vec<String> {
        let text = self.print("routes", &["--format", "json", "--element", "core-switch"]);
        let document: serde_json::Value = serde_json::from_str(&text).unwrap();
        let routes = document["elements"][0]["routes"].as_array().unwrap();
        let own = routes.iter().filter(|route| route["standing"] == false);
        let mut prefixes: Vec<String> = own.map(|route| route["prefix"].as_str().unwrap().to_owned()).collect();
        prefixes.sort();
        prefixes
    }
}
