//! What everything keeps to that asks third parties, and the third party that it is tried with.

use std::sync::Arc;

use bytes::Bytes;

use crate::{
    Fault,
    web::{Answer, Request, Web},
};

/// The web under test.
#[derive(Clone)]
pub struct WebUnderTest {
    /// The web.
    pub web: Arc<dyn Web>,
    /// Where a third party answers as [`reply`] says: `http://127.0.0.1:8080`.
    pub at: String,
    /// Where nobody answers.
    pub nobody: String,
}

/// What a third party answers.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Said {
    /// The status.
    pub status: u16,
    /// A header.
    pub header: Option<(&'static str, String)>,
    /// The body.
    pub body: Bytes,
}

impl Said {
    fn of(status: u16, header: Option<(&'static str, String)>, body: impl Into<Bytes>) -> Self {
        Self { status, header, body: body.into() }
    }
}

/// What the third party of the contract answers; `None` if it closes the connection without a word.
pub fn reply(request: &Request) -> Option<Said> {
    let path = request.url.splitn(4, '/').nth(3).unwrap_or_default();
    let header = |name: &str| {
        request.headers.iter().find(|(known, _)| known == name).map_or("", |(_, value)| value.as_str())
    };
    Some(match path.split_once('/').unwrap_or((path, "")) {
        ("echo", rest) => {
            let said = format!("{} {rest} {} ", request.method, header("x-said"));
            Said::of(200, None, [said.as_bytes(), &request.body].concat())
        }
        ("status", status) => Said::of(status.parse().unwrap_or(500), None, "why"),
        ("later", seconds) => Said::of(429, Some(("retry-after", seconds.to_owned())), ""),
        ("moved", _) => Said::of(302, Some(("location", "/echo/moved".to_owned())), "elsewhere"),
        ("long", bytes) => Said::of(200, None, vec![b'x'; bytes.parse().unwrap_or(0)]),
        _ => return None,
    })
}

impl WebUnderTest {
    fn request(&self, path: &str) -> Request {
        let url = format!("{}/{path}", self.at);
        Request { method: "GET", url, headers: Vec::new(), body: Bytes::new(), max_answer_bytes: 1_000 }
    }

    async fn answer(&self, path: &str) -> Answer {
        self.web.send(self.request(path)).await.expect("it was answered")
    }
}

/// Method, path, headers and body, as they are.
pub async fn a_request_arrives_as_it_is(t: &WebUnderTest) {
    let said = ("x-said".to_owned(), "a b".to_owned());
    let post = Request {
        method: "POST",
        headers: vec![said],
        body: Bytes::from("{\"a\": 1}"),
        ..t.request("echo/a%20b?c=%2Fd")
    };
    let answer = t.web.send(post).await.expect("it was answered");
    assert_eq!((answer.status, &answer.body[..]), (200, &b"POST a%20b?c=%2Fd a b {\"a\": 1}"[..]));
    assert_eq!(t.answer("echo/x").await.body, "GET x  ");
}

/// Whatever it says.
pub async fn every_status_is_an_answer(t: &WebUnderTest) {
    for status in [201, 400, 404, 500, 503] {
        let answer = t.answer(&format!("status/{status}")).await;
        assert_eq!((answer.status, &answer.body[..], answer.is_cut), (status, &b"why"[..], false));
        assert_eq!(answer.retry_after, None);
    }
    assert_eq!(t.answer("later/7").await.retry_after.as_deref(), Some("7"));
}

/// It might lead to another host.
pub async fn a_redirection_is_not_followed(t: &WebUnderTest) {
    let answer = t.answer("moved/x").await;
    assert_eq!((answer.status, &answer.body[..]), (302, &b"elsewhere"[..]));
}

/// However long it is.
pub async fn no_more_of_an_answer_is_read_than_wanted(t: &WebUnderTest) {
    for (bytes, read, is_cut) in
        [(999, 999, false), (1_000, 1_000, false), (1_001, 1_000, true), (9_000_000, 1_000, true)]
    {
        let answer = t.answer(&format!("long/{bytes}")).await;
        assert_eq!((answer.body.len(), answer.is_cut), (read, is_cut), "{bytes}");
    }
}

/// It may have arrived.
pub async fn a_broken_connection_leaves_open_what_happened(t: &WebUnderTest) {
    let error = t.web.send(t.request("silence/x")).await.expect_err("nothing was answered");
    assert_eq!(error.fault, Fault::Indeterminate, "{error}");
}

/// It did not.
pub async fn a_request_to_nobody_was_not_sent(t: &WebUnderTest) {
    let request = Request { url: format!("{}/echo/x", t.nobody), ..t.request("") };
    let error = t.web.send(request).await.expect_err("nobody is there");
    assert_eq!(error.fault, Fault::Transient, "{error}");
}

/// Many at once.
pub async fn requests_do_not_wait_for_one_another(t: &WebUnderTest) {
    let asked = (0..20).map(|number| async move { t.answer(&format!("echo/{number}")).await.body });
    for (number, body) in futures::future::join_all(asked).await.into_iter().enumerate() {
        assert_eq!(body, format!("GET {number}  "));
    }
}

/// Tests a web: the argument names an `async fn() -> WebUnderTest`.
#[macro_export]
macro_rules! web_contract {
    ($instance:path) => {
        $crate::contract_tests!(
            web,
            $instance,
            [
                a_request_arrives_as_it_is,
                every_status_is_an_answer,
                a_redirection_is_not_followed,
                no_more_of_an_answer_is_read_than_wanted,
                a_broken_connection_leaves_open_what_happened,
                a_request_to_nobody_was_not_sent,
                requests_do_not_wait_for_one_another,
            ]
        );
    };
}
