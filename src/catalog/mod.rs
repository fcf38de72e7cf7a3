//! What edgeward knows of the cloud: regions, flows, CNIs and the documents that say so.
//!
//! The data stand in `policies/catalog/` and are embedded; a folder of the same shape can replace them. This module
//! has no address, port or name of its own.

mod rows;

use sha2::{Digest, Sha256};

use crate::diag::{Code, Diagnostic, Problems, did_you_mean};
use crate::net::{DomainName, Traffic};
use crate::site::{ClusterKind, ClusterVersion, Cni, Connection, Site};
use crate::source::{Source, Span};
use crate::yaml::{Decode, read};

pub use rows::{
    Cloud, CniRow, Condition, Direction, Document, EndRow, Endpoint, FamilyWord, FlowRow, OssNetwork, OssRow, PortWord,
    Region, RegionPrefixes, Registry, WhenEmpty, Zone, is_id,
};

/// The catalog's files, in the order in which [`Catalog::parse`] takes them.
pub const FILES: [&str; 3] = ["sources.yaml", "regions.yaml", "flows.yaml"];

const EMBEDDED: [&str; 3] = [
    include_str!("../../policies/catalog/sources.yaml"),
    include_str!("../../policies/catalog/regions.yaml"),
    include_str!("../../policies/catalog/flows.yaml"),
];

/// The cloud's data.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// Which catalog this is: the first 16 hexadecimal digits of the SHA-256 of its files' texts.
    pub digest: String,
    /// The documents that the rows come from.
    pub documents: Vec<Document>,
    /// The regions, sorted by id.
    pub regions: Vec<Region>,
    /// The container networks.
    pub cnis: Vec<CniRow>,
    /// The flows, in the order in which they are shown and looked up.
    pub flows: Vec<FlowRow>,
}

/// What is wrong with a catalog file.
#[derive(Clone, Debug)]
pub struct CatalogError {
    /// The file.
    pub source: Source,
    /// All that is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

impl Catalog {
    /// The catalog that was built in.
    ///
    /// # Errors
    /// Never, unless the embedded files are damaged, which a test rules out.
    pub fn embedded() -> Result<Self, Box<CatalogError>> {
        let [sources, regions, flows] = EMBEDDED;
        Self::parse([Source::new(FILES[0], sources), Source::new(FILES[1], regions), Source::new(FILES[2], flows)])
    }

    /// Reads a catalog from the texts of [`FILES`].
    ///
    /// # Errors
    /// All problems of the first file that has any.
    pub fn parse([sources, regions, flows]: [Source; 3]) -> Result<Self, Box<CatalogError>> {
        let digest = digest([&sources, &regions, &flows]);
        let rows::Documents { sources: documents } = decode(&sources, |_, _| ())?;
        let rows::Regions { regions } = decode(&regions, |file: &rows::Regions, problems| {
            file.check(&documents, problems);
        })?;
        let rows::Flows { cnis, flows } = decode(&flows, |file: &rows::Flows, problems| {
            file.check(&documents, problems);
        })?;
        let mut regions = regions;
        regions.sort_by(|a, b| a.id.value.cmp(&b.id.value));
        Ok(Self { digest, documents, regions, cnis, flows })
    }

    /// The region with an id.
    pub fn region(&self, id: &str) -> Option<&Region> {
        self.regions.iter().find(|region| region.id.value == id)
    }

    /// What to say to an id that is none of the regions.
    pub fn suggest_region(&self, id: &str) -> String {
        did_you_mean(id, self.regions.iter().map(|region| region.id.value.as_str()))
            .unwrap_or_else(|| "`edgeward catalog` lists the regions".to_owned())
    }

    /// The row of a CNI, where the cluster kind and the connection offer it.
    pub fn cni(&self, cni: Cni, cluster: ClusterKind, connection: Connection) -> Option<&CniRow> {
        self.cnis.iter().find(|row| row.id == cni && row.cluster == cluster && row.connections.contains(&connection))
    }

    /// The CNIs that a cluster kind offers over a connection.
    pub fn offered_cnis(&self, cluster: ClusterKind, connection: Connection) -> Vec<&'static str> {
        let offered = |row: &&CniRow| row.cluster == cluster && row.connections.contains(&connection);
        self.cnis.iter().filter(offered).map(|row| row.id.word()).collect()
    }

    /// The rows whose conditions a site meets, in catalog order.
    pub fn flows_of<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = &'a FlowRow> {
        self.flows.iter().filter(|row| row.when.holds(site))
    }
}

fn digest(files: [&Source; 3]) -> String {
    let mut hash = Sha256::new();
    for file in files {
        hash.update(file.text().len().to_be_bytes());
        hash.update(file.text());
    }
    hash.finalize().iter().take(8).map(|byte| format!("{byte:02x}")).collect()
}

fn decode<T: Decode>(source: &Source, check: impl FnOnce(&T, &mut Problems)) -> Result<T, Box<CatalogError>> {
    let mut problems = Problems::default();
    let file = read(source, &mut problems).and_then(|node| T::decode(&node, &mut problems));
    if let Some(file) = &file {
        check(file, &mut problems);
    }
    match file {
        Some(file) if !problems.has_errors() => Ok(file),
        _ => Err(Box::new(CatalogError { source: source.clone(), diagnostics: problems.into_sorted() })),
    }
}

impl Condition {
    /// Whether a site meets every condition.
    pub fn holds(&self, site: &Site) -> bool {
        fn one<T: PartialEq>(wanted: &Option<T>, actual: &T) -> bool {
            wanted.as_ref().is_none_or(|wanted| wanted == actual)
        }
        one(&self.target, &site.target)
            && one(&self.cluster, &site.cluster)
            && one(&self.connection, &site.connection)
            && one(&self.phase, &site.phase)
            && one(&self.scope, &site.scope)
            && one(&self.routed, &site.routed)
            && one(&self.self_host_ntp, &site.self_host_ntp)
            && (self.cni.is_empty() || self.cni.contains(&site.cni))
            && (self.region.is_empty() || self.region.contains(&site.region))
            && !self.not_region.contains(&site.region)
            && self.version_from.is_none_or(|from| from <= site.version)
            && self.version_before.is_none_or(|before| site.version < before)
    }
}

impl FlowRow {
    /// The traffic of the flow in a version of the cluster; `ssh_port` is the policy's.
    pub fn traffic(&self, version: ClusterVersion, ssh_port: u16) -> Traffic {
        let words = self.ports.iter().filter(|word| word.applies(version));
        words.fold(Traffic::none(), |all, word| match &word.traffic {
            Some(traffic) => all.union(traffic),
            None => all.union(&Traffic::tcp(ssh_port)),
        })
    }
}

impl Region {
    /// The region's OSS row of a network.
    pub fn oss(&self, network: OssNetwork) -> Option<&OssRow> {
        self.oss.iter().find(|row| row.network == network)
    }

    /// The names that a template stands for, or the placeholder that the region has no value for.
    ///
    /// # Errors
    /// The name of the placeholder without a value.
    pub fn expand(&self, template: &str, oss: &OssNames) -> Result<Vec<DomainName>, &'static str> {
        let text = template.replace("{region}", &self.id.value);
        let values = if text.contains("{oss-internal}") {
            ("{oss-internal}", &oss.internal)
        } else if text.contains("{oss-public}") {
            ("{oss-public}", &oss.public)
        } else {
            return text.parse().map(|name| vec![name]).map_err(|_| "{region}");
        };
        let (placeholder, endpoints) = values;
        let names: Result<Vec<DomainName>, _> =
            endpoints.iter().map(|endpoint| text.replace(placeholder, endpoint.as_str()).parse()).collect();
        names.ok().filter(|names| !names.is_empty()).ok_or(placeholder)
    }
}

/// The OSS endpoints that a policy uses in its region.
#[derive(Clone, Debug, Default)]
pub struct OssNames {
    /// As seen from inside the VPC.
    pub internal: Vec<DomainName>,
    /// As seen from the internet.
    pub public: Vec<DomainName>,
}

/// Says that a catalog row is wrong.
fn bad_row(problems: &mut Problems, span: Span, message: impl AsRef<str>) {
    problems.push(Code::UnknownValue, span, message);
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_catalog_is_good() {
        let catalog = Catalog::embedded().unwrap_or_else(|error| panic!("{error:#?}"));
        assert!(catalog.regions.is_sorted_by(|a, b| a.id.value < b.id.value));
        assert!(!catalog.flows.is_empty());
    }

    #[test]
    fn a_damaged_catalog_names_the_place() {
        let flows = EMBEDDED[2].replace("- id: kubelet\n", "- id: Kubelet\n");
        let error = Catalog::parse([
            Source::new(FILES[0], EMBEDDED[0]),
            Source::new(FILES[1], EMBEDDED[1]),
            Source::new(FILES[2], &flows),
        ])
        .unwrap_err();
        assert_eq!(error.source.name, "flows.yaml");
        assert_eq!(error.diagnostics[0].code, Code::InvalidName);
    }
}
