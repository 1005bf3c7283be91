//! How often a third party is asked, changed while a run is going on: on the deployed stack, by the command line.

use std::{
    convert::Infallible,
    sync::{Arc, Mutex, PoisonError},
};

use bytes::Bytes;
use fanfold_domain::{Timestamp, pace::HORIZON_US, pipeline::Pipeline};
use fanfold_ports::Clock;
use http_body_util::Full;
use hyper::{Response, body::Incoming, server::conn::http1, service::service_fn};
use hyper_util::rt::TokioIo;
use tokio::net::{TcpListener, TcpStream};

use crate::{
    stack::{Stack, fanfold},
    stages::text,
};

const NAME: &str = "paced";
const RECORDS: usize = 300;

/// Answers each path with itself, and notes when it was asked.
#[derive(Clone)]
struct ThirdParty {
    clock: Arc<dyn Clock>,
    asked: Arc<Mutex<Vec<Timestamp>>>,
}

impl ThirdParty {
    /// One that listens, and its port.
    async fn listening(clock: Arc<dyn Clock>) -> (Self, u16) {
        let listener = TcpListener::bind("127.0.0.1:0").await.expect("a port is free");
        let port = listener.local_addr().expect("it listens").port();
        let third_party = Self { clock, asked: Arc::default() };
        let here = third_party.clone();
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                tokio::spawn(here.clone().answer_all(stream));
            }
        });
        (third_party, port)
    }

    async fn answer_all(self, stream: TcpStream) {
        let service = service_fn(async |request: hyper::Request<Incoming>| {
            self.asked.lock().unwrap_or_else(PoisonError::into_inner).push(self.clock.now());
            let path = request.uri().path().to_owned();
            Ok::<_, Infallible>(Response::new(Full::new(Bytes::from(path))))
        });
        // A connection that breaks is made again by whoever asks.
        drop(http1::Builder::new().serve_connection(TokioIo::new(stream), service).await);
    }

    /// When requests came from one moment on and before another, in order.
    fn asked(&self, from: Timestamp, to: Timestamp) -> Vec<Timestamp> {
        let asked = self.asked.lock().unwrap_or_else(PoisonError::into_inner);
        let mut moments: Vec<_> = asked.iter().copied().filter(|at| (from..to).contains(at)).collect();
        moments.sort_unstable();
        moments
    }

    /// Waits until so many requests came from this moment on; the moment after.
    async fn until_asked(&self, stack: &Stack, from: Timestamp, count: usize) -> Timestamp {
        stack
            .until("requests", async || {
                let now = self.clock.now();
                (self.asked(from, now).len() >= count).then_some(now)
            })
            .await
    }
}

/// The most that came within any second, of moments in order.
fn most_in_a_second(moments: &[Timestamp]) -> usize {
    let within = |(place, first): (usize, &Timestamp)| {
        moments.partition_point(|at| *at < first.plus_ms(1_000)) - place
    };
    moments.iter().enumerate().map(within).max().unwrap_or(0)
}

/// A line of each record, in order, with this before it.
fn lines(before: &str) -> String {
    (1..=RECORDS).flat_map(|record| [before.to_owned(), record.to_string(), "\n".to_owned()]).collect()
}

#[tokio::test(flavor = "multi_thread")]
async fn a_rate_that_is_changed_while_a_run_is_going_on_is_soon_in_force() {
    let stack = Stack::connect().await;
    let (third_party, port) = ThirdParty::listening(stack.clock()).await;
    let document = format!(
        "pipeline: {NAME}\nsource: {{ prefix: {NAME}/, format: lines }}\nsplit: {{ records: 100 }}\nstages:\n\
         - {{ name: ask, process: http, rate: {{ to: {NAME}, per_second: 20 }},\n    \
         with: {{ url: 'http://127.0.0.1:{port}/{{record}}' }} }}\n"
    );
    stack.apply(&Pipeline::parse(&document).unwrap_or_else(|error| panic!("{document}\n{error}"))).await;
    let key = format!("{NAME}/records");
    let etag = stack.upload(&key, lines("").as_bytes()).await;
    let begun = stack.begun(&key, &etag).await;

    third_party.until_asked(&stack, Timestamp(0), 40).await;
    let told = fanfold(&["rate", NAME, "3/s"]);
    assert_eq!(told, Ok(format!("{NAME} has 3/s, and is asked\n")));
    // Slots that were given before are used, each up to 100 ms late on its way.
    let slow_from = stack.clock().now().plus_ms(HORIZON_US / 1_000 + 100);
    let slow_to = third_party.until_asked(&stack, slow_from, 9).await;
    fanfold(&["rate", NAME, "30/s"]).expect("the rate is changed");
    let run = stack.ended(&begun).await;

    assert_eq!(text(&stack, &run).await, lines("/"));
    let end = stack.clock().now();
    let phases = [(Timestamp(0), slow_from), (slow_from, slow_to), (slow_to, end)];
    let phases = phases.map(|(from, to)| third_party.asked(from, to));
    assert_eq!(phases.concat().len(), RECORDS, "each record is asked of once");
    let most = phases.map(|moments| most_in_a_second(&moments));
    assert!(most[0] <= 22 && most[1] <= 4 && most[2] <= 33, "{most:?} in a second of 20, 3, and 30");
    assert!(most[2] > 22, "{most:?} in a second: the last rate was never in force");
}
