//! Results for people.

use std::fmt::{self, Display, Formatter};

/// Rows of text below their headings: the first column from the left, all others from the right.
#[derive(Debug)]
pub struct Table {
    title: String,
    rows: Vec<Vec<String>>,
    notes: Vec<String>,
}

impl Table {
    /// An empty table.
    #[must_use]
    pub fn new(title: String, headings: &[&str]) -> Table {
        Table {
            title,
            rows: vec![headings.iter().map(|&heading| heading.to_owned()).collect()],
            notes: Vec::new(),
        }
    }

    /// Adds a row.
    pub fn row(&mut self, cells: Vec<String>) {
        self.rows.push(cells);
    }

    /// Adds a line below the table; its further lines are indented.
    pub fn note(&mut self, text: &str) {
        self.notes.push(text.trim().replace('\n', "\n    "));
    }
}

impl Display for Table {
    fn fmt(&self, f: &mut Formatter<'_>) -> fmt::Result {
        writeln!(f, "{}", self.title)?;
        let mut widths = Vec::new();
        for row in &self.rows {
            widths.resize(row.len().max(widths.len()), 0);
            for (width, cell) in widths.iter_mut().zip(row) {
                *width = cell.chars().count().max(*width);
            }
        }
        for row in &self.rows {
            for (column, (cell, &width)) in row.iter().zip(&widths).enumerate() {
                if column == 0 {
                    write!(f, "{cell:<width$}")?;
                } else {
                    write!(f, "  {cell:>width$}")?;
                }
            }
            writeln!(f)?;
        }
        for note in &self.notes {
            writeln!(f, "{note}")?;
        }
        Ok(())
    }
}

/// A number with so many decimals, or a hyphen in place of what was not measured.
#[must_use]
pub fn cell(number: Option<f64>, decimals: usize) -> String {
    number.map_or("-".to_owned(), |number| format!("{number:.decimals$}"))
}

/// A count, or a hyphen in place of what was not measured.
#[must_use]
pub fn count(number: Option<u64>) -> String {
    number.map_or("-".to_owned(), |number| number.to_string())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn columns_are_as_wide_as_their_widest_cell() {
        let mut table = Table::new("title".to_owned(), &["name", "a"]);
        table.row(vec!["x".to_owned(), cell(Some(12.345), 2)]);
        table.row(vec!["longer".to_owned(), cell(None, 2)]);
        table.note("two\nlines\n");
        let expected = "title\nname        a\nx       12.35\nlonger      -\ntwo\n    lines\n";
        assert_eq!(table.to_string(), expected);
    }
}
