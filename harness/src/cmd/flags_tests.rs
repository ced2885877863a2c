//! Every flag that the program's words, its sources and the documents name is one that it has.

use std::collections::{BTreeMap, BTreeSet};
use std::fs;
use std::path::{Path, PathBuf};

use clap::{Command, CommandFactory};

use super::Cli;

/// Flags of git, cargo, the engines of clusters and the scripts beside the program, that of no verb, and that of a
/// build which can plant faults.
const OF_OTHERS: &str = "all array bin chdir check cpus detach exclusive features force git inject job-name list \
                         locked mem name no-deps no-requeue nodes noheader ntasks open-mode output output-mode \
                         package parsable partition path release rest show-cdup stderr stdout target-dir time update \
                         verify version workspace";

/// The long flags of every verb.
fn flags() -> BTreeMap<String, BTreeSet<String>> {
    fn of(command: &Command) -> BTreeSet<String> {
        let own = command.get_arguments().filter_map(|argument| argument.get_long()).map(str::to_string);
        let below = command.get_subcommands().flat_map(of);
        own.chain(below).chain(["help".to_string()]).collect()
    }
    Cli::command().get_subcommands().map(|verb| (verb.get_name().to_string(), of(verb))).collect()
}

/// The flags that stand in a text.
fn named(text: &str) -> impl Iterator<Item = &str> {
    text.match_indices("--").filter_map(|(at, _)| {
        let apart = !text[..at].ends_with(|c: char| c.is_alphanumeric() || c == '-');
        let rest = &text[at + 2..];
        let name = &rest[..rest.find(|c: char| !(c.is_ascii_lowercase() || c == '-')).unwrap_or(rest.len())];
        (apart && name.starts_with(|c: char| c.is_ascii_lowercase())).then(|| name.trim_end_matches('-'))
    })
}

/// The verb and the words of every call of the program in a text.
fn calls(text: &str) -> Vec<(String, String)> {
    let text = text.replace("\\\n", " ").replace("relgrad-harness -- ", "relgrad ");
    let text = text.replace("bench-sweep", "relgrad sweep").replace("relgrad\" ", "relgrad ");
    let call = |(at, word): (usize, &str)| {
        let rest = &text[at + word.len()..];
        let end = rest.find(['`', '|', ';', '#', '\n', ')', '>']).unwrap_or(rest.len());
        let verb = rest[..end].split_whitespace().next()?;
        Some((verb.to_string(), rest[..end].to_string()))
    };
    text.match_indices("relgrad ").filter_map(call).collect()
}

fn files(folder: &Path, ending: &str) -> Vec<PathBuf> {
    let entries = fs::read_dir(folder).unwrap().map(|entry| entry.unwrap().path());
    let within = |path: PathBuf| if path.is_dir() { files(&path, ending) } else { vec![path] };
    entries.flat_map(within).filter(|path| path.to_string_lossy().ends_with(ending)).collect()
}

/// The sources of the program, and the documents and scripts that call it.
fn texts() -> Vec<(PathBuf, String)> {
    let harness = Path::new(env!("CARGO_MANIFEST_DIR"));
    let root = harness.join("..");
    let mut paths = files(&harness.join("src"), ".rs");
    paths.retain(|path| !path.ends_with("cmd/flags_tests.rs"));
    paths.extend(files(&harness.join("gpu"), ".sh"));
    paths.extend(files(&root.join(".github"), ".yml"));
    let documents = ["README.md", "ARCHITECTURE.md", "METHODOLOGY.md", "justfile", ".ci/run"];
    paths.extend(documents.map(|name| root.join(name)));
    paths.into_iter().map(|path| (path.clone(), fs::read_to_string(path).unwrap())).collect()
}

/// The verb whose file this is, or in whose folder it lies; `doctor`, which has no flags, speaks of others'.
fn verb_of<'a>(path: &Path, flags: &'a BTreeMap<String, BTreeSet<String>>) -> Option<&'a String> {
    let lies = |verb: &str| path.parent().is_some_and(|folder| folder.ends_with(verb));
    flags.keys().filter(|verb| *verb != "doctor").find(|verb| path.ends_with(format!("cmd/{verb}.rs")) || lies(verb))
}

#[test]
fn every_flag_of_a_message_or_a_document_exists() {
    let flags = flags();
    let known: BTreeSet<&str> = flags.values().flatten().map(String::as_str).chain(OF_OTHERS.split(' ')).collect();
    let mut wrong = Vec::new();
    for (path, text) in texts() {
        for (verb, words) in calls(&text) {
            let Some(of_verb) = flags.get(&verb) else { continue };
            let missing = named(&words).filter(|name| !of_verb.contains(*name) && *name != "inject");
            wrong.extend(missing.map(|name| format!("{}: relgrad {verb} has no --{name}", path.display())));
        }
        if let Some(verb) = verb_of(&path, &flags) {
            let called = calls(&text).into_iter().filter_map(|(verb, _)| flags.get(&verb)).flatten();
            let allowed: BTreeSet<&str> =
                flags[verb].iter().chain(called).map(String::as_str).chain(OF_OTHERS.split(' ')).collect();
            let missing = named(&text).filter(|name| !allowed.contains(name));
            wrong.extend(missing.map(|name| format!("{}: relgrad {verb} has no --{name}", path.display())));
        }
        let own = path.extension().is_some_and(|extension| extension == "rs" || extension == "md");
        let unknown = named(&text).filter(|name| own && !known.contains(name));
        wrong.extend(unknown.map(|name| format!("{}: there is no --{name}", path.display())));
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n"));
}

#[test]
fn flags_are_found_where_they_stand() {
    let text = "write --budget 10m, --cell-limit=`none` (--no-roofline), a--b, `---` or -- x --Q";
    assert_eq!(named(text).collect::<Vec<_>>(), ["budget", "cell-limit", "no-roofline"]);
    let found = calls("`relgrad plot DIR --out x` and cargo bench-sweep --dims 1 \\\n --list | cat --no");
    let found: Vec<(&str, Vec<&str>)> =
        found.iter().map(|(verb, words)| (verb.as_str(), named(words).collect())).collect();
    assert_eq!(found, [("plot", vec!["out"]), ("sweep", vec!["dims", "list"])]);
    assert!(flags()["history"].contains("store") && !flags()["plot"].contains("store"));
}
