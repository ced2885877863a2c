//! What an experiment found: its numbers, what to say about them, and the data of its figure.

use serde::{Deserialize, Serialize};
use serde_json::Value;

use crate::record::run::Machine;

/// Version of [`Experiment`].
pub const EXPERIMENT_SCHEMA: u32 = 1;

/// `NAME.json`.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Experiment {
    /// [`EXPERIMENT_SCHEMA`] of the writer.
    pub schema: u32,
    /// Name on the command line.
    pub name: String,
    /// What it shows, in a sentence.
    pub title: String,
    /// The exact command, program first.
    pub command: Vec<String>,
    /// Version of relgrad.
    pub version: String,
    /// Git revision of the source; absent outside a checkout.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub git_revision: Option<String>,
    /// Start, RFC 3339 in UTC.
    pub started: String,
    /// Seconds it took.
    pub seconds: f64,
    /// The machine.
    pub machine: Machine,
    /// Every number, by the experiment's own names.
    pub numbers: Value,
    /// The table a reader wants first.
    pub table: Table,
    /// How the result compares with the paper's, and what to keep in mind.
    pub notes: Vec<String>,
    /// The figure's data.
    pub figure: Figure,
}

/// A table of text cells.
#[derive(Debug, Clone, Default, PartialEq, Serialize, Deserialize)]
pub struct Table {
    /// One title a column.
    pub columns: Vec<String>,
    /// Rows of as many cells.
    pub rows: Vec<Vec<String>>,
}

/// The data of a figure.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
#[serde(tag = "kind", rename_all = "kebab-case")]
pub enum Figure {
    /// Curves over one or more panels, side by side.
    Lines {
        /// From left to right.
        panels: Vec<LinePanel>,
    },
    /// Samples beside learned densities on the plane: one row a data set, the panels of a row share their window.
    Densities {
        /// From top to bottom.
        rows: Vec<DensityRow>,
    },
    /// One value with its interval a row.
    Dots(DotPanel),
    /// Points over logarithmic axes, which the panels share, side by side.
    Scatter {
        /// From left to right.
        panels: Vec<ScatterPanel>,
    },
    /// Grey pictures in a grid.
    Pictures(Pictures),
    /// Values at electrodes, a head each, in a grid.
    Maps(ScalpMaps),
    /// Figures below one another.
    Stack {
        /// From top to bottom.
        parts: Vec<Figure>,
    },
}

/// Curves over linear axes, or over a logarithmic horizontal one.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct LinePanel {
    /// Title of the horizontal axis, with its unit.
    pub x_title: String,
    /// Whether the horizontal axis is logarithmic; it shows no point at 0 then.
    #[serde(default, skip_serializing_if = "std::ops::Not::not")]
    pub logarithmic: bool,
    /// Title of the vertical axis, with its unit.
    pub y_title: String,
    /// Lowest and highest value shown of the vertical axis; absent means all.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub y_range: Option<(f64, f64)>,
    /// The curves; several with one name are repetitions of one thing.
    pub curves: Vec<Curve>,
    /// Horizontal lines to compare with.
    pub levels: Vec<Level>,
}

/// One curve.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Curve {
    /// What the legend calls it.
    pub name: String,
    /// Its points, by ascending x.
    pub points: Vec<(f64, f64)>,
}

/// A value to compare with.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Level {
    /// What the legend calls it.
    pub name: String,
    /// The value.
    pub value: f64,
}

/// A data set's samples and the densities learned from it.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DensityRow {
    /// Name of the data set.
    pub name: String,
    /// Window: x from, x to, y from, y to.
    pub window: [f64; 4],
    /// Samples shown.
    pub samples: Vec<[f64; 2]>,
    /// Learned densities.
    pub densities: Vec<DensityPanel>,
}

/// A density on a grid over the row's window.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DensityPanel {
    /// What it is, in a few words.
    pub title: String,
    /// Cells a side.
    pub side: usize,
    /// Density at the cells' centres, rows from the top, side×side numbers.
    pub values: Vec<f32>,
}

/// Values with intervals.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct DotPanel {
    /// Title of the axis, with its unit.
    pub x_title: String,
    /// Whether the axis is logarithmic.
    pub logarithmic: bool,
    /// A value to compare all with.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub reference: Option<Level>,
    /// From top to bottom.
    pub rows: Vec<Dot>,
}

/// One row of a [`DotPanel`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Dot {
    /// What it is.
    pub name: String,
    /// The value; a row without one says why in its note.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub value: Option<f64>,
    /// Lower and upper end of its interval.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub interval: Option<(f64, f64)>,
    /// A remark beside it.
    #[serde(default, skip_serializing_if = "String::is_empty")]
    pub note: String,
}

/// Points over logarithmic axes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScatterPanel {
    /// Title of the horizontal axis, with its unit.
    pub x_title: String,
    /// Title of the vertical axis, with its unit.
    pub y_title: String,
    /// The points; those of one name look alike.
    pub points: Vec<ScatterPoint>,
}

/// A point of a [`ScatterPanel`]; only positive numbers have a place.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScatterPoint {
    /// What it is.
    pub name: String,
    /// Its place along the horizontal axis.
    pub x: f64,
    /// Its place along the vertical axis.
    pub y: f64,
}

/// Pictures of one size.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct Pictures {
    /// Pictures a line.
    pub across: usize,
    /// Pixel rows and columns of each.
    pub size: (usize, usize),
    /// Each picture's pixels row by row, 0 (black) to 255.
    pub pictures: Vec<Vec<u8>>,
    /// What a line of pictures is, one text a line, or none.
    pub lines: Vec<String>,
}

/// Maps of a head from above, over one set of electrodes.
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalpMaps {
    /// Maps a line.
    pub across: usize,
    /// Places of the electrodes: x to the right, y to the nose; the head's edge is ½ from its middle.
    pub electrodes: Vec<[f64; 2]>,
    /// The maps.
    pub maps: Vec<ScalpMap>,
}

/// One map of [`ScalpMaps`].
#[derive(Debug, Clone, PartialEq, Serialize, Deserialize)]
pub struct ScalpMap {
    /// What it is, in a few words.
    pub title: String,
    /// The value at each electrode.
    pub values: Vec<f64>,
}

impl Table {
    /// The table in Markdown.
    pub fn markdown(&self) -> String {
        let cells = |cells: &[String]| cells.iter().map(|text| cell(text)).collect::<Vec<_>>().join(" | ");
        let line = |of: &[String]| format!("| {} |\n", cells(of));
        let rule = format!("|{}\n", " --- |".repeat(self.columns.len()));
        let rows: String = self.rows.iter().map(|row| line(row)).collect();
        format!("{}{rule}{rows}", line(&self.columns))
    }
}

/// Text that stays within its cell, and is not taken for HTML.
fn cell(text: &str) -> String {
    text.replace('<', "&lt;").replace('|', "\\|").replace(char::is_control, " ")
}

impl Experiment {
    /// The page a reader opens: title, figure, table, notes, and how to repeat it.
    pub fn markdown(&self) -> String {
        let notes: String = self.notes.iter().map(|note| format!("- {note}\n")).collect();
        let revision = self.git_revision.as_deref().unwrap_or("unknown");
        format!(
            "# {name}\n\n{title}\n\n![{name}]({name}.svg)\n\n{table}\n{notes}\n\
             Every number is in [{name}.json]({name}.json).\n\n\
             | | |\n| --- | --- |\n| command | `{command}` |\n| relgrad | {version}, revision {revision} |\n\
             | machine | {cpu}, {cores} logical cores |\n| started | {started}, took {seconds} |\n",
            name = self.name,
            title = self.title,
            table = self.table.markdown(),
            // A command may hold any text, also what would end the code or the cell.
            command = cell(&self.command.join(" ")).replace('`', "'"),
            version = self.version,
            cpu = self.machine.cpu,
            cores = self.machine.logical_cores,
            started = self.started,
            seconds = crate::units::seconds(self.seconds),
        )
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn text_stays_in_its_cell() {
        let columns = vec!["a|b".to_string(), "<b>".to_string()];
        let table = Table { columns, rows: vec![vec!["1\r\n2".to_string(), "−1.5 ± 0.2".to_string()]] };
        assert_eq!(table.markdown(), "| a\\|b | &lt;b> |\n| --- | --- |\n| 1  2 | −1.5 ± 0.2 |\n");
    }
}
