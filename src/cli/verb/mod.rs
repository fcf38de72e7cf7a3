//! One file for each verb: its arguments, and `run`.

pub(crate) mod aggregate;
pub(crate) mod apply;
pub(crate) mod boot;
pub(crate) mod catalog;
pub(crate) mod check;
pub(crate) mod compile;
pub(crate) mod completions;
pub(crate) mod confirm;
pub(crate) mod diff;
pub(crate) mod explain;
pub(crate) mod flows;
pub(crate) mod history;
pub(crate) mod hosts;
pub(crate) mod init;
pub(crate) mod man;
pub(crate) mod refresh;
pub(crate) mod resolve;
pub(crate) mod rollback;
pub(crate) mod routes;
pub(crate) mod schema;
pub(crate) mod security_group;
pub(crate) mod status;
pub(crate) mod uninstall;
pub(crate) mod watch;
