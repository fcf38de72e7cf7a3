//! Inputs with random changes.

use super::random::Dice;

/// Characters that have a meaning in one of the formats.
const CHARACTERS: &[u8] = b"{}[]()\"';:,=!<>&|@$#\\*/.-_ \n\t\r0123456789abcdefx\0\x7f";

/// A text with some of its bytes, words or lines changed.
pub fn mutated(text: &str, dice: &mut Dice) -> String {
    let mut bytes = text.as_bytes().to_vec();
    for _ in 0..=dice.below(3) {
        let at = dice.below(bytes.len());
        match dice.below(7) {
            0 => bytes[at] = *dice.pick(CHARACTERS),
            1 => bytes.insert(at, *dice.pick(CHARACTERS)),
            2 => drop(bytes.remove(at)),
            3 => bytes[at] = u8::try_from(dice.below(256)).unwrap(),
            // The others swap, repeat and drop words.
            kind => {
                let text = String::from_utf8_lossy(&bytes).into_owned();
                let mut words: Vec<&str> = text.split_inclusive(char::is_whitespace).collect();
                let (one, other) = (dice.below(words.len()), dice.below(words.len()));
                match kind {
                    4 => words.swap(one, other),
                    5 => words.insert(one, words[other]),
                    _ => drop(words.remove(one)),
                }
                bytes = words.concat().into_bytes();
            }
        }
        if bytes.is_empty() {
            break;
        }
    }
    String::from_utf8_lossy(&bytes).into_owned()
}
