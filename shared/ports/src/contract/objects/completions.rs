//! Completions of multipart uploads: S3's rules for the parts, and conditions.

use futures::future::join_all;

use super::{
    Bytes, Condition, Expected, ObjectsUnderTest, Rule, UploadedPart, Written, expected, full_part,
    has_other_parts, is_gone, is_permanent, stored,
};

/// `EntityTooSmall`. The last part may be of any size.
pub async fn a_small_upload_part_before_the_last_is_refused(t: &ObjectsUnderTest) {
    if !t.keeps(Rule::FiveMebibytes) {
        return;
    }
    let object = t.object("small");
    let bodies = [full_part(b'a').slice(1..), Bytes::from("last")];
    let (upload, parts) = t.upload(&object, &bodies).await;
    assert!(is_permanent(&t.complete(&upload, &parts, Condition::Always, &bodies).await));
    assert_eq!(t.objects.head(&object, None).await.expect("the head was answered"), None);
}

/// Consecutive, as a checksum of the whole wants it.
pub async fn upload_parts_are_consecutive_from_1_to_at_most_10000(t: &ObjectsUnderTest) {
    if !t.keeps(Rule::PartNumbers) {
        return;
    }
    let bodies = [full_part(b'a'), full_part(b'b')];
    let (upload, parts) = t.upload(&t.object("order"), &bodies).await;
    for number in [0, 10_001] {
        let body = Bytes::from("x");
        assert!(is_permanent(&t.objects.upload_part(&upload, number, body).await), "part {number}");
    }
    let [one, two] = &parts[..] else { panic!("two parts were sent") };
    for (listed, bodies) in [(vec![two, one], &bodies[..]), (vec![two], &bodies[1..]), (vec![], &[])] {
        let listed: Vec<_> = listed.into_iter().cloned().collect();
        assert!(is_permanent(&t.complete(&upload, &listed, Condition::Always, bodies).await), "{listed:?}");
    }
    stored(t.complete(&upload, &parts, Condition::Always, &bodies).await.expect("it was completed"));
}

/// `InvalidPart`: what is listed is what was sent, and was sent. The upload is still there, and its parts can be listed.
pub async fn an_upload_part_with_another_tag_is_refused(t: &ObjectsUnderTest) {
    let object = t.object("tags");
    let bodies = [Bytes::from("x")];
    let (upload, parts) = t.upload(&object, &bodies).await;
    let other = t.put(&t.object("other"), "y").await;
    let wrong = [UploadedPart { etag: other, crc64: None, ..parts[0].clone() }];
    assert!(has_other_parts(&t.complete(&upload, &wrong, Condition::Always, &bodies).await));
    assert_eq!(t.objects.head(&object, None).await.expect("the head was answered"), None);
    stored(t.complete(&upload, &t.held(&upload).await, Condition::Always, &bodies).await.expect("completed"));
}

/// Two who send the same part: the first is not taken for the second's.
pub async fn a_part_that_another_replaced_is_refused_and_then_listed(t: &ObjectsUnderTest) {
    let object = t.object("replaced");
    let (upload, first) = t.upload(&object, &[Bytes::from("first")]).await;
    let bodies = [Bytes::from("other")];
    t.objects.upload_part(&upload, 1, bodies[0].clone()).await.expect("the part was taken");
    assert!(has_other_parts(&t.complete(&upload, &first, Condition::Always, &bodies).await));
    stored(t.complete(&upload, &t.held(&upload).await, Condition::Always, &bodies).await.expect("completed"));
    assert_eq!(t.whole(&object).await, "other");
}

/// Published means verified.
pub async fn a_whole_of_another_size_or_checksum_is_refused(t: &ObjectsUnderTest) {
    let object = t.object("verified");
    let bodies = [Bytes::from("abc")];
    let (upload, parts) = t.upload(&object, &bodies).await;
    let right = expected(&bodies);
    let mut wrong = vec![Expected { size_bytes: 4, crc64: None }];
    if t.keeps(Rule::WholeChecksum) {
        wrong.push(Expected { crc64: Some(1), ..right });
    }
    for expected in wrong {
        let answer = t.objects.complete_upload(&upload, &parts, Condition::Always, expected).await;
        assert!(is_permanent(&answer), "{answer:?} for {expected:?}");
        assert_eq!(t.objects.head(&object, None).await.expect("the head was answered"), None);
    }
}

/// The merger looks at the output again and tries on what it finds.
pub async fn a_completion_whose_condition_fails_leaves_the_upload_alive(t: &ObjectsUnderTest) {
    let object = t.object("condition");
    let there = t.put(&object, "there").await;
    let bodies = [Bytes::from("ours")];
    let (upload, parts) = t.upload(&object, &bodies).await;
    let other = t.put(&t.object("other"), "other").await;
    for condition in [Condition::Absent, Condition::Matches(other)] {
        let refused = t.complete(&upload, &parts, condition, &bodies).await;
        assert_eq!(refused.expect("it was answered"), Written::Refused);
        assert_eq!(t.whole(&object).await, "there");
    }
    let completed = t.complete(&upload, &parts, Condition::Matches(there), &bodies).await;
    stored(completed.expect("it was completed"));
    assert_eq!(t.whole(&object).await, "ours");
}

/// As for a put: 404 is a refusal.
pub async fn a_completion_if_it_matches_is_refused_when_nothing_is_there(t: &ObjectsUnderTest) {
    let other = t.put(&t.object("other"), "other").await;
    let bodies = [Bytes::from("ours")];
    let (upload, parts) = t.upload(&t.object("match of nothing"), &bodies).await;
    let refused = t.complete(&upload, &parts, Condition::Matches(other), &bodies).await;
    assert_eq!(refused.expect("it was answered"), Written::Refused);
}

/// Afterwards it is gone, and an abort does no harm.
pub async fn an_upload_is_completed_once(t: &ObjectsUnderTest) {
    let object = t.object("once");
    let bodies = [Bytes::from("x")];
    let (upload, parts) = t.upload(&object, &bodies).await;
    let first = t.complete(&upload, &parts, Condition::Always, &bodies).await.expect("it was completed");
    // S3 answers the same completion again as it did before; others no longer know the upload.
    let again = t.complete(&upload, &parts, Condition::Always, &bodies).await;
    assert!(is_gone(&again) || again.is_ok_and(|again| again == first));
    assert!(is_gone(&t.objects.upload_part(&upload, 2, Bytes::new()).await));
    t.objects.abort_upload(&upload).await.expect("an abort of what is gone is none");
    assert_eq!(t.whole(&object).await, "x");
}

/// Racing assemblies: one output, whoever wins.
pub async fn of_racing_completions_if_absent_exactly_one_is_stored(t: &ObjectsUnderTest) {
    let object = t.object("race");
    let bodies: Vec<_> = (0..8).map(|i| [Bytes::from(format!("attempt {i}"))]).collect();
    let uploads = join_all(bodies.iter().map(|bodies| t.upload(&object, bodies))).await;
    let completions = uploads
        .iter()
        .zip(&bodies)
        .map(|((upload, parts), bodies)| t.complete(upload, parts, Condition::Absent, bodies));
    let answers: Vec<_> = join_all(completions).await;
    let is_stored = |answer: &Result<_, _>| matches!(answer, Ok(Written::Stored(_)));
    assert_eq!(answers.iter().filter(|answer| is_stored(answer)).count(), 1, "{answers:?}");
    let winner = answers.iter().position(is_stored).expect("one was stored");
    assert_eq!(t.whole(&object).await, bodies[winner][0]);
    let lost = |answer: &Result<_, _>| matches!(answer, Ok(Written::Refused | Written::Conflict));
    assert!(answers.iter().all(|answer| is_stored(answer) || lost(answer)), "{answers:?}");
}

/// A streamed part is as much of a part as one that was put.
pub async fn a_put_if_absent_is_refused_after_a_completion(t: &ObjectsUnderTest) {
    let object = t.object("streamed");
    let bodies = [Bytes::from("streamed")];
    let (upload, parts) = t.upload(&object, &bodies).await;
    stored(t.complete(&upload, &parts, Condition::Absent, &bodies).await.expect("it was completed"));
    assert_eq!(t.put_if(&object, "put", Condition::Absent).await, Written::Refused);
    assert_eq!(t.whole(&object).await, "streamed");
}
