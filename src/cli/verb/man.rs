//! `edgeward man`: manual pages, made from the arguments of the program, so that they describe what it accepts.

use std::io;
use std::path::PathBuf;

use anyhow::{Context, anyhow};
use clap::Command;
use clap_mangen::Man;
use clap_mangen::roff::{Roff, bold, roman};

use crate::cli::failure::Failure;
use crate::cli::render;
use crate::diag::shown;
use crate::host::files;

/// Print a manual page, or write all of them into a folder
///
/// `edgeward.1` describes the program and lists the verbs; each verb has a page of its own, such as `edgeward-apply.1`.
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward man apply | man -l -
  edgeward man --out-dir /usr/share/man/man1")]
pub(crate) struct Arguments {
    /// The verb to describe [default: the page of the program]
    #[arg(value_name = "VERB", conflicts_with = "out_dir")]
    verb: Option<String>,
    /// Write the pages of the program and of all verbs into this folder, which must exist
    #[arg(long, value_name = "DIR")]
    out_dir: Option<PathBuf>,
}

/// What the exit codes mean, in all pages.
const EXIT_STATUS: [(&str, &str); 6] = [
    ("0", "Done, or no difference."),
    (
        "1",
        "`edgeward diff` found packets that are treated differently, a packet of `edgeward explain` was not treated as expected, `edgeward security-group --check` found that something needed is shut, or `edgeward status --check` found what needs attention.",
    ),
    ("2", "An argument, the policy, the lockfile or the catalog is invalid."),
    ("3", "DNS gave no address for a name that is required."),
    ("4", "The kernel, a file, or a missing permission."),
    ("5", "A safety check refused the change, or the ruleset could not be proved. Nothing was changed."),
];

/// Files, and the argument of the verbs that use them.
const FILES: [(&str, &str, &str); 3] = [
    (
        "policy",
        "/etc/edgeward/policy.yaml",
        "The policy that the units of systemd apply and refresh. A verb reads the one that is named as POLICY.",
    ),
    (
        "lock",
        "/etc/edgeward/policy.lock.yaml",
        "The lockfile of that policy: the addresses of its names. It is beside the policy and has its name, ending in .lock.yaml, unless --lock names another one.",
    ),
    (
        "state_dir",
        "/var/lib/edgeward",
        "The generations: every ruleset that was applied, with its policy and lockfile, and the records of which one is in force, pending, and loaded at boot. --state-dir names another folder.",
    ),
];

pub(crate) fn run(arguments: &Arguments, command: Command) -> Result<(), Failure> {
    let mut program = command.disable_help_subcommand(true);
    // Gives the verbs the options of the program, and their full names.
    program.build();
    match (&arguments.out_dir, &arguments.verb) {
        (Some(folder), _) => pages(&program).try_for_each(|command| {
            let path = folder.join(format!("{}.1", name(command)));
            let written = files::write(&path, &page(&program, command)?);
            written.with_context(|| format!("cannot write `{}`", shown(&path))).map_err(Failure::system)
        }),
        (None, None) => render::output(&page(&program, &program)?),
        (None, Some(verb)) => {
            let command = pages(&program).find(|command| command.get_name() == verb);
            let command = command
                .ok_or_else(|| Failure::usage(anyhow!("`{verb}` is not a verb; `edgeward --help` lists the verbs")))?;
            render::output(&page(&program, command)?)
        }
    }
}

/// The commands that have a page: the program and its verbs, without hidden ones.
fn pages(program: &Command) -> impl Iterator<Item = &Command> {
    std::iter::once(program).chain(verbs(program))
}

fn verbs(program: &Command) -> impl Iterator<Item = &Command> {
    program.get_subcommands().filter(|verb| !verb.is_hide_set())
}

/// `edgeward-apply`.
fn name(command: &Command) -> &str {
    command.get_display_name().unwrap_or(command.get_name())
}

fn page(program: &Command, command: &Command) -> Result<String, Failure> {
    let mut page = Vec::new();
    write_page(program, command, &mut page).map_err(Failure::system)?;
    Ok(String::from_utf8_lossy(&page).into_owned())
}

fn write_page(program: &Command, command: &Command, page: &mut Vec<u8>) -> io::Result<()> {
    let version = format!("edgeward {}", program.get_version().unwrap_or_default());
    let command_of_page = command.clone().subcommand_help_heading("VERBS");
    let man = Man::new(command_of_page).source(version).manual("edgeward manual");
    man.render_title(page)?;
    man.render_name_section(page)?;
    man.render_synopsis_section(page)?;
    man.render_description_section(page)?;
    man.render_options_section(page)?;
    if command.has_subcommands() {
        man.render_subcommands_section(page)?;
    }
    let is_program = command.has_subcommands();
    let uses = |id: &str| is_program || command.get_arguments().any(|argument| argument.get_id() == id);
    let files = FILES.iter().filter(|(argument, ..)| uses(argument)).map(|(_, path, text)| (*path, *text));
    let mut more = Roff::default();
    definitions(&mut more, "EXIT STATUS", EXIT_STATUS);
    definitions(&mut more, "FILES", files);
    examples(&mut more, command);
    see_also(&mut more, program, command);
    more.to_writer(page)
}

/// A section of terms and their descriptions; nothing without terms.
fn definitions(page: &mut Roff, title: &str, rows: impl IntoIterator<Item = (&'static str, &'static str)>) {
    let mut rows = rows.into_iter().peekable();
    if rows.peek().is_some() {
        page.control("SH", [title]);
    }
    for (term, text) in rows {
        page.control("TP", []);
        page.text([bold(term)]);
        page.text([roman(text)]);
    }
}

/// The examples of the help text.
fn examples(page: &mut Roff, command: &Command) {
    let Some(help) = command.get_after_long_help() else { return };
    page.control("SH", ["EXAMPLES"]);
    page.control("nf", []);
    for line in help.to_string().lines().filter_map(|line| line.strip_prefix("  ")) {
        page.text([roman(line)]);
    }
    page.control("fi", []);
}

/// The verbs that the help text mentions, and nft.
fn see_also(page: &mut Roff, program: &Command, command: &Command) {
    let help = command.clone().render_long_help().to_string();
    let mentioned = |verb: &&Command| {
        let call = format!("edgeward {}", verb.get_name());
        command.has_subcommands() || verb.get_name() != command.get_name() && help.contains(&call)
    };
    let own = (!command.has_subcommands()).then_some(program);
    let pages = own.into_iter().chain(verbs(program).filter(mentioned)).map(|command| (name(command), "1"));
    page.control("SH", ["SEE ALSO"]);
    let names = pages.chain([("nft", "8")]).map(|(name, section)| [bold(name), roman(format!("({section})"))]);
    let mut line = Vec::new();
    for name in names {
        if !line.is_empty() {
            line.push(roman(", "));
        }
        line.extend(name);
    }
    page.text(line);
}
