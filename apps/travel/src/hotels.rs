//! `Profile` and `Recommendation`: what is known of hotels besides their prices.

use crate::geometry::Point;
use crate::{Defect, Setup};
use serde::{Deserialize, Serialize};
use triptych_api::{Call, Ctx, Function, Name, Op, ReadSet, Result, Value};

/// What makes a hotel best.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize, Deserialize)]
#[serde(rename_all = "lowercase")]
pub enum Require {
    /// The least distance.
    Dis,
    /// The highest rate.
    Rate,
    /// The lowest price.
    Price,
}

/// Finds all hotels that are best, in the order of their ids.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
pub struct GetRecommendations {
    /// What is best.
    pub require: Require,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

impl Op for GetRecommendations {
    const FUNCTION: &'static str = "Recommendation";
    const OP: &'static str = "GetRecommendations";
    type Output = Vec<String>;
}

/// Makes a hotel known to be recommended; a row of the table `Recommendation`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddRecommendation {
    /// The key.
    pub hotel_id: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
    /// Its rate.
    pub rate: f64,
    /// Its price.
    pub price: f64,
}

impl Op for AddRecommendation {
    const FUNCTION: &'static str = "Recommendation";
    const OP: &'static str = "Add";
    type Output = ();
}

/// Where a hotel is.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Address {
    /// The number of the house.
    pub street_number: String,
    /// The street.
    pub street_name: String,
    /// The city.
    pub city: String,
    /// The state.
    pub state: String,
    /// The country.
    pub country: String,
    /// The code of the post.
    pub postal_code: String,
    /// Degrees north.
    pub lat: f64,
    /// Degrees east.
    pub lon: f64,
}

/// Makes a hotel's profile known; a row of the table `Profile`.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct AddProfile {
    /// The key.
    pub hotel_id: String,
    /// What the hotel is called.
    pub name: String,
    /// Its telephone number.
    pub phone_number: String,
    /// What it says of itself.
    pub description: String,
    /// Where it is.
    pub address: Address,
}

impl Op for AddProfile {
    const FUNCTION: &'static str = "Profile";
    const OP: &'static str = "Add";
    type Output = ();
}

/// Reads the profiles of some hotels, in the order asked; unknown hotels are left out.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct GetProfiles {
    /// The hotels.
    pub hotel_ids: Vec<String>,
}

impl Op for GetProfiles {
    const FUNCTION: &'static str = "Profile";
    const OP: &'static str = "GetProfiles";
    /// As they are stored: nobody looks into them on the way.
    type Output = Vec<Value>;
}

pub(crate) fn functions(setup: Setup) -> [Function; 2] {
    [
        Function::new("Profile", &["Profile"], |ctx, call| {
            Box::pin(profile(ctx, call))
        })
        .reading(|call| match &*call.op {
            GetProfiles::OP => ReadSet::named(call, "Profile", "hotelIds"),
            _ => None,
        }),
        Function::new("Recommendation", &["Recommendation"], move |ctx, call| {
            Box::pin(recommendation(setup, ctx, call))
        }),
    ]
}

async fn profile(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        AddProfile::OP => {
            let profile: AddProfile = call.input()?;
            ctx.write("Profile", &profile.hotel_id, &profile).await?;
            Call::output::<AddProfile>(&())
        }
        GetProfiles::OP => {
            let GetProfiles { hotel_ids } = call.input()?;
            let rows: Vec<Option<Value>> = ctx.read_many("Profile", &hotel_ids).await?;
            Call::output::<GetProfiles>(&rows.into_iter().flatten().collect())
        }
        _ => Err(call.unknown("Profile")),
    }
}

async fn recommendation(setup: Setup, ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        AddRecommendation::OP => {
            let row: AddRecommendation = call.input()?;
            ctx.write("Recommendation", &row.hotel_id, &row).await?;
            Call::output::<AddRecommendation>(&())
        }
        GetRecommendations::OP => {
            let GetRecommendations { require, lat, lon } = call.input()?;
            let rows: Vec<(Name, AddRecommendation)> = ctx.scan("Recommendation").await?;
            let hotels = rows.iter().map(|(_, hotel)| hotel);
            let mut best = best(require, Point { lat, lon }, hotels);
            if setup.has(Defect::RecommendsFirst) {
                best.truncate(1);
            }
            Call::output::<GetRecommendations>(&best)
        }
        _ => Err(call.unknown("Recommendation")),
    }
}

/// The ids of all hotels that nothing is better than, in order.
pub fn best<'a>(
    require: Require,
    from: Point,
    hotels: impl IntoIterator<Item = &'a AddRecommendation>,
) -> Vec<String> {
    // The lowest score is the best.
    let score = |hotel: &AddRecommendation| {
        let (lat, lon) = (hotel.lat, hotel.lon);
        match require {
            Require::Dis => from.distance_km(Point { lat, lon }),
            Require::Rate => -hotel.rate,
            Require::Price => hotel.price,
        }
    };
    let mut lowest = f64::INFINITY;
    let mut best: Vec<String> = Vec::new();
    for hotel in hotels {
        let score = score(hotel);
        if score < lowest {
            lowest = score;
            best.clear();
        }
        if score <= lowest {
            best.push(hotel.hotel_id.clone());
        }
    }
    best.sort();
    best
}
