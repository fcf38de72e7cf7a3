//! Runs the program nft: lists tables, and loads changes.

#![expect(clippy::disallowed_methods, reason = "this is the module that may start nft")]

use std::io::{self, ErrorKind, Read, Write};
use std::process::{Child, Command, ExitStatus, Stdio};
use std::sync::mpsc::{Receiver, RecvTimeoutError, channel};
use std::thread;
use std::time::{Duration, Instant};

use super::KernelError;
use crate::host::programs;
use crate::nft::{OWN_FAMILY, TABLE_FAMILIES};
use crate::source::Source;

/// The most characters of an error that are shown: nft repeats the line, and a set may be megabytes on one line.
const MAX_SHOWN: usize = 400;

/// A table without the elements of its sets takes 5 ms, however large they are (nft 1.0.6).
const TABLE: NftLimits = NftLimits { time: Duration::from_secs(30), bytes: 256 << 20 };
/// Chains without rules and sets: 100,000 take a second, and are 10 MB.
const CHAINS: NftLimits = NftLimits { time: Duration::from_secs(30), bytes: 64 << 20 };
/// Half a million prefixes as text take 4 s to load. nft prints nothing on success.
const LOAD: NftLimits = NftLimits { time: Duration::from_secs(60), bytes: 1 << 20 };
/// One line.
const VERSION: NftLimits = NftLimits { time: Duration::from_secs(10), bytes: 1 << 10 };

/// The oldest version that is tested (`make test-nft`).
pub const OLDEST: &str = "0.9.8";

/// How long nft may take, and how much it may print.
///
/// nft starts over when another program changes a table meanwhile, so next to a busy program it might never end.
#[derive(Clone, Copy, Debug)]
struct NftLimits {
    time: Duration,
    bytes: u64,
}

/// Lists a table of edgeward's family as text, without the values of counters and the elements of sets; `None` where there
/// is no such table.
///
/// Text, not JSON: where something in it is not understood, its line can be shown.
///
/// # Errors
/// nft is missing, not permitted, fails, or does not end in time.
pub fn list_table(name: &str) -> Result<Option<Source>, KernelError> {
    // To list a single table, nft 1.0.6 reads the elements of all sets, even if it does not print them. Names of
    // protocols come from `/etc/protocols`, which differs between hosts.
    let mut command = nft()?;
    let family = TABLE_FAMILIES.word(OWN_FAMILY);
    command.args(["--stateless", "--terse", "--numeric-protocol", "list", "ruleset", family]);
    let listed = known(answer(run(command, "", TABLE)?))?;
    Ok(table_of(listed.text(), name).map(|text| Source::new("kernel", text)))
}

/// The lines of one table. The contents are indented, the end is not.
fn table_of<'a>(listed: &'a str, name: &str) -> Option<&'a str> {
    let head = format!("table {} {name} {{", TABLE_FAMILIES.word(OWN_FAMILY));
    let is_line = |start: &usize| *start == 0 || listed.as_bytes()[start - 1] == b'\n';
    let start = listed.match_indices(&head).map(|(start, _)| start).find(is_line)?;
    let end = listed[start..].find("\n}").map_or(listed.len(), |end| start + end + 2);
    Some(&listed[start..end])
}

/// The program that a listed table belongs to, if it has the flag `owner`.
pub fn owner(table: &str) -> Option<String> {
    let mut lines = table.lines();
    // `table inet edgeward { # progname nft`
    let program = lines.next()?.split_once("# progname ").map(|(_, program)| program.trim());
    // The flags of the table come first.
    let flags = lines.next()?.trim().strip_prefix("flags ")?;
    let is_owned = flags.split([',', ' ', ';']).any(|flag| flag == "owner");
    is_owned.then(|| program.map_or_else(|| "another program".to_owned(), |program| format!("the program `{program}`")))
}

/// Lists the chains of all tables as JSON, without rules and sets.
///
/// # Errors
/// nft is missing, not permitted, fails, or does not end in time.
pub fn list_chains() -> Result<Source, KernelError> {
    let mut command = nft()?;
    command.args(["-j", "list", "chains"]);
    known(answer(run(command, "", CHAINS)?))
}

/// Loads commands in one transaction: all of them, or none.
///
/// # Errors
/// nft is missing, not permitted, too old, fails, or does not end in time; the kernel lacks modules.
pub fn load(commands: &str) -> Result<(), KernelError> {
    let mut command = nft()?;
    command.args(["-f", "-"]);
    known(answer(run(command, commands, LOAD)?)).map(drop)
}

/// Reports the version of nft where that may be why it failed.
fn known(answer: Result<Source, KernelError>) -> Result<Source, KernelError> {
    answer.map_err(|error| match error {
        KernelError::Failed(said) => match version() {
            Some(version) => KernelError::TooOld(version, said),
            None => KernelError::Failed(said),
        },
        error => error,
    })
}

/// The version of nft, if it is too old.
fn version() -> Option<String> {
    let mut command = nft().ok()?;
    command.arg("--version");
    let said = answer(run(command, "", VERSION).ok()?).ok()?.into_text();
    too_old(&said)
}

/// The version in what `nft --version` says, such as `nftables v1.0.6 (Lester Gooch #5)`, if it is too old.
fn too_old(said: &str) -> Option<String> {
    let numbers = |version: &str| version.split('.').map_while(|part| part.parse().ok()).collect::<Vec<u32>>();
    let version = said.split_whitespace().nth(1)?.trim_start_matches('v');
    let found = numbers(version);
    (!found.is_empty() && found < numbers(OLDEST)).then(|| version.to_owned())
}

fn nft() -> Result<Command, KernelError> {
    programs::command("nft").ok_or(KernelError::NoNft)
}

/// The output of a program that has ended.
struct NftOutput {
    status: ExitStatus,
    stdout: Vec<u8>,
    /// The first bytes.
    stderr: Vec<u8>,
}

fn answer(output: NftOutput) -> Result<Source, KernelError> {
    if output.status.success() {
        return Ok(Source::new("kernel", String::from_utf8_lossy(&output.stdout)));
    }
    let stderr = String::from_utf8_lossy(&output.stderr);
    if stderr.contains("Operation not permitted") {
        return Err(KernelError::NotPermitted);
    }
    if stderr.trim().is_empty() {
        return Err(KernelError::Failed(output.status.to_string()));
    }
    let said: String = stderr.trim_end().chars().take(MAX_SHOWN).collect();
    // A kernel without nf_tables has no such netlink family.
    if stderr.contains("Unable to initialize Netlink socket") || stderr.contains("cache initialization failed: Invalid")
    {
        return Err(KernelError::NoTables(said));
    }
    // All names that edgeward writes are defined in the same text, so it is a kernel module that is missing.
    let lacks =
        ["Could not process rule: No such file or directory", "Could not process rule: Operation not supported"];
    match lacks.iter().any(|words| stderr.contains(words)) {
        true => Err(KernelError::NoModule(said)),
        false => Err(KernelError::Failed(said)),
    }
}

/// Runs a program within limits, and kills it if it exceeds them.
fn run(mut command: Command, input: &str, limits: NftLimits) -> Result<NftOutput, KernelError> {
    let deadline = Instant::now() + limits.time;
    let stdin = if input.is_empty() { Stdio::null() } else { Stdio::piped() };
    let pipes = command.stdin(stdin).stdout(Stdio::piped()).stderr(Stdio::piped());
    let mut child = pipes.spawn().map_err(|error| match error.kind() {
        ErrorKind::NotFound => KernelError::NoNft,
        _ => KernelError::Start(error),
    })?;
    let output = feed(&mut child, input).and_then(|()| collect(&mut child, limits, deadline));
    if output.is_err() {
        // It may be in a system call that outlives the signal, so the wait has a bound.
        let _ = child.kill();
        let _ = programs::end(&mut child, Instant::now() + Duration::from_secs(1));
    }
    output
}

/// Writes the input on a separate thread: a program may print before it has read everything.
fn feed(child: &mut Child, input: &str) -> Result<(), KernelError> {
    let Some(mut pipe) = child.stdin.take() else { return Ok(()) };
    let input = input.to_owned();
    // A program that ends early prints why; the broken pipe adds nothing.
    let write = move || drop(pipe.write_all(input.as_bytes()));
    thread::Builder::new().spawn(write).map(drop).map_err(KernelError::Start)
}

/// Reads both pipes at once: a program blocks when either is full.
fn collect(child: &mut Child, limits: NftLimits, deadline: Instant) -> Result<NftOutput, KernelError> {
    let stdout = drain(child.stdout.take(), limits.bytes).map_err(KernelError::Start)?;
    let stderr = drain(child.stderr.take(), 4 * MAX_SHOWN as u64).map_err(KernelError::Start)?;
    let received = |pipe: &Receiver<io::Result<Vec<u8>>>| match pipe
        .recv_timeout(deadline.saturating_duration_since(Instant::now()))
    {
        Ok(bytes) => bytes.map_err(KernelError::Start),
        Err(RecvTimeoutError::Timeout) => Err(KernelError::TooSlow(limits.time)),
        Err(RecvTimeoutError::Disconnected) => Ok(Vec::new()),
    };
    let stdout = received(&stdout)?;
    if stdout.len() as u64 > limits.bytes {
        return Err(KernelError::TooMuch(limits.bytes));
    }
    let stderr = received(&stderr)?;
    let status = programs::end(child, deadline).map_err(KernelError::Start)?;
    Ok(NftOutput { status: status.ok_or(KernelError::TooSlow(limits.time))?, stdout, stderr })
}

/// Reads a pipe on a separate thread: up to one byte more than the bound, and discards the rest.
fn drain(pipe: Option<impl Read + Send + 'static>, bound: u64) -> io::Result<Receiver<io::Result<Vec<u8>>>> {
    let (sender, receiver) = channel();
    let read = move || {
        let Some(mut pipe) = pipe else { return };
        let mut bytes = Vec::new();
        let result = (&mut pipe).take(bound + 1).read_to_end(&mut bytes);
        // The receiver is gone after a timeout, or when the other pipe exceeded its bound.
        let _ = sender.send(result.map(|_| bytes));
        let _ = io::copy(&mut pipe, &mut io::sink());
    };
    thread::Builder::new().spawn(read)?;
    Ok(receiver)
}

#[cfg(test)]
mod tests {
    use super::*;

    const LIMITS: NftLimits = NftLimits { time: Duration::from_secs(20), bytes: 1 << 20 };

    fn shell(script: &str, limits: NftLimits) -> Result<NftOutput, KernelError> {
        let mut command = Command::new("sh");
        command.args(["-c", script]);
        run(command, "", limits)
    }

    #[test]
    fn an_owner_is_found_by_the_flag_of_the_table() {
        let table =
            |flags: &str| owner(&format!("table inet edgeward {{ # progname fw\n\t{flags}\n\tchain a {{\n\t}}\n}}"));
        assert_eq!(table("flags owner").as_deref(), Some("the program `fw`"));
        assert_eq!(table("flags dormant,owner").as_deref(), Some("the program `fw`"));
        assert_eq!(table("flags dormant"), None);
        assert_eq!(owner("table inet edgeward {\n\tflags owner\n}").as_deref(), Some("another program"));
        assert_eq!(owner("table inet edgeward {\n\tset a {\n\t\tflags interval\n\t}\n}"), None);
    }

    #[test]
    fn both_pipes_are_read() {
        let output = shell("echo one; echo two >&2; exit 3", LIMITS).unwrap();
        assert_eq!((&output.stdout[..], &output.stderr[..]), (&b"one\n"[..], &b"two\n"[..]));
        assert_eq!(output.status.code(), Some(3));
        // More than a pipe holds, in the one that is read last, and then in the other.
        let output = shell("head -c 300000 /dev/zero >&2; head -c 300000 /dev/zero", LIMITS).unwrap();
        assert_eq!((output.stdout.len(), output.stderr.len()), (300_000, 4 * MAX_SHOWN + 1));
        assert!(matches!(run(Command::new("/no/such/program"), "", LIMITS), Err(KernelError::NoNft)));
    }

    #[test]
    fn a_program_that_does_not_end_is_killed() {
        let short = NftLimits { time: Duration::from_millis(200), ..LIMITS };
        let begin = Instant::now();
        // Silent; with both pipes closed; and with a child that holds them.
        for script in ["exec sleep 100", "exec sleep 100 >&- 2>&-", "sleep 5"] {
            assert!(matches!(shell(script, short), Err(KernelError::TooSlow(_))), "{script}");
        }
        assert!(matches!(
            shell("exec cat /dev/zero", NftLimits { time: Duration::from_secs(2), ..LIMITS }),
            Err(KernelError::TooMuch(_))
        ));
        assert!(matches!(shell("cat /dev/zero >&2", short), Err(KernelError::TooSlow(_))));
        assert!(begin.elapsed() < Duration::from_secs(10), "{:?}", begin.elapsed());
    }

    #[test]
    fn old_versions_are_told_from_new_ones() {
        let found = |version: &str| too_old(&format!("nftables v{version} (E.D.S.)\n"));
        for old in ["0.5", "0.8.2", "0.9.0", "0.9.3"] {
            assert_eq!(found(old).as_deref(), Some(old));
        }
        for new in ["0.9.8", "0.9.10", "1.0.2", "1.1.7", "2", "git"] {
            assert_eq!(found(new), None, "{new}");
        }
        assert_eq!(too_old(""), None);
    }

    #[test]
    fn one_table_is_found_among_others() {
        let listed = "table inet edgeward2 {\n\tchain x {\n\t}\n}\ntable inet edgeward {\n\tchain input {\n\t\taccept\n\t}\n}\n\
                      table inet other {\n\t# table inet edgeward {\n}\n";
        assert_eq!(table_of(listed, "edgeward").unwrap(), "table inet edgeward {\n\tchain input {\n\t\taccept\n\t}\n}");
        assert_eq!(table_of(listed, "none"), None);
        assert_eq!(table_of("", "edgeward"), None);
    }

    #[test]
    fn errors_of_nft_are_classified() {
        let said = |script: &str| answer(shell(script, LIMITS).unwrap()).unwrap_err().to_string();
        assert!(said("echo Error: Operation not permitted >&2; exit 1").contains("CAP_NET_ADMIN"));
        assert_eq!(said("printf %s Error >&2; exit 1"), "nft failed: Error");
        assert_eq!(said("exit 3"), "nft failed: exit status: 3");
        assert_eq!(said("kill -9 $$"), "nft failed: signal: 9 (SIGKILL)");
        assert_eq!(said("head -c 5000 /dev/zero | tr '\\0' x >&2; exit 1").len(), "nft failed: ".len() + MAX_SHOWN);
        assert_eq!(answer(shell("printf %s '{}'", LIMITS).unwrap()).unwrap().text(), "{}");
    }
}
