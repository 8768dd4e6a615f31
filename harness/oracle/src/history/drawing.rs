//! What pictures of witnesses have in common.

use std::fmt::Write;

pub(crate) const WIDTH: f64 = 760.0;
/// Characters of a line of text.
const LINE: usize = 100;

/// The beginning of a picture, with its title.
pub(crate) fn begin(height: f64, title: &str) -> String {
    format!(
        "<svg xmlns=\"http://www.w3.org/2000/svg\" width=\"{WIDTH:.0}\" height=\"{height:.0}\" \
         viewBox=\"0 0 {WIDTH:.0} {height:.0}\" font-family=\"sans-serif\" font-size=\"13\">\n\
         <rect width=\"100%\" height=\"100%\" fill=\"#fff\"/>\n\
         <text x=\"20\" y=\"28\" font-size=\"17\" font-weight=\"bold\">{}</text>\n",
        escaped(title)
    )
}

/// Lines of text, from this height on.
pub(crate) fn lines(svg: &mut String, from: f64, told: &[String]) {
    for (at, line) in told.iter().enumerate() {
        let y = from + 18.0 * at as f64;
        // Writing to a string cannot fail.
        let _ = writeln!(svg, "<text x=\"20\" y=\"{y:.1}\">{}</text>", escaped(line));
    }
}

/// A straight arrow that leaves a gap at both of its ends.
pub(crate) fn straight(
    svg: &mut String,
    (x1, y1): (f64, f64),
    (x2, y2): (f64, f64),
    gap: f64,
    ink: &str,
) {
    let (dx, dy) = (x2 - x1, y2 - y1);
    let far = libm::sqrt(dx * dx + dy * dy).max(1.0);
    let (ux, uy) = (dx / far, dy / far);
    let (ax, ay) = (x1 + ux * gap, y1 + uy * gap);
    let (bx, by) = (x2 - ux * gap, y2 - uy * gap);
    let (hx, hy) = (bx - 9.0 * ux, by - 9.0 * uy);
    // The tip is drawn by hand, because not every reader turns markers.
    let _ = writeln!(
        svg,
        "<path d=\"M{ax:.1},{ay:.1}L{bx:.1},{by:.1}\" stroke=\"{ink}\" stroke-width=\"1.5\"/>\
         <polygon points=\"{bx:.1},{by:.1} {:.1},{:.1} {:.1},{:.1}\" fill=\"{ink}\"/>",
        hx - 4.5 * uy,
        hy + 4.5 * ux,
        hx + 4.5 * uy,
        hy - 4.5 * ux
    );
}

/// A text in lines.
pub(crate) fn wrapped(text: &str) -> Vec<String> {
    fold(text, LINE, "    ")
}

/// A text in lines of so many characters.
pub(crate) fn folded(text: &str, line: usize) -> Vec<String> {
    fold(text, line, "")
}

fn fold(text: &str, line: usize, indent: &str) -> Vec<String> {
    let mut lines = vec![String::new()];
    for word in text.split(' ') {
        let last = lines.len() - 1;
        if !lines[last].is_empty() && lines[last].chars().count() + word.chars().count() >= line {
            lines.push(format!("{indent}{word}"));
        } else {
            let gap = if lines[last].is_empty() { "" } else { " " };
            lines[last].push_str(gap);
            lines[last].push_str(word);
        }
    }
    lines
}

pub(crate) fn escaped(text: &str) -> String {
    text.replace('&', "&amp;")
        .replace('<', "&lt;")
        .replace('>', "&gt;")
}
