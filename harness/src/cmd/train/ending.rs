//! What is said at the end of a training.

use relgrad_reports::training::{Epoch, Outcome, Stop, Training, TrainingSettings};
use relgrad_reports::units::{self, counted};

use crate::console::quoted;

pub(super) fn print_outcome(training: &Training, outcome: &Outcome) {
    say!(
        "{} in {}, best validation at epoch {}",
        counted(outcome.epochs, "epoch"),
        units::seconds(outcome.seconds),
        outcome.best_epoch
    );
    if let Some(what) = &training.settings.conditional {
        say!("of x given u = {}:", quoted(what));
    }
    say!("validation {} nats", outcome.validation);
    say!("test       {} nats", outcome.test);
    if let Some(entropy) = training.data.entropy_nats {
        let best = format!("{:.4}", -entropy).replace('-', "−");
        say!("minus the true entropy is {best} nats, the best that any model can expect");
    }
}

/// How near steps came to the limit of stable ones \[M86\], where that was estimated.
pub(super) fn edge_line(epochs: &[Epoch], settings: &TrainingSettings) -> Option<String> {
    let share = epochs.iter().filter_map(|epoch| epoch.edge_share).max_by(f64::total_cmp)?;
    let edge = settings.edge.as_deref().map_or(String::new(), |edge| format!(" (--edge {edge})"));
    Some(format!("μλ came to {:.0} % of the limit of stable steps at most{edge}", 100.0 * share))
}

/// What a line search or a return to the best network did, and why a line search ended.
pub(super) fn undone_line(epochs: &[Epoch], settings: &TrainingSettings, stop: Stop) -> Option<String> {
    let counts: Vec<usize> = epochs.iter().filter_map(|epoch| epoch.rejected_steps).collect();
    if counts.is_empty() {
        return None;
    }
    let undone = units::counted(counts.iter().sum::<usize>(), "step");
    if settings.rewind.is_some() {
        let times = units::counted(counts.iter().filter(|count| **count > 0).count(), "time");
        return Some(format!(
            "training went back to its best network {times}, which undid {undone}, and halved the step size each time"
        ));
    }
    let why = if stop == Stop::LineSearch {
        "; after the last halving a step is lost in rounding: no step raises the training likelihood any more"
    } else {
        ""
    };
    Some(format!("the line search undid {undone}, and halved the step size each time{why}"))
}

/// What to do about steps that the guard \[M19\] shortened often: it keeps every layer invertible and the fall small,
/// but steps as large as it lets through still lose likelihood. `None` where they were few.
pub(super) fn guard_hint(epochs: &[Epoch], learning_rate: f64) -> Option<String> {
    const FEW: f64 = 0.05;
    let shares: Vec<f64> = epochs.iter().filter_map(|epoch| epoch.guarded_share).collect();
    let share = shares.iter().sum::<f64>() / shares.len().max(1) as f64;
    (share > FEW).then(|| {
        format!(
            "the guard shortened {:.0} % of the steps, a sign that they are too large: try a smaller --learning-rate \
             than {learning_rate}",
            100.0 * share
        )
    })
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::train::recipe;
    use crate::train::testing::epoch;

    #[test]
    fn steps_that_the_guard_shortened_are_told_of() {
        let epoch = |guarded_share| Epoch { guarded_share, ..epoch(1, -1.0) };
        let epochs = |shares: &[Option<f64>]| shares.iter().map(|&share| epoch(share)).collect::<Vec<_>>();
        for quiet in [&[][..], &[None, None], &[None, Some(0.0), Some(0.08)]] {
            assert_eq!(guard_hint(&epochs(quiet), 0.1), None);
        }
        let hint = guard_hint(&epochs(&[None, Some(1.0), Some(0.5)]), 0.1).unwrap();
        assert!(hint.contains("shortened 75 % of the steps") && hint.contains("--learning-rate than 0.1"), "{hint}");
    }

    #[test]
    fn the_edge_and_what_was_undone_are_told_where_there_is_any() {
        let epochs: Vec<Epoch> = [None, Some(0.2), Some(0.48)]
            .map(|edge_share| Epoch { edge_share, rejected_steps: edge_share.map(|_| 2), ..epoch(1, -1.0) })
            .into();
        let told = edge_line(&epochs, &recipe::defaults()).unwrap();
        assert!(told.contains("48 %") && told.contains("--edge off"), "{told}");
        assert_eq!(edge_line(&epochs[..1], &recipe::defaults()), None);
        let undone =
            |epochs, rewind, stop| undone_line(epochs, &TrainingSettings { rewind, ..recipe::defaults() }, stop);
        assert_eq!(undone(&epochs[..1], None, Stop::Complete), None);
        let told = undone(&epochs, None, Stop::LineSearch).unwrap();
        assert!(told.contains("undid 4 steps") && told.contains("lost in rounding"), "{told}");
        let told = undone(&epochs, Some(0.1), Stop::Complete).unwrap();
        assert!(told.contains("best network 2 times, which undid 4 steps"), "{told}");
    }
}
