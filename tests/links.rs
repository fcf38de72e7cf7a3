//! Links between the pages of the documentation: files and headings exist, and README.md leads to every page.

#![expect(clippy::disallowed_methods, clippy::unwrap_used, reason = "a test reads files of the repository")]

use std::collections::BTreeSet;
use std::fs;
use std::path::{Path, PathBuf};

fn root() -> &'static Path {
    Path::new(env!("CARGO_MANIFEST_DIR"))
}

/// All pages, as paths from the repository's root.
fn pages() -> Vec<PathBuf> {
    let mut pages = Vec::new();
    for folder in ["", "docs", "packaging"] {
        for entry in fs::read_dir(root().join(folder)).unwrap() {
            let path = Path::new(folder).join(entry.unwrap().file_name());
            if path.extension().is_some_and(|extension| extension == "md") {
                pages.push(path);
            }
        }
    }
    pages.sort();
    pages
}

/// A page without its code blocks, where `[` and `#` mean something else.
fn prose(page: &Path) -> String {
    let text = fs::read_to_string(root().join(page)).unwrap();
    // The parts with odd numbers are between fences.
    let (prose, _): (Vec<_>, Vec<_>) = text.split("\n```").enumerate().partition(|(index, _)| index % 2 == 0);
    prose.into_iter().map(|(_, part)| part).collect::<Vec<_>>().join("\n")
}

/// The targets of the links in a text.
fn links(text: &str) -> impl Iterator<Item = &str> {
    text.split("](").skip(1).filter_map(|rest| rest.split(')').next())
}

/// A heading as the anchor that GitHub gives it.
fn anchor(heading: &str) -> String {
    let is_kept = |character: &char| character.is_alphanumeric() || matches!(character, ' ' | '-' | '_');
    heading.trim().to_lowercase().chars().filter(is_kept).map(|c| if c == ' ' { '-' } else { c }).collect()
}

fn has_heading(page: &Path, heading: &str) -> bool {
    let text = prose(page);
    let headings = text.lines().filter_map(|line| line.strip_prefix('#'));
    headings.map(|heading| anchor(heading.trim_start_matches('#'))).any(|found| found == heading)
}

/// The file that a link on a page points to, from the repository's root; `..` is resolved.
fn target(page: &Path, link: &str) -> PathBuf {
    let mut target = page.parent().unwrap().to_path_buf();
    for part in link.split('/') {
        match part {
            "." | "" => {}
            ".." => assert!(target.pop(), "{}: `{link}` leaves the repository", page.display()),
            part => target.push(part),
        }
    }
    target
}

#[test]
fn links_point_to_files_and_headings() {
    let (mut wrong, mut count) = (Vec::new(), 0);
    for page in pages() {
        let text = prose(&page);
        for link in links(&text).filter(|link| !link.contains("://")) {
            count += 1;
            let (file, heading) = link.split_once('#').map_or((link, None), |(file, heading)| (file, Some(heading)));
            let target = if file.is_empty() { page.clone() } else { target(&page, file) };
            if !root().join(&target).exists() {
                wrong.push(format!("{}: `{link}`: there is no such file", page.display()));
            } else if heading.is_some_and(|heading| !has_heading(&target, heading)) {
                wrong.push(format!("{}: `{link}`: there is no such heading", page.display()));
            }
        }
    }
    assert!(count > 30, "only {count} links were found");
    assert!(wrong.is_empty(), "\n{}", wrong.join("\n"));
}

#[test]
fn the_readme_links_to_every_page() {
    let readme = Path::new("README.md");
    let text = prose(readme);
    let linked: BTreeSet<PathBuf> = links(&text).map(|link| target(readme, link)).collect();
    let missing: Vec<PathBuf> = pages().into_iter().filter(|page| page != readme && !linked.contains(page)).collect();
    assert!(missing.is_empty(), "README.md does not link to {missing:?}");
}

#[test]
fn anchors_are_those_of_github() {
    assert_eq!(anchor(" `/var/lib/edgeward` "), "varlibedgeward");
    assert_eq!(anchor("`deny`, `gateway` and `log`"), "deny-gateway-and-log");
    assert_eq!(anchor("`no-dns`"), "no-dns");
}
