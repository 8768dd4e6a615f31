//! The protocol of Redis: commands and answers.

#![allow(dead_code, reason = "every bench uses a part of it")]

use crate::line::{Line, strange};
use std::io;

/// What a server answers.
#[derive(Debug)]
pub(crate) enum Value {
    Error(String),
    Integer(i64),
    Bytes(Vec<u8>),
    List(Vec<Value>),
}

/// A command in the protocol's form.
pub(crate) fn command(parts: &[&[u8]]) -> Vec<u8> {
    let mut bytes = format!("*{}\r\n", parts.len()).into_bytes();
    for part in parts {
        bytes.extend_from_slice(format!("${}\r\n", part.len()).as_bytes());
        bytes.extend_from_slice(part);
        bytes.extend_from_slice(b"\r\n");
    }
    bytes
}

pub(crate) async fn value(line: &mut Line) -> io::Result<Value> {
    let head = line.line().await?;
    let (kind, rest) = head.split_at_checked(1).ok_or_else(|| strange(&head))?;
    let count = || rest.parse::<i64>().map_err(|_| strange(&head));
    Ok(match kind {
        "+" => Value::Bytes(rest.as_bytes().to_vec()),
        "-" => Value::Error(rest.to_owned()),
        ":" => Value::Integer(count()?),
        "$" => match usize::try_from(count()?) {
            Ok(count) => Value::Bytes(line.bytes(count).await?),
            Err(_) => Value::List(Vec::new()),
        },
        "*" => {
            let mut list = Vec::new();
            for _ in 0..count()?.max(0) {
                list.push(Box::pin(value(line)).await?);
            }
            Value::List(list)
        }
        _ => return Err(strange(head)),
    })
}
