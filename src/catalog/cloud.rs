//! The rows of `cloud.yaml`: facts that hold in every region.

use std::net::IpAddr;

use crate::diag::{Code, Problems};
use crate::net::{Prefix, PrefixSet};
use crate::source::Spanned;
use crate::yaml::record;

use super::date::Date;
use super::regions::{Document, check_source};

record! {
    /// `cloud.yaml`.
    pub struct CloudFacts {
        /// The metadata service.
        pub metadata: Metadata,
        /// Names that resolve to internal addresses.
        pub internal_names: InternalNames,
        /// The addresses of the cloud's services.
        pub services: CloudServices,
        /// Cloud DNS.
        pub dns: CloudDns,
    }
}

record! {
    /// The metadata service, reachable inside every VPC.
    pub struct Metadata {
        /// Its addresses.
        pub addresses: Spanned<Vec<IpAddr>>,
        /// The document.
        pub source: Spanned<String>,
        /// When it was read.
        pub retrieved: Date,
    }
}

record! {
    /// Names that the cloud resolves to internal addresses inside a VPC.
    pub struct InternalNames {
        /// One label of such a name ends in one of these.
        pub label_suffixes: Spanned<Vec<String>>,
        /// The document.
        pub source: Spanned<String>,
        /// The section of the document.
        pub section: Option<String>,
        /// Whether the document does not say it explicitly.
        pub inferred: bool = false,
        /// When it was read.
        pub retrieved: Date,
    }
}

record! {
    /// The addresses of the cloud's services over a leased line.
    pub struct CloudServices {
        /// Their prefixes.
        pub prefixes: Spanned<Vec<Prefix>>,
        /// The document.
        pub source: Spanned<String>,
        /// The section of the document.
        pub section: Option<String>,
        /// When it was read.
        pub retrieved: Date,
    }
}

record! {
    /// The resolvers of Cloud DNS inside a VPC.
    pub struct CloudDns {
        /// Their addresses.
        pub servers: Spanned<Vec<IpAddr>>,
        /// The document.
        pub source: Spanned<String>,
        /// When it was read.
        pub retrieved: Date,
    }
}

impl CloudFacts {
    /// The addresses of the metadata service.
    pub fn metadata(&self) -> PrefixSet {
        self.metadata.addresses.value.iter().copied().collect()
    }

    /// The addresses of the cloud's services over a leased line.
    pub fn services(&self) -> PrefixSet {
        self.services.prefixes.value.iter().copied().collect()
    }

    pub(super) fn check(&self, documents: &[Document], problems: &mut Problems) {
        let Self { metadata, internal_names, services, dns } = self;
        for source in [&metadata.source, &internal_names.source, &services.source, &dns.source] {
            check_source(documents, source, problems);
        }
        // Without these, answers would be accepted that must be refused.
        for (what, span, empty) in [
            ("addresses", metadata.addresses.span, metadata.addresses.value.is_empty()),
            ("label-suffixes", internal_names.label_suffixes.span, internal_names.label_suffixes.value.is_empty()),
            ("prefixes", services.prefixes.span, services.prefixes.value.is_empty()),
        ] {
            if empty {
                problems.push(Code::EmptyList, span, format!("`{what}` is empty"));
            }
        }
    }
}
