//! edgeward compiles a policy into an nftables ruleset.
//!
//! ```text
//! policy.yaml ─parse→ Policy ─check→ Intent<Declared> ─bind→ Intent<Resolved> ─lower→ Ruleset ─emit→ nft text, JSON
//!                      catalog ─────────┘   lockfile ─┘           │ specification()   │ evaluate()
//!                                                                 └──── must agree ───┘
//! ```
//!
//! Everything up to `emit` is a pure function of policy, catalog and lockfile.
//!
//! ```
//! use edgeward::{catalog::Catalog, diag::Problems, emit, lower::lower, policy, resolution::Resolution, source::Source};
//!
//! let text = r#"
//! version: 1
//! name: registered-site
//! target: edge-host
//! region: cn-hangzhou
//! connection: express-connect
//! cni: calico-ipip
//! cluster: {kind: registered, version: "1.30", api-server: 10.0.0.10}
//! networks: {vpc: [192.168.0.0/16], hosts: [10.0.0.0/24], pods: [172.20.0.0/16]}
//! management: {from: [10.0.0.0/28]}
//! dns: {servers: [10.0.0.53]}
//! "#;
//! let mut problems = Problems::default();
//! let policy = policy::parse(&Source::new("site.yaml", text), &mut problems).unwrap();
//! let catalog = Catalog::embedded().unwrap();
//! let intent = policy::check(&policy, &catalog, None, &mut problems).unwrap();
//! let ruleset = lower(&intent.bind(&Resolution::default()).unwrap());
//! assert!(emit::nft(&ruleset).contains("ip saddr @calico-ipip_v4"));
//! ```

pub mod wording;

pub mod source;

pub mod diag;

pub mod net;

pub mod space;

pub mod yaml;

pub mod site;

pub mod catalog;

pub mod resolution;

pub mod intent;

pub mod policy;

pub mod ruleset;

pub mod probe;

pub mod explain;

pub mod lint;

pub mod lower;

pub mod guard;

pub mod live;

pub mod proof;

pub mod nft;

pub mod emit;

pub mod report;

pub mod path;

pub mod security_group;

pub mod readback;

pub mod host;

pub mod cli;
