//! Mistakes in a file, shown where they are.

use std::fmt;
use std::ops::Range;

/// One mistake.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistake {
    /// Where it is, in bytes of the text.
    pub at: Range<usize>,
    /// What is wrong.
    pub what: String,
    /// What would be right: what was expected, the nearest name, the allowed values.
    pub help: Vec<String>,
}

/// All mistakes that were found in one file.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Mistakes {
    /// The file's name, as the user wrote it.
    pub file: String,
    /// The file's text.
    pub text: String,
    /// The mistakes, in the order of the file.
    pub mistakes: Vec<Mistake>,
}

impl std::error::Error for Mistakes {}

impl fmt::Display for Mistakes {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        for (n, mistake) in self.mistakes.iter().enumerate() {
            if n > 0 {
                writeln!(f)?;
            }
            self.show(mistake, f)?;
        }
        Ok(())
    }
}

impl Mistakes {
    /// Like a compiler: place, line, caret, help.
    fn show(&self, mistake: &Mistake, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let start = floor(&self.text, mistake.at.start);
        let before = &self.text[..start];
        let line_start = before.rfind('\n').map_or(0, |at| at + 1);
        let line = self.text[line_start..].lines().next().unwrap_or("");
        let number = before.matches('\n').count() + 1;
        let column = self.text[line_start..start].chars().count();
        let line_end = line_start + line.len();
        let end = floor(&self.text, mistake.at.end.clamp(start, line_end.max(start)));
        let carets = self.text[start..end].chars().count().max(1);
        let gutter = " ".repeat(number.to_string().len());
        writeln!(f, "{}:{number}:{}: {}", self.file, column + 1, mistake.what)?;
        writeln!(f, "{gutter} |")?;
        writeln!(f, "{number} | {line}")?;
        writeln!(f, "{gutter} | {}{}", " ".repeat(column), "^".repeat(carets))?;
        for help in &mistake.help {
            writeln!(f, "{gutter} = {help}")?;
        }
        Ok(())
    }
}

/// The nearest character boundary at or before `at`.
fn floor(text: &str, at: usize) -> usize {
    let at = at.min(text.len());
    (0..=at)
        .rev()
        .find(|at| text.is_char_boundary(*at))
        .unwrap_or(0)
}

/// The name that was probably meant, if any is near: at most a third of its letters differ.
pub fn nearest<'a>(name: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let scored = known
        .into_iter()
        .map(|known| (distance(name, known), known));
    let (distance, best) = scored.min_by_key(|(distance, _)| *distance)?;
    let near = distance <= best.chars().count().max(name.chars().count()).div_ceil(3);
    // A unit or other short name is meant if what was written begins with it.
    (near || name.starts_with(best)).then_some(best)
}

/// Levenshtein's distance: letters to insert, remove or replace.
fn distance(a: &str, b: &str) -> usize {
    let b: Vec<char> = b.chars().collect();
    let mut row: Vec<usize> = (0..=b.len()).collect();
    for (i, letter) in a.chars().enumerate() {
        let mut diagonal = std::mem::replace(&mut row[0], i + 1);
        for j in 0..b.len() {
            let replaced = diagonal + usize::from(letter != b[j]);
            diagonal = row[j + 1];
            row[j + 1] = replaced.min(row[j] + 1).min(diagonal + 1);
        }
    }
    row[b.len()]
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn near_names_are_found_and_far_ones_are_not() {
        let known = ["baseline", "beldi", "boki"];
        assert_eq!(nearest("bledi", known), Some("beldi"));
        assert_eq!(nearest("baselin", known), Some("baseline"));
        assert_eq!(nearest("causalmesh", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
    }

    #[test]
    fn a_mistake_is_shown_with_line_and_caret() {
        let text = "name = \"x\"\nrätes = [1]\n".to_owned();
        let at = text.find("rätes").unwrap();
        let mistake = Mistake {
            at: at..at + "rätes".len(),
            what: "there is no key `rätes`".to_owned(),
            help: vec!["did you mean `rates`?".to_owned()],
        };
        let shown = Mistakes {
            file: "c.toml".to_owned(),
            text,
            mistakes: vec![mistake],
        };
        let expected = "c.toml:2:1: there is no key `rätes`\n  |\n2 | rätes = [1]\n  | ^^^^^\n  = did you mean `rates`?\n";
        assert_eq!(shown.to_string(), expected);
    }

    #[test]
    fn no_place_makes_it_panic() {
        let text = "ä = 1".to_owned();
        for start in 0..9 {
            for end in 0..9 {
                let mistake = Mistake {
                    at: start..end,
                    what: String::new(),
                    help: Vec::new(),
                };
                let mistakes = vec![mistake];
                let _ = Mistakes {
                    file: String::new(),
                    text: text.clone(),
                    mistakes,
                }
                .to_string();
            }
        }
    }
}
