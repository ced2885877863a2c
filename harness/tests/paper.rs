//! `relgrad paper`: the page of every part, resumed, from earlier folders.

mod common;

use std::fs;
use std::path::Path;

use common::{ends, relgrad, scratch, tiny_sweep, wait_until, words};
use serde_json::Value;

/// A page of seconds of these parts.
fn smoke(dir: &Path, parts: &str) -> std::process::Command {
    let mut command = words(&format!("paper --smoke --quiet --only {parts} --out"));
    command.arg(dir);
    command
}

fn ledger(dir: &Path) -> Vec<(String, String)> {
    let text = fs::read_to_string(dir.join("paper.json")).expect("the ledger is there");
    let ledger: Value = serde_json::from_str(&text).expect("the ledger is whole");
    let of = |part: &Value, field: &str| part[field].as_str().expect("a text").to_string();
    ledger["parts"].as_array().expect("a list").iter().map(|part| (of(part, "part"), of(part, "outcome"))).collect()
}

#[test]
fn the_list_names_every_part_and_runs_nothing() {
    let dir = scratch();
    let out = dir.path().join("page");
    let mut command = words("paper --list --data no/such/folder --out");
    let (text, _) = ends(command.arg(&out), 0);
    // Whether there is a GPU is a matter of the machine.
    let text: String =
        text.lines().filter(|line| !line.starts_with("fig1-left")).map(|line| format!("{line}\n")).collect();
    let text = text.split("\nTo run").next().unwrap();
    insta::assert_snapshot!(text.lines().map(str::trim_end).collect::<Vec<_>>().join("\n"));
    assert!(!out.exists());
}

#[test]
fn a_page_has_its_parts_and_is_resumed() {
    let dir = scratch();
    let out = dir.path().join("page");
    let (said, _) = ends(&mut smoke(&out, "errata,fig4,bounds-sequence"), 0);
    assert!(said.contains("paper.html"), "{said}");
    assert_eq!(ledger(&out).iter().filter(|part| part.1 == "measured").count(), 3);
    let html = fs::read_to_string(out.join("paper.html")).unwrap();
    for words in ["Figure 4", "not run yet", "✗\u{a0}differs", "relgrad sweep --dims 256", "<svg", "E7"] {
        assert!(html.contains(words), "{words}");
    }
    assert!(!["<img", "<link", "src=\"http", "@import"].iter().any(|part| html.contains(part)), "it is self-contained");
    let markdown = fs::read_to_string(out.join("paper.md")).unwrap();
    assert!(markdown.contains("figures/fig4.svg") && out.join("figures/fig4.svg").exists());

    // What is there is not measured again, what is asked for is added.
    let stamp = |name: &str| fs::metadata(out.join(name)).unwrap().modified().unwrap();
    let before = stamp("fig4/records.jsonl");
    let mut more = words("paper --quiet --only fig4,bounds --resume");
    ends(more.arg(&out), 0);
    assert_eq!((stamp("fig4/records.jsonl"), ledger(&out).len()), (before, 4));
    let (_, told) = ends(&mut smoke(&out, "errata"), 2);
    assert!(told.contains("already has a paper") && told.lines().count() == 1, "{told}");
}

/// Killed while a sweep runs, the page goes on with it.
#[test]
fn a_page_that_was_killed_goes_on() {
    let dir = scratch();
    let out = dir.path().join("page");
    let mut child = smoke(&out, "fig3,errata").spawn().expect("relgrad starts");
    wait_until("a record", || fs::metadata(out.join("fig3/records.jsonl")).is_ok_and(|file| file.len() > 0));
    child.kill().expect("it runs");
    child.wait().expect("it ends");
    assert_eq!(ledger(&out), []);
    let kept = fs::read_to_string(out.join("fig3/records.jsonl")).unwrap();
    // The sweep's process dies with the page's; until then it holds its folder.
    let mut result = None;
    wait_until("the sweep's end", || {
        let mut command = words("paper --quiet --only fig3,errata --resume");
        result = command.arg(&out).output().ok().filter(|output| output.status.code() == Some(0));
        result.is_some()
    });
    let all = fs::read_to_string(out.join("fig3/records.jsonl")).unwrap();
    let whole = kept.rfind('\n').map_or("", |end| &kept[..end]);
    // Nine cells; a process on a disturbed machine is followed by another attempt.
    let first = all.lines().filter(|line| !line.contains("\"attempt\":"));
    assert!(all.starts_with(whole) && first.clone().count() == 9, "{} lines", first.count());
}

#[test]
fn a_part_is_taken_from_an_earlier_run_if_that_is_of_the_same_problem() {
    let dir = scratch();
    let [sweep, page] = ["sweep", "page"].map(|name| dir.path().join(name));
    ends(&mut tiny_sweep(&sweep, 1), 0);
    let (_, told) = ends(smoke(&page, "fig3,errata").arg("--from").arg(&sweep), 2);
    assert!(told.contains("nearest to fig3, but no D = 4, 16, no autodiff"), "{told}");
    assert_eq!(told.lines().count(), 1, "{told}");
    let (_, told) = ends(smoke(&page, "fig3").arg("--from").arg(dir.path()), 2);
    assert!(told.contains("has no sweep and no experiment") && told.lines().count() == 1, "{told}");
    assert!(!page.exists());

    let first = dir.path().join("first");
    ends(&mut smoke(&first, "fig3,errata"), 0);
    ends(smoke(&page, "fig3,errata").arg("--from").arg(&first), 0);
    assert!(ledger(&page).iter().all(|part| part.1 == "taken") && ledger(&page).len() == 2);
    assert!(fs::read_to_string(page.join("paper.html")).unwrap().contains("Taken from"));
    // A full page does not take what ran for seconds.
    let mut full = relgrad();
    full.args(["paper", "--quiet", "--only", "errata", "--from"]).arg(&first).arg("--out").arg(dir.path().join("full"));
    let (_, told) = ends(&mut full, 2);
    assert!(told.contains("it has --effort smoke, the part full"), "{told}");
}

/// A part that fails does not take the others along: here a folder that is in the way.
#[test]
fn a_part_that_fails_is_told_with_what_to_do() {
    let dir = scratch();
    let out = dir.path().join("page");
    ends(&mut smoke(&out, "errata"), 0);
    fs::create_dir_all(out.join("fig4")).unwrap();
    fs::write(out.join("fig4/notes.txt"), "mine").unwrap();
    let mut command = words("paper --quiet --only fig4,bounds --resume");
    let (_, told) = ends(command.arg(&out), 2);
    assert!(told.contains("fig4 failed: ") && told.contains("--only fig4"), "{told}");
    let states = ledger(&out);
    let of = |part: &str| states.iter().find(|state| state.0 == part).map(|state| state.1.as_str());
    assert_eq!([of("fig4"), of("bounds"), of("errata")], [Some("failed"), Some("measured"), Some("measured")]);
    assert!(fs::read_to_string(out.join("paper.html")).unwrap().contains("Failed: "));
    let mut missing = words("paper --quiet --only fig6 --data no/such/folder --resume");
    ends(missing.arg(&out), 2);
    assert!(fs::read_to_string(out.join("paper.html")).unwrap().contains("no data: mnist"));
}
