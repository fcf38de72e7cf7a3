//! The routes of the cloud's devices as resources of the Terraform provider aliyun/alicloud, in Terraform's JSON syntax.
//!
//! An id that the policy does not give is a variable without default: Terraform asks for it. Routes for which the provider
//! has no resource, since the devices learn them from each other, are listed in the comment at the top.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::{Map, Value, json};

use super::device::{WrongDevice, safe};
use super::fields::described;
use super::people::flows;
use super::{RouteList, destination};
use crate::catalog::{Element, RouteDirection};
use crate::net::PrefixSet;
use crate::path::demand::Line;
use crate::path::table::Route;
use crate::policy::path::{CloudId, TransitKind};
use crate::policy::syntax::Policy;

/// The longest description of a route in characters; the API takes a few more.
const MAX_DESCRIPTION: usize = 250;

/// What a file has.
struct File<'a> {
    policy: &'a Policy,
    /// The name of each route, which says whose it is.
    tag: String,
    /// Names and descriptions.
    variables: BTreeMap<String, String>,
    /// By type, then by name.
    resources: BTreeMap<&'static str, Map<String, Value>>,
    /// The last entry of each table: the API makes no two of one table at once.
    last: BTreeMap<Element, String>,
    /// What an ECR passes on from the VPC.
    passed_on: Vec<String>,
    /// Routes without a resource, by what is said of them.
    learned: BTreeMap<String, Vec<String>>,
}

impl RouteList<'_> {
    /// The routes of VBR, transit and VPC as a module of Terraform.
    ///
    /// # Errors
    /// The core switch is chosen, which is not the cloud's.
    pub fn terraform(&self, policy: &Policy) -> Result<String, WrongDevice> {
        if self.element == Some(Element::CoreSwitch) {
            let takes = "the cloud's devices";
            return Err(WrongDevice { format: "terraform", takes, element: Element::CoreSwitch });
        }
        let mut file = File::new(policy, self.policy);
        for table in self.tables().filter(|table| table.element != Element::CoreSwitch) {
            for route in table.routes.iter().filter(|route| !route.row.standing) {
                file.add(table.element, route);
            }
        }
        file.pass_on();
        Ok(format!("{:#}\n", file.document(self)))
    }
}

impl<'a> File<'a> {
    fn new(policy: &'a Policy, name: &str) -> Self {
        let (variables, resources, last, learned) = Default::default();
        Self { policy, tag: format!("edgeward-{name}"), variables, resources, last, passed_on: Vec::new(), learned }
    }

    fn add(&mut self, element: Element, route: &Route<'_>) {
        use RouteDirection::{Down, Up};
        let (path, kind) = (&self.policy.path, self.policy.path.transit.kind);
        let (vbr, transit, vpc) = (&path.vbr, &path.transit, &path.vpc);
        match (element, route.direction, kind) {
            (Element::CoreSwitch, ..) => {}
            (Element::Vbr, Down, _) => {
                let interface = self.interface("vbr_to_data_centre", "the VBR's interface to the data centre");
                let table = self.id(&vbr.route_table, "path.vbr.route-table");
                self.entry(element, route, table, "RouterInterface", interface);
            }
            (Element::Vbr, Up, TransitKind::Direct) => {
                let interface = self.interface("vbr_to_vpc", "the VBR's router interface to the VPC");
                let table = self.id(&vbr.route_table, "path.vbr.route-table");
                self.entry(element, route, table, "RouterInterface", interface);
            }
            (Element::Transit, Up, TransitKind::Ecr) => self.passed_on.push(destination(route)),
            (Element::Transit, Up, TransitKind::Cen) => {
                let attachment = self.id(&transit.vpc_attachment, "path.transit.vpc-attachment");
                self.transit_entry(route, attachment);
            }
            (Element::Transit, Down, TransitKind::Cen) => {
                let attachment = self.id(&transit.vbr_attachment, "path.transit.vbr-attachment");
                self.transit_entry(route, attachment);
            }
            (Element::Transit, Up, TransitKind::CenBasic) if !self.is_of_vpc(route) => self.service(route),
            (Element::Vpc, _, TransitKind::Ecr) => {
                let association = self.id(&transit.vpc_association, "path.transit.vpc-association");
                let table = self.id(&vpc.route_table, "path.vpc.route-table");
                self.entry(element, route, table, "Ecr", association);
            }
            (Element::Vpc, _, TransitKind::Cen) => {
                let attachment = self.id(&transit.vpc_attachment, "path.transit.vpc-attachment");
                let table = self.id(&vpc.route_table, "path.vpc.route-table");
                self.entry(element, route, table, "Attachment", attachment);
            }
            (Element::Vpc, _, TransitKind::Direct) => {
                let interface = self.interface("vpc_to_vbr", "the VPC's router interface to the VBR");
                let table = self.id(&vpc.route_table, "path.vpc.route-table");
                self.entry(element, route, table, "RouterInterface", interface);
            }
            (Element::Vpc, _, TransitKind::Vpn) => {
                let gateway = self.id(&transit.id, "path.transit.id");
                let table = self.id(&vpc.route_table, "path.vpc.route-table");
                self.entry(element, route, table, "VpnGateway", gateway);
            }
            // What is attached to an ECR or a CEN learns the routes of the others.
            (_, direction, _) => {
                let from = if direction == Up { "the VPC" } else { "the VBR" };
                let what = format!("{element} learns these from {from}, by its attachments");
                self.learned.entry(what).or_default().push(destination(route));
            }
        }
    }

    fn is_of_vpc(&self, route: &Route<'_>) -> bool {
        PrefixSet::from_iter([route.prefix]).is_subset(&Line::of(self.policy).vpc)
    }

    /// The id of a resource, or a variable for it.
    fn id(&mut self, id: &Option<CloudId>, field: &str) -> String {
        match id {
            Some(id) => id.0.clone(),
            None => self.variable(&field.replace(['.', '-'], "_"), described(field)),
        }
    }

    /// A router interface, which no field of the policy has.
    fn interface(&mut self, name: &str, what: &str) -> String {
        self.variable(name, format!("The id of {what}: ri-..."))
    }

    fn variable(&mut self, name: &str, description: String) -> String {
        self.variables.insert(name.to_owned(), description);
        format!("${{var.{name}}}")
    }

    /// Adds an entry of a table after the one before.
    fn chained(&mut self, element: Element, kind: &'static str, route: &Route<'_>, mut arguments: Value) {
        let plain = |c: char| if c.is_ascii_alphanumeric() { c } else { '_' };
        let words = [element.word(), route.direction.word(), &destination(route)];
        let name: String = words.join("_").chars().map(plain).collect();
        if let Some(before) = self.last.insert(element, format!("{kind}.{name}")) {
            arguments["depends_on"] = json!([before]);
        }
        self.resources.entry(kind).or_default().insert(name, arguments);
    }

    fn entry(&mut self, element: Element, route: &Route<'_>, table: String, hop: &str, id: String) {
        let arguments = json!({
            "route_table_id": table,
            "destination_cidrblock": destination(route),
            "nexthop_type": hop,
            "nexthop_id": id,
            "name": self.tag,
            "description": description(route),
        });
        self.chained(element, "alicloud_route_entry", route, arguments);
    }

    fn transit_entry(&mut self, route: &Route<'_>, attachment: String) {
        let table = self.id(&self.policy.path.transit.route_table, "path.transit.route-table");
        let arguments = json!({
            "transit_router_route_table_id": table,
            "transit_router_route_entry_destination_cidr_block": destination(route),
            "transit_router_route_entry_next_hop_type": "Attachment",
            "transit_router_route_entry_next_hop_id": attachment,
            "transit_router_route_entry_name": self.tag,
            "transit_router_route_entry_description": description(route),
        });
        self.chained(Element::Transit, "alicloud_cen_transit_router_route_entry", route, arguments);
    }

    /// A service of the cloud that a CEN without transit router makes reachable.
    fn service(&mut self, route: &Route<'_>) {
        let region = &self.policy.region.value;
        let cen = self.id(&self.policy.path.transit.id, "path.transit.id");
        let vpc = self.id(&self.policy.path.vpc.id, "path.vpc.id");
        let arguments = json!({
            "cen_id": cen,
            "access_region_id": region,
            "host": destination(route),
            "host_region_id": region,
            "host_vpc_id": vpc,
            "description": description(route),
        });
        self.chained(Element::Transit, "alicloud_cen_route_service", route, arguments);
    }

    /// What an ECR passes on from the VPC is an argument of their association.
    fn pass_on(&mut self) {
        if self.passed_on.is_empty() {
            return;
        }
        let ecr = self.id(&self.policy.path.transit.id, "path.transit.id");
        let vpc = self.id(&self.policy.path.vpc.id, "path.vpc.id");
        let arguments = json!({
            "ecr_id": ecr,
            "vpc_id": vpc,
            "association_region_id": self.policy.region.value,
            "allowed_prefixes": self.passed_on,
        });
        let kind = self.resources.entry("alicloud_express_connect_router_vpc_association").or_default();
        kind.insert("transit_up".to_owned(), arguments);
    }

    fn document(self, list: &RouteList<'_>) -> Value {
        let mut notes = vec![format!(
            "Routes for the policy {}, scope {}. `terraform destroy` takes them away.",
            list.policy,
            list.plan.scope.word()
        )];
        if self.resources.contains_key("alicloud_express_connect_router_vpc_association") {
            notes
                .push("Import the association of ECR and VPC if it exists, or Terraform makes another one.".to_owned());
        }
        notes.extend(self.learned.iter().map(|(what, prefixes)| format!("{what}: {}.", prefixes.join(", "))));
        // Those of the core switch are not for Terraform.
        let devices = list.tables().map(|table| table.element).filter(|element| *element != Element::CoreSwitch);
        for element in devices {
            notes.extend(RouteList { element: Some(element), ..*list }.notes());
        }
        if list.plan.tables.is_empty() {
            notes.extend(list.notes());
        }
        let mut seen = BTreeSet::new();
        notes.retain(|note| seen.insert(note.clone()));
        let notes: Vec<String> = notes.iter().map(|note| safe(note)).collect();
        let mut document = json!({
            "//": notes,
            "terraform": {"required_providers": {"alicloud": {"source": "aliyun/alicloud"}}},
        });
        if !self.variables.is_empty() {
            let variable = |(name, description)| (name, json!({"type": "string", "description": description}));
            document["variable"] = self.variables.into_iter().map(variable).collect();
        }
        if !self.resources.is_empty() {
            document["resource"] =
                self.resources.into_iter().map(|(kind, all)| (kind.to_owned(), Value::Object(all))).collect();
        }
        document
    }
}

/// The flows of a route, with characters only that have no meaning in Terraform.
fn description(route: &Route<'_>) -> String {
    let text = if route.flows.is_empty() { "no flow yet".to_owned() } else { flows(route) };
    safe(&text).chars().take(MAX_DESCRIPTION).collect()
}
