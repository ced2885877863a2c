//! What the sources look like: the map of the modules, sizes, long lines, names and paragraphs that stand twice.

mod common;

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use common::{files, root};

/// The crates: name in ARCHITECTURE.md, folder, and the most lines of Rust. Lower a budget when the code gets smaller.
const CRATES: [(&str, &str, usize); 8] = [
    ("kernels", "kernels", 34_550),
    ("golden", "kernels/golden", 2_600),
    ("vocabulary", "kernels/vocabulary", 1_050),
    ("reports", "reports", 20_650),
    ("adversary", "reports/adversary", 400),
    ("plots", "plots", 6_450),
    ("harness", "harness", 37_900),
    ("python", "harness/python", 700),
];

/// Names of types that a crate declares more than once. The list only shrinks.
const DECLARED_TWICE: [(&str, &str); 3] = [
    ("kernels", "Buffer Lane Shared Triangle Work Workspace"),
    ("reports", "Bound Change Convolution Figure Outcome Series Stop Table"),
    ("harness", "Arguments Effort End Header Memory Plan Progress Request Row Session Timing Verb"),
];

/// Longest line of code or comment.
const COLUMNS: usize = 120;
/// Shorter paragraphs may stand twice: rules of tables, headings.
const SHORT: usize = 80;

/// The files of the project below `folder` that end with `ending`, with their text.
fn texts(folder: &Path, ending: &str) -> impl Iterator<Item = (PathBuf, String)> {
    files(folder, ending).into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap()))
}

/// The Rust files of a crate, without those of crates inside its folder.
fn sources(folder: &str) -> Vec<(PathBuf, String)> {
    let folder = root().join(folder);
    let inner: Vec<PathBuf> = CRATES.iter().map(|of| root().join(of.1)).filter(|other| *other != folder).collect();
    let is_inner = |path: &Path| inner.iter().any(|other| other.starts_with(&folder) && path.starts_with(other));
    texts(&folder, ".rs").filter(|(path, _)| !is_inner(path)).collect()
}

/// Modules of a crate, and the folders next to its sources with a `/` behind.
fn modules(folder: &str) -> Vec<String> {
    let folder = root().join(folder);
    let names = |folder: &Path| {
        let entries = fs::read_dir(folder).unwrap().map(Result::unwrap);
        let entries = entries.map(|e| (e.file_name().into_string().unwrap(), e.file_type().unwrap().is_dir()));
        entries.filter(|(name, _)| !name.starts_with('.')).collect::<Vec<_>>()
    };
    let of_sources = names(&folder.join("src")).into_iter().filter_map(|(name, is_folder)| {
        let name = if is_folder { &name } else { name.strip_suffix(".rs")? };
        // `insta` keeps its snapshots in a folder of this name.
        (!["lib", "main", "tests", "snapshots"].contains(&name)).then(|| name.to_string())
    });
    let beside = names(&folder).into_iter().filter_map(|(name, is_folder)| {
        (is_folder && !["src", "tests", "benches", "examples", "target"].contains(&name.as_str()))
            .then(|| format!("{name}/"))
    });
    // A module may have a file and a folder.
    of_sources.chain(beside).collect::<BTreeSet<_>>().into_iter().collect()
}

#[test]
fn every_module_stands_once_in_the_map() {
    let text = fs::read_to_string(root().join("ARCHITECTURE.md")).unwrap();
    for (name, folder, _) in CRATES {
        let section = text.split("\n## ").find(|section| section.starts_with(&format!("`{name}`")));
        let section = section.unwrap_or_else(|| panic!("ARCHITECTURE.md has no section `{name}`"));
        let rows = section.lines().filter_map(|line| line.strip_prefix("| `")?.split('|').next());
        let mut told: Vec<&str> = rows.flat_map(|cell| cell.split(", ")).map(|n| n.trim_matches([' ', '`'])).collect();
        told.sort_unstable();
        assert_eq!(told, modules(folder), "left: the table of {name} in ARCHITECTURE.md, right: the crate");
    }
}

#[test]
fn no_paragraph_of_markdown_stands_twice() {
    let mut seen: BTreeMap<String, PathBuf> = BTreeMap::new();
    let mut twice = Vec::new();
    for (path, text) in texts(&root(), ".md") {
        if path.starts_with(root().join("reports/archive")) {
            continue;
        }
        for paragraph in text.split("\n\n") {
            let paragraph = paragraph.split_whitespace().collect::<Vec<_>>().join(" ");
            if paragraph.chars().count() > SHORT
                && let Some(other) = seen.insert(paragraph.clone(), path.clone())
            {
                twice.push(format!("{} and {}: {paragraph}", other.display(), path.display()));
            }
        }
        // A merge leaves lines twice too.
        let lines: Vec<&str> = text.lines().filter(|line| line.chars().count() > SHORT).collect();
        for (i, line) in lines.iter().enumerate() {
            if lines[..i].contains(line) {
                twice.push(format!("{}: {line}", path.display()));
            }
        }
    }
    assert!(twice.is_empty(), "{}", twice.join("\n"));
}

#[test]
fn no_line_of_rust_is_longer_than_120_columns() {
    let mut long = Vec::new();
    for (_, folder, _) in CRATES {
        for (path, text) in sources(folder) {
            let lines = text.lines().enumerate().filter(|(_, line)| line.chars().count() > COLUMNS);
            long.extend(lines.map(|(i, line)| format!("{}:{}: {line}", path.display(), i + 1)));
        }
    }
    assert!(long.is_empty(), "{}", long.join("\n"));
}

#[test]
fn no_crate_is_longer_than_its_budget() {
    for (name, folder, budget) in CRATES {
        let lines: usize = sources(folder).iter().map(|(_, text)| text.lines().count()).sum();
        assert!(lines <= budget, "{name} has {lines} lines of Rust, over its budget of {budget}");
    }
}

/// The name that a line declares a type or a trait with.
fn declared(line: &str) -> Option<&str> {
    let line = line.trim_start();
    let line = match line.strip_prefix("pub") {
        Some(rest) if rest.starts_with('(') => rest.split_once(") ")?.1,
        Some(rest) => rest.trim_start(),
        None => line,
    };
    let line = line.strip_prefix("unsafe ").unwrap_or(line);
    // The macro `names` has a line `Name, "kind", {`.
    let named = || line.strip_suffix("\", {").filter(|line| line.contains(", \""));
    let rest = ["struct ", "enum ", "trait "].iter().find_map(|word| line.strip_prefix(word)).or_else(named)?;
    let end = rest.find(|c: char| !c.is_alphanumeric() && c != '_').unwrap_or(rest.len());
    Some(&rest[..end])
}

#[test]
fn no_type_is_declared_twice_in_a_crate() {
    for (name, folder, _) in CRATES {
        let mut places: BTreeMap<String, Vec<String>> = BTreeMap::new();
        let src = root().join(folder).join("src");
        for (path, text) in sources(folder).into_iter().filter(|(path, _)| path.starts_with(&src)) {
            for (i, line) in text.lines().enumerate() {
                if let Some(declared) = declared(line) {
                    places.entry(declared.into()).or_default().push(format!("{}:{}", path.display(), i + 1));
                }
            }
        }
        places.retain(|_, places| places.len() > 1);
        let known = DECLARED_TWICE.iter().find(|of| of.0 == name).map_or("", |of| of.1);
        let known: Vec<&str> = known.split(' ').filter(|known| !known.is_empty()).collect();
        let found: Vec<&str> = places.keys().map(String::as_str).collect();
        let new: Vec<_> = places.iter().filter(|(found, _)| !known.contains(&found.as_str())).collect();
        assert!(new.is_empty(), "{name} declares twice: {new:?}");
        let gone: Vec<_> = known.iter().filter(|known| !found.contains(known)).collect();
        assert!(gone.is_empty(), "{name} declares once now: take {gone:?} out of the list");
    }
}
