//! Tables of words and values, read in both directions.

/// The words for the values of a type. Each value has one word, and no two have the same.
#[derive(Clone, Copy, Debug)]
pub struct Vocabulary<T: 'static> {
    values: &'static [T],
    word: fn(T) -> &'static str,
}

/// A [`Vocabulary`] from a table of values and words. A value without a word does not compile.
macro_rules! vocabulary {
    ($($value:path => $word:literal),+ $(,)?) => {
        $crate::nft::Vocabulary::new(&[$($value),+], |value| match value { $($value => $word),+ })
    };
}
pub(super) use vocabulary;

impl<T: Copy> Vocabulary<T> {
    /// The words that a function has for values.
    pub(super) const fn new(values: &'static [T], word: fn(T) -> &'static str) -> Self {
        Self { values, word }
    }

    /// The word for a value.
    pub fn word(&self, value: T) -> &'static str {
        (self.word)(value)
    }

    /// The value that a word stands for.
    pub fn value(&self, word: &str) -> Option<T> {
        self.values().find(|value| self.word(*value) == word)
    }

    /// All values, in the order of the table.
    pub fn values(&self) -> impl Iterator<Item = T> + use<T> {
        self.values.iter().copied()
    }
}

/// Checks that a vocabulary has so many values, and a word for each that stands for nothing else.
#[cfg(test)]
pub(super) fn assert_round_trips<T: Copy + std::fmt::Debug + PartialEq>(vocabulary: Vocabulary<T>, count: usize) {
    let words: std::collections::BTreeSet<&str> = vocabulary.values().map(|value| vocabulary.word(value)).collect();
    assert_eq!(words.len(), count, "{words:?}");
    assert_eq!(vocabulary.values().count(), count);
    for value in vocabulary.values() {
        assert_eq!(vocabulary.value(vocabulary.word(value)), Some(value));
    }
    for word in ["", "frobnicate", "ACCEPT", "accept "] {
        assert_eq!(vocabulary.value(word), None, "{word:?}");
    }
}
