//! The loops in which functions invoke one another, read from the template.
//!
//! Lambda counts how often a function was invoked in one chain of requests, and drops what exceeds about 16 unless the
//! function's `RecursiveLoop` is `Allow`. The loops are looked for here as permissions and mappings allow them, so that
//! one that a change brings about is found before anything is sent along it.

use std::collections::{BTreeMap, BTreeSet};

use serde_json::Value;

/// What a resource may invoke, send to or start, by its name in the template.
type Edges = BTreeMap<String, BTreeSet<String>>;

/// Actions by which one resource brings about what another does.
const CAUSES: &[&str] =
    &["sqs:SendMessage", "sns:Publish", "events:PutEvents", "states:StartExecution", "lambda:InvokeFunction"];

fn resources(document: &Value) -> BTreeMap<String, Value> {
    let resources = document["Resources"].as_object().expect("a template has resources");
    resources.iter().map(|(name, resource)| (name.clone(), resource.clone())).collect()
}

/// The functions that are invoked, in the end, by what they do themselves.
fn on_a_loop(resources: &BTreeMap<String, Value>) -> BTreeSet<String> {
    let edges = edges(resources);
    functions(resources).filter(|name| reached(&edges, name).contains(name.as_str())).cloned().collect()
}

/// The functions that may be invoked in a loop.
fn allowed(resources: &BTreeMap<String, Value>) -> BTreeSet<String> {
    functions(resources)
        .filter(|name| resources[*name]["Properties"]["RecursiveLoop"] == "Allow")
        .cloned()
        .collect()
}

fn functions(resources: &BTreeMap<String, Value>) -> impl Iterator<Item = &String> {
    resources.iter().filter(|(_, resource)| is_function(resource)).map(|(name, _)| name)
}

fn is_function(resource: &Value) -> bool {
    resource["Type"] == "AWS::Serverless::Function" || resource["Type"] == "AWS::Lambda::Function"
}

/// All that can come of what a resource does.
fn reached<'a>(edges: &'a Edges, from: &str) -> BTreeSet<&'a str> {
    let mut found = BTreeSet::new();
    let mut open: Vec<&str> = vec![from];
    while let Some(next) = open.pop() {
        for to in edges.get(next).into_iter().flatten() {
            if found.insert(to.as_str()) {
                open.push(to);
            }
        }
    }
    found
}

fn edges(resources: &BTreeMap<String, Value>) -> Edges {
    let mut edges = Edges::new();
    let mut add = |from: &str, to: &str| {
        edges.entry(from.to_owned()).or_default().insert(to.to_owned());
    };
    for (name, resource) in resources {
        let properties = &resource["Properties"];
        match resource["Type"].as_str().expect("a resource has a type") {
            "AWS::Serverless::Function" | "AWS::Lambda::Function" => {
                add(name, named(&properties["Role"]));
                for source in sources(name, properties) {
                    add(source, name);
                }
                for queue in queues_told_of(properties) {
                    add(name, queue);
                }
            }
            "AWS::Lambda::EventSourceMapping" => {
                add(named(&properties["EventSourceArn"]), named(&properties["FunctionName"]));
            }
            "AWS::Serverless::StateMachine" => add(name, named(&properties["Role"])),
            "AWS::IAM::Role" => {
                for policy in listed(&properties["Policies"]) {
                    granted(&policy["PolicyDocument"]).for_each(|to| add(name, to));
                }
            }
            "AWS::IAM::Policy" => {
                for role in listed(&properties["Roles"]) {
                    granted(&properties["PolicyDocument"]).for_each(|to| add(named(role), to));
                }
            }
            "AWS::SQS::Queue" => {
                let dead = &properties["RedrivePolicy"]["deadLetterTargetArn"];
                dead.as_str().into_iter().for_each(|_| add(name, named(dead)));
            }
            // EventBridge passes a chain on to its targets, though Lambda does not document that it counts it.
            "AWS::Events::Rule" => {
                let bus = properties["EventBusName"].as_str().unwrap_or("default");
                for target in listed(&properties["Targets"]) {
                    add(bus, named(&target["Arn"]));
                    let dead = &target["DeadLetterConfig"]["Arn"];
                    dead.as_str().into_iter().for_each(|_| add(bus, named(dead)));
                }
            }
            "AWS::SNS::Subscription" => {
                add(named(&properties["TopicArn"]), named(&properties["Endpoint"]));
            }
            "AWS::S3::Bucket" => {
                let notified = properties["NotificationConfiguration"].as_object();
                for to in notified.into_iter().flat_map(|n| n.keys()) {
                    assert_eq!(to, "EventBridgeConfiguration", "{name}: what it notifies may be on a loop");
                }
            }
            _ => {}
        }
    }
    edges
}

/// What invokes a function.
fn sources<'a>(name: &str, properties: &'a Value) -> Vec<&'a str> {
    let events = properties["Events"].as_object();
    let mut found = Vec::new();
    for event in events.into_iter().flat_map(|events| events.values()) {
        match event["Type"].as_str().expect("an event has a type") {
            "SQS" => found.push(named(&event["Properties"]["Queue"])),
            // Time brings it about.
            "Schedule" | "ScheduleV2" => {}
            other => panic!("{name} is invoked by {other}: say here by whose doing"),
        }
    }
    found
}

/// The queues whose addresses are among a function's variables.
fn queues_told_of(properties: &Value) -> impl Iterator<Item = &str> {
    let variables = properties["Environment"]["Variables"].as_object();
    let told = variables.into_iter().flatten().filter(|(name, _)| name.ends_with("_QUEUE_URL"));
    told.map(|(_, queue)| named(queue))
}

/// What a policy allows to be sent to, started or invoked.
fn granted(policy: &Value) -> impl Iterator<Item = &str> {
    listed(&policy["Statement"])
        .iter()
        .map(|statement| statement["Fn::If"].get(1).unwrap_or(statement))
        .filter(|statement| statement["Effect"] == "Allow" && causes(&statement["Action"]))
        .flat_map(|statement| one_or_several(&statement["Resource"]).iter().flat_map(either).map(named))
}

/// What a value may be: both of what a condition chooses between. Short forms of functions are read without their
/// names, so that `!If` is a list in the place of a value.
fn either(value: &Value) -> &[Value] {
    let chosen = value.as_array().or_else(|| value["Fn::If"].as_array());
    chosen.and_then(|chosen| chosen.get(1..)).unwrap_or(std::slice::from_ref(value))
}

fn causes(action: &Value) -> bool {
    one_or_several(action).iter().any(|action| {
        let action = action.as_str().expect("an action is a text");
        let (service, wildcard) = (action.split(':').next(), action.contains('*'));
        CAUSES.iter().any(|cause| *cause == action || (wildcard && cause.split(':').next() == service))
    })
}

fn listed(values: &Value) -> &[Value] {
    values.as_array().map_or(&[], Vec::as_slice)
}

fn one_or_several(value: &Value) -> &[Value] {
    value.as_array().map_or(std::slice::from_ref(value), Vec::as_slice)
}

/// The resource that `!Ref Name` and `!GetAtt Name.Arn` are of.
fn named(reference: &Value) -> &str {
    let text = reference.as_str().unwrap_or_else(|| panic!("no reference: {reference}"));
    assert!(text != "*", "a permission for everything may be on any loop");
    text.split('.').next().unwrap_or(text)
}

#[test]
fn the_functions_on_a_loop_and_no_others_may_be_invoked_in_one() {
    let resources = resources(&super::parsed());
    assert_eq!(
        allowed(&resources),
        on_a_loop(&resources),
        "RecursiveLoop: Allow, against the loops there are"
    );
}

/// A function that reads a queue and may send to others, with its role.
fn function(name: &str, reads: &str, sends: &str) -> String {
    format!(
        "
  {name}:
    Type: AWS::Serverless::Function
    Properties:
      Role: !GetAtt {name}Role.Arn
      Events: {{ Queue: {{ Type: SQS, Properties: {{ Queue: !GetAtt {reads}.Arn }} }} }}
  {name}Role:
    Type: AWS::IAM::Role
    Properties:
      Policies:
        - PolicyDocument:
            Statement: [{{ Effect: Allow, Action: sqs:SendMessage, Resource: {sends} }}]"
    )
}

fn loops_of(parts: &[String]) -> Vec<String> {
    let template = format!("Resources:{}\n", parts.concat());
    let document = serde_saphyr::from_str(&template).expect("it is YAML");
    on_a_loop(&resources(&document)).into_iter().collect()
}

#[test]
fn a_line_of_functions_is_no_loop() {
    let line = [function("A", "One", "!GetAtt Two.Arn"), function("B", "Two", "!GetAtt Three.Arn")];
    assert_eq!(loops_of(&line), Vec::<String>::new());
}

#[test]
fn a_loop_has_those_that_bring_one_another_about_and_not_those_that_it_merely_feeds() {
    let parts = [
        function("A", "One", "!GetAtt Two.Arn"),
        function("B", "Two", "[!GetAtt One.Arn, !GetAtt Three.Arn]"),
        function("C", "Three", "!GetAtt Four.Arn"),
    ];
    assert_eq!(loops_of(&parts), ["A", "B"]);
}

#[test]
fn a_loop_may_go_by_a_dead_letter_queue_and_by_a_bus() {
    let dead = "
  One:
    Type: AWS::SQS::Queue
    Properties: { RedrivePolicy: { deadLetterTargetArn: !GetAtt Dead.Arn, maxReceiveCount: 5 } }";
    assert_eq!(loops_of(&[dead.to_owned(), function("A", "Dead", "!GetAtt One.Arn")]), ["A"]);
    let rule = "
  Rule:
    Type: AWS::Events::Rule
    Properties: { EventBusName: !Ref Bus, Targets: [{ Id: one, Arn: !GetAtt One.Arn }] }";
    let announces = function("A", "One", "!GetAtt Bus.Arn").replace("sqs:SendMessage", "events:PutEvents");
    assert_eq!(loops_of(&[rule.to_owned(), announces]), ["A"]);
}

#[test]
fn a_permission_with_a_wildcard_counts_as_all_that_it_matches() {
    let wide = function("A", "One", "!GetAtt One.Arn").replace("sqs:SendMessage", "\"sqs:*\"");
    assert_eq!(loops_of(&[wide]), ["A"]);
}
