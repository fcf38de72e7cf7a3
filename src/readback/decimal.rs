//! Numbers.

/// Reads a number without sign and leading zeros. nft reads `022` as eighteen, and edgeward refuses it.
pub fn decimal(text: &str) -> Option<u32> {
    let is_plain = text == "0" || (!text.starts_with('0') && text.bytes().all(|byte| byte.is_ascii_digit()));
    is_plain.then(|| text.parse().ok()).flatten()
}
