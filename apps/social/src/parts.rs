//! The small functions that contribute a part of a post and keep nothing: `UniqueId` and `Media`.

use crate::op;
use crate::posts::Media;
use triptych_api::{Call, Ctx, Error, Function, Op, Result, Value};

op!(
    /// Makes a post's id.
    ComposeUniqueId {}
    "UniqueId"."ComposeUniqueId" -> String
);
op!(
    /// Pairs the ids of media with their types.
    ComposeMedia {
        /// The ids.
        media_ids: Vec<String>,
        /// The types, as many.
        media_types: Vec<String>,
    }
    "Media"."ComposeMedia" -> Vec<Media>
);

pub(crate) fn functions() -> [Function; 2] {
    [
        Function::new("UniqueId", &[], |ctx, call| Box::pin(unique_id(ctx, call))),
        Function::new("Media", &[], |ctx, call| Box::pin(media(ctx, call))),
    ]
}

async fn unique_id(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        ComposeUniqueId::OP => Call::output::<ComposeUniqueId>(&ctx.unique_id().await?),
        _ => Err(call.unknown("UniqueId")),
    }
}

async fn media(_: &mut Ctx, call: Call) -> Result<Value> {
    let ComposeMedia {
        media_ids,
        media_types,
    } = match &*call.op {
        ComposeMedia::OP => call.input()?,
        _ => return Err(call.unknown("Media")),
    };
    if media_ids.len() != media_types.len() {
        let (ids, types) = (media_ids.len(), media_types.len());
        return Err(Error::rejected(format!("{ids} media have {types} types")));
    }
    let pairs = media_ids.into_iter().zip(media_types);
    let media = pairs.map(|(media_id, media_type)| Media {
        media_id,
        media_type,
    });
    Call::output::<ComposeMedia>(&media.collect())
}
