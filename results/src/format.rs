//! Numbers as people read them: at most four significant digits, the unit in the column's head.

/// `value` with at most `digits` significant digits, plain notation, thousands apart by commas.
pub fn significant(value: f64, digits: usize) -> String {
    if !value.is_finite() {
        return "–".to_string();
    }
    // By printing and not by a logarithm, whose last bit differs between machines.
    let scientific = format!("{:.*e}", digits.saturating_sub(1), value);
    let (_, exponent) = scientific.split_once('e').unwrap_or(("", "0"));
    let exponent: i32 = exponent.parse().unwrap_or(0);
    let decimals = (digits as i32 - 1 - exponent).clamp(0, 12) as usize;
    // Through the scientific form, so that 123456 shows as the rounded 123,500 and not as more
    // digits than there are.
    let rounded: f64 = scientific.parse().unwrap_or(value);
    thousands(&format!("{rounded:.decimals$}"))
}

/// Nanoseconds as milliseconds.
pub fn ms(ns: u64) -> f64 {
    ns as f64 / 1e6
}

/// A number without needless zeros: a rate of 100 requests per second, or 12.5.
pub fn plain(value: f64) -> String {
    thousands(&format!("{value}"))
}

/// US dollars: four significant digits, but never less than cents of a million.
pub fn dollars(value: f64) -> String {
    if value >= 1000.0 {
        significant(value, 4)
    } else {
        significant(value, 3)
    }
}

fn thousands(number: &str) -> String {
    let (whole, fraction) = match number.split_once('.') {
        Some((whole, fraction)) => (whole, Some(fraction)),
        None => (number, None),
    };
    let (sign, digits) = whole
        .strip_prefix('-')
        .map_or(("", whole), |digits| ("-", digits));
    let mut out = sign.to_string();
    for (position, digit) in digits.chars().enumerate() {
        if position > 0 && (digits.len() - position).is_multiple_of(3) {
            out.push(',');
        }
        out.push(digit);
    }
    if let Some(fraction) = fraction {
        out.push('.');
        out.push_str(fraction);
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn numbers_have_the_digits_that_were_asked_for() {
        let shown = [0.001234, 1.0, 12.345, 999.96, 123_456.0, 0.0].map(|v| significant(v, 4));
        assert_eq!(
            shown,
            ["0.001234", "1.000", "12.35", "1,000", "123,500", "0.000"]
        );
        assert_eq!(significant(f64::NAN, 4), "–");
        assert_eq!(significant(-1234.5, 3), "-1,230");
        assert_eq!(plain(12.5), "12.5");
        assert_eq!(plain(1_500.0), "1,500");
    }
}
