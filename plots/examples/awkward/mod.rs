//! Studies that are hard to draw: what a figure must survive. Synthetic, not a measurement of anything.

use relgrad_reports::fixture;
use relgrad_reports::record::{MemoryPoint, Outcome, Prediction, Reason, Record};
use relgrad_reports::study::Study;
use relgrad_vocabulary::Method;

/// Every study by name.
pub(crate) fn studies() -> Vec<(&'static str, Study)> {
    vec![
        ("plain", fixture::study()),
        ("gpu", fixture::study_with_gpu()),
        ("batches", fixture::study_with_batches()),
        ("many-batches", many_batches()),
        ("threads", fixture::study_with_threads()),
        ("ranks", fixture::study_with_ranks()),
        ("two-threads", two_threads()),
        ("noisy", fixture::noisy_study()),
        ("one-method", only(|r| r.cell.method == Method::Relative)),
        ("one-point", only(|r| r.cell.point.dim == 1000 && r.cell.method != Method::Autodiff)),
        ("two-points", only(|r| (1000..=3200).contains(&r.cell.point.dim))),
        ("all-skipped", each(skip)),
        ("twelve-decades", each(stretch_time)),
        ("long-tails", each(spread)),
        ("all-methods", all_methods()),
        ("strange-names", strange_names()),
        ("long-reasons", each(explain)),
        (
            "no-predictions",
            unmeasured(|r| {
                // Every cell beyond a method's first stop failed without anyone having predicted it.
                r.outcome = Outcome::Failed;
                r.reason = Some("killed by signal 9 (out of memory)".into());
                r.prediction = None;
            }),
        ),
        ("far-predictions", unmeasured(|r| r.prediction = Some(Prediction { seconds: 1e9, peak_bytes: 1e15 }))),
        ("small-memory", each(small_memory)),
        ("no-numbers", each(no_numbers)),
    ]
}

fn only(keep: impl Fn(&Record) -> bool) -> Study {
    let mut study = fixture::study();
    study.records.retain(keep);
    study
}

fn each(change: impl Fn(&mut Record)) -> Study {
    let mut study = fixture::study();
    study.records.iter_mut().for_each(change);
    study
}

fn unmeasured(change: impl Fn(&mut Record)) -> Study {
    each(|r| {
        if r.outcome != Outcome::Measured {
            change(r);
        }
    })
}

fn skip(r: &mut Record) {
    r.outcome = Outcome::Skipped;
    r.reason = Some("predicted time is over --cell-limit".into());
    r.seconds.clear();
    r.memory_trace.clear();
    r.peak_bytes = None;
}

fn stretch_time(r: &mut Record) {
    let stretch = |s: &mut f64| *s = 1e-9 * (*s / 8e-6).powf(2.2);
    r.seconds.iter_mut().for_each(stretch);
    r.prediction.iter_mut().for_each(|p| stretch(&mut p.seconds));
}

/// Six batch sizes over more dimensions than a row has room for labels of, with speed-ups from a hundredth to a
/// million.
/// One method on one thread and on two, times that jump between rounds.
fn two_threads() -> Study {
    let mut study = fixture::study_with_threads();
    study.run.settings.other_threads = vec![2];
    study.records.retain(|r| r.cell.point.threads < 4 && r.cell.method == Method::Relative);
    for record in &mut study.records {
        let factor = [1.0, 1.5, 0.8][(record.cell.round + record.cell.point.threads) % 3];
        record.seconds.iter_mut().for_each(|seconds| *seconds *= factor);
    }
    study
}

fn many_batches() -> Study {
    let mut study = fixture::study();
    let records = std::mem::take(&mut study.records);
    study.run.settings.batch = 1;
    study.run.settings.other_batches = (1..6).map(|i| 16_usize.pow(i)).collect();
    for batch in study.run.settings.batches() {
        for stretch in [1, 2, 4] {
            study.records.extend(records.iter().cloned().map(|mut r| {
                r.cell.point.batch = batch;
                r.cell.point.dim = r.cell.point.dim * 3 + stretch;
                if r.cell.method != Method::Relative {
                    r.seconds.iter_mut().for_each(|s| *s *= 1e-2 * batch as f64);
                }
                r
            }));
        }
    }
    study
}

/// Samples spread over two decades, differently in each round.
fn spread(r: &mut Record) {
    let (round, count) = (r.cell.round as f64, r.seconds.len() as f64);
    for (i, seconds) in r.seconds.iter_mut().enumerate() {
        *seconds *= 100f64.powf((i as f64 / count).powi(2) + 0.3 * round);
    }
}

fn all_methods() -> Study {
    let mut study = fixture::study();
    let known = study.run.settings.methods.clone();
    for (i, method) in Method::ALL.into_iter().filter(|method| !known.contains(method)).enumerate() {
        let like = if method == Method::AutodiffStreamed { Method::Autodiff } else { Method::Relative };
        let (factor, less) = (1.3_f64.powi(i as i32 - 1), 1 + i as u64);
        let mut copies = study.records.clone();
        copies.retain(|r| r.cell.method == like);
        for r in &mut copies {
            r.cell.method = method.into();
            r.seconds.iter_mut().for_each(|s| *s *= factor);
            r.prediction.iter_mut().for_each(|p| p.seconds *= factor);
            r.peak_bytes = r.peak_bytes.map(|b| b / less);
            r.model.min_bytes /= less as f64;
        }
        study.records.extend(copies);
        study.run.settings.methods.push(method);
    }
    study
}

/// Text of a file that looks like markup, or is longer than any place for it.
fn strange_names() -> Study {
    let mut study = each(|r| {
        if r.cell.method == Method::Ordinary && r.reason.is_some() {
            r.reason = Some("a<b>&\"c\" with words that go on and on, longer than any note has room for".into());
        }
    });
    study.run.machine.cpu = "CPU <i>&\"x\" with a name that goes on and on, longer than any heading".into();
    study
}

fn explain(r: &mut Record) {
    if let Some(reason) = &mut r.reason {
        *reason = Reason::from(format!(
            "{reason}: one gradient would take 73.2 s and 5 samples with their warm-up 512 s where --cell-limit \
             allows 60 s and the budget has 41 s left; the prediction follows from 6 cells measured so far, the \
             largest of them at D = 3200"
        ));
    }
}

/// Traces of like size, so that the memory axis is linear, with ten thousand points that go up and down.
fn small_memory(r: &mut Record) {
    if r.memory_trace.is_empty() {
        return;
    }
    let (end, peak) = if r.cell.method == Method::Autodiff { (3.1, 2.4e9) } else { (0.021, 0.6e9) };
    r.model.min_bytes = 0.8 * peak;
    let point = |i: i32| {
        let t = f64::from(i) / 1e4;
        let saw = 1.0 - 0.5 * (9.0 * t).fract();
        MemoryPoint { seconds: t * end, bytes: peak * saw * (8.0 * t).min(1.0) }
    };
    r.memory_trace = (0..10_000).map(point).collect();
}

/// Values that no measurement should give.
fn no_numbers(r: &mut Record) {
    if r.cell.point.dim == 100 {
        r.seconds.fill(f64::NAN);
        r.model.min_bytes = f64::NAN;
        r.model.flops = 0.0;
    }
    if r.cell.point.dim == 320 {
        r.seconds.fill(0.0);
        r.peak_bytes = Some(0);
        r.prediction = Some(Prediction { seconds: f64::INFINITY, peak_bytes: -1.0 });
    }
    if let Some(point) = r.memory_trace.get_mut(20) {
        point.bytes = f64::NAN;
    }
}
