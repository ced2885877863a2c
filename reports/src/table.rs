//! Tables: one type, whoever prints it and as what.

/// A table of text cells.
#[derive(Debug, Clone, PartialEq)]
pub struct Table {
    columns: Vec<Column>,
    rows: Vec<Vec<String>>,
}

/// A column of a [`Table`].
#[derive(Debug, Clone, PartialEq)]
pub struct Column {
    /// Its title.
    pub title: String,
    /// Whether it holds numbers, which align right.
    pub is_number: bool,
}

impl Table {
    /// A table with these columns, such as `method | >D | >time [95 %]`: those behind a `>` hold numbers. Rows have as
    /// many cells.
    pub fn new(columns: &str, rows: impl IntoIterator<Item = Vec<String>>) -> Self {
        let column = |title: &str| match title.trim().strip_prefix('>') {
            Some(title) => Column { title: title.into(), is_number: true },
            None => Column { title: title.trim().into(), is_number: false },
        };
        Self { columns: columns.split('|').map(column).collect(), rows: rows.into_iter().collect() }
    }

    /// The columns.
    pub fn columns(&self) -> &[Column] {
        &self.columns
    }

    /// The rows.
    pub fn rows(&self) -> &[Vec<String>] {
        &self.rows
    }

    /// Changes every cell.
    pub(crate) fn each_cell(&mut self, change: impl FnMut(&mut String)) {
        self.rows.iter_mut().flatten().for_each(change);
    }

    /// Leaves out the columns that hold `nothing` in every row.
    pub(crate) fn without_empty(mut self, nothing: &str) -> Self {
        let has_value: Vec<bool> =
            (0..self.columns.len()).map(|column| self.rows.iter().any(|row| row[column] != nothing)).collect();
        let kept = || has_value.iter().copied();
        let mut of_columns = kept();
        self.columns.retain(|_| of_columns.next() != Some(false));
        for row in &mut self.rows {
            let mut of_cells = kept();
            row.retain(|_| of_cells.next() != Some(false));
        }
        self
    }

    /// The table for a terminal: columns two spaces apart.
    pub fn text(&self) -> String {
        let widths = self.widths(|cell| cell.chars().count());
        let titles: Vec<String> = self.columns.iter().map(|column| column.title.clone()).collect();
        let line = |cells: &Vec<String>| format!("{}\n", self.padded(cells, &widths).join("  ").trim_end());
        std::iter::once(&titles).chain(&self.rows).map(line).collect()
    }

    /// The table in Markdown, whose source reads as a table too; text stays literal.
    pub fn markdown(&self) -> String {
        self.markdown_with(|_| false)
    }

    /// The same, with the cells that are `strong` in bold.
    pub(crate) fn markdown_with(&self, strong: impl Fn(&str) -> bool) -> String {
        let escaped = |cell: &String| if strong(cell) { format!("**{}**", escape(cell)) } else { escape(cell) };
        let columns = self.columns.iter().map(|c| Column { title: escape(&c.title), ..c.clone() }).collect();
        let rows = self.rows.iter().map(|row| row.iter().map(escaped).collect()).collect();
        let table = Self { columns, rows };
        let widths = table.widths(|cell| cell.chars().count().max(3));
        let line = |cells: &Vec<String>| format!("| {} |\n", table.padded(cells, &widths).join(" | "));
        let titles = table.columns.iter().map(|column| column.title.clone()).collect();
        let rule = widths.iter().zip(&table.columns).map(|(&width, column)| match column.is_number {
            true => "-".repeat(width - 1) + ":",
            false => "-".repeat(width),
        });
        line(&titles) + &line(&rule.collect()) + &table.rows.iter().map(line).collect::<String>()
    }

    fn widths(&self, width: impl Fn(&str) -> usize) -> Vec<usize> {
        let of = |(at, column): (usize, &Column)| {
            self.rows.iter().map(|row| width(&row[at])).chain([width(&column.title)]).max().unwrap_or(0)
        };
        self.columns.iter().enumerate().map(of).collect()
    }

    fn padded(&self, cells: &[String], widths: &[usize]) -> Vec<String> {
        let padded = |((cell, &width), column): ((&String, &usize), &Column)| match column.is_number {
            true => format!("{cell:>width$}"),
            false => format!("{cell:<width$}"),
        };
        cells.iter().zip(widths).zip(&self.columns).map(padded).collect()
    }
}

/// Makes text literal in Markdown: the marks that could open emphasis, code, a table cell or an element lose their
/// meaning, and a line stays one line. Brackets stay as they are: intervals are full of them, and only `](` would make
/// a link.
pub(crate) fn escape(text: &str) -> String {
    let mut escaped = String::with_capacity(text.len());
    for c in text.chars() {
        match c {
            '\n' | '\r' => escaped.push(' '),
            c if c.is_control() => escaped.push('\u{fffd}'),
            '\\' | '`' | '*' | '_' | '<' | '>' | '|' | '~' => escaped.extend(['\\', c]),
            _ => escaped.push(c),
        }
    }
    escaped.replace("](", "]\\(")
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn marks_are_literal() {
        assert_eq!(escape("[a](b)"), "[a]\\(b)");
        assert_eq!(escape("a|b_c *d* <e>\nf"), "a\\|b\\_c \\*d\\* \\<e\\> f");
        assert_eq!(escape("1.00 ms [0.96, 1.05]"), "1.00 ms [0.96, 1.05]");
    }

    #[test]
    fn a_table_is_text_and_markdown() {
        let row = |cells: [&str; 3]| cells.map(String::from).to_vec();
        let table = Table::new("name | >D | >time", [row(["a_b", "10", "–"]), row(["c", "1,000", "–"])]);
        assert_eq!(table.text(), "name      D  time\na_b      10     –\nc     1,000     –\n");
        let table = table.without_empty("–");
        let expected = "| name  |     D |\n| ----- | ----: |\n| a\\_b  |    10 |\n| **c** | 1,000 |\n";
        assert_eq!(table.markdown_with(|cell| cell == "c"), expected);
    }
}
