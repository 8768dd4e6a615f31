//! Seeded bugs of the application: what a careless author might have written. Each must be caught by
//! the rule that is meant for it, or the rules are not worth much.

/// A seeded bug.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub enum Defect {
    /// A reservation notes the customer and forgets to take the seat, as all published ports do (D1).
    KeepsCapacity,
    /// A seat is sold that does not exist.
    SellsBelowZero,
    /// A saga does not give the hotel back when the flight is refused.
    NoCompensation,
    /// The order's id is the user's, so the next order of the user replaces it.
    ReusesOrderId,
    /// The order is placed before anybody knows whether there are seats.
    OrdersFirst,
    /// The flight is forgotten.
    ForgetsFlight,
    /// The legs are reserved one after another without a transaction.
    NoTransaction,
    /// Two users get the same seat: what remains is answered as it was before.
    AnswersBefore,
    /// The last seat is never sold.
    KeepsLastSeat,
    /// The order's id is made up when the order is written (D4), and its hand-off happens twice.
    OrdersTwice,
    /// The customer is noted at the hotel alone.
    ForgetsPassenger,
    /// The night before the departure is not booked.
    ForgetsLastNight,
    /// A night is sold beyond its rooms.
    Overbooks,
    /// A search looks at four hotels where five are asked for.
    SearchesFour,
    /// Of several best hotels only the first is recommended.
    RecommendsFirst,
    /// Whoever is known is let in, whatever the password.
    AcceptsAnything,
}

impl Defect {
    /// All of them, each with the rule that is meant for it.
    pub const ALL: [(Defect, &'static str); 16] = [
        (Defect::KeepsCapacity, "T1"),
        (Defect::SellsBelowZero, "T2"),
        (Defect::NoCompensation, "T3"),
        (Defect::ReusesOrderId, "T4"),
        (Defect::OrdersFirst, "T4"),
        (Defect::ForgetsFlight, "T3"),
        (Defect::NoTransaction, "T3"),
        (Defect::AnswersBefore, "T7"),
        (Defect::KeepsLastSeat, "T8"),
        (Defect::OrdersTwice, "T4"),
        (Defect::ForgetsPassenger, "T5"),
        (Defect::ForgetsLastNight, "T9-stays"),
        (Defect::Overbooks, "T9"),
        (Defect::SearchesFour, "T10"),
        (Defect::RecommendsFirst, "T11"),
        (Defect::AcceptsAnything, "T11"),
    ];
}
