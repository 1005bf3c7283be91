//! What an answer means: a line of output, a bad record, or another try.

use std::time::{Duration, UNIX_EPOCH};

use fanfold_domain::{Timestamp, pipeline::AnswerLine};
use fanfold_ports::{Fault, PortError, web::Answer};
use serde::de::IgnoredAny;
use serde_json::json;

/// The most bytes of an answer that a reason repeats.
const EXCERPT_BYTES: usize = 200;

/// What an answer means.
#[derive(Debug, PartialEq, Eq)]
pub(super) enum Meaning {
    /// This line of output, without its end.
    Line(Vec<u8>),
    /// The record is bad, for this reason.
    Bad(String),
    /// It may be another the next time.
    Again {
        /// What came.
        why: String,
        /// How long the destination asks to wait, in milliseconds.
        wait_ms: Option<u64>,
    },
}

/// What an answer to the request of the record at `offset` means.
///
/// # Errors
/// The request can never be sent.
pub(super) fn meaning(
    answer: Result<Answer, PortError>,
    output: AnswerLine,
    offset: u64,
    now: Timestamp,
) -> Result<Meaning, PortError> {
    let answer = match answer {
        Ok(answer) => answer,
        Err(error) if error.fault == Fault::Permanent => return Err(error),
        Err(error) => return Ok(Meaning::Again { why: format!("failed: {}", error.detail), wait_ms: None }),
    };
    Ok(match answer.status {
        200..=299 => line(&answer, output, offset).unwrap_or_else(Meaning::Bad),
        408 | 425 | 429 | 500..=599 => Meaning::Again {
            why: said(&answer),
            wait_ms: answer.retry_after.as_deref().and_then(|text| retry_after_ms(text, now)),
        },
        300..=399 => Meaning::Bad(format!("{}, and redirections are not followed", said(&answer))),
        _ => Meaning::Bad(said(&answer)),
    })
}

fn said(answer: &Answer) -> String {
    let excerpt = &answer.body[..answer.body.len().min(EXCERPT_BYTES)];
    let excerpt = String::from_utf8_lossy(excerpt);
    let excerpt = excerpt.trim();
    if excerpt.is_empty() {
        format!("was answered {}", answer.status)
    } else {
        format!("was answered {}: {excerpt:?}", answer.status)
    }
}

/// An answer as one line of output.
fn line(answer: &Answer, output: AnswerLine, offset: u64) -> Result<Meaning, String> {
    if answer.is_cut {
        let bytes = answer.body.len();
        return Err(format!(
            "was answered {} with more than {bytes} bytes, which is max_answer",
            answer.status
        ));
    }
    let body = trim_end(&answer.body);
    let is_json = || serde_json::from_slice::<IgnoredAny>(body).is_ok();
    let line = match output {
        AnswerLine::Body if !body.iter().any(|byte| is_line_end(*byte)) => body.to_vec(),
        // Within JSON's strings there are none.
        AnswerLine::Body if is_json() => joined(body),
        AnswerLine::Body => {
            return Err(format!(
                "was answered {} with several lines that are not JSON: `output: json` has them in one",
                answer.status
            ));
        }
        AnswerLine::Json => {
            let value = if is_json() {
                joined(body)
            } else {
                json!(String::from_utf8_lossy(body)).to_string().into_bytes()
            };
            let head = format!("{{\"offset\":{offset},\"status\":{},\"body\":", answer.status);
            [head.as_bytes(), &value, b"}"].concat()
        }
    };
    Ok(Meaning::Line(line))
}

fn is_line_end(byte: u8) -> bool {
    matches!(byte, b'\n' | b'\r')
}

fn joined(json: &[u8]) -> Vec<u8> {
    json.iter().copied().filter(|byte| !is_line_end(*byte)).collect()
}

fn trim_end(body: &[u8]) -> &[u8] {
    let end = body.iter().rposition(|byte| !is_line_end(*byte)).map_or(0, |last| last + 1);
    &body[..end]
}

/// How long `Retry-After` asks to wait (RFC 9110, 10.2.3): seconds, or until a moment.
fn retry_after_ms(text: &str, now: Timestamp) -> Option<u64> {
    let text = text.trim();
    if !text.is_empty() && text.bytes().all(|byte| byte.is_ascii_digit()) {
        return Some(text.parse::<u64>().unwrap_or(u64::MAX).saturating_mul(1_000));
    }
    let at = httpdate::parse_http_date(text).ok()?;
    let wait = at.duration_since(UNIX_EPOCH + Duration::from_millis(now.0)).unwrap_or_default();
    Some(u64::try_from(wait.as_millis()).unwrap_or(u64::MAX))
}

#[cfg(test)]
mod tests {
    use super::*;

    /// 2026-01-01 00:00:00 UTC.
    const NOW: Timestamp = Timestamp(1_767_225_600_000);

    fn answer(status: u16, body: &str) -> Answer {
        Answer { status, retry_after: None, body: body.to_owned().into(), is_cut: false }
    }

    fn meaning_of(answer: Answer, output: AnswerLine) -> Meaning {
        meaning(Ok(answer), output, 7, NOW).unwrap()
    }

    fn line_of(body: &str, output: AnswerLine) -> String {
        match meaning_of(answer(201, body), output) {
            Meaning::Line(line) => String::from_utf8(line).unwrap(),
            other => panic!("{other:?}"),
        }
    }

    #[test]
    fn an_answer_is_one_line() {
        for (body, line) in [
            ("", ""),
            ("ok\r\n", "ok"),
            ("{\r\n \"a\": \"x y\"\n}\n\n", "{ \"a\": \"x y\"}"),
            ("no JSON", "no JSON"),
        ] {
            assert_eq!(line_of(body, AnswerLine::Body), line);
        }
        assert!(
            matches!(meaning_of(answer(200, "a\nb"), AnswerLine::Body), Meaning::Bad(why) if why.contains("several lines"))
        );
    }

    #[test]
    fn as_json_an_answer_has_its_offset_and_status() {
        assert_eq!(line_of("a\nb", AnswerLine::Json), r#"{"offset":7,"status":201,"body":"a\nb"}"#);
        let exact = "{\"n\": 12345678901234567890.10}";
        assert_eq!(
            line_of(exact, AnswerLine::Json),
            format!(r#"{{"offset":7,"status":201,"body":{exact}}}"#)
        );
    }

    #[test]
    fn what_may_pass_is_tried_again_and_what_may_not_is_bad() {
        for status in [408, 425, 429, 500, 502, 503, 504, 599] {
            assert!(
                matches!(
                    meaning_of(answer(status, "x"), AnswerLine::Body),
                    Meaning::Again { wait_ms: None, .. }
                ),
                "{status}"
            );
        }
        for status in [301, 302, 307, 400, 401, 403, 404, 409, 410, 422] {
            let Meaning::Bad(why) = meaning_of(answer(status, "no\nsuch"), AnswerLine::Body) else {
                panic!("{status}")
            };
            assert!(why.starts_with(&format!("was answered {status}: \"no\\nsuch\"")), "{why}");
        }
        let cut = Answer { is_cut: true, ..answer(200, "abc") };
        assert!(
            matches!(meaning_of(cut, AnswerLine::Body), Meaning::Bad(why) if why.contains("more than 3 bytes"))
        );
    }

    #[test]
    fn only_what_can_never_be_sent_is_an_error() {
        for (fault, is_error) in
            [(Fault::Transient, false), (Fault::Indeterminate, false), (Fault::Permanent, true)]
        {
            let failed = PortError::new(fault, "send", "x", "why");
            assert_eq!(meaning(Err(failed), AnswerLine::Body, 0, NOW).is_err(), is_error);
        }
    }

    #[test]
    fn retry_after_is_seconds_or_a_date() {
        for (text, wait_ms) in [
            ("0", Some(0)),
            (" 120 ", Some(120_000)),
            ("99999999999999999999999", Some(u64::MAX)),
            ("Thu, 01 Jan 2026 00:00:30 GMT", Some(30_000)),
            ("Thursday, 01-Jan-26 00:01:00 GMT", Some(60_000)),
            ("Wed, 31 Dec 2025 23:00:00 GMT", Some(0)),
            ("soon", None),
            ("-1", None),
            ("", None),
        ] {
            assert_eq!(retry_after_ms(text, NOW), wait_ms, "{text:?}");
        }
    }
}
