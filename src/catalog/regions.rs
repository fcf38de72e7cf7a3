//! The rows of `sources.yaml` and `regions.yaml`.

use crate::diag::{Code, Problems};
use crate::net::{DomainName, Prefix};
use crate::source::Spanned;
use crate::yaml::{record, words};

use super::bad_row;
use super::date::Date;

record! {
    /// `sources.yaml`.
    pub struct Documents {
        /// The documents.
        pub sources: Vec<Document>,
    }
}

record! {
    /// A document that rows are taken from.
    pub struct Document {
        /// Its short name.
        pub id: Spanned<String>,
        /// Its title.
        pub title: String,
        /// The date that it carries.
        pub updated: Option<Date>,
    }
}

record! {
    /// `regions.yaml`.
    pub struct Regions {
        /// The regions.
        pub regions: Vec<RegionRow>,
    }
}

record! {
    /// What is known of a region; what no document has is left out.
    pub struct RegionRow {
        /// The region id, such as `cn-hangzhou`.
        pub id: Spanned<String>,
        /// Its name for people.
        pub name: Option<String>,
        /// Whether it belongs to the public or the finance cloud.
        pub cloud: Cloud,
        /// A remark about the row.
        pub note: Option<String>,
        /// The image registry of system components.
        pub registry: Option<ServiceRow>,
        /// Log Service.
        pub log: Option<ServiceRow>,
        /// Monitoring.
        pub monitoring: Option<ServiceRow>,
        /// The OSS networks.
        pub oss: Vec<OssRow>,
    }
}

words! {
    /// The part of the cloud that a region belongs to.
    pub enum Cloud {
        /// The public cloud.
        Public = "public",
        /// The finance cloud.
        Finance = "finance",
    }
}

record! {
    /// How a service of a region is reached over a leased line.
    pub struct ServiceRow {
        /// Its prefixes.
        pub prefixes: Vec<Prefix>,
        /// The document.
        pub source: Spanned<String>,
        /// When it was read.
        pub retrieved: Date,
    }
}

words! {
    /// Finance regions have two OSS networks, all others only the internal one.
    pub enum OssNetwork {
        /// The VPC's.
        Internal = "internal",
        /// The internet-facing one of a finance region.
        Public = "public",
    }
}

record! {
    /// An OSS network of a region.
    pub struct OssRow {
        /// Which network.
        pub network: OssNetwork,
        /// Its endpoints as seen from inside a VPC.
        pub endpoints: Vec<DomainName>,
        /// Its endpoint as seen from the internet.
        pub public_endpoint: Option<DomainName>,
        /// The prefixes of its virtual addresses.
        pub vips: Vec<Prefix>,
        /// The document.
        pub source: Spanned<String>,
        /// When it was read.
        pub retrieved: Date,
    }
}

/// Checks that a row cites a known document.
pub(super) fn check_source(documents: &[Document], source: &Spanned<String>, problems: &mut Problems) {
    if !documents.iter().any(|document| document.id.value == source.value) {
        bad_row(problems, source.span, format!("`{}` is not a document of sources.yaml", source.value));
    }
}

impl Regions {
    pub(super) fn check(&self, documents: &[Document], problems: &mut Problems) {
        for (index, region) in self.regions.iter().enumerate() {
            if self.regions[..index].iter().any(|earlier| earlier.id.value == region.id.value) {
                problems.push(Code::DuplicateId, region.id.span, format!("duplicate region `{}`", region.id.value));
            }
            let services = [&region.registry, &region.log, &region.monitoring].into_iter().flatten();
            let sources = services.map(|row| &row.source).chain(region.oss.iter().map(|row| &row.source));
            sources.for_each(|source| check_source(documents, source, problems));
        }
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

impl RegionRow {
    /// The region's OSS row of a network.
    pub fn oss(&self, network: OssNetwork) -> Option<&OssRow> {
        self.oss.iter().find(|row| row.network == network)
    }

    /// The OSS endpoint as seen from the internet: that of any network which has one.
    pub fn public_oss_endpoint(&self) -> Option<&DomainName> {
        self.oss.iter().find_map(|row| row.public_endpoint.as_ref())
    }

    /// The names that a template expands to.
    ///
    /// # Errors
    /// The placeholder that the region has no value for.
    pub fn expand(&self, template: &str, oss: &OssNames) -> Result<Vec<DomainName>, &'static str> {
        let text = template.replace("{region}", &self.id.value);
        let (placeholder, endpoints) = if text.contains("{oss-internal}") {
            ("{oss-internal}", &oss.internal)
        } else if text.contains("{oss-public}") {
            ("{oss-public}", &oss.public)
        } else {
            return text.parse().map(|name| vec![name]).map_err(|_| "{region}");
        };
        let names: Result<Vec<DomainName>, _> =
            endpoints.iter().map(|endpoint| text.replace(placeholder, endpoint.as_str()).parse()).collect();
        names.ok().filter(|names| !names.is_empty()).ok_or(placeholder)
    }
}
