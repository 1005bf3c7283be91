//! Every kind of fault, once.

use bytes::Bytes;
use fanfold_domain::{ByteRange, ObjectName};
use futures::TryStreamExt;

use super::super::{MemoryWorld, Rates};
use super::*;
use crate::{
    Ports, Queue,
    objects::{Condition, Metadata, Pin, Written},
    queues::Outgoing,
};

fn object() -> ObjectName {
    ObjectName::new("b", "k")
}

fn world(rates: Rates) -> (MemoryWorld, Ports, Invocation) {
    let world = MemoryWorld::seeded(1, Faults::seeded(1, rates));
    let invocation = Invocation::new("i");
    let ports = world.ports(&invocation);
    (world, ports, invocation)
}

async fn put(ports: &Ports) -> Result<Written, PortError> {
    ports.objects.put(&object(), Bytes::from("x"), Condition::Absent, &Metadata::new()).await
}

/// What became of a put: how it failed, if it did, and whether it happened.
async fn put_under(rates: Rates) -> (Option<Fault>, bool) {
    let (world, ports, _) = world(rates);
    let fault = put(&ports).await.err().map(|error| error.fault);
    (fault, world.objects.contents(&object()).is_some())
}

#[tokio::test]
async fn an_error_says_no_more_than_is_known() {
    let transient = Rates { transient: 10_000, ..Rates::NONE };
    let request = Rates { lost_request: 10_000, ..Rates::NONE };
    let answer = Rates { lost_answer: 10_000, ..Rates::NONE };
    assert_eq!(put_under(Rates::NONE).await, (None, true));
    assert_eq!(put_under(transient).await, (Some(Fault::Transient), false));
    assert_eq!(put_under(request).await, (Some(Fault::Indeterminate), false));
    assert_eq!(put_under(answer).await, (Some(Fault::Indeterminate), true));
}

#[tokio::test]
async fn a_read_is_never_indeterminate() {
    let (_, ports, _) = world(Rates { lost_answer: 10_000, ..Rates::NONE });
    let error = ports.objects.head(&object(), None).await.unwrap_err();
    assert_eq!(error.fault, Fault::Transient);
}

/// Whether an invocation that crashed had put its object.
async fn crashed_after_the_put(rates: Rates) -> bool {
    let (world, ports, invocation) = world(rates);
    tokio::select! {
        biased;
        () = invocation.crashed() => {}
        answer = put(&ports) => panic!("{answer:?} from a crashed invocation"),
    }
    let happened = world.objects.contents(&object()).is_some();
    world.faults.cease();
    let later = tokio::time::timeout(std::time::Duration::from_secs(1), put(&ports)).await;
    assert!(later.is_err(), "a call after the crash returned");
    assert_eq!(world.objects.contents(&object()).is_some(), happened, "a call after the crash had an effect");
    happened
}

#[tokio::test(start_paused = true)]
async fn a_crash_ends_the_invocation_before_or_after_the_effect() {
    assert!(!crashed_after_the_put(Rates { crash_before: 10_000, ..Rates::NONE }).await);
    assert!(crashed_after_the_put(Rates { crash_after: 10_000, ..Rates::NONE }).await);
}

#[tokio::test(start_paused = true)]
async fn every_point_between_two_effects_can_be_crashed_at() {
    let play = async |faults: Faults| {
        let world = MemoryWorld::seeded(1, faults);
        let invocation = Invocation::new("i");
        let ports = world.ports(&invocation);
        let handler = async {
            for body in ["a", "b"] {
                ports.queues.send(Queue::Folds, vec![Outgoing::now(body.into())]).await.unwrap();
            }
        };
        tokio::select! { biased; () = invocation.crashed() => {}, () = handler => {} }
        (world.queues.pending().len(), world.faults.points())
    };
    let (sent, points) = play(Faults::none()).await;
    assert_eq!((sent, points), (2, 4));
    let mut sent_at = Vec::new();
    for point in 0..points {
        sent_at.push(play(Faults::crash_at(point)).await.0);
    }
    assert_eq!(sent_at, [0, 1, 1, 2]);
}

#[tokio::test]
async fn only_a_conditional_write_meets_a_conflict() {
    let (world, ports, _) = world(Rates { conflict: 10_000, ..Rates::NONE });
    assert_eq!(put(&ports).await.unwrap(), Written::Conflict);
    assert_eq!(world.objects.contents(&object()), None);
    let put = ports.objects.put(&object(), Bytes::new(), Condition::Always, &Metadata::new()).await;
    assert!(matches!(put, Ok(Written::Stored(_))));
}

#[tokio::test]
async fn a_failed_send_may_have_sent_some() {
    let (world, ports, _) = world(Rates { transient: 10_000, ..Rates::NONE });
    let mut counts = std::collections::BTreeSet::new();
    for _ in 0..50 {
        let messages = ["a", "b"].map(|body| Outgoing::now(body.into()));
        assert!(ports.queues.send(Queue::Folds, messages.into()).await.is_err());
        counts.insert(world.queues.drain(Queue::Folds).len());
    }
    assert_eq!(counts, [0, 1, 2].into());
}

#[tokio::test]
async fn a_stream_breaks_off_with_an_error_or_is_whole() {
    let body: Vec<u8> = (0..200_000u32).map(|i| i.to_le_bytes()[0]).collect();
    for (rates, is_broken) in [(Rates::NONE, false), (Rates { broken_stream: 10_000, ..Rates::NONE }, true)] {
        let (world, ports, _) = world(rates);
        world.objects.insert("b", "k", body.clone());
        let range = ByteRange::new(0, body.len() as u64);
        let mut stream = ports.objects.read(&object(), &Pin::default(), range).await.unwrap();
        let mut got = Vec::new();
        let end = loop {
            match stream.try_next().await {
                Ok(Some(bytes)) => got.extend_from_slice(&bytes),
                Ok(None) => break None,
                Err(error) => break Some(error.fault),
            }
        };
        assert_eq!(end, is_broken.then_some(Fault::Transient));
        assert!(body.starts_with(&got) && is_broken == (got.len() < body.len()));
        assert!(matches!(stream.try_next().await, Ok(None)), "an error ends the stream");
    }
}
