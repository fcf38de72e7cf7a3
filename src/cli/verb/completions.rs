//! `edgeward completions`.

use clap::Command;
use clap_complete::Shell;

use crate::cli::failure::Failure;
use crate::cli::render;

/// Print a completion script for a shell
#[derive(Debug, clap::Args)]
#[command(after_long_help = "\
Examples:
  edgeward completions bash > /usr/share/bash-completion/completions/edgeward
  edgeward completions zsh > /usr/share/zsh/site-functions/_edgeward
  edgeward completions fish > /usr/share/fish/vendor_completions.d/edgeward.fish")]
pub(crate) struct Arguments {
    /// The shell
    shell: Shell,
}

pub(crate) fn run(arguments: &Arguments, mut command: Command) -> Result<(), Failure> {
    let mut script = Vec::new();
    clap_complete::generate(arguments.shell, &mut command, "edgeward", &mut script);
    render::output(&String::from_utf8_lossy(&script))
}
