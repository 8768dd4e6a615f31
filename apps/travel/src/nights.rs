//! `Hotel` by nights: a stay takes rooms in all of its nights, or in none.
//!
//! A night of a hotel is a row of the table `Night`; one that nobody has booked has no row. How many
//! rooms there are stands in the hotel's row, which is only read.

use crate::seats::{Leg, SeatRow, unknown};
use crate::{Defect, Setup};
use serde::{Deserialize, Serialize};
use time::Date;
use time::format_description::well_known::Iso8601;
use triptych_api::{Change, Ctx, Error, Op, Result};

/// The most nights of one stay.
pub const LONGEST: usize = 30;
/// The most rooms of one stay.
pub const MOST_ROOMS: i64 = 100;

/// Takes rooms in a hotel for every night of a stay; answers how many remain in each.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct TakeNights {
    /// The hotel.
    pub hotel_id: String,
    /// For which order.
    pub order_id: String,
    /// The day of arrival.
    pub in_date: String,
    /// The day of departure.
    pub out_date: String,
    /// How many rooms.
    pub rooms: i64,
}

impl Op for TakeNights {
    const FUNCTION: &'static str = "Hotel";
    const OP: &'static str = "TakeNights";
    type Output = Vec<i64>;
}

/// Of some hotels, finds those that have rooms for every night of a stay, in the order asked.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct CheckAvailability {
    /// The hotels.
    pub hotel_ids: Vec<String>,
    /// The day of arrival.
    pub in_date: String,
    /// The day of departure.
    pub out_date: String,
    /// How many rooms.
    pub rooms: i64,
}

impl Op for CheckAvailability {
    const FUNCTION: &'static str = "Hotel";
    const OP: &'static str = "CheckAvailability";
    type Output = Vec<String>;
}

/// A row of the table `Night`.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct NightRow {
    /// How many rooms are taken.
    #[serde(default)]
    pub booked: i64,
    /// The orders that took them.
    #[serde(default)]
    pub stays: Vec<String>,
}

/// The nights from a day of arrival to a day of departure, as dates.
///
/// # Errors
/// Why there is no such stay, in words.
pub fn nights(in_date: &str, out_date: &str) -> std::result::Result<Vec<String>, String> {
    let date = |text: &str| {
        let parsed = Date::parse(text, &Iso8601::DATE);
        parsed.map_err(|_| format!("not a date: {text:?}; expected one like 2015-04-09"))
    };
    let (mut day, out) = (date(in_date)?, date(out_date)?);
    let mut nights = Vec::new();
    while day < out {
        if nights.len() == LONGEST {
            return Err(format!("a stay has at most {LONGEST} nights"));
        }
        nights.push(day.to_string());
        let next = day.next_day();
        day = next.ok_or_else(|| format!("there is no day after {day}"))?;
    }
    if nights.is_empty() {
        return Err(format!("no night between {in_date} and {out_date}"));
    }
    Ok(nights)
}

/// The key of a night of a hotel.
pub fn key(hotel_id: &str, night: &str) -> String {
    format!("{hotel_id}/{night}")
}

pub(crate) async fn take(setup: Setup, ctx: &mut Ctx, input: TakeNights) -> Result<Vec<i64>> {
    let TakeNights {
        hotel_id,
        order_id,
        in_date,
        out_date,
        rooms,
    } = input;
    let mut nights = nights(&in_date, &out_date).map_err(Error::Rejected)?;
    check_rooms(rooms)?;
    let hotel: Option<SeatRow> = ctx.read("Hotel", &hotel_id).await?;
    let total = hotel.ok_or_else(|| unknown(Leg::Hotel, &hotel_id))?.total;
    if setup.has(Defect::ForgetsLastNight) {
        nights.pop();
    }
    let keys: Vec<String> = nights.iter().map(|night| key(&hotel_id, night)).collect();
    let rows: Vec<Option<NightRow>> = ctx.read_many("Night", &keys).await?;
    let mut remaining = Vec::with_capacity(nights.len());
    for (night, row) in nights.iter().zip(rows) {
        let left = total - row.map_or(0, |row| row.booked) - rooms;
        if left < 0 && !setup.has(Defect::Overbooks) {
            let what = format!("{hotel_id} on {night}");
            return Err(Error::Rejected(Leg::Hotel.sold_out(&what)));
        }
        remaining.push(left);
    }
    for key in &keys {
        let changes = vec![
            Change::add("booked", rooms),
            Change::append("stays", order_id.as_str()),
        ];
        ctx.update("Night", key, None, changes).await?;
    }
    Ok(remaining)
}

fn check_rooms(rooms: i64) -> Result<()> {
    match (1..=MOST_ROOMS).contains(&rooms) {
        true => Ok(()),
        false => Err(Error::rejected(format!(
            "a stay has 1 to {MOST_ROOMS} rooms, not {rooms}"
        ))),
    }
}

pub(crate) async fn available(ctx: &mut Ctx, input: CheckAvailability) -> Result<Vec<String>> {
    let CheckAvailability {
        hotel_ids,
        in_date,
        out_date,
        rooms,
    } = input;
    let nights = nights(&in_date, &out_date).map_err(Error::Rejected)?;
    check_rooms(rooms)?;
    let hotels: Vec<Option<SeatRow>> = ctx.read_many("Hotel", &hotel_ids).await?;
    let keys: Vec<String> = hotel_ids
        .iter()
        .flat_map(|hotel| nights.iter().map(|night| key(hotel, night)))
        .collect();
    let rows: Vec<Option<NightRow>> = ctx.read_many("Night", &keys).await?;
    let each = hotel_ids.into_iter().zip(hotels);
    let free = each
        .zip(rows.chunks(nights.len()))
        .filter(|((_, hotel), rows)| {
            let total = hotel.as_ref().map_or(0, |hotel| hotel.total);
            let booked = rows
                .iter()
                .map(|row| row.as_ref().map_or(0, |row| row.booked));
            booked.max().unwrap_or(0) + rooms <= total
        });
    Ok(free.map(|((hotel, _), _)| hotel).collect())
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn a_stay_has_the_nights_before_its_departure() {
        let stay = nights("2015-02-27", "2015-03-02");
        let expected = ["2015-02-27", "2015-02-28", "2015-03-01"];
        assert_eq!(stay.expect("is one"), expected);
        for (arrival, departure, why) in [
            ("2015-04-09", "2015-04-09", "no night"),
            ("2015-04-10", "2015-04-09", "no night"),
            ("2015-04-31", "2015-05-02", "2015-04-31"),
            ("april", "2015-05-02", "2015-04-09"),
            ("2015-01-01", "2016-01-01", "30"),
        ] {
            let error = nights(arrival, departure).expect_err("is none");
            assert!(error.contains(why), "{error}");
        }
    }
}
