//! A table of texts, laid out as plain text or as Markdown.

use crate::table::clipped;

/// A table with a title above it and notes below.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Grid {
    /// What it shows.
    pub title: String,
    /// The head of each column.
    pub head: Vec<String>,
    /// The rows, each with a cell per column.
    pub rows: Vec<Vec<String>>,
    /// How many columns at the left are words; the others are numbers, but for the last one.
    pub words: usize,
    /// Whether the last column is of numbers too.
    pub numbers_to_the_end: bool,
    /// What a reader must know of it, a sentence each.
    pub notes: Vec<String>,
}

impl Grid {
    /// As plain text with aligned columns, no line longer than `width`: rows are cut off, notes
    /// broken.
    pub fn plain(&self, width: usize) -> String {
        let all = || std::iter::once(&self.head).chain(&self.rows);
        let longest = |column: usize| {
            let cells = all().filter_map(|row| row.get(column));
            cells.map(|cell| cell.chars().count()).max().unwrap_or(0)
        };
        let widths: Vec<usize> = (0..self.head.len()).map(longest).collect();
        let mut out = format!("{}\n", self.title);
        for row in all() {
            let cells = row.iter().zip(&widths).enumerate();
            let cells = cells.map(|(column, (cell, width))| {
                if self.is_word(column) {
                    format!("{cell:<width$}")
                } else {
                    format!("{cell:>width$}")
                }
            });
            let line = cells.collect::<Vec<_>>().join("  ");
            out.push_str(clipped(line.trim_end(), width).trim_end());
            out.push('\n');
        }
        for note in &self.notes {
            let mut line = String::new();
            for word in note.split(' ') {
                if !line.is_empty() && line.chars().count() + 1 + word.chars().count() > width {
                    out.push_str(&line);
                    out.push('\n');
                    line = String::from(" ");
                }
                if !line.is_empty() {
                    line.push(' ');
                }
                line.push_str(word);
            }
            out.push_str(&line);
            out.push('\n');
        }
        out
    }

    /// As Markdown: a heading, the table, a list of notes.
    pub fn markdown(&self) -> String {
        let line = |cells: &[String]| {
            let cells: Vec<String> = cells.iter().map(|cell| cell.replace('|', "\\|")).collect();
            format!("| {} |\n", cells.join(" | "))
        };
        let rule: Vec<String> = (0..self.head.len())
            .map(|column| if self.is_word(column) { "---" } else { "---:" }.to_string())
            .collect();
        let mut out = format!("### {}\n\n{}{}", self.title, line(&self.head), line(&rule));
        for row in &self.rows {
            out.push_str(&line(row));
        }
        if !self.notes.is_empty() {
            out.push('\n');
        }
        for note in &self.notes {
            out.push_str(&format!("* {note}\n"));
        }
        out
    }

    /// Whether a column holds words: those at the left, and mostly the last one.
    pub fn is_word(&self, column: usize) -> bool {
        column < self.words || column + 1 == self.head.len() && !self.numbers_to_the_end
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    fn grid() -> Grid {
        let texts = |cells: [&str; 3]| cells.map(str::to_string).to_vec();
        Grid {
            title: "Two of them".into(),
            head: texts(["name", "amount", "verdict"]),
            rows: vec![texts(["a", "1.5", "valid"]), texts(["b|c", "20.25", ""])],
            words: 1,
            numbers_to_the_end: false,
            notes: vec!["one two three four".into()],
        }
    }

    #[test]
    fn columns_line_up_and_notes_are_broken() {
        assert_eq!(
            grid().plain(17),
            "Two of them\n\
             name  amount  ve…\n\
             a        1.5  va…\n\
             b|c    20.25\n\
             one two three\n  four\n"
        );
    }

    #[test]
    fn markdown_is_a_table_that_no_cell_breaks() {
        assert_eq!(
            grid().markdown(),
            "### Two of them\n\n\
             | name | amount | verdict |\n\
             | --- | ---: | --- |\n\
             | a | 1.5 | valid |\n\
             | b\\|c | 20.25 |  |\n\
             \n* one two three four\n"
        );
    }
}
