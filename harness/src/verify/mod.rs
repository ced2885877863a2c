//! The outcome of a verification, as a table for people and as JSON for programs.

pub(crate) mod agreement;

use std::collections::BTreeMap;

use relgrad_golden::Row;
use relgrad_reports::table::Table;
use relgrad_reports::units::counted;
use serde::Serialize;

/// Everything that was compared.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Outcome {
    /// One entry per case, precision, backend and group.
    pub(crate) files: Vec<Row>,
    /// Cases that cannot be evaluated yet.
    pub(crate) unsupported: Vec<Unsupported>,
    /// Checks of every method at the sizes that were asked for.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub(crate) agreement: Vec<agreement::Row>,
    /// Entries that exceed their tolerance.
    pub(crate) failed: usize,
}

/// A case that cannot be evaluated yet: neither passed nor failed.
#[derive(Debug, Clone, Serialize)]
pub(crate) struct Unsupported {
    pub(crate) id: String,
    pub(crate) reason: String,
}

impl Outcome {
    pub(crate) fn new(files: Vec<Row>, unsupported: Vec<Unsupported>, agreement: Vec<agreement::Row>) -> Self {
        let failed = files.iter().filter(|row| row.pass == Some(false)).count();
        let failed = failed + agreement.iter().filter(|row| !row.pass).count();
        Self { files, unsupported, agreement, failed }
    }

    /// Whether not one number was compared with another.
    pub(crate) fn is_empty(&self) -> bool {
        self.agreement.is_empty() && self.files.iter().all(|row| row.pass.is_none())
    }

    /// The worst case of every quantity, then each failure, then what could not be compared.
    pub(crate) fn table(&self) -> String {
        let mut text = if self.agreement.is_empty() { String::new() } else { agreement::table(&self.agreement) };
        if self.files.is_empty() && self.unsupported.is_empty() {
            return text;
        }
        let row = |row: &Row| {
            let verdict = if row.pass == Some(true) { "ok" } else { "FAILED" };
            [cells(row), vec![verdict.to_string()]].concat()
        };
        let columns = "dtype | backend | quantity | >error | >tol | worst case | result";
        text += &Table::new(columns, self.worst().map(row)).text();
        let failures: Vec<&Row> = self.files.iter().filter(|row| row.pass == Some(false)).collect();
        if !failures.is_empty() {
            let row = |row: &&Row| [cells(row), vec![row.reason.clone().unwrap_or_default()]].concat();
            let table = Table::new("dtype | backend | quantity | >error | >tol | case | why", failures.iter().map(row));
            text += &format!("\nOver tolerance:\n{}", table.text());
        }
        for case in &self.unsupported {
            text += &format!("\n{}: not supported ({})\n", case.id, case.reason);
        }
        let compared = self.files.iter().filter(|row| row.pass.is_some()).count();
        let (failed, idle, missing) = (failures.len(), self.files.len() - compared, self.unsupported.len());
        text + &format!(
            "\n{}: {} passed, {failed} failed; {idle} without a tolerance; unsupported files: {missing}\n",
            counted(compared, "comparison"),
            compared - failed,
        )
    }

    /// Per precision, backend and group, the row that comes closest to its tolerance or exceeds it most.
    fn worst(&self) -> impl Iterator<Item = &Row> {
        let mut worst: BTreeMap<(bool, &str, &str), &Row> = BTreeMap::new();
        for row in self.files.iter().filter(|row| row.pass.is_some()) {
            // The more exact precision first.
            let key = (row.dtype != "f64", row.backend, row.group);
            let known = worst.entry(key).or_insert(row);
            if closeness(row) > closeness(known) {
                *known = row;
            }
        }
        worst.into_values()
    }
}

/// Error over tolerance; a result that is not there is worst of all.
fn closeness(row: &Row) -> f64 {
    match (row.error, row.tol) {
        (Some(error), Some(tol)) => error / tol,
        _ => f64::INFINITY,
    }
}

fn cells(row: &Row) -> Vec<String> {
    let number = |value: Option<f64>| value.map_or("none".to_string(), |value| format!("{value:.1e}"));
    let (error, tol) = (number(row.error), number(row.tol));
    vec![row.dtype.to_string(), row.backend.to_string(), row.group.to_string(), error, tol, row.id.clone()]
}

#[cfg(test)]
mod tests {
    use super::*;

    fn row(id: &str, group: &'static str, error: Option<f64>, tol: Option<f64>) -> Row {
        let pass = tol.map(|tol| error.is_some_and(|error| error <= tol));
        let reason = error.is_none().then(|| "weight of layer 2 is singular".to_string());
        Row { id: id.to_string(), dtype: "f64", backend: "ordinary", group, error, tol, pass, reason }
    }

    fn outcome() -> Outcome {
        let rows = vec![
            row("p01", "ordinary", Some(2e-16), Some(1e-12)),
            row("p02", "ordinary", Some(3e-13), Some(1e-12)),
            row("p03", "ordinary", Some(0.5), None),
            row("p01", "delta", Some(2e-9), Some(1e-12)),
            row("p02", "delta", None, Some(1e-12)),
        ];
        let reason = "convolution layers".to_string();
        Outcome::new(rows, vec![Unsupported { id: "p28".to_string(), reason }], Vec::new())
    }

    #[test]
    fn the_table_shows_the_worst_case_of_each_quantity_and_every_failure() {
        insta::assert_snapshot!(outcome().table());
    }

    #[test]
    fn json_has_the_documented_fields() {
        let json = serde_json::to_value(outcome()).expect("an outcome is JSON");
        assert_eq!(json["failed"], 2);
        assert_eq!(json["unsupported"][0]["id"], "p28");
        let first = &json["files"][0];
        for field in ["id", "dtype", "backend", "group", "error", "tol", "pass"] {
            assert!(!first[field].is_null(), "{field}");
        }
        assert!(json["files"][2]["pass"].is_null());
        assert_eq!(json["files"][4]["pass"], false);
    }
}
