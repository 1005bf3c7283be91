//! The contract of the web port, kept by the client against a server on this machine; and whom it does not ask.

#![expect(clippy::unwrap_used, reason = "a test that cannot go on fails")]

use std::sync::Arc;

use bytes::Bytes;
use fanfold_ports::{
    Fault, Web,
    contract::{
        WebUnderTest,
        web::{Said, reply},
    },
    web::Request,
};
use fanfold_web::{Reach, WebClient};
use http_body_util::{BodyExt, Full};
use hyper::{Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

/// Answers as the contract says, on as many connections as are made.
async fn serve(listener: TcpListener) {
    while let Ok((stream, _)) = listener.accept().await {
        tokio::spawn(answer_all(stream));
    }
}

async fn answer_all(stream: TcpStream) {
    let service = service_fn(async |request: hyper::Request<Incoming>| {
        let url = format!("http://here{}", request.uri());
        let method = if request.method() == "POST" { "POST" } else { "GET" };
        let headers = request.headers().iter();
        let headers = headers
            .map(|(name, value)| (name.to_string(), value.to_str().unwrap_or_default().to_owned()))
            .collect();
        let body = request.into_body().collect().await.unwrap().to_bytes();
        let asked = Request { method, url, headers, body, max_answer_bytes: 0 };
        let Some(Said { status, header, body }) = reply(&asked) else {
            return Err("no word");
        };
        let mut answer = Response::builder().status(status);
        if let Some((name, value)) = header {
            answer = answer.header(name, value);
        }
        Ok(answer.body(Full::new(body)).unwrap())
    });
    // An error of the service closes the connection.
    drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
}

fn port_of(listener: &TcpListener) -> u16 {
    listener.local_addr().unwrap().port()
}

async fn instance() -> WebUnderTest {
    let (server, nobody) =
        (TcpListener::bind("127.0.0.1:0").await.unwrap(), TcpListener::bind("127.0.0.1:0").await.unwrap());
    let (at, nobody_at) = (port_of(&server), port_of(&nobody));
    drop(nobody);
    tokio::spawn(serve(server));
    WebUnderTest {
        web: Arc::new(WebClient::new(Reach::Anywhere)),
        at: format!("http://127.0.0.1:{at}"),
        nobody: format!("http://127.0.0.1:{nobody_at}"),
    }
}

fanfold_ports::web_contract!(instance);

async fn refused(reach: Reach, url: &str) -> String {
    let web = WebClient::new(reach);
    let request = Request {
        method: "GET",
        url: url.to_owned(),
        headers: Vec::new(),
        body: Bytes::new(),
        max_answer_bytes: 1,
    };
    let error = web.send(request).await.unwrap_err();
    assert_eq!(error.fault, Fault::Permanent, "{url}: {error}");
    error.to_string()
}

#[tokio::test]
async fn nobody_is_asked_for_the_machines_credentials() {
    for url in [
        "http://169.254.169.254/latest/",
        "http://[::ffff:169.254.170.2]/",
        "https://[fd00:ec2::254]/",
        "http://0.0.0.0/",
    ] {
        for reach in [Reach::Anywhere, Reach::Elsewhere] {
            assert!(refused(reach, url).await.contains("may not be asked by a pipeline"), "{url}");
        }
    }
    // Which the resolver takes for 169.254.169.254.
    assert!(refused(Reach::Anywhere, "http://2852039166/").await.contains("169.254.169.254"));
}

#[tokio::test]
async fn a_function_does_not_ask_itself_under_any_name() {
    let t = instance().await;
    let (_, port) = t.at.rsplit_once(':').unwrap();
    for host in ["127.0.0.1", "[::1]", "localhost", "127.1"] {
        let error = refused(Reach::Elsewhere, &format!("http://{host}:{port}/echo/x")).await;
        assert!(error.contains("may not be asked by a pipeline"), "{host}: {error}");
    }
}

#[tokio::test]
async fn a_url_that_is_none_is_never_tried_again() {
    for url in ["", "/x", "http://", "ftp://127.0.0.1/", "http://a b/"] {
        let error = refused(Reach::Anywhere, url).await;
        assert!(error.starts_with("send of"), "{error}");
    }
}
