//! The full-covariance Gaussian of each set at hand.

use relgrad_kernels::gaussian::Gaussian;
use relgrad_reports::experiment::Dot;
use relgrad_reports::training::Nats;
use relgrad_reports::units::counted;
use serde_json::json;

use super::{Context, Findings, dots, table, texts};
use crate::data::DataSet;
use crate::data::catalogue::{ENTRIES, Entry};
use crate::error::{Error, Result};

/// The Gaussian of maximum likelihood on the training part, evaluated on the held-out parts: validation, test.
pub(crate) fn fit(set: &DataSet) -> Result<(Nats, Nats)> {
    let failed = |cause: relgrad_kernels::Error| Error::Input(format!("{}: {cause}", set.name));
    let fit = Gaussian::fit(set.parts.dim(), &set.parts.train.values).map_err(failed)?;
    let nats = |samples: &[f64]| -> Result<Nats> {
        let values = fit.log_likelihoods(samples).map_err(failed)?;
        Nats::of(&values).ok_or_else(|| Error::Input(format!("{}: a held-out part is empty", set.name)))
    };
    Ok((nats(&set.parts.validation.values)?, nats(&set.parts.test.values)?))
}

/// Fits every set at hand and compares with what a correct loader gives, which it must be.
pub(crate) fn run(context: &mut Context<'_>) -> Result<Findings> {
    let (mut rows, mut shown, mut numbers, mut wrong) = (Vec::new(), Vec::new(), Vec::new(), Vec::new());
    for entry in ENTRIES.iter() {
        context.check_interrupt()?;
        if !entry.is_at_hand(context.data.as_deref()) {
            rows.push(texts([entry.name, "–", "–", "–", "data unavailable"]));
            continue;
        }
        let set = context.load(entry.name, 0)?;
        context.say(&format!("{}: {}", entry.name, counted(set.parts.train.count(), "training sample")));
        let (validation, test) = fit(&set)?;
        let (verdict, is_right) = verdict(entry, &set, test);
        if !is_right {
            wrong.push(entry.name);
        }
        let expected = entry.gaussian_check.map_or("–".to_string(), |(value, margin)| format!("{value} ± {margin}"));
        let expected = expected.replace('-', "−");
        rows.push(texts([entry.name, &validation.to_string(), &test.to_string(), &expected, verdict]));
        numbers.push(json!({ "set": entry.name, "validation": validation, "test": test,
            "expected": entry.gaussian_check }));
        shown.extend(entry.gaussian_check.map(|(value, margin)| Dot {
            name: entry.name.to_string(),
            value: Some((test.mean - value) / margin),
            interval: None,
            note: format!("{test} nats"),
        }));
    }
    if numbers.is_empty() {
        return Err(Error::Usage("no data set was found: set their folder with --data or RELGRAD_DATA".to_string()));
    }
    if !wrong.is_empty() {
        return Err(Error::Input(format!(
            "the Gaussian of {} has not the expected value: compare the files with their checksums",
            wrong.join(", ")
        )));
    }
    let columns = ["set", "validation (nats)", "test (nats)", "expected test value", ""];
    Ok(Findings {
        numbers: json!({ "fits": numbers }),
        table: table(columns, rows),
        notes: texts([
            "Maximum likelihood on the training part, f64. The expected values come with the data. MNIST's noise is \
             that of NumPy, so its value agrees to the last digit.",
        ]),
        figure: dots("test value minus expected value, in units of its margin", Some("as expected"), shown),
    })
}

fn verdict(entry: &Entry, set: &DataSet, test: Nats) -> (&'static str, bool) {
    if set.provenance != entry.provenance {
        return ("NOT the published data", false);
    }
    match entry.gaussian_check {
        _ if !entry.is_as_published(set) => ("another draw", true),
        None => ("no expected value", true),
        Some((value, margin)) if (test.mean - value).abs() <= margin => ("as expected", true),
        Some(_) => ("NOT as expected", false),
    }
}
