//! Draws that several data sets and request generators share.

use triptych_model::Random;

/// The value at a place, with straight lines between the known points of a table. Places before the
/// first and after the last point continue its first and last line.
pub(crate) fn quantile(table: &[(f64, f64)], place: f64) -> f64 {
    let after = table
        .partition_point(|(known, _)| *known <= place)
        .clamp(1, table.len() - 1);
    let ((x0, y0), (x1, y1)) = (table[after - 1], table[after]);
    y0 + (y1 - y0) * (place - x0) / (x1 - x0)
}

/// One of the 62 letters and digits.
pub(crate) fn alphanumeric(random: &mut Random) -> char {
    const ALPHABET: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    char::from(ALPHABET[random.below(62) as usize])
}

/// So many letters and digits.
pub(crate) fn text(random: &mut Random, length: usize) -> String {
    (0..length).map(|_| alphanumeric(random)).collect()
}

/// Puts the items into an order in which every order is equally likely (Fisher and Yates).
pub(crate) fn shuffle<T>(random: &mut Random, items: &mut [T]) {
    for last in (1..items.len()).rev() {
        items.swap(last, random.below(last as u64 + 1) as usize);
    }
}
