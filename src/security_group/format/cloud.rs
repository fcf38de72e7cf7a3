//! The rules for tools of the cloud: Terraform, and the Alibaba Cloud CLI.

use serde_json::{Map, Value, json};

use super::{GroupRules, ports};
use crate::diag::quoted;
use crate::net::Family;
use crate::security_group::rule::{Rule, Way};

/// The variable that stands for the id of the group where the policy does not give it.
const VARIABLE: &str = "security_group_id";
/// The same in a shell.
const SHELL_VARIABLE: &str = "SECURITY_GROUP_ID";
/// What it says.
const ASK: &str = "the id of the security group, which `path.vpc.security-group` of the policy would give";

impl GroupRules<'_> {
    fn id(&self) -> Option<&str> {
        self.policy.path.vpc.security_group.as_ref().map(|id| id.0.as_str())
    }

    /// The rules as Terraform's JSON: a resource of the provider `aliyun/alicloud` for each. Without the id of the group
    /// it has a variable for it.
    ///
    /// # Errors
    /// Never, unless the serializer has a mistake.
    pub fn terraform(&self) -> Result<String, serde_json::Error> {
        let id = self.id().map_or_else(|| format!("${{var.{VARIABLE}}}"), str::to_owned);
        let resources: Map<String, Value> = self
            .group
            .rules
            .iter()
            .map(|derived| {
                let rule = &derived.rule;
                let cidr = if rule.family() == Family::V4 { "cidr_ip" } else { "ipv6_cidr_ip" };
                let resource = json!({
                    "security_group_id": id,
                    "type": rule.way.word(),
                    "ip_protocol": rule.protocol.word(),
                    "port_range": ports(derived),
                    cidr: rule.cidr(),
                    "policy": rule.permission.word(),
                    "priority": rule.priority,
                    "nic_type": "intranet",
                    "description": self.description(derived),
                });
                (label(rule), resource)
            })
            .collect();
        let mut document = Map::new();
        if self.id().is_none() {
            document.insert("variable".to_owned(), json!({VARIABLE: {"type": "string", "description": ASK}}));
        }
        if !resources.is_empty() {
            document.insert("resource".to_owned(), json!({"alicloud_security_group_rule": resources}));
        }
        Ok(serde_json::to_string_pretty(&document)? + "\n")
    }

    /// The rules as a shell script of the Alibaba Cloud CLI: a command for each. The API takes a rule that is there
    /// already for added.
    pub fn aliyun_cli(&self) -> String {
        let mut script = "#!/bin/sh\nset -eu\n".to_owned();
        let id = match self.id() {
            Some(id) => quoted(id).into_owned(),
            None => {
                script.push_str(&format!(": \"${{{SHELL_VARIABLE}:?{}}}\"\n", ASK.replace('`', "")));
                format!("\"${SHELL_VARIABLE}\"")
            }
        };
        for derived in &self.group.rules {
            let rule = &derived.rule;
            let (operation, end) = match rule.way {
                Way::Egress => ("AuthorizeSecurityGroupEgress", "Dest"),
                Way::Ingress => ("AuthorizeSecurityGroup", "Source"),
            };
            let cidr = if rule.family() == Family::V4 { format!("{end}CidrIp") } else { format!("Ipv6{end}CidrIp") };
            let parameters = [
                ("IpProtocol", rule.protocol.word().to_uppercase()),
                ("PortRange", ports(derived)),
                (&cidr, rule.cidr()),
                ("Policy", rule.permission.word().to_owned()),
                ("Priority", rule.priority.to_string()),
                ("Description", self.description(derived)),
            ];
            let region = quoted(&self.policy.region.value);
            script.push_str(&format!("aliyun ecs {operation} --RegionId {region} --SecurityGroupId {id}"));
            for (name, value) in &parameters {
                script.push_str(&format!(" \\\n  --Permissions.1.{name} {}", quoted(value)));
            }
            script.push('\n');
        }
        script
    }
}

/// A name for the resource of a rule: letters, digits and `_`, the same for the same rule.
fn label(rule: &Rule) -> String {
    let ports = rule.ports.map_or_else(String::new, |(first, last)| format!("_{first}_{last}"));
    let address = rule.cidr().replace(|c: char| !c.is_ascii_alphanumeric(), "_");
    format!("edgeward_{}_{}{ports}_{address}", rule.way, rule.protocol)
}
