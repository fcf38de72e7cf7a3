//! The checksum in the head of a ruleset's text, by which an edited file is recognised.

use sha2::{Digest, Sha256};

/// The start of the line that has the checksum.
const CHECKSUM: &str = "# SHA-256 of the lines below: ";

/// The line that has the checksum of commands.
pub(super) fn checksum_line(commands: &str) -> String {
    format!("{CHECKSUM}{}", sha256(commands))
}

/// Whether a ruleset's text is unchanged since [`nft`](super::nft()) wrote it; `None` where its third line is not a
/// checksum.
pub fn is_intact(text: &str) -> Option<bool> {
    let mut lines = text.splitn(4, '\n');
    let [title, hint, sum, commands] = [(); 4].map(|()| lines.next());
    let sum = sum?.strip_prefix(CHECKSUM)?;
    let comments = [title, hint].into_iter().flatten().all(|line| line.starts_with('#'));
    Some(comments && sha256(commands?) == sum.trim_end())
}

/// The SHA-256 of a text, as `sha256sum` shows it.
pub fn sha256(text: &str) -> String {
    hexadecimal(&Sha256::digest(text))
}

/// Bytes as two digits each.
pub fn hexadecimal(bytes: &[u8]) -> String {
    bytes.iter().map(|byte| format!("{byte:02x}")).collect()
}
