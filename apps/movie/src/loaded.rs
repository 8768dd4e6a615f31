//! The reviews that are there before a run, where the setting `reviews` asks for some.
//!
//! Review number n has the id `old<n>` and no request. Those with a number below [`LISTED`] times the
//! movies are listed: review n by movie n / [`LISTED`], so that every movie's list begins with so
//! many, and by user n modulo the users. The others are bodies alone, which nobody lists: they make
//! the storage as large as it was in the published measurements. Ratings of loaded reviews are not in
//! the totals.

/// How many reviews each movie lists before the run.
pub const LISTED: usize = 5;

/// The id of a loaded review.
pub fn id(number: usize) -> String {
    format!("old{number}")
}

/// The number of a loaded review by its id, if it is one of so many.
pub fn number(id: &str, reviews: usize) -> Option<usize> {
    let number: usize = id.strip_prefix("old")?.parse().ok()?;
    (number < reviews && self::id(number) == id).then_some(number)
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn ids_read_back_and_others_are_not_taken() {
        assert_eq!(number(&id(0), 1), Some(0));
        assert_eq!(number(&id(41), 42), Some(41));
        for other in ["old42", "old041", "old", "old-1", "41", ""] {
            assert_eq!(number(other, 42), None, "{other}");
        }
    }
}
