//! Output: standard output for results, standard error for everything else, colour on terminals only.

use std::borrow::Cow;
use std::cmp::Reverse;
use std::io::{ErrorKind, Write};
use std::path::Path;
use std::sync::LazyLock;

use annotate_snippets::{AnnotationKind, Group, Level, Origin, Renderer, Snippet};

use serde::Serialize;

use crate::cli::failure::{Failure, Message};
use crate::diag::{Code, Diagnostic, MAX_PROBLEMS, Severity, escaped_but, is_invisible, legible, shown};
use crate::host::files;
use crate::host::generations::PolicyFacts;
use crate::host::streams::{self, STREAM};
use crate::net::PrefixSet;
use crate::source::{Source, Span};
use crate::wording::{count, for_number};

/// A longer line is not shown, only its position.
const MAX_LINE: usize = 400;
/// A message of more quoted words is cut as a whole.
const MAX_PARTS: usize = 40;
/// So many are shown; a binary file has thousands.
const MAX_DIAGNOSTICS: usize = 100;

/// Writes a result to standard output. A closed pipe (`| head`) is not a failure.
pub(crate) fn output(text: &str) -> Result<(), Failure> {
    try_output(text).map_err(not_written)
}

/// Writes a result to a file, whole or not at all; without one, or for `-`, to standard output.
pub(crate) fn output_to(path: Option<&Path>, text: &str) -> Result<(), Failure> {
    let Some(path) = path.filter(|path| !streams::is_standard_output(path)) else { return output(text) };
    files::write(path, text)
        .map_err(|error| Failure::system(anyhow::Error::from(error).context(format!("cannot write `{}`", shown(path)))))
}

/// The same, for a verb that has done more than this result says.
pub(crate) fn try_output(text: &str) -> std::io::Result<()> {
    written(std::io::stdout().lock().write_all(for_terminals(text).as_bytes()))
}

/// A result without characters that would change the terminal, except for line breaks, tabs and our own colours.
fn for_terminals(text: &str) -> Cow<'_, str> {
    let is_kept = |c| matches!(c, '\n' | '\t');
    // Nearly all results are of such bytes alone, and rulesets have half a million of elements.
    let is_plain = |byte| matches!(byte, b' '..=b'~' | b'\n' | b'\t');
    if text.bytes().all(is_plain) || !text.contains(|c| is_invisible(c) && !is_kept(c)) {
        return text.into();
    }
    let begins_colour = |part: &str| {
        let code = part.strip_prefix('[').and_then(|rest| rest.split_once('m')).map(|(code, _)| code);
        *COLOURED && code.is_some_and(|code| COLOURS.contains(&code))
    };
    let mut safe = String::with_capacity(text.len());
    // The lines of CSV end in CR LF.
    for (number, line) in text.split("\r\n").enumerate() {
        safe += if number > 0 { "\r\n" } else { "" };
        let mut parts = line.split('\u{1b}');
        safe.extend(parts.next().map(|part| escaped_but(part, is_kept)));
        for part in parts {
            match begins_colour(part) {
                true => safe.push('\u{1b}'),
                false => safe.extend('\u{1b}'.escape_default()),
            }
            safe += &escaped_but(part, is_kept);
        }
    }
    safe.into()
}

fn written(done: std::io::Result<()>) -> std::io::Result<()> {
    match done.and_then(|()| std::io::stdout().lock().flush()) {
        Err(error) if error.kind() != ErrorKind::BrokenPipe => Err(error),
        _ => Ok(()),
    }
}

/// The failure of a verb that has done nothing but the result that is lost.
pub(crate) fn not_written(error: std::io::Error) -> Failure {
    Failure::system(anyhow::Error::from(error).context(NOT_WRITTEN))
}

/// What is said if a result is lost.
pub(crate) const NOT_WRITTEN: &str = "cannot write to standard output";

/// Writes a set of prefixes to standard output, one a line.
pub(crate) fn lines(set: &PrefixSet) -> Result<(), Failure> {
    let mut out = std::io::stdout().lock();
    let done = set.write_lines(|piece| out.write_all(piece));
    drop(out);
    written(done).map_err(not_written)
}

/// A document as programs and people read it.
pub(crate) fn document(document: &impl Serialize) -> Result<String, Failure> {
    let text = serde_json::to_string_pretty(document).map_err(Failure::system)?;
    let mut shown = String::with_capacity(text.len() + 1);
    for c in text.chars() {
        match is_invisible(c) && c != '\n' {
            // Of what serde_json does not escape. In JSON, such a character can only be inside of a string.
            true => shown.extend(c.encode_utf16(&mut [0; 2]).iter().map(|unit| format!("\\u{unit:04x}"))),
            false => shown.push(c),
        }
    }
    shown.push('\n');
    Ok(shown)
}

/// Shows why a command fails.
pub(crate) fn failure(failure: &Failure) {
    for message in &failure.messages {
        match message {
            Message::Diagnostics(source, problems) => diagnostics(source, problems),
            Message::Error(cause) => error(&format!("{cause:#}")),
        }
    }
}

/// Shows an error that has no place in a text.
fn error(message: &str) {
    say(Severity::Error, message);
}

/// Shows a message that has no place in a text.
fn say(severity: Severity, message: &str) {
    // The line breaks are ours; each line may quote input.
    let message = message.lines().map(shown_line).collect::<Vec<_>>().join("\n");
    show(&[Group::with_title(level(severity).primary_title(message.as_str()))]);
}

fn level(severity: Severity) -> Level<'static> {
    match severity {
        Severity::Error => Level::ERROR,
        Severity::Warning => Level::WARNING,
        Severity::Note => Level::NOTE,
    }
}

/// A line as a terminal shows it. It may quote long input, which is cut; commands are not, so that they can be pasted.
fn shown_line(line: &str) -> String {
    let is_command = |part: &&str| ["edgeward ", "cp "].iter().any(|start| part.starts_with(start));
    let parts: Vec<&str> = line.split('`').collect();
    if line.len() <= MAX_LINE || parts.len() > MAX_PARTS || !parts.iter().any(is_command) {
        return legible(line);
    }
    let shown = parts.iter().map(|part| if is_command(part) { (*part).to_owned() } else { legible(part) });
    shown.collect::<Vec<_>>().join("`")
}

/// Shows diagnostics with the lines that they are about: the most severe ones where there are too many, and how many more
/// there are of each severity.
pub(crate) fn diagnostics(source: &Source, diagnostics: &[Diagnostic]) {
    let mut order: Vec<usize> = (0..diagnostics.len()).collect();
    order.sort_by_key(|&at| Reverse(diagnostics[at].code.severity()));
    let (shown, hidden) = order.split_at_mut(diagnostics.len().min(MAX_DIAGNOSTICS));
    shown.sort_unstable();
    for &mut at in shown {
        show_diagnostic(source, &diagnostics[at]);
    }
    let at_least = if diagnostics.len() < MAX_PROBLEMS { "" } else { "at least " };
    for severity in [Severity::Error, Severity::Warning, Severity::Note] {
        let more = hidden.iter().filter(|at| diagnostics[**at].code.severity() == severity).count();
        if more > 0 {
            let (problems, are) = (count(more, "more problem"), for_number(more, "is", "are"));
            say(severity, &format!("{at_least}{problems} in `{}` {are} not shown", source.name));
        }
    }
}

fn show_diagnostic(source: &Source, diagnostic: &Diagnostic) {
    let level = level(diagnostic.code.severity());
    let (message, name) = (legible(&diagnostic.message), legible(&source.name));
    let title = level.primary_title(message.as_str()).id(diagnostic.code.name());
    let position = source.position(diagnostic.span.start);
    let Span { start, end } = source.line_span(diagnostic.span.start);
    let line = &source.text()[start..end];
    let first = Group::with_title(title);
    // A file that is named by mistake may be secret.
    let first = if line.len() > MAX_LINE || diagnostic.code == Code::UnknownFile {
        first.element(Origin::path(name.as_str()).line(position.line).char_column(position.column))
    } else {
        let from = (diagnostic.span.start - start).min(line.len());
        let to = diagnostic.span.end.saturating_sub(start).clamp(from, line.len());
        let annotation = AnnotationKind::Primary.span(from..to);
        first.element(
            Snippet::source(line).line_start(position.line).path(name.as_str()).fold(false).annotation(annotation),
        )
    };
    match &diagnostic.help {
        Some(help) => show(&[first, Group::with_title(Level::HELP.secondary_title(legible(help)))]),
        None => show(&[first]),
    }
}

/// Shows a note that has no place in a text.
pub(crate) fn note(message: &str) {
    say(Severity::Note, message);
}

/// Shows a warning that has no place in a text.
pub(crate) fn warning(message: &str) {
    say(Severity::Warning, message);
}

/// Whether results are coloured. Determined once, since a listing may have many lines.
static COLOURED: LazyLock<bool> =
    LazyLock::new(|| anstream::AutoStream::choice(&std::io::stdout()) != anstream::ColorChoice::Never);

const BOLD: &str = "1";
const GREEN: &str = "32";
const RED: &str = "31";
const PLAIN: &str = "0";
const COLOURS: [&str; 4] = [BOLD, GREEN, RED, PLAIN];

fn painted(code: &str, text: &str) -> String {
    if *COLOURED { format!("\u{1b}[{code}m{text}\u{1b}[{PLAIN}m") } else { text.to_owned() }
}

/// A text in bold, if results are coloured.
pub(crate) fn bold(text: &str) -> String {
    painted(BOLD, text)
}

/// A text in green, if results are coloured.
pub(crate) fn green(text: &str) -> String {
    painted(GREEN, text)
}

/// A text in red, if results are coloured.
pub(crate) fn red(text: &str) -> String {
    painted(RED, text)
}

/// Where a generation's policy was read from.
pub(crate) fn policy_place(policy: &PolicyFacts) -> String {
    match policy.path == Path::new(STREAM) {
        true => "from a pipe".to_owned(),
        false => shown(&policy.path),
    }
}

fn show(report: &[Group<'_>]) {
    // The renderer replaces the control characters of ASCII in lines of files, and not the others.
    let text = escaped_but(&Renderer::styled().render(report), |c| c.is_ascii());
    progress(&format!("{text}\n"));
}

/// Writes to standard error. If that fails, as on a full disk, there is no other place for it: standard output is for
/// results, and a change of rules must not stop halfway. The exit code says the same.
pub(crate) fn progress(text: &str) {
    let _ = anstream::stderr().lock().write_all(text.as_bytes());
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn results_change_no_terminal() {
        let title = "a\u{1b}]0;t\u{7}\r\nb\u{202e}\tc\rd\n";
        assert_eq!(for_terminals(title), "a\\u{1b}]0;t\\u{7}\r\nb\\u{202e}\tc\\rd\n");
        // Not one of our colours.
        assert_eq!(for_terminals("\u{1b}[5m"), "\\u{1b}[5m");
        assert_eq!(for_terminals("杭州\r\n\tx\n"), "杭州\r\n\tx\n");
    }
}
