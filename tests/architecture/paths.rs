//! The paths that a source text names, read from its words and signs: macros, tests and what is switched off included.

/// A source file of the crate.
pub struct Source {
    /// Its path from the repository's root.
    pub file: String,
    /// Its module, from the crate's root; `main` for the program, which is a crate of its own.
    pub module: Vec<String>,
    /// What it names.
    pub paths: Vec<Named>,
    pub lines: usize,
}

/// A path that a file names, from the crate's root, from a crate, or from what the file imports.
#[derive(Clone)]
pub struct Named {
    pub line: usize,
    pub segments: Vec<String>,
    /// The name that a `use` gives to it; `*` for all names below it.
    pub import: Option<String>,
}

impl Source {
    /// Reads a file of `src`.
    pub fn new(file: &str, text: &str) -> Self {
        let inside = file.trim_start_matches("src/").trim_end_matches(".rs");
        let mut module: Vec<String> = inside.split('/').map(str::to_owned).collect();
        module.pop_if(|name| ["mod", "lib"].contains(&name.as_str()));
        Self { file: file.to_owned(), paths: paths(text, &module), module, lines: text.lines().count() }
    }
}

/// A word or a sign of a source text.
#[derive(Debug, PartialEq)]
enum Token {
    Word(String),
    /// `::`
    Colons,
    Sign(char),
}

/// The paths that a text names; `at` is the path of its module.
pub fn paths(text: &str, at: &[String]) -> Vec<Named> {
    let tokens = tokens(text);
    let mut found = Vec::new();
    let mut inner: Vec<(usize, String)> = Vec::new();
    let (mut depth, mut index, mut imports) = (0, 0, false);
    while index < tokens.len() {
        match (&tokens[index].1, tokens.get(index + 1).map(|next| &next.1)) {
            (Token::Word(keyword), Some(Token::Word(name)))
                if keyword == "mod" && tokens.get(index + 2).is_some_and(|next| next.1 == Token::Sign('{')) =>
            {
                inner.push((depth, name.clone()));
                index += 2;
                continue;
            }
            (Token::Word(keyword), _) if keyword == "use" => imports = true,
            (Token::Sign(';'), _) => imports = false,
            (Token::Sign('{'), _) => depth += 1,
            (Token::Sign('}'), _) => {
                depth -= 1;
                inner.pop_if(|(outside, _)| *outside == depth);
            }
            (Token::Word(_), _) => {
                let here: Vec<String> = at.iter().chain(inner.iter().map(|(_, name)| name)).cloned().collect();
                index = Reader { tokens: &tokens, here, imports, found: &mut found }.path(index, &[]);
                continue;
            }
            _ => {}
        }
        index += 1;
    }
    found
}

struct Reader<'a> {
    tokens: &'a [(usize, Token)],
    /// The module that the path stands in.
    here: Vec<String>,
    /// Whether the path belongs to a `use`.
    imports: bool,
    found: &'a mut Vec<Named>,
}

impl Reader<'_> {
    fn token(&self, index: usize) -> Option<&Token> {
        self.tokens.get(index).map(|(_, token)| token)
    }

    /// Reads the path that starts at a token, with all branches of its group; returns the index after it.
    fn path(&mut self, start: usize, stem: &[String]) -> usize {
        let (mut index, mut segments) = (start, stem.to_vec());
        while let Some(Token::Word(word)) = self.token(index) {
            segments.push(word.clone());
            index += 1;
            if self.token(index) != Some(&Token::Colons) {
                let alias = match (self.token(index), self.token(index + 1)) {
                    (Some(Token::Word(keyword)), Some(Token::Word(alias))) if self.imports && keyword == "as" => {
                        index += 2;
                        Some(alias.clone())
                    }
                    _ => None,
                };
                // `a::{self}` names `a`.
                segments.pop_if(|last| last == "self" && start > 0 && !stem.is_empty());
                let alias = alias.or_else(|| segments.last().cloned());
                self.add(start, &segments, alias);
                return index;
            }
            index += 1;
        }
        if self.token(index) != Some(&Token::Sign('{')) {
            // `a::*` and `a::<T>` name `a`.
            let all = self.token(index) == Some(&Token::Sign('*'));
            self.add(start, &segments, all.then(|| "*".to_owned()));
            return index;
        }
        index += 1;
        loop {
            match self.token(index) {
                None => return index,
                Some(Token::Sign('}')) => return index + 1,
                Some(Token::Word(_)) => index = self.path(index, &segments),
                Some(_) => index += 1,
            }
        }
    }

    fn add(&mut self, start: usize, segments: &[String], alias: Option<String>) {
        let import = alias.filter(|_| self.imports);
        self.found.push(Named { line: self.tokens[start].0, segments: absolute(segments, &self.here), import });
    }
}

/// The path from the crate's root.
fn absolute(segments: &[String], here: &[String]) -> Vec<String> {
    let ups = segments.iter().take_while(|segment| *segment == "super").count();
    let from_self = usize::from(segments[0] == "self");
    if ups + from_self == 0 || here.len() < ups || segments == ["self"] {
        return segments.to_vec();
    }
    let base = here[..here.len() - ups].iter();
    ["crate".to_owned()].iter().chain(base).chain(&segments[ups + from_self..]).cloned().collect()
}

/// The words and signs of a text with their lines; comments, strings, characters and lifetimes are left out.
fn tokens(text: &str) -> Vec<(usize, Token)> {
    let characters: Vec<char> = text.chars().collect();
    let at = |index: usize| characters.get(index).copied().unwrap_or('\0');
    let is_word = |c: char| c.is_alphanumeric() || c == '_';
    let (mut tokens, mut index) = (Vec::new(), 0);
    let mut line = 1;
    while index < characters.len() {
        let start = index;
        match (at(index), at(index + 1)) {
            ('/', '/') => {
                while index < characters.len() && at(index) != '\n' {
                    index += 1;
                }
            }
            ('/', '*') => {
                let mut open = 0;
                while index < characters.len() {
                    match (at(index), at(index + 1)) {
                        ('/', '*') => (open, index) = (open + 1, index + 2),
                        ('*', '/') => (open, index) = (open - 1, index + 2),
                        _ => index += 1,
                    }
                    if open == 0 {
                        break;
                    }
                }
            }
            ('"', _) => index = quoted(&characters, index, '"'),
            // A character, not a lifetime.
            ('\'', next) if next == '\\' || at(index + 2) == '\'' => index = quoted(&characters, index, '\''),
            ('\'', _) => index += 2,
            ('r', '"' | '#') if raw_string(&characters, index).is_some() => {
                index = raw_string(&characters, index).unwrap();
            }
            (':', ':') => {
                tokens.push((line, Token::Colons));
                index += 2;
            }
            (c, _) if is_word(c) => {
                while is_word(at(index)) {
                    index += 1;
                }
                tokens.push((line, Token::Word(characters[start..index].iter().collect())));
            }
            (c, _) => {
                if !c.is_whitespace() {
                    tokens.push((line, Token::Sign(c)));
                }
                index += 1;
            }
        }
        line += characters[start..index.min(characters.len())].iter().filter(|c| **c == '\n').count();
    }
    tokens
}

/// The index after a quoted text that starts at `index`.
fn quoted(characters: &[char], mut index: usize, quote: char) -> usize {
    index += 1;
    while index < characters.len() && characters[index] != quote {
        index += if characters[index] == '\\' { 2 } else { 1 };
    }
    index + 1
}

/// The index after a raw string that starts at `index`, where one does.
fn raw_string(characters: &[char], index: usize) -> Option<usize> {
    let hashes = characters[index + 1..].iter().take_while(|c| **c == '#').count();
    let open = index + 1 + hashes;
    if characters.get(open) != Some(&'"') {
        return None;
    }
    let end: Vec<char> = ['"'].into_iter().chain(std::iter::repeat_n('#', hashes)).collect();
    let length = characters[open + 1..].windows(end.len()).position(|window| *window == end[..])?;
    Some(open + 1 + length + end.len())
}
