//! `edgeward aggregate`.

use std::io::Write;
use std::path::{Path, PathBuf};

use anyhow::anyhow;

use crate::cli::context::ListFormat;
use crate::cli::document::AggregateDocument;
use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::shown;
use crate::host::lists::{self, InputFormat, ListFileError};
use crate::net::{Family, PrefixSet};
use crate::report::DocumentVersion;

/// Merge lists of prefixes into the fewest prefixes with the same addresses
///
/// A list has a prefix, an address or a range (`10.0.0.1-10.0.0.9`) on each line; `#` begins a comment. All errors of a
/// list are reported with their lines, and nothing is printed or written.
///
/// `--input-format published` reads lists as others publish them: comments after `;` and `//` as well, text after a
/// prefix, netmasks (`10.0.0.0/255.255.0.0`) and wildcard masks (`10.0.0.0 0.0.255.255`), columns with the first and the
/// last address, headings, and the JSON of cloud providers. So a feed becomes a list for `peers-file`. One without a prefix
/// is an error: a publisher that has a bad day must not empty an allowlist.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward aggregate office.txt partners.txt.gz
  edgeward aggregate --v4 --except bogons.txt < prefixes.txt
  edgeward aggregate office.txt --format json | jq -r '.prefixes[]'
  edgeward aggregate --input-format published ip-ranges.json -o lists/provider.txt")]
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
    /// Leave out the addresses of this list; can be given several times
    #[arg(long, value_name = "FILE")]
    except: Vec<PathBuf>,
    /// How the lists are written
    #[arg(long, value_enum, value_name = "FORMAT", default_value_t)]
    input_format: InputChoice,
    /// One prefix a line, or JSON
    #[arg(long, value_enum, default_value_t)]
    format: ListFormat,
    /// Write to a file in place of standard output; on failure the file stays as it was
    ///
    /// A file that exists keeps its mode. A link that another user can change is not followed. `-` is standard output.
    #[arg(short, long, value_name = "FILE")]
    output: Option<PathBuf>,
}

#[derive(Clone, Copy, Debug, Default, clap::ValueEnum)]
enum InputChoice {
    /// A prefix, an address or a range on each line
    #[default]
    Lines,
    /// As others publish them, text or JSON
    Published,
}

pub(crate) fn run(arguments: &Arguments) -> Result<(), Failure> {
    let standard_input = [PathBuf::from("-")];
    let files = if arguments.files.is_empty() { &standard_input[..] } else { &arguments.files };
    let twice = files.iter().chain(&arguments.except).filter(|path| *path == Path::new("-")).count() > 1;
    if twice {
        return Err(Failure::usage(anyhow!("standard input can be read once: name a file for the other list")));
    }
    let format = match arguments.input_format {
        InputChoice::Lines => InputFormat::Lines,
        InputChoice::Published => InputFormat::Published,
    };
    let mut set = union(files, format)?;
    if !arguments.except.is_empty() {
        set = set.difference(&union(&arguments.except, format)?);
    }
    if arguments.v4 {
        set = set.only(Family::V4);
    }
    if arguments.v6 {
        set = set.only(Family::V6);
    }
    if let Some(output) = arguments.output.as_deref().filter(|_| set.is_empty()) {
        let message = format!("the result has no prefixes: `{}` is as it was", shown(output));
        let help = "a list for `peers-file` must not become empty by mistake; remove the row that reads it";
        return Err(Failure::usage(anyhow!(message)).with(anyhow!(help)));
    }
    match arguments.format {
        ListFormat::Text if arguments.output.is_none() => render::lines(&set),
        ListFormat::Text => {
            let mut text = Vec::new();
            set.write_lines(|piece| text.write_all(piece)).map_err(Failure::system)?;
            render::output_to(arguments.output.as_deref(), &String::from_utf8_lossy(&text))
        }
        ListFormat::Json => {
            let prefixes: Vec<String> = set.prefixes().map(|prefix| prefix.to_string()).collect();
            let document = AggregateDocument { version: DocumentVersion, count: prefixes.len(), prefixes };
            render::output_to(arguments.output.as_deref(), &render::document(&document)?)
        }
    }
}

fn union(files: &[PathBuf], format: InputFormat) -> Result<PrefixSet, Failure> {
    let mut union = PrefixSet::default();
    for file in files {
        let list = lists::read(file, format).map_err(|error| refused(error, format))?.addresses;
        // A single list is not copied.
        union = if union.is_empty() { list } else { union.union(&list) };
    }
    Ok(union)
}

/// The failure, with the way to read a list whose lines have more than entries.
fn refused(error: ListFileError, format: InputFormat) -> Failure {
    let may_be_published = format == InputFormat::Lines && error.may_be_published();
    let failure = Failure::from(error);
    let way = "`--input-format published` reads comments after `;` and `//`, netmasks, columns and JSON";
    if may_be_published { failure.with(anyhow!(way)) } else { failure }
}
