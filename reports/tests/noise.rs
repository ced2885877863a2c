//! Decisions on simulated noisy machines: a short form of `relgrad calibrate --simulated`.

use relgrad_reports::compare::simulated::{GATES, SWEEPS, Tried, table};

fn decide(tried: &[Tried], decisions: usize) {
    let happened: Vec<_> = tried.iter().flat_map(|tried| tried.count(decisions)).collect();
    let text = table(&happened);
    assert!(happened.iter().all(|happened| happened.passed), "{text}");
}

fn count(usual: usize) -> usize {
    std::env::var("RELGRAD_DECISIONS").ok().and_then(|n| n.parse().ok()).unwrap_or(usual)
}

#[test]
fn comparisons_of_two_sweeps() {
    decide(SWEEPS, count(100));
}

#[test]
fn gates() {
    decide(GATES, count(100));
}
