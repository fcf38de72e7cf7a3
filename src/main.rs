//! The program; everything is in the library.

use std::process::ExitCode;

fn main() -> ExitCode {
    edgeward::cli::run(std::env::args_os())
}
