//! `catalog`: what is known of regions.

use schemars::JsonSchema;
use serde::Serialize;

use crate::catalog::{Cloud, OssNetwork};
use crate::report::DocumentVersion;

/// What `edgeward catalog --format json` prints: all regions, or one.
#[derive(Clone, Debug, Serialize, JsonSchema)]
pub(crate) struct CatalogDocument<'a> {
    /// The version of the document's format.
    pub(crate) version: DocumentVersion,
    /// The digest of the catalog, as generations record it.
    pub(crate) digest: &'a str,
    /// The documents that rows name as their source.
    pub(crate) documents: Vec<SourceDocument<'a>>,
    /// The regions, sorted by id.
    pub(crate) regions: Vec<RegionDocument<'a>>,
}

/// A document that rows are taken from.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Source")]
pub(crate) struct SourceDocument<'a> {
    /// Its id.
    pub(crate) id: &'a str,
    /// Its title.
    pub(crate) title: &'a str,
    /// The date that it has, `2026-01-31`; `null` if it has none.
    pub(crate) updated: Option<&'a str>,
}

/// A region.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Region")]
pub(crate) struct RegionDocument<'a> {
    /// Its id.
    pub(crate) id: &'a str,
    /// Its name; `null` if no document gives it.
    pub(crate) name: Option<&'a str>,
    /// The part of the cloud that it belongs to.
    #[schemars(with = "Cloud")]
    pub(crate) cloud: &'static str,
    /// What is special about it; `null` for nothing.
    pub(crate) note: Option<&'a str>,
    /// Its image registry over a leased line; `null` if that is not in the catalog.
    pub(crate) registry: Option<ServiceDocument<'a>>,
    /// Its Log Service over a leased line; `null` if that is not in the catalog.
    pub(crate) log: Option<ServiceDocument<'a>>,
    /// Its monitoring over a leased line; `null` if that is not in the catalog.
    pub(crate) monitoring: Option<ServiceDocument<'a>>,
    /// Its OSS networks; empty if they are not in the catalog.
    pub(crate) oss: Vec<OssDocument<'a>>,
}

/// A service of a region.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[schemars(rename = "Service")]
pub(crate) struct ServiceDocument<'a> {
    /// Its prefixes.
    pub(crate) prefixes: Vec<String>,
    /// The id of the document.
    pub(crate) source: &'a str,
    /// The day on which the document was read.
    pub(crate) retrieved: &'a str,
}

/// An OSS network.
#[derive(Clone, Debug, Serialize, JsonSchema)]
#[serde(rename_all = "kebab-case")]
#[schemars(rename = "Oss")]
pub(crate) struct OssDocument<'a> {
    /// Which network.
    #[schemars(with = "OssNetwork")]
    pub(crate) network: &'static str,
    /// Its endpoints as seen from inside a VPC.
    pub(crate) endpoints: Vec<String>,
    /// Its endpoint as seen from the internet; `null` if no document gives it.
    pub(crate) public_endpoint: Option<String>,
    /// The prefixes of its virtual addresses.
    pub(crate) prefixes: Vec<String>,
    /// The id of the document.
    pub(crate) source: &'a str,
    /// The day on which the document was read.
    pub(crate) retrieved: &'a str,
}
