//! Conditions of the template's policies against what AWS documents of their keys: a wrong one is deployed without a
//! word, and refuses or grants at run time.

use serde_json::Value;

/// Keys that have several values in one request. Any other operator compares them in a way that AWS leaves undefined.
const MULTI_VALUED: &[&str] = &["events:source", "events:detail-type", "dynamodb:LeadingKeys"];

/// Every statement of every policy, wherever it stands.
fn statements<'a>(node: &'a Value, found: &mut Vec<&'a Value>) {
    if node["Effect"].is_string() {
        found.push(node);
    }
    match node {
        Value::Array(items) => items.iter().for_each(|item| statements(item, found)),
        Value::Object(fields) => fields.values().for_each(|field| statements(field, found)),
        _ => {}
    }
}

/// What each condition of a statement compares, by operator and key.
fn compared(statement: &Value) -> impl Iterator<Item = (&str, &str)> {
    let operators = statement["Condition"].as_object().into_iter().flatten();
    operators.flat_map(|(operator, keys)| {
        keys.as_object().into_iter().flatten().map(move |(key, _)| (operator.as_str(), key.as_str()))
    })
}

#[test]
fn keys_with_several_values_are_compared_by_operators_for_several() {
    let template = super::parsed();
    let mut all = Vec::new();
    statements(&template["Resources"], &mut all);
    let mut sources = 0;
    for statement in all {
        for (operator, key) in compared(statement).filter(|(operator, _)| *operator != "Null") {
            let is_for_several =
                operator.starts_with("ForAllValues:") || operator.starts_with("ForAnyValue:");
            assert_eq!(is_for_several, MULTI_VALUED.contains(&key), "{operator} of {key}: {statement}");
            if key == "events:source" {
                // ForAllValues holds of no value at all.
                assert_eq!(statement["Condition"]["Null"][key], "false", "{statement}");
                sources += 1;
            }
        }
    }
    assert!(sources > 0, "no role may announce anything");
}

#[test]
fn the_policy_of_a_topic_grants_eventbridge_without_a_condition() {
    let template = super::parsed();
    let resources = template["Resources"].as_object().expect("a template has resources");
    let mut granted = 0;
    for policy in resources.values().filter(|resource| resource["Type"] == "AWS::SNS::TopicPolicy") {
        let mut found = Vec::new();
        statements(policy, &mut found);
        for statement in found.iter().filter(|s| s["Principal"]["Service"] == "events.amazonaws.com") {
            assert_eq!(statement["Condition"], Value::Null, "{statement}");
            granted += 1;
        }
    }
    assert!(granted > 0, "EventBridge may publish nowhere");
}

/// What a function does in a bucket of the stack it does in one that a parameter adds.
#[test]
fn other_buckets_may_be_used_as_the_stacks_own() {
    let template = super::parsed();
    let mut all = Vec::new();
    statements(&template["Resources"], &mut all);
    let actions = |sid: &str| {
        let found: Vec<_> = all.iter().filter(|s| s["Sid"] == sid).map(|s| &s["Action"]).collect();
        assert!(!found.is_empty(), "no statement is called {sid}");
        found
    };
    for (own, other) in [
        ("ReadSource", "ReadOtherSources"),
        ("WriteOutput", "WriteOtherOutputs"),
        ("GiveUploadsUp", "GiveOtherUploadsUp"),
        ("WriteResults", "WriteOtherResults"),
    ] {
        let wanted = actions(other)[0];
        assert!(actions(own).iter().all(|own| *own == wanted), "{own} and {other}");
    }
}
