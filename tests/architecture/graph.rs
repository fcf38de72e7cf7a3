//! Who names whom within a folder: files and folders side by side must not name each other in a circle.

use std::collections::{BTreeMap, BTreeSet};

use super::paths::{Named, Source};

/// The modules of a crate and what each of them imports.
struct Crate<'a> {
    modules: BTreeSet<&'a [String]>,
    /// By module and name: the path that the name stands for.
    imports: BTreeMap<(&'a [String], &'a str), &'a Named>,
    /// The modules whose names a module imports as a whole.
    globs: BTreeMap<&'a [String], Vec<&'a Named>>,
}

/// Longer chains of imports are not followed.
const MAX_IMPORTS: usize = 8;

impl<'a> Crate<'a> {
    fn new(sources: &'a [Source]) -> Self {
        let modules = sources.iter().map(|source| &source.module[..]).collect();
        let mut this = Self { modules, imports: BTreeMap::new(), globs: BTreeMap::new() };
        for source in sources {
            for named in &source.paths {
                match named.import.as_deref() {
                    Some("*") => this.globs.entry(&source.module).or_default().push(named),
                    Some(name) => drop(this.imports.insert((&source.module, name), named)),
                    None => {}
                }
            }
        }
        this
    }

    /// The module in which the item stands that `at` names so; `None` for what is outside of the crate.
    fn home(&self, at: &[String], segments: &[String], left: usize) -> Option<Vec<String>> {
        let left = left.checked_sub(1)?;
        let (first, rest) = segments.split_first()?;
        if first == "crate" {
            return self.walk(Vec::new(), rest, left);
        }
        if self.child(at, first).is_some() {
            return self.walk(at.to_vec(), segments, left);
        }
        if let Some(import) = self.imports.get(&(at, first.as_str())) {
            // `use std::fmt;` names itself.
            let same = import.segments == segments;
            return if same { None } else { self.home(at, &[&import.segments[..], rest].concat(), left) };
        }
        // A word in lower case may be a variable.
        let may_be_item = !rest.is_empty() || first.starts_with(char::is_uppercase);
        let globs = self.globs.get(at).into_iter().flatten().filter(|_| may_be_item);
        globs
            .filter_map(|glob| {
                let from = self.home(at, &glob.segments, left)?;
                let has = self.child(&from, first).is_some() || self.imports.contains_key(&(&from[..], first.as_str()));
                if has && from != at { self.walk(from, segments, left) } else { None }
            })
            .next()
    }

    /// Follows a path from a module through its submodules and through what they import.
    fn walk(&self, mut at: Vec<String>, segments: &[String], left: usize) -> Option<Vec<String>> {
        for (index, segment) in segments.iter().enumerate() {
            if self.child(&at, segment).is_some() {
                at.push(segment.clone());
            } else if let Some(import) = self.imports.get(&(&at[..], segment.as_str())) {
                return self.home(&at, &[&import.segments[..], &segments[index + 1..]].concat(), left);
            } else {
                break;
            }
        }
        Some(at)
    }

    fn child(&self, at: &[String], name: &str) -> Option<()> {
        self.modules.contains(&[at, &[name.to_owned()]].concat()[..]).then_some(())
    }
}

/// Where one of two siblings names the other: `host/dns.rs:3`.
type Edges = BTreeMap<(String, String), String>;

/// The siblings of a folder that name each other in a circle, and a place for each step of it.
pub struct Circle {
    /// The folder, from the crate's root, and the siblings, sorted.
    pub siblings: (String, Vec<String>),
    pub places: Vec<String>,
}

/// All circles among siblings, in every folder of the crate.
pub fn circles(sources: &[Source]) -> Vec<Circle> {
    let whole = Crate::new(sources);
    let mut folders: BTreeMap<&[String], Edges> = BTreeMap::new();
    for source in sources {
        for named in &source.paths {
            let Some(home) = whole.home(&source.module, &named.segments, MAX_IMPORTS) else { continue };
            let shared = source.module.iter().zip(&home).take_while(|(a, b)| a == b).count();
            if let (Some(from), Some(to)) = (source.module.get(shared), home.get(shared)) {
                let edges = folders.entry(&source.module[..shared]).or_default();
                let place = || format!("{}:{} names `{to}`", source.file, named.line);
                edges.entry((from.clone(), to.clone())).or_insert_with(place);
            }
        }
    }
    folders.iter().flat_map(|(folder, edges)| circles_of(&folder.join("/"), edges)).collect()
}

fn circles_of(folder: &str, edges: &Edges) -> Vec<Circle> {
    let reached = |from: &String| {
        let mut reached = BTreeSet::new();
        let mut open = vec![from];
        while let Some(next) = open.pop() {
            let news = edges.keys().filter(|(from, to)| from == next && !reached.contains(to)).map(|(_, to)| to);
            let news: Vec<_> = news.collect();
            reached.extend(news.iter().copied());
            open.extend(news);
        }
        reached
    };
    let reach: BTreeMap<&String, BTreeSet<&String>> = edges.keys().map(|(from, _)| (from, reached(from))).collect();
    let mut groups: BTreeSet<Vec<String>> = BTreeSet::new();
    for (from, reached) in reach.iter().filter(|(from, reached)| reached.contains(*from)) {
        let back = |other: &&&String| reach.get(**other).is_some_and(|back| back.contains(from));
        groups.insert(reached.iter().filter(back).map(|other| (*other).clone()).collect());
    }
    let circle = |siblings: Vec<String>| {
        let inside = |(from, to): &(String, String)| siblings.contains(from) && siblings.contains(to);
        let places = edges.iter().filter(|(ends, _)| inside(ends)).map(|(_, place)| place.clone()).collect();
        Circle { siblings: (folder.to_owned(), siblings), places }
    };
    groups.into_iter().map(circle).collect()
}
