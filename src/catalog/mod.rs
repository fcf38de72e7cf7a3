//! What edgeward knows of the cloud: regions, flows, CNIs, and the documents that say so.
//!
//! The data is in `policies/catalog/` and is embedded; a folder of the same form can replace it. This module has no
//! address, port or name of its own.

mod cloud;
mod cnis;
mod condition;
mod date;
mod direction;
mod elements;
mod ends;
mod flows;
mod needs;
mod ports;
mod regions;
mod security_group;

use sha2::{Digest, Sha256};

use crate::diag::{Code, Diagnostic, Problems, did_you_mean};
use crate::net::plain;
use crate::site::{ClusterKind, Connection, Site};
use crate::source::{Source, Span, Spanned};
use crate::yaml::{Decode, read};

pub use cloud::{CloudDns, CloudFacts, CloudServices, InternalNames, Metadata};
pub use cnis::CniRow;
pub use condition::SiteCondition;
pub use date::Date;
pub use direction::Direction;
pub use elements::{Element, Elements, HealthChecks, RouteDirection, RouteLimits, RouteRow, Towards};
pub use ends::{EndKind, EndRow, Endpoint, RegionPrefixes, Zone};
pub use flows::{FlowRow, WhenEmpty};
pub use needs::NeedRow;
pub use ports::{FromPorts, OwnPorts, PortRow, PortTraffic};
pub use regions::{Cloud, Document, OssNames, OssNetwork, OssRow, RegionRow, ServiceRow};
pub use security_group::{GroupRow, Way};

/// The files that rulesets are made from, in the order in which [`Catalog::parse`] takes them.
pub const FILES: [&str; 4] = ["sources.yaml", "cloud.yaml", "regions.yaml", "flows.yaml"];

/// The file with the devices on the path. No rule depends on it, so it is not part of the digest and of generations.
pub const ELEMENTS: &str = "elements.yaml";

const EMBEDDED: [&str; 4] = [
    include_str!("../../policies/catalog/sources.yaml"),
    include_str!("../../policies/catalog/cloud.yaml"),
    include_str!("../../policies/catalog/regions.yaml"),
    include_str!("../../policies/catalog/flows.yaml"),
];

const EMBEDDED_ELEMENTS: &str = include_str!("../../policies/catalog/elements.yaml");

/// The cloud's data.
#[derive(Clone, Debug)]
pub struct Catalog {
    /// The first 16 hexadecimal digits of the SHA-256 of the files' texts.
    pub digest: String,
    /// The texts of [`FILES`].
    pub texts: [String; 4],
    /// The documents that the rows are taken from.
    pub documents: Vec<Document>,
    /// What holds in every region.
    pub cloud: CloudFacts,
    /// The regions, sorted by id.
    pub regions: Vec<RegionRow>,
    /// The container networks.
    pub cnis: Vec<CniRow>,
    /// The flows, in the order in which they are shown and looked up.
    pub flows: Vec<FlowRow>,
    /// What only an operator can name.
    pub needs: Vec<NeedRow>,
    /// The devices on the path.
    pub elements: Elements,
}

/// What is wrong with a catalog file.
#[derive(Clone, Debug)]
pub struct CatalogError {
    /// The file.
    pub source: Source,
    /// Everything that is wrong with it.
    pub diagnostics: Vec<Diagnostic>,
}

impl Catalog {
    /// The embedded catalog.
    ///
    /// # Errors
    /// Only if the embedded files are invalid, which a test rules out.
    pub fn embedded() -> Result<Self, Box<CatalogError>> {
        Self::parse(embedded_files(), None)
    }

    /// The digest of the catalog that is part of the program, without reading what its files say.
    pub fn embedded_digest() -> String {
        digest(&embedded_files())
    }

    /// The embedded `cloud.yaml`, for catalogs written before there was such a file.
    pub fn embedded_cloud() -> Source {
        let [_, cloud, ..] = EMBEDDED;
        Source::new("built-in cloud.yaml", cloud)
    }

    /// Reads a catalog from the texts of [`FILES`] and of [`ELEMENTS`]. Without the latter, the embedded devices are used,
    /// and the documents have those that they cite.
    ///
    /// # Errors
    /// All problems of the first file that has any.
    pub fn parse(files: [Source; 4], elements: Option<Source>) -> Result<Self, Box<CatalogError>> {
        let (digest, texts) = (digest(&files), files.each_ref().map(|file| file.text().to_owned()));
        let [sources, cloud, regions, flows] = files;
        let regions::Documents { sources: mut documents } = decode(&sources, |_, _| ())?;
        let cloud = decode(&cloud, |file: &CloudFacts, problems| file.check(&documents, problems))?;
        let regions::Regions { mut regions } =
            decode(&regions, |file: &regions::Regions, problems| file.check(&documents, problems))?;
        regions.sort_by(|a, b| a.id.value.cmp(&b.id.value));
        let flows::Flows { cnis, flows, needs } =
            decode(&flows, |file: &flows::Flows, problems| file.check(&documents, &regions, &flows, problems))?;
        let elements = match elements {
            Some(file) => decode(&file, |file: &Elements, problems| file.check(&documents, problems))?,
            None => embedded_elements(&mut documents)?,
        };
        Ok(Self { digest, texts, documents, cloud, regions, cnis: cnis.value, flows, needs, elements })
    }

    /// The region with an id.
    pub fn region(&self, id: &str) -> Option<&RegionRow> {
        self.regions.iter().find(|region| region.id.value == id)
    }

    /// The help for an unknown region.
    pub fn suggest_region(&self, id: &str) -> String {
        let id = plain(id);
        // As consoles show it: `China (Hangzhou)`.
        let letters = |text: &str| text.to_lowercase().replace(|c: char| !c.is_alphanumeric(), "");
        let named = self
            .regions
            .iter()
            .find(|region| region.name.iter().any(|name| !letters(&id).is_empty() && letters(name) == letters(&id)));
        named
            .map(|region| {
                format!("write `{}`, the id of {}", region.id.value, region.name.as_deref().unwrap_or_default())
            })
            .or_else(|| did_you_mean(&id, self.regions.iter().map(|region| region.id.value.as_str())))
            .unwrap_or_else(|| "`edgeward catalog` lists the regions".to_owned())
    }

    /// The row of a CNI, if the cluster kind offers it over the connection.
    pub fn cni(&self, id: &str, cluster: ClusterKind, connection: Connection) -> Option<&CniRow> {
        self.offers(cluster, connection).find(|row| row.id.value == id)
    }

    /// The CNIs that a cluster kind offers over a connection.
    pub fn offered_cnis(&self, cluster: ClusterKind, connection: Connection) -> Vec<&str> {
        self.offers(cluster, connection).map(|row| row.id.value.as_str()).collect()
    }

    fn offers(&self, cluster: ClusterKind, connection: Connection) -> impl Iterator<Item = &CniRow> {
        self.cnis.iter().filter(move |row| row.cluster == cluster && row.connections.value.contains(&connection))
    }

    /// The ids of all CNIs, in catalog order.
    pub fn cni_ids(&self) -> Vec<&str> {
        let mut ids: Vec<&str> = Vec::new();
        for row in &self.cnis {
            if !ids.contains(&row.id.value.as_str()) {
                ids.push(&row.id.value);
            }
        }
        ids
    }

    /// What a site needs that only its operator can name.
    pub fn needs_of<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = &'a NeedRow> {
        self.needs.iter().filter(|row| row.when.holds(site))
    }

    /// The rows whose conditions a site meets, in catalog order.
    pub fn flows_of<'a>(&'a self, site: &'a Site) -> impl Iterator<Item = &'a FlowRow> {
        self.flows.iter().filter(|row| row.when.holds(site))
    }
}

/// The embedded devices; adds the documents that they cite.
fn embedded_elements(documents: &mut Vec<Document>) -> Result<Elements, Box<CatalogError>> {
    let [sources, ..] = EMBEDDED;
    let regions::Documents { sources: known } = decode(&Source::new("built-in sources.yaml", sources), |_, _| ())?;
    let file = Source::new("built-in elements.yaml", EMBEDDED_ELEMENTS);
    let elements = decode(&file, |file: &Elements, problems| file.check(&known, problems))?;
    let is_cited = |document: &Document| elements.sources().any(|source| *source == document.id.value);
    for document in known.into_iter().filter(is_cited) {
        if documents.iter().all(|other| other.id.value != document.id.value) {
            documents.push(document);
        }
    }
    Ok(elements)
}

fn embedded_files() -> [Source; 4] {
    let mut texts = EMBEDDED.into_iter();
    FILES.map(|name| Source::new(name, texts.next().unwrap_or_default()))
}

/// The digest of the texts of [`FILES`]: [`Catalog::digest`].
pub fn digest(files: &[Source; 4]) -> String {
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
        _ => {
            let mut diagnostics = problems.into_sorted();
            // The reader's help is about policies.
            for diagnostic in diagnostics.iter_mut().filter(|diagnostic| diagnostic.code == Code::TooLarge) {
                diagnostic.help = Some("no catalog is that large: check the path of `--catalog`".to_owned());
            }
            Err(Box::new(CatalogError { source: source.clone(), diagnostics }))
        }
    }
}

/// Reports that a catalog row is wrong.
fn bad_row(problems: &mut Problems, span: Span, message: impl AsRef<str>) {
    problems.push(Code::UnknownValue, span, message);
}

/// Reports an id that is none.
fn check_id(id: &Spanned<String>, what: &str, problems: &mut Problems) {
    if !is_id(&id.value) {
        problems.push(Code::InvalidName, id.span, format!("expected {what}, found `{}`", id.value));
    }
}

/// Whether a text can be the id of a flow: `[a-z][a-z0-9-]{0,62}`, which is safe everywhere in a ruleset.
pub fn is_id(text: &str) -> bool {
    text.len() <= 63
        && text.starts_with(|c: char| c.is_ascii_lowercase())
        && text.bytes().all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || byte == b'-')
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_embedded_catalog_is_valid() {
        let catalog = Catalog::embedded().unwrap_or_else(|error| panic!("{error:#?}"));
        assert!(catalog.regions.is_sorted_by(|a, b| a.id.value < b.id.value));
        assert!(!catalog.flows.is_empty());
    }

    #[test]
    fn a_damaged_catalog_names_the_place() {
        let mut texts = EMBEDDED.into_iter();
        let files =
            FILES.map(|name| Source::new(name, texts.next().unwrap().replace("- id: kubelet\n", "- id: Kubelet\n")));
        let error = Catalog::parse(files, None).unwrap_err();
        assert_eq!(error.source.name, "flows.yaml");
        assert_eq!(error.diagnostics[0].code, Code::InvalidName);
    }
}
