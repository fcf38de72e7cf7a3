//! `edgeward aggregate`.

use std::path::{Path, PathBuf};

use crate::cli::failure::Failure;
use crate::cli::render;
use crate::host::lists;
use crate::net::{Family, PrefixSet};

#[derive(Debug, clap::Args)]
pub(crate) struct Arguments {
    /// Lists of prefixes, addresses and ranges, one a line, plain or gzip; `-` is standard input [default: -]
    #[arg(value_name = "FILE")]
    files: Vec<PathBuf>,
    /// Only IPv4
    #[arg(long, conflicts_with = "v6")]
    v4: bool,
    /// Only IPv6
    #[arg(long)]
    v6: bool,
    /// Leave out the addresses of this list; may be given several times
    #[arg(long, value_name = "FILE")]
    except: Vec<PathBuf>,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let standard_input = [PathBuf::from("-")];
    let files = if arguments.files.is_empty() { &standard_input[..] } else { &arguments.files };
    let twice = files.iter().chain(&arguments.except).filter(|path| *path == Path::new("-")).count() > 1;
    if twice {
        return Err(Failure::Usage(anyhow::anyhow!("standard input is one list only: name a file for the other")));
    }
    let mut set = all(files)?;
    if !arguments.except.is_empty() {
        set = set.difference(&all(&arguments.except)?);
    }
    if arguments.v4 {
        set = set.only(Family::V4);
    }
    if arguments.v6 {
        set = set.only(Family::V6);
    }
    render::lines(&set)
}

fn all(files: &[PathBuf]) -> Result<PrefixSet, Failure> {
    let mut union = PrefixSet::default();
    for file in files {
        let list = lists::read(file)?.addresses;
        // One list needs no second copy.
        union = if union.is_empty() { list } else { union.union(&list) };
    }
    Ok(union)
}
