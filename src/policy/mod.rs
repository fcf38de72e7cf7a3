//! The policy file: its syntax, and what it means.

mod check;
mod cloud;
mod dead;
mod flows;
mod notes;
pub mod path;
mod resolve;
mod scalars;
pub mod syntax;
mod zones;

pub use check::{check, site};
pub use cloud::check_answers;
pub use zones::{addresses, zone};

use crate::catalog::Catalog;
use crate::diag::Problems;
use crate::intent::{Declared, Intent};
use crate::site::{ClusterKind, Connection, Target};
use crate::source::{Source, Spanned};
use crate::yaml::{Decode, Json, Node, Value, read_as};

/// Fields of which a text that is meant as a policy has one.
const FIELDS: [&str; 6] = ["version", "region", "connection", "cni", "networks", "allow"];

/// Reads a policy; every syntax problem is recorded.
pub fn parse(source: &Source, problems: &mut Problems) -> Option<syntax::Policy> {
    let node = read_as("a policy", &FIELDS, source, problems)?;
    syntax::Policy::decode(&node, problems)
}

/// Reads and checks a policy. Every problem is recorded, also those of the valid parts of a policy with errors elsewhere.
pub fn load(
    source: &Source,
    catalog: &Catalog,
    target: Option<Target>,
    problems: &mut Problems,
) -> Option<(syntax::Policy, Intent<Declared>)> {
    load_with(source, catalog, target, &mut |_, _| Err("files are not read here".to_owned()), problems)
}

/// As [`load`], with a function that reads files with peers ([`syntax::Policy::read_lists`]).
pub fn load_with(
    source: &Source,
    catalog: &Catalog,
    target: Option<Target>,
    lists: &mut dyn FnMut(&str, &str) -> Result<syntax::PeersList, String>,
    problems: &mut Problems,
) -> Option<(syntax::Policy, Intent<Declared>)> {
    let node = read_as("a policy", &FIELDS, source, problems)?;
    match syntax::Policy::decode(&node, problems) {
        Some(mut policy) => {
            policy.read_lists(lists, problems);
            check(&policy, catalog, target, problems).map(|intent| (policy, intent))
        }
        None => {
            // A policy as `init` prints it lacks what has no default, and everything else can be checked.
            let filled = without_blanks(&node);
            match filled.and_then(|filled| syntax::Policy::decode(&filled, &mut Problems::default())) {
                Some(policy) => drop(check(&policy, catalog, target, problems)),
                None => check_valid_parts(&node, catalog, problems),
            }
            None
        }
    }
}

/// Values for the fields of `cluster` that have no default. No check depends on them.
const BLANKS: [(&str, &str); 2] = [("version", "1.99"), ("api-server", "blank.invalid")];

/// A policy in which the fields that are written without a value have one; `None` if none is blank.
fn without_blanks(policy: &Node) -> Option<Node> {
    let mut filled = policy.clone();
    let Value::Mapping(sections) = &mut filled.value else { return None };
    let (_, cluster) = sections.iter_mut().find(|(key, _)| key.value == "cluster")?;
    let Value::Mapping(fields) = &mut cluster.value else { return None };
    let mut is_filled = false;
    for (key, node) in fields.iter_mut().filter(|(_, node)| node.is_null()) {
        if let Some((_, value)) = BLANKS.iter().find(|(name, _)| *name == key.value) {
            node.value = Value::Scalar { text: (*value).to_owned(), plain: false };
            is_filled = true;
        }
    }
    is_filled.then_some(filled)
}

/// The checks across fields that need only the fields that they compare.
fn check_valid_parts(policy: &Node, catalog: &Catalog, problems: &mut Problems) {
    fn valid<T: Decode>(node: &Node, path: &[&str]) -> Option<T> {
        path.iter().try_fold(node, |node, name| node.field(name)).and_then(T::salvage)
    }
    if let Some(region) = valid::<Spanned<String>>(policy, &["region"]) {
        check::find_region(&region, catalog, problems);
    }
    let cluster = valid::<ClusterKind>(policy, &["cluster", "kind"]);
    let connection = valid::<Spanned<Connection>>(policy, &["connection"]);
    let cni = valid::<Spanned<String>>(policy, &["cni"]);
    if let (Some(cluster), Some(connection), Some(cni)) = (cluster, connection, cni) {
        check::check_offer(cluster, connection, &cni, catalog, problems);
    }
    if let (Some(networks), Some(cluster)) = (valid(policy, &["networks"]), cluster) {
        check::check_networks(&networks, cluster, problems);
    }
    if let Some(Value::Sequence(rows)) = policy.field("allow").map(|node| &node.value) {
        // Only rows that decode: a list whose invalid items were dropped must not be reported as empty.
        let rows: Vec<syntax::Allow> =
            rows.iter().filter_map(|row| syntax::Allow::decode(row, &mut Problems::default())).collect();
        check::check_allow(&rows, catalog, problems);
    }
}

/// The JSON Schema of the policy file, from the types that decode it; it lists the CNIs of a catalog.
pub fn schema(catalog: &Catalog) -> schemars::Schema {
    let mut schema = schemars::schema_for!(syntax::Policy);
    schema.insert("title".to_owned(), "edgeward policy".into());
    if let Some(cni) = schema.pointer_mut("/properties/cni").and_then(Json::as_object_mut) {
        cni.insert("enum".to_owned(), catalog.cni_ids().into());
    }
    schema
}
