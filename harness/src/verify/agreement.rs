//! Every method on a device at awkward sizes, against computations that share no code with it. No files are needed.

use relgrad_kernels::agreement;
use relgrad_kernels::check::Check;
use relgrad_kernels::evaluation::{Evaluation, Workload};
use relgrad_kernels::{Math, Method, Result};
use relgrad_reports::table::Table;
use relgrad_reports::units;

use crate::cmd::distinct;
use crate::measure::workload::Target;

/// How one workload compares.
#[derive(Debug, Clone, PartialEq, serde::Serialize)]
pub(crate) struct Row {
    pub(crate) method: &'static str,
    pub(crate) math: &'static str,
    pub(crate) dim: usize,
    /// Whether the gradient was replayed from a recording of the device.
    pub(crate) recorded: bool,
    pub(crate) kind: &'static str,
    /// Largest relative error; absent when there is no finite result.
    pub(crate) error: Option<f64>,
    pub(crate) tol: f64,
    pub(crate) pass: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    pub(crate) reason: Option<String>,
}

/// Checks every method at `dims` in every arithmetic of the device; where the numbers are f64 also on networks of every
/// kind.
pub(crate) fn agree(target: &Target, dims: &[usize]) -> Vec<Row> {
    let known = Math::ALL.into_iter().filter_map(|math| Some((math, target.with_math(math)?)));
    let is_cpu = matches!(target, Target::Cpu(_));
    let has = |workload: &Workload| is_cpu || !workload.method.needs_cpu();
    known.flat_map(|(math, target)| agree_in(math, dims, &has, &|workload| target.prepare(workload))).collect()
}

type Prepare<'a> = &'a dyn Fn(&Workload) -> Result<Box<dyn Evaluation>>;

fn agree_in(math: Math, dims: &[usize], has: &dyn Fn(&Workload) -> bool, prepare: Prepare<'_>) -> Vec<Row> {
    let mut workloads = agreement::sizes(dims, math.dtype());
    if math == Math::F64 {
        workloads.extend(agreement::ill_conditioned(dims));
        workloads.extend(agreement::architectures(math.dtype()));
    }
    workloads.iter().filter(|workload| has(workload)).flat_map(|workload| rows(math, workload, prepare)).collect()
}

/// One row, and one more where the device can replay the gradient.
fn rows(math: Math, workload: &Workload, prepare: Prepare<'_>) -> Vec<Row> {
    let row = |recorded, result| row(math, workload, recorded, result);
    let mut evaluation = match prepare(workload) {
        Ok(evaluation) => evaluation,
        Err(error) => return vec![row(false, Err(error))],
    };
    let first = row(false, evaluation.check());
    let again = match evaluation.record() {
        Ok(is_recorded) => is_recorded.then(|| row(true, evaluation.check())),
        Err(error) => Some(row(true, Err(error))),
    };
    [first].into_iter().chain(again).collect()
}

fn row(math: Math, workload: &Workload, recorded: bool, result: Result<Check>) -> Row {
    let (method, dim) = (Method::name(workload.method), workload.architecture.dim);
    let base = Row {
        method,
        math: math.name(),
        dim,
        recorded,
        kind: "none",
        error: None,
        tol: relgrad_kernels::check::tolerance(math),
        pass: false,
        reason: None,
    };
    match result {
        Ok(check) => {
            let error = Some(check.max_rel_err).filter(|error| error.is_finite());
            let reason = error.is_none().then(|| "the result is not finite".to_string());
            Row { kind: check.kind, error, tol: check.tolerance, pass: check.passed(), reason, ..base }
        }
        Err(error) => Row { reason: Some(error.to_string()), ..base },
    }
}

/// The worst case of every method and arithmetic, then each failure.
pub(crate) fn table(rows: &[Row]) -> String {
    let size = |row: &Row| row.error.unwrap_or(f64::INFINITY);
    let number = |error: Option<f64>, none: &str| error.map_or(none.to_string(), |error| format!("{error:.1e}"));
    let worst = |key @ (math, method): (&str, &str)| {
        let group: Vec<&Row> = rows.iter().filter(|row| (row.math, row.method) == key).collect();
        let worst = group.iter().max_by(|a, b| size(a).total_cmp(&size(b)))?;
        let verdict = if group.iter().all(|row| row.pass) { "ok" } else { "FAILED" };
        let (checks, dim, tol) = (group.len().to_string(), worst.dim.to_string(), format!("{:.0e}", worst.tol));
        Some(vec![math.into(), method.into(), checks, dim, number(worst.error, "none"), tol, verdict.into()])
    };
    let columns = "math | method | >checks | >worst D | >error | >tol | result";
    let groups = distinct(rows.iter().map(|row| (row.math, row.method)));
    let mut text = Table::new(columns, groups.into_iter().filter_map(worst)).text();
    for row in rows.iter().filter(|row| !row.pass) {
        let how = if row.recorded { ", recorded" } else { "" };
        let (error, reason) = (number(row.error, "no result"), row.reason.as_deref().unwrap_or("over tolerance"));
        let (Row { math, method, .. }, dim) = (row, units::grouped(row.dim));
        text += &format!("FAILED {math} {method} D = {dim}{how}: {error}, {reason}\n");
    }
    text
}

#[cfg(test)]
mod tests {
    use relgrad_kernels::Error;
    use relgrad_kernels::evaluation::prepare;

    use super::*;

    #[test]
    fn the_cpu_agrees_and_a_broken_device_does_not() {
        let rows = agree_in(Math::F32, &[1, 5], &|_| true, &prepare);
        assert_eq!(rows.len(), 2 * Method::ALL.len());
        assert!(rows.iter().all(|row| row.pass && !row.recorded), "{}", table(&rows));
        assert!(!table(&rows).contains("FAILED"));

        let broken = |_: &Workload| Err(Error::Device { operation: "a product", status: "out".to_string() });
        let rows = agree_in(Math::F32, &[5], &|workload| !workload.method.needs_cpu(), &broken);
        let anywhere = Method::ALL.into_iter().filter(|method| !method.needs_cpu()).count();
        assert_eq!(rows.len(), anywhere, "all but those for CPUs alone");
        assert!(rows.iter().all(|row| !row.pass));
        let text = table(&rows);
        assert!(text.contains("FAILED f32 relative D = 5: no result, a product failed on the device: out"), "{text}");
    }
}
