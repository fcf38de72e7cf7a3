//! `edgeward catalog`.

use std::path::Path;

use anyhow::anyhow;

use crate::catalog::{Catalog, Date, Document, OssRow, RegionRow, ServiceRow};
use crate::cli::context::{ListFormat, load_catalog};
use crate::cli::document::{CatalogDocument, OssDocument, RegionDocument, ServiceDocument, SourceDocument};
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::report::DocumentVersion;

/// List the regions, or show all that is known of one
///
/// Each prefix and endpoint is shown with the document that it comes from and the day on which that was read.
/// docs/catalog.md describes the catalog and how to replace it with `--catalog`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward catalog
  edgeward catalog cn-hangzhou
  edgeward catalog cn-hangzhou --format json")]
pub(crate) struct Arguments {
    /// A region id, `cn-hangzhou`
    #[arg(value_name = "REGION")]
    region: Option<String>,
    /// Text or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
}

pub(crate) fn run(arguments: &Arguments, folder: Option<&Path>) -> Result<(), Failure> {
    let catalog = load_catalog(folder)?;
    let regions: Vec<&RegionRow> = match &arguments.region {
        None => catalog.regions.iter().collect(),
        Some(id) => vec![catalog.region(id).ok_or_else(|| {
            let help = catalog.suggest_region(id);
            Failure::usage(anyhow!("`{id}` is not a region of the catalog; {help}"))
        })?],
    };
    let text = match (arguments.format, &arguments.region) {
        (ListFormat::Json, _) => render::document(&document(&catalog, &regions))?,
        (ListFormat::Text, Some(_)) => regions.iter().map(|region| region_text(&catalog, region)).collect(),
        (ListFormat::Text, None) => table(&regions),
    };
    render::output(&text)
}

fn table(regions: &[&RegionRow]) -> String {
    let mut text = format!("{:<24}{:<9}{:<10}{:<6}NAME\n", "REGION", "CLOUD", "REGISTRY", "OSS");
    for region in regions {
        let registry = region.registry.as_ref().map_or_else(|| "-".to_owned(), |row| row.prefixes.len().to_string());
        let oss: usize = region.oss.iter().map(|row| row.vips.len()).sum();
        let oss = if oss == 0 { "-".to_owned() } else { oss.to_string() };
        let name = region.name.as_deref().unwrap_or("-");
        text.push_str(&format!("{:<24}{:<9}{registry:<10}{oss:<6}{name}\n", region.id.value, region.cloud.word()));
    }
    text
}

fn words<T: ToString>(values: &[T]) -> Vec<String> {
    values.iter().map(ToString::to_string).collect()
}

fn joined<T: ToString>(values: &[T]) -> String {
    words(values).join(", ")
}

fn region_text(catalog: &Catalog, region: &RegionRow) -> String {
    let mut lines = vec![format!("{}  {}", region.id.value, region.name.as_deref().unwrap_or("-"))];
    lines.push(format!("  cloud: {}", region.cloud));
    lines.extend(region.note.iter().map(|note| format!("  note: {note}")));
    match &region.registry {
        None => lines.push("  registry: not in the catalog; supply `overrides.registry`".to_owned()),
        Some(row) => {
            lines.push(format!("  registry: {}", joined(&row.prefixes)));
            lines.push(format!("    source: {}", cited(catalog, &row.source.value, &row.retrieved)));
        }
    }
    if region.oss.is_empty() {
        lines.push("  oss: not in the catalog; supply `overrides.oss` and `overrides.oss-endpoint`".to_owned());
    }
    for row in &region.oss {
        lines.push(format!("  oss ({}): {}", row.network, joined(&row.vips)));
        lines.push(format!("    endpoints: {}", joined(&row.endpoints)));
        lines.extend(row.public_endpoint.iter().map(|name| format!("    public endpoint: {name}")));
        lines.push(format!("    source: {}", cited(catalog, &row.source.value, &row.retrieved)));
    }
    for (name, row) in [("log", &region.log), ("monitoring", &region.monitoring)] {
        if let Some(row) = row {
            lines.push(format!("  {name}: {}", joined(&row.prefixes)));
            lines.push(format!("    source: {}", cited(catalog, &row.source.value, &row.retrieved)));
        }
    }
    lines.join("\n") + "\n"
}

/// A document by its title and dates.
fn cited(catalog: &Catalog, id: &str, retrieved: &Date) -> String {
    let document = catalog.documents.iter().find(|document| document.id.value == id);
    let title = document.map_or(id, |document| &document.title);
    let updated = document.and_then(|document| document.updated.as_ref());
    let updated = updated.map_or_else(String::new, |date| format!(", updated {date}"));
    format!("{title} ({id}{updated}, read {retrieved})")
}

fn document<'a>(catalog: &'a Catalog, regions: &[&'a RegionRow]) -> CatalogDocument<'a> {
    let source = |row: &'a Document| SourceDocument {
        id: &row.id.value,
        title: &row.title,
        updated: row.updated.as_ref().map(Date::as_str),
    };
    CatalogDocument {
        version: DocumentVersion,
        digest: &catalog.digest,
        documents: catalog.documents.iter().map(source).collect(),
        regions: regions.iter().map(|&row| region_document(row)).collect(),
    }
}

fn region_document(region: &RegionRow) -> RegionDocument<'_> {
    RegionDocument {
        id: &region.id.value,
        name: region.name.as_deref(),
        cloud: region.cloud.word(),
        note: region.note.as_deref(),
        registry: region.registry.as_ref().map(service_document),
        log: region.log.as_ref().map(service_document),
        monitoring: region.monitoring.as_ref().map(service_document),
        oss: region.oss.iter().map(oss_document).collect(),
    }
}

fn service_document(row: &ServiceRow) -> ServiceDocument<'_> {
    ServiceDocument { prefixes: words(&row.prefixes), source: &row.source.value, retrieved: row.retrieved.as_str() }
}

fn oss_document(row: &OssRow) -> OssDocument<'_> {
    OssDocument {
        network: row.network.word(),
        endpoints: words(&row.endpoints),
        public_endpoint: row.public_endpoint.as_ref().map(ToString::to_string),
        prefixes: words(&row.vips),
        source: &row.source.value,
        retrieved: row.retrieved.as_str(),
    }
}
