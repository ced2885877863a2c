//! What is kept of measurements: little, described, and every link to it leads somewhere.

mod common;

use std::fs;
use std::path::PathBuf;

use common::{files, root};

/// Bytes of `reports/archive` in all.
const MOST_BYTES: u64 = 6_500_000;

/// What a text in Markdown links to or shows, without what stands in blocks of code.
fn targets(text: &str) -> Vec<String> {
    let mut is_code = false;
    let mut found = Vec::new();
    for line in text.lines() {
        is_code ^= line.trim_start().starts_with("```");
        if is_code || line.starts_with("    ") {
            continue;
        }
        for (opening, closing) in [("](", ')'), ("src=\"", '"'), ("href=\"", '"')] {
            let ends = line.match_indices(opening).filter_map(|(at, _)| line[at + opening.len()..].split_once(closing));
            found.extend(ends.map(|(target, _)| target.to_string()));
        }
        // Folders are also named in text.
        let named = line.match_indices("`reports/archive/").filter_map(|(at, _)| line[at + 1..].split_once('`'));
        found.extend(named.map(|(target, _)| format!("/{target}")));
    }
    found
}

#[test]
fn the_archive_is_small_and_holds_no_pixels() {
    let files = files(&root().join("reports/archive"), "");
    let total: u64 = files.iter().map(|path| fs::metadata(path).unwrap().len()).sum();
    assert!(total <= MOST_BYTES, "{total} bytes in reports/archive");
    assert!(total > 1_000_000, "is this the archive?");
    assert!(!files.iter().any(|path| path.extension().is_some_and(|ending| ending.eq_ignore_ascii_case("png"))));
    let plain = |path: &&PathBuf| path.ends_with("records.jsonl") || path.ends_with("samples.jsonl");
    assert_eq!(files.iter().find(plain), None, "samples are packed by gzip");
}

#[test]
fn every_folder_of_the_archive_has_a_readme() {
    let entries = fs::read_dir(root().join("reports/archive")).unwrap().map(|entry| entry.unwrap().path());
    for folder in entries.filter(|path| path.is_dir()) {
        let readme = folder.join("README.md");
        assert!(readme.is_file(), "{} is missing", readme.display());
    }
}

#[test]
fn every_relative_link_of_the_texts_leads_somewhere() {
    let root = root();
    let (mut seen, mut broken) = (0, Vec::new());
    for path in files(&root, ".md") {
        for target in targets(&fs::read_to_string(&path).unwrap()) {
            let file = target.split('#').next().unwrap_or_default();
            if file.is_empty() || file.contains("://") || file.starts_with("mailto:") {
                continue;
            }
            let to = match file.strip_prefix('/') {
                Some(of_root) => root.join(of_root),
                None => path.with_file_name(file),
            };
            seen += 1;
            if !to.exists() {
                broken.push(format!("{}: {target}", path.display()));
            }
        }
    }
    assert!(broken.is_empty(), "{}", broken.join("\n"));
    assert!(seen > 50, "{seen} links");
}

#[test]
fn links_are_found_in_text_and_not_in_code() {
    let text = "[a](b.md) ![c](d.svg#e) <img src=\"f.svg\">\n    x[y](z)\n```\n[g](h)\n```\n`reports/archive/i`\n";
    assert_eq!(targets(text), ["b.md", "d.svg#e", "f.svg", "/reports/archive/i"]);
}
