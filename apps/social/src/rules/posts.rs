//! Rules about single posts, short codes and refusals: S1, S2, S12.

use super::facts::{Facts, Post, Request, list, text};
use crate::graph::{FOLLOWEES, FOLLOWERS};
use crate::text::URL;
use crate::{Compat, Config};
use std::collections::{BTreeMap, BTreeSet};
use triptych_api::model::{OpRecord, OutcomeClass};
use triptych_api::{Guarantee, RuleReport, Value};

pub(super) fn check(facts: &Facts<'_>) -> Vec<RuleReport> {
    let [mut stored, durable] = exactly_one(facts);
    no_ghost(facts, &mut stored);
    ids(facts, &mut stored);
    let mut residue = codes_used(facts);
    refusals(facts, &mut residue);
    vec![stored, durable, fields(facts), residue]
}

/// S1: an acknowledged request has exactly one stored post. That there is none at all is a loss as
/// well, and counts under durability too.
fn exactly_one(facts: &Facts<'_>) -> [RuleReport; 2] {
    let mut exact = RuleReport::new("S1", Guarantee::Effects);
    let mut durable = RuleReport::new("S1-durable", Guarantee::Durability);
    for request in &facts.requests {
        let count = request.posts.len();
        let index = Some(request.op.index);
        let told = || {
            let ids = request.posts.iter().map(|at| facts.posts[*at].key);
            let ids: Vec<&str> = ids.collect();
            format!(
                "{} {} ended as {}, and {count} posts of it are stored: {}",
                request.kind,
                request.req_id,
                request.class,
                ids.join(", ")
            )
        };
        if request.acknowledged() {
            exact.expect(count == 1, index, told);
            durable.expect(count > 0, index, told);
        } else if request.open() {
            exact.expect(count <= 1, index, told);
        } else {
            exact.expect(count == 0, index, told);
        }
    }
    [exact, durable]
}

/// The part of S1 about posts that nobody asked for.
fn no_ghost(facts: &Facts<'_>, rule: &mut RuleReport) {
    for post in &facts.posts {
        rule.expect(post.request.is_some() || post.loaded(), None, || {
            format!(
                "post {} is stored, but nobody sent its request {:?}",
                post.key, post.req_id
            )
        });
    }
}

/// The part of S1 about ids: a post carries the id it is stored under, two acknowledged requests
/// never got one id, and the id that was answered is the one that is stored.
fn ids(facts: &Facts<'_>, rule: &mut RuleReport) {
    for post in &facts.posts {
        let id = text(post.row, "postId");
        rule.expect(id == post.key, facts.index_of(post), || {
            format!("the post stored as {} says that it is {id:?}", post.key)
        });
    }
    let mut answered: BTreeMap<&str, &str> = BTreeMap::new();
    for request in facts.requests.iter().filter(|one| one.acknowledged()) {
        let id = text(&request.op.observed, "postId");
        let other = answered.insert(id, request.req_id);
        rule.expect(other.is_none(), Some(request.op.index), || {
            format!(
                "requests {} and {} were both answered with post {id:?}",
                other.unwrap_or_default(),
                request.req_id
            )
        });
        // One that is missing, or there twice, is told already.
        if let [at] = request.posts[..] {
            let stored = facts.posts[at].key;
            rule.expect(stored == id, Some(request.op.index), || {
                format!(
                    "request {} was answered with post {id:?}, and is stored as {stored}",
                    request.req_id
                )
            });
        }
    }
}

/// S2: nothing of a post comes from elsewhere than its request, and no two posts share a short code.
fn fields(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("S2", Guarantee::Effects);
    let mut codes: BTreeMap<&str, &str> = BTreeMap::new();
    for post in &facts.posts {
        for url in list(post.row, "urls") {
            let code = text(url, "shortUrl");
            let other = codes.insert(code, post.key);
            rule.expect(other.is_none(), facts.index_of(post), || {
                format!(
                    "posts {} and {} both have a link {code}",
                    other.unwrap_or_default(),
                    post.key
                )
            });
        }
        let Some(request) = post.request.map(|at| &facts.requests[at]) else {
            continue;
        };
        if !request.acknowledged() && !request.open() {
            continue;
        }
        let wrong = mixed_up(facts, post, request);
        rule.expect(wrong.is_none(), Some(request.op.index), || {
            format!(
                "post {} of {} {}: {}",
                post.key,
                request.kind,
                request.req_id,
                wrong.unwrap_or_default()
            )
        });
    }
    rule
}

/// The first thing that is not as the request says.
fn mixed_up(facts: &Facts<'_>, post: &Post<'_>, request: &Request<'_>) -> Option<String> {
    let (row, input) = (post.row, &request.op.input);
    let differ = |what: &str, is: String, should: String| {
        (is != should).then(|| format!("its {what} is {is}, and should be {should}"))
    };
    let username = row.get("creator").map_or("", |who| text(who, "username"));
    let registered = facts.users.get(request.username).copied();
    let known = facts.config.compat != Compat::None || registered == Some(request.user_id);
    let reply = request.kind == "reply";
    let post_type = match text(input, "postType") {
        _ if reply => "REPLY",
        "" => "POST",
        given => given,
    };
    let media = list(input, "mediaIds")
        .iter()
        .zip(list(input, "mediaTypes"));
    let media: Vec<(&Value, &Value)> = media.collect();
    let stored_media = list(row, "media").iter().map(|media| {
        let field = |name| media.get(name).unwrap_or(&Value::Null);
        (field("mediaId"), field("mediaType"))
    });
    let stored_media: Vec<(&Value, &Value)> = stored_media.collect();
    let mentions = mentions(facts, request.text);
    let stored_mentions = list(row, "userMentions")
        .iter()
        .map(|person| (text(person, "username"), text(person, "userId")));
    let stored_mentions: Vec<(&str, &str)> = stored_mentions.collect();
    let answered = |field: &str| request.op.observed.get(field).and_then(Value::as_str);
    None.or_else(|| {
        let who = format!("{} {}", request.user_id, request.username);
        differ("author", format!("{} {username}", post.author), who)
    })
    .or_else(|| (!known).then(|| format!("{} is not registered so", request.username)))
    .or_else(|| {
        differ(
            "type",
            text(row, "postType").to_owned(),
            post_type.to_owned(),
        )
    })
    .or_else(|| links(facts, post, request))
    .or_else(|| {
        let is = format!("{stored_mentions:?}");
        differ("mentions", is, format!("{mentions:?}"))
    })
    .or_else(|| (media != stored_media).then(|| "its media are not the request's".to_owned()))
    .or_else(|| {
        (reply != post.parent.is_some()).then(|| "it answers nothing, or should".to_owned())
    })
    .or_else(|| {
        let parent = post.parent.filter(|parent| facts.post(parent).is_none())?;
        Some(format!("it answers {parent}, which is not stored"))
    })
    .or_else(|| {
        let says = (answered("parent"), answered("root"));
        let wrong = request.acknowledged() && says != (post.parent, post.root);
        wrong.then(|| format!("its answer says it answers {says:?}, not {:?}", post.parent))
    })
    .or_else(|| {
        let says = list(&request.op.observed, "mentions").iter();
        let says: Vec<&str> = says.filter_map(Value::as_str).collect();
        let wrong = request.acknowledged() && says != post.mentions;
        wrong.then(|| {
            format!(
                "its answer says it mentions {says:?}, not {:?}",
                post.mentions
            )
        })
    })
    .or_else(|| {
        let stamp = request.op.observed.get("timestamp").and_then(Value::as_int);
        let wrong = request.acknowledged() && stamp != post.timestamp;
        wrong.then(|| {
            format!(
                "its answer says it is of {stamp:?}, not {:?}",
                post.timestamp
            )
        })
    })
}

/// The links of a text: where each begins and ends.
fn links_in(text: &str) -> Vec<(usize, usize)> {
    let mut found = Vec::new();
    let mut from = 0;
    for word in text.split_inclusive(char::is_whitespace) {
        let bare = word.trim_end();
        let begins = ["http://", "https://"]
            .into_iter()
            .filter_map(|scheme| Some((bare.find(scheme)?, scheme)))
            .min();
        if let Some((at, scheme)) = begins
            && bare.len() > at + scheme.len()
        {
            found.push((from + at, from + bare.len()));
        }
        from += word.len();
    }
    found
}

/// What is wrong with the text and the links of a post.
fn links(facts: &Facts<'_>, post: &Post<'_>, request: &Request<'_>) -> Option<String> {
    let wanted = links_in(request.text);
    let urls = list(post.row, "urls");
    if urls.len() != wanted.len() {
        let (is, should) = (urls.len(), wanted.len());
        return Some(format!("it has {is} links, and its request {should}"));
    }
    let mut expected = String::new();
    let mut from = 0;
    for (url, (begins, ends)) in urls.iter().zip(&wanted) {
        let (short, expanded) = (text(url, "shortUrl"), text(url, "expandedUrl"));
        let link = &request.text[*begins..*ends];
        if expanded != link {
            return Some(format!(
                "its link {short} is {expanded}, and should be {link}"
            ));
        }
        let kept = facts.evidence.state.get(URL, short);
        let kept = kept.map_or("", |row| text(row, "expandedUrl"));
        if kept != link {
            return Some(format!("its link {short} leads to {kept:?}, not to {link}"));
        }
        expected.push_str(&request.text[from..*begins]);
        expected.push_str(short);
        from = *ends;
    }
    // D13: text after the last link is lost.
    if facts.config.compat != Compat::Dsb || wanted.is_empty() {
        expected.push_str(&request.text[from..]);
    }
    let is = text(post.row, "text");
    (is != expected).then(|| {
        let differs = is.chars().zip(expected.chars());
        let same = differs.take_while(|(a, b)| a == b).count();
        format!(
            "its text, of {} characters, differs from the {} expected after {same}",
            is.chars().count(),
            expected.chars().count()
        )
    })
}

/// The registered users that a text mentions, each once, in its order: names and ids.
fn mentions<'a>(facts: &Facts<'a>, text: &'a str) -> Vec<(&'a str, &'a str)> {
    let mut seen = BTreeSet::new();
    let mut found = Vec::new();
    for word in text.split_whitespace() {
        let link = ["http://", "https://"]
            .iter()
            .filter_map(|scheme| word.find(scheme));
        let plain = &word[..link.min().unwrap_or(word.len())];
        for rest in plain.split('@').skip(1) {
            let named = |c: char| c.is_ascii_alphanumeric() || c == '_' || c == '-';
            let name = &rest[..rest.find(|c| !named(c)).unwrap_or(rest.len())];
            if let Some((name, id)) = facts.users.get_key_value(name)
                && seen.insert(*name)
            {
                found.push((*name, *id));
            }
        }
    }
    found
}

/// The part of S12 about short codes: each is in the post of its request. One whose request was
/// refused, aborted, or left without an answer and a post, leads nowhere and hurts nobody: links are
/// shortened while it is still being found out whether there will be a post.
fn codes_used(facts: &Facts<'_>) -> RuleReport {
    let mut rule = RuleReport::new("S12", Guarantee::Effects);
    let by_request: BTreeMap<&str, &Request<'_>> = facts
        .requests
        .iter()
        .map(|request| (request.req_id, request))
        .collect();
    for (code, row) in facts.evidence.state.rows(URL) {
        let req_id = text(row, "reqId");
        let request = by_request.get(req_id);
        let index = request.map(|request| request.op.index);
        let used = request.is_some_and(|request| match request.posts[..] {
            [] => !matches!(request.class, OutcomeClass::Failed | OutcomeClass::Shed),
            _ => request.posts.iter().any(|at| {
                let urls = list(facts.posts[*at].row, "urls").iter();
                urls.map(|url| text(url, "shortUrl")).any(|url| url == code)
            }),
        });
        rule.expect(used, index, || {
            format!("the link {code} was made for request {req_id:?}, whose post does not have it")
        });
    }
    rule
}

/// The part of S12 about refusals: each has a reason.
fn refusals(facts: &Facts<'_>, rule: &mut RuleReport) {
    for op in facts.evidence.ops {
        if op.outcome.class() != OutcomeClass::Rejected {
            continue;
        }
        let kind = facts.evidence.kind(op);
        rule.expect(refusable(facts, kind, op), Some(op.index), || {
            format!(
                "{kind} {} was refused ({}), for no reason that anybody can see",
                text(&op.input, "reqId"),
                op.outcome.reason()
            )
        });
    }
}

fn refusable(facts: &Facts<'_>, kind: &str, op: &OpRecord) -> bool {
    let Config { compat, .. } = facts.config;
    let field = |name: &str| text(&op.input, name);
    let posts = || {
        let unknown = facts.users.get(field("username")).copied() != Some(field("userId"));
        let media = [list(&op.input, "mediaIds"), list(&op.input, "mediaTypes")];
        (unknown && compat == Compat::None) || media[0].len() != media[1].len()
    };
    match kind {
        "compose" => posts(),
        // Whether there was something is a question of what the session has seen: S10.
        "reply" => op.outcome.reason() == "nothing to reply to" || posts(),
        "read-thread" => op.outcome.reason() == "nothing to read",
        "follow" | "unfollow" => {
            let state = facts.evidence.state;
            let unknown = |table, user| state.get(table, user).is_none();
            field("userId") == field("followee")
                || unknown(FOLLOWEES, field("userId"))
                || unknown(FOLLOWERS, field("followee"))
        }
        _ => false,
    }
}
