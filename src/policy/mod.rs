//! The policy file: its syntax, and what it means.

mod check;
mod flows;
mod resolve;
pub mod syntax;
mod zones;

pub use check::check;

use crate::catalog::Catalog;
use crate::diag::Problems;
use crate::intent::{Declared, Intent};
use crate::site::{ClusterKind, Cni, Connection, Target};
use crate::source::{Source, Spanned};
use crate::yaml::{Decode, Node, read};

/// Reads a policy; every problem of its syntax is recorded.
pub fn parse(source: &Source, problems: &mut Problems) -> Option<syntax::Policy> {
    let node = read(source, problems)?;
    syntax::Policy::decode(&node, problems)
}

/// Reads and checks a policy; every problem is recorded, also those of the good parts of a policy that is wrong
/// elsewhere.
pub fn load(
    source: &Source,
    catalog: &Catalog,
    target: Option<Target>,
    problems: &mut Problems,
) -> Option<(syntax::Policy, Intent<Declared>)> {
    load_with(source, catalog, target, &mut |_, _| Err("files are not read here".to_owned()), problems)
}

/// As [`load`], with somebody who reads files with peers ([`syntax::Policy::read_lists`]).
pub fn load_with(
    source: &Source,
    catalog: &Catalog,
    target: Option<Target>,
    lists: &mut dyn FnMut(&str, &str) -> Result<syntax::PeersList, String>,
    problems: &mut Problems,
) -> Option<(syntax::Policy, Intent<Declared>)> {
    let node = read(source, problems)?;
    match syntax::Policy::decode(&node, problems) {
        Some(mut policy) => {
            policy.read_lists(lists, problems);
            check(&policy, catalog, target, problems).map(|intent| (policy, intent))
        }
        None => {
            check_good_parts(&node, catalog, problems);
            None
        }
    }
}

/// The checks across fields that need no more than the fields they compare.
fn check_good_parts(policy: &Node, catalog: &Catalog, problems: &mut Problems) {
    fn good<T: Decode>(node: &Node, path: &[&str]) -> Option<T> {
        path.iter().try_fold(node, |node, name| node.field(name)).and_then(T::salvage)
    }
    if let Some(region) = good::<Spanned<String>>(policy, &["region"]) {
        check::find_region(&region, catalog, problems);
    }
    let cluster = good::<ClusterKind>(policy, &["cluster", "kind"]);
    let connection = good::<Spanned<Connection>>(policy, &["connection"]);
    let cni = good::<Spanned<Cni>>(policy, &["cni"]);
    if let (Some(cluster), Some(connection), Some(cni)) = (cluster, connection, cni) {
        check::check_offer(cluster, connection, cni, catalog, problems);
    }
    if let (Some(networks), Some(cluster)) = (good(policy, &["networks"]), cluster) {
        check::check_networks(&networks, cluster, problems);
    }
    if let Some(crate::yaml::Value::Sequence(rows)) = policy.field("allow").map(|node| &node.value) {
        // Whole rows only: a list that lost its bad items is not empty.
        let rows: Vec<syntax::Allow> =
            rows.iter().filter_map(|row| syntax::Allow::decode(row, &mut Problems::default())).collect();
        check::check_allow(&rows, catalog, problems);
    }
}

/// The JSON Schema of the policy file, from the types that decode it.
pub fn schema() -> schemars::Schema {
    let mut schema = schemars::schema_for!(syntax::Policy);
    schema.insert("title".to_owned(), "edgeward policy".into());
    schema
}
