//! The regions as the catalog's documents have them: what the catalog must know, and what it must not invent.

use std::sync::LazyLock;

use serde_json::Value;

use crate::facts::{documents, list, text};

/// A region; an empty field is missing in all documents.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Region {
    pub id: &'static str,
    /// Route prefixes of the image registry.
    pub registry: &'static str,
    /// VIPs of OSS's internal endpoints.
    pub oss: &'static str,
    /// The internal endpoints of OSS, without `.aliyuncs.com`.
    pub internal: &'static str,
    /// The public endpoint of OSS, without `.aliyuncs.com`.
    pub public: &'static str,
}

/// Every region of the documents, sorted by id.
pub fn regions() -> Vec<Region> {
    static REGIONS: LazyLock<Vec<Region>> = LazyLock::new(read);
    REGIONS.clone()
}

/// A region by its id.
pub fn region(id: &str) -> Region {
    regions().into_iter().find(|region| region.id == id).expect("a region of the documents")
}

fn read() -> Vec<Region> {
    let mut regions: Vec<Region> = Vec::new();
    let documents = documents();
    for facts in documents.values() {
        for (id, prefixes) in facts.get("registry").and_then(Value::as_object).into_iter().flatten() {
            of(&mut regions, id).registry = words(prefixes.as_array().unwrap());
        }
        for row in list(facts, "oss") {
            let region = of(&mut regions, &text(row, "region"));
            if let Some(public) = row.get("public-endpoint") {
                region.public = words(std::slice::from_ref(public));
            }
            // Finance regions have a second network; a leased line uses the internal one.
            if row["network"] != "internal" {
                continue;
            }
            region.internal = words(list(row, "endpoints"));
            if let Some(vips) = row.get("vips") {
                region.oss = words(vips.as_array().unwrap());
            }
        }
    }
    regions.sort_by_key(|region| region.id);
    regions
}

fn of<'a>(regions: &'a mut Vec<Region>, id: &str) -> &'a mut Region {
    let index = regions.iter().position(|region| region.id == id).unwrap_or(regions.len());
    if index == regions.len() {
        regions.push(Region { id: id.to_owned().leak(), ..Region::default() });
    }
    &mut regions[index]
}

fn words(values: &[Value]) -> &'static str {
    let words: Vec<&str> = values.iter().map(|value| value.as_str().unwrap()).collect();
    words.join(" ").replace(".aliyuncs.com", "").leak()
}
