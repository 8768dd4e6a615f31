//! A witness as a picture: the transactions on a circle, labelled arrows between them, and what
//! each of them did. Written by hand as SVG, so that the same witness is the same bytes.

use super::drawing::{self, WIDTH, escaped, wrapped};
use super::{Found, words};
use std::fmt::Write;
use triptych_model::history::History;

const RADIUS: f64 = 120.0;
const NODE: f64 = 22.0;

/// The witness of a violation as an SVG document.
pub fn picture(history: &History, found: &Found) -> String {
    let witness = &found.witness;
    let count = witness.transactions.len();
    let mut told: Vec<String> = Vec::new();
    for (at, tx) in witness.transactions.iter().enumerate() {
        let text = format!("T{}  {}: {}", at + 1, words::who(history, *tx), {
            words::operations(history, *tx).join("; ")
        });
        told.extend(wrapped(&text));
    }
    told.push(String::new());
    told.extend(wrapped(&witness.told));
    let circle = 2.0 * RADIUS + 130.0;
    let height = 50.0 + circle + 18.0 * told.len() as f64 + 20.0;
    let (x0, y0) = (WIDTH / 2.0, 40.0 + circle / 2.0);
    let center = |at: usize| {
        let angle =
            std::f64::consts::TAU * at as f64 / count.max(1) as f64 - std::f64::consts::FRAC_PI_2;
        let (sin, cos) = (libm::sin(angle), libm::cos(angle));
        match count {
            1 => (x0, y0),
            _ => (x0 + RADIUS * cos, y0 + RADIUS * sin),
        }
    };
    let mut svg = drawing::begin(height, found.anomaly.name());
    for step in &witness.steps {
        let place = |tx| witness.transactions.iter().position(|known| *known == tx);
        let (Some(from), Some(to)) = (place(step.from), place(step.to)) else {
            continue;
        };
        let label = match step.key {
            u32::MAX => step.kind.name().to_owned(),
            key => format!("{} {}", step.kind.name(), history.key(key)),
        };
        arrow(&mut svg, center(from), center(to), &label);
    }
    for at in 0..count {
        let (x, y) = center(at);
        // Writing to a string cannot fail.
        let _ = writeln!(
            svg,
            "<circle cx=\"{x:.1}\" cy=\"{y:.1}\" r=\"{NODE}\" fill=\"#dbe9f6\" stroke=\"#333\"/>\
             <text x=\"{x:.1}\" y=\"{:.1}\" text-anchor=\"middle\" font-weight=\"bold\">T{}</text>",
            y + 4.5,
            at + 1
        );
    }
    drawing::lines(&mut svg, 60.0 + circle, &told);
    svg.push_str("</svg>\n");
    svg
}

/// A bent arrow, so that the way there and the way back do not cover each other.
fn arrow(svg: &mut String, (x1, y1): (f64, f64), (x2, y2): (f64, f64), label: &str) {
    let (dx, dy) = (x2 - x1, y2 - y1);
    let length = libm::sqrt(dx * dx + dy * dy).max(1.0);
    let (ux, uy) = (dx / length, dy / length);
    // To the left of the direction.
    let bend = 0.18 * length;
    let (mx, my) = ((x1 + x2) / 2.0 + uy * bend, (y1 + y2) / 2.0 - ux * bend);
    let towards = |x: f64, y: f64, gap: f64| {
        let (dx, dy) = (mx - x, my - y);
        let far = libm::sqrt(dx * dx + dy * dy).max(1.0);
        (x + dx / far * gap, y + dy / far * gap)
    };
    let ((ax, ay), (bx, by)) = (towards(x1, y1, NODE), towards(x2, y2, NODE + 2.0));
    // The tip is drawn by hand, because not every reader turns markers.
    let (dx, dy) = (bx - mx, by - my);
    let far = libm::sqrt(dx * dx + dy * dy).max(1.0);
    let (dx, dy) = (dx / far, dy / far);
    let (hx, hy) = (bx - 10.0 * dx, by - 10.0 * dy);
    let tip = format!(
        "{bx:.1},{by:.1} {:.1},{:.1} {:.1},{:.1}",
        hx - 5.0 * dy,
        hy + 5.0 * dx,
        hx + 5.0 * dy,
        hy - 5.0 * dx
    );
    let (tx, ty) = (mx + uy * 10.0, my - ux * 10.0);
    let anchor = match uy {
        uy if uy > 0.3 => "start",
        uy if uy < -0.3 => "end",
        _ => "middle",
    };
    let _ = writeln!(
        svg,
        "<path d=\"M{ax:.1},{ay:.1}Q{mx:.1},{my:.1} {bx:.1},{by:.1}\" fill=\"none\" \
         stroke=\"#333\" stroke-width=\"1.5\"/><polygon points=\"{tip}\" fill=\"#333\"/>\
         <text x=\"{tx:.1}\" y=\"{ty:.1}\" text-anchor=\"{anchor}\" fill=\"#a33\">{}</text>",
        escaped(label)
    );
}
