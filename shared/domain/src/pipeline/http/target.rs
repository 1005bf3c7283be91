//! Where a request goes and with which headers: what no record and no document may choose.

use std::net::{IpAddr, Ipv6Addr};

use crate::{
    address,
    document::{
        Mistakes,
        decode::{Node, text, text_that},
        value::Value,
    },
    pipeline::request::{ALLOWED, Piece, RequestTemplate},
};

const MAX_URL_BYTES: usize = 4_096;

/// Headers that are the client's own.
const OURS: &[&str] = &[
    "connection",
    "content-length",
    "expect",
    "host",
    "idempotency-key",
    "keep-alive",
    "proxy-connection",
    "te",
    "trailer",
    "transfer-encoding",
    "upgrade",
];
/// Headers whose values are secrets.
const SECRET: &[&str] =
    &["authorization", "cookie", "proxy-authorization", "x-api-key", "api-key", "x-auth-token"];

pub(super) const URL: &str = "a URL of at most 4096 bytes, http:// or https://, whose host and port are literal and followed by `/` or `?`, \
     without a user, a fragment or spaces";

pub(super) fn template(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<RequestTemplate> {
    let found = text(node, mistakes, "a text with placeholders")?;
    match RequestTemplate::parse(found) {
        Ok(template) => Some(template),
        Err(error) => {
            mistakes.add(&node.path, error.to_string(), ALLOWED);
            None
        }
    }
}

pub(super) fn url(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<RequestTemplate> {
    let template = template(node, mistakes)?;
    let Some(host) = literal_host(&template) else { return node.refuse(mistakes, URL) };
    if host.parse::<IpAddr>().is_ok_and(address::is_link_local) || is_metadata(host) {
        return node
            .refuse(mistakes, "another host: what runs on this one would be asked for its credentials");
    }
    Some(template)
}

/// The host of a URL that may be asked: literal, plain, and apart from all that a record may put in.
fn literal_host(template: &RequestTemplate) -> Option<&str> {
    let text = template.as_str();
    let plain = |byte: u8| {
        byte.is_ascii_graphic() && !matches!(byte, b'#' | b'\\' | b'"' | b'<' | b'>' | b'^' | b'`')
    };
    // The name of a column may have spaces.
    let is_plain = template.pieces().iter().all(|piece| match piece {
        Piece::Text(text) => text.bytes().all(|byte| plain(byte) && !matches!(byte, b'{' | b'}' | b'|')),
        Piece::Value { .. } => true,
    });
    let head = template.head();
    let rest = head.strip_prefix("https://").or_else(|| head.strip_prefix("http://"))?;
    let authority = &rest[..rest.find(['/', '?'])?];
    let (host, port) = match authority.strip_prefix('[') {
        Some(rest) => rest.split_once(']')?,
        None => authority.split_at(authority.find(':').unwrap_or(authority.len())),
    };
    let is_port = port.is_empty()
        || port.strip_prefix(':').is_some_and(|port| port.parse::<u16>().is_ok_and(|n| n > 0));
    let is_host = if authority.starts_with('[') {
        host.parse::<Ipv6Addr>().is_ok()
    } else {
        !host.is_empty()
            && host.bytes().all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_'))
    };
    (text.len() <= MAX_URL_BYTES && is_plain && is_port && is_host).then_some(host)
}

/// Names under which clouds have their metadata.
fn is_metadata(host: &str) -> bool {
    let host = host.trim_end_matches('.').to_ascii_lowercase();
    matches!(
        host.as_str(),
        "metadata" | "metadata.google.internal" | "instance-data" | "instance-data.ec2.internal"
    )
}

pub(super) fn headers(node: &Node<'_>, mistakes: &mut Mistakes) -> Option<Vec<(String, String)>> {
    let Value::Map(entries) = node.value else {
        return node.refuse(mistakes, "a mapping of headers to their values");
    };
    let mut headers: Vec<(String, String)> = Vec::new();
    for (name, value) in entries {
        let node = Node { path: format!("{}.{name}", node.path), value };
        let lower = name.to_ascii_lowercase();
        let token = |byte: u8| byte.is_ascii_alphanumeric() || b"!#$%&'*+-.^_`|~".contains(&byte);
        let problem = if lower.is_empty() || !lower.bytes().all(token) {
            Some("the name of a header, such as content-type")
        } else if OURS.contains(&lower.as_str()) {
            Some("nothing: each request has its own")
        } else if SECRET.contains(&lower.as_str()) {
            Some(
                "nothing: a document is no place for a secret, and headers from where secrets are kept are not yet built",
            )
        } else if headers.iter().any(|(known, _)| *known == lower) {
            Some("each header once")
        } else {
            None
        };
        if let Some(allowed) = problem {
            // Its value may be a secret.
            mistakes.add(node.path, "the header", allowed);
            continue;
        }
        let allowed = "visible ASCII characters and spaces between them";
        let is_value = |text: &str| {
            text.bytes().all(|byte| byte == b' ' || byte.is_ascii_graphic()) && text.trim() == text
        };
        headers.extend(text_that(&node, mistakes, allowed, is_value).map(|value| (lower, value)));
    }
    headers.sort();
    Some(headers)
}
