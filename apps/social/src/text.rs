//! What a post says: `Text` finds mentions and links in it, `UserMention` knows whom a mention
//! means, `UrlShorten` keeps what a link's short form stands for.
//!
//! A link runs from `http://` or `https://` to the next white space; a mention is an `@` outside of
//! links with at least one letter, digit, `_` or `-` after it. Unknown names are left alone.
//!
//! **Short codes are unique.** A code is ten random symbols, drawn once per link (the runtime makes
//! the draw the same on a replay), and kept by an insert that is refused if the code is taken; then
//! another one is drawn. The row names its request, so that a code that is in no post can be told
//! from one whose post was refused.

use crate::accounts::Person;
use crate::join::{join_all, most_urgent};
use crate::{Compat, Config, Defect, op};
use serde::{Deserialize, Serialize};
use std::collections::BTreeSet;
use std::ops::Range;
use triptych_api::{
    Call, Change, Condition, Ctx, Error, Function, Op, Path, ReadSet, Result, Value, join,
};

/// A link and its short form.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Url {
    /// The short form, as the stored text has it.
    pub short_url: String,
    /// What it stands for.
    pub expanded_url: String,
}

/// A text ready to be stored.
#[derive(Clone, Debug, PartialEq, Serialize, Deserialize)]
#[serde(rename_all = "camelCase")]
pub struct Composed {
    /// With short links.
    pub text: String,
    /// Who is mentioned, each once, in the order of the text.
    pub user_mentions: Vec<Person>,
    /// The links, in the order of the text.
    pub urls: Vec<Url>,
}

op!(
    /// Makes a text ready to be stored.
    ComposeText {
        /// The request.
        req_id: String,
        /// The text as the client wrote it.
        text: String,
    }
    "Text"."ComposeText" -> Composed
);
op!(
    /// Gives every link a short form.
    ComposeUrls {
        /// The request.
        req_id: String,
        /// The links.
        urls: Vec<String>,
    }
    "UrlShorten"."ComposeUrls" -> Vec<Url>
);
op!(
    /// Finds out who is mentioned. Unknown names are dropped.
    ComposeUserMentions {
        /// The names, each once.
        names: Vec<String>,
    }
    "UserMention"."ComposeUserMentions" -> Vec<Person>
);
op!(
    /// Learns whom a name means.
    LearnName {
        /// The new user.
        #[serde(flatten)]
        person: Person,
    }
    "UserMention"."LearnName" -> ()
);

/// The table of `UserMention`: names to users.
pub(crate) const NAME: &str = "UserName";
/// The table of `UrlShorten`: short links to what they stand for.
pub(crate) const URL: &str = "Url";
/// How a short link begins.
const SHORT: &str = "http://short-url/";
/// How often a code may turn out to be taken before something else must be wrong.
const DRAWS: u32 = 16;

pub(crate) fn functions(config: Config) -> [Function; 3] {
    [
        Function::new("Text", &[], move |ctx, call| {
            Box::pin(text(config, ctx, call))
        }),
        Function::new("UrlShorten", &[URL], move |ctx, call| {
            Box::pin(url_shorten(config, ctx, call))
        }),
        Function::new("UserMention", &[NAME], |ctx, call| {
            Box::pin(user_mention(ctx, call))
        })
        .reading(|call| match &*call.op {
            ComposeUserMentions::OP => ReadSet::named(call, NAME, "names"),
            _ => None,
        }),
    ]
}

/// Where a text has links and mentions (without the `@`), each in order.
fn scan(text: &str) -> (Vec<Range<usize>>, Vec<Range<usize>>) {
    let (mut links, mut mentions) = (Vec::new(), Vec::new());
    let mut from = 0;
    loop {
        let link = next_link(text, from);
        let until = link.as_ref().map_or(text.len(), |link| link.start);
        for (at, _) in text[from..until].match_indices('@') {
            let begins = from + at + 1;
            let in_name = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let rest = &text[begins..until];
            let length = rest.find(|c| !in_name(c)).unwrap_or(rest.len());
            if length > 0 {
                mentions.push(begins..begins + length);
            }
        }
        let Some(link) = link else { break };
        from = link.end;
        links.push(link);
    }
    (links, mentions)
}

/// The first link from there on.
fn next_link(text: &str, from: usize) -> Option<Range<usize>> {
    let schemes = ["http://", "https://"].into_iter().flat_map(|scheme| {
        let places = text[from..].match_indices(scheme);
        let places = places.map(move |(at, _)| from + at);
        // A scheme with nothing after it is none.
        places
            .map(|at| {
                let rest = &text[at..];
                at..at + rest.find(char::is_whitespace).unwrap_or(rest.len())
            })
            .find(|link| link.len() > scheme.len())
    });
    schemes.min_by_key(|link| link.start)
}

async fn text(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    let ComposeText { req_id, text } = match &*call.op {
        ComposeText::OP => call.input()?,
        _ => return Err(call.unknown("Text")),
    };
    let (links, mentions) = scan(&text);
    let urls = links.iter().map(|at| text[at.clone()].to_owned()).collect();
    let mut seen = BTreeSet::new();
    let names = mentions.into_iter().map(|at| &text[at]);
    let names = names.filter(|name| seen.insert(*name)).map(str::to_owned);
    let names = names.collect();
    let [mut a, mut b] = ctx.fork();
    let composed = join!(
        a.call(ComposeUrls { req_id, urls }),
        b.call(ComposeUserMentions { names }),
    );
    let (urls, user_mentions) = match composed {
        (Ok(urls), Ok(mentions)) => (urls, mentions),
        (a, b) => {
            let errors = [a.err(), b.err()];
            return Err(most_urgent(errors.iter().flatten())
                .unwrap_or_else(|| Error::Bug("a part failed without an error".to_owned())));
        }
    };
    let mut shortened = String::with_capacity(text.len());
    let mut from = 0;
    for (link, url) in links.iter().zip(&urls) {
        shortened.push_str(&text[from..link.start]);
        shortened.push_str(&url.short_url);
        from = link.end;
    }
    // D13, inherited: what comes after the last link is lost.
    if config.compat != Compat::Dsb || links.is_empty() {
        shortened.push_str(&text[from..]);
    }
    Call::output::<ComposeText>(&Composed {
        text: shortened,
        user_mentions,
        urls,
    })
}

async fn url_shorten(config: Config, ctx: &mut Ctx, call: Call) -> Result<Value> {
    let ComposeUrls { req_id, urls } = match &*call.op {
        ComposeUrls::OP => call.input()?,
        _ => return Err(call.unknown("UrlShorten")),
    };
    let req_id = req_id.as_str();
    let branches = ctx.fork_many(urls.len()).into_iter().zip(urls);
    let shorten = branches.map(|(mut branch, expanded_url)| async move {
        let short_url = shorten(config, &mut branch, req_id, &expanded_url).await?;
        Ok(Url {
            short_url,
            expanded_url,
        })
    });
    Call::output::<ComposeUrls>(&join_all(shorten).await?)
}

async fn shorten(config: Config, ctx: &mut Ctx, req_id: &str, link: &str) -> Result<String> {
    for _ in 0..DRAWS {
        let (mut short, mut free) = (code(ctx.random().await?), None);
        if config.has(Defect::ReuseShortCode) {
            short = format!("{SHORT}same");
        } else {
            free = Some(Condition::Absent(Path::attr("expandedUrl")));
        }
        let changes = vec![
            Change::set("expandedUrl", link),
            Change::set("reqId", req_id),
        ];
        if ctx.update(URL, &short, free, changes).await?.applied {
            return Ok(short);
        }
    }
    Err(Error::Bug(format!("{DRAWS} random short codes are taken")))
}

/// A short link from random bits: ten symbols of 62.
fn code(mut bits: u64) -> String {
    const SYMBOLS: &[u8; 62] = b"0123456789ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz";
    let mut short = SHORT.to_owned();
    for _ in 0..10 {
        short.push(char::from(SYMBOLS[(bits % 62) as usize]));
        bits /= 62;
    }
    short
}

async fn user_mention(ctx: &mut Ctx, call: Call) -> Result<Value> {
    match &*call.op {
        ComposeUserMentions::OP => {
            let ComposeUserMentions { names } = call.input()?;
            // Many texts mention nobody, and reading nothing is not worth an operation.
            let rows: Vec<Option<Person>> = match names.is_empty() {
                true => Vec::new(),
                false => ctx.read_many(NAME, &names).await?,
            };
            Call::output::<ComposeUserMentions>(&rows.into_iter().flatten().collect())
        }
        LearnName::OP => {
            let LearnName { person } = call.input()?;
            ctx.write(NAME, &person.username, &person).await?;
            Call::output::<LearnName>(&())
        }
        _ => Err(call.unknown("UserMention")),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn links_and_mentions_are_found_where_they_are() {
        let text = "hi @user_1, see http://a/b?c=@d and @https://e @f-2@user_1 http:// @ http";
        let (links, mentions) = scan(text);
        let at = |found: Vec<Range<usize>>| -> Vec<&str> {
            found.into_iter().map(|range| &text[range]).collect()
        };
        assert_eq!(at(links), ["http://a/b?c=@d", "https://e"]);
        assert_eq!(at(mentions), ["user_1", "f-2", "user_1"]);
        assert_eq!(scan("häß@ö @"), (vec![], vec![]));
    }

    #[test]
    fn codes_use_all_their_bits() {
        assert_eq!(code(0), "http://short-url/0000000000");
        assert_eq!(code(61 + 62 * 10), "http://short-url/zA00000000");
        assert_ne!(code(u64::MAX >> 1), code((u64::MAX >> 1) - 1));
    }
}
