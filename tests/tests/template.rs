//! template.yaml against the programs it configures.

#[path = "template/loops.rs"]
mod loops;
#[path = "template/policies.rs"]
mod policies;

use std::{collections::BTreeSet, fs, path::Path};

use fanfold_domain::message::tick_of;
use fanfold_runtime::config::{Function, JOB_COMPLETION_INDEX, READS, RUST_LOG, reads};
use serde_json::Value;

/// The lines of the template beneath the first line at `indent` that is `head`, up to the next one as far left.
fn block<'a>(lines: &[&'a str], head: &str, indent: usize) -> Vec<&'a str> {
    let start = lines.iter().position(|line| *line == format!("{:indent$}{head}", ""));
    let start = start.unwrap_or_else(|| panic!("no {head:?} at column {indent}"));
    let deeper = |line: &&&str| line.trim().is_empty() || line.starts_with(&" ".repeat(indent + 1));
    lines[start + 1..].iter().take_while(deeper).copied().collect()
}

/// The names in the `Variables` of a function, or of `Globals`, whose `Environment` is at this column.
fn variables(lines: &[&str], indent: usize) -> BTreeSet<String> {
    let environment = block(lines, "Environment:", indent);
    let names = block(&environment, "Variables:", indent + 2);
    let own = names.iter().filter(|line| line.len() - line.trim_start().len() == indent + 4);
    own.filter_map(|line| Some(line.trim().split_once(':')?.0.to_owned())).collect()
}

fn template() -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join("../template.yaml");
    fs::read_to_string(path).expect("there is a template")
}

/// The template without its tags: `!GetAtt Queue.Arn` is the text `Queue.Arn`.
fn parsed() -> Value {
    serde_saphyr::from_str(&template()).expect("the template is YAML")
}

#[test]
fn the_stacks_own_pipeline_is_told_as_the_splitter_has_it() {
    let text = template();
    let lines: Vec<&str> = text.lines().collect();
    let resources = block(&lines, "Resources:", 0);
    let has = block(&block(&resources, "Splitter:", 2), "FANFOLD_DEFAULT_PIPELINE: !Sub", 10);
    let tells = block(&block(&block(&lines, "Outputs:", 0), "DefaultPipeline:", 2), "Value: !Sub", 4);
    let shifted: Vec<_> = tells.iter().map(|line| format!("      {line}")).collect();
    assert!(!has.is_empty());
    assert_eq!(shifted, has);
}

/// Else a pipeline would be applied whose runs fail, or the other way round.
#[test]
fn the_command_line_is_told_what_the_splitter_lets_pipelines_reach() {
    let text = template();
    let lines: Vec<&str> = text.lines().collect();
    let outputs = block(&lines, "Outputs:", 0);
    let splitter = block(&block(&lines, "Resources:", 0), "Splitter:", 2);
    let after = |lines: &[&str], head: &str| {
        let found = lines.iter().find_map(|line| line.trim().strip_prefix(head));
        found
            .unwrap_or_else(|| panic!("no {head:?}"))
            .trim_end_matches(" }")
            .trim_start_matches(' ')
            .to_owned()
    };
    for (output, variable) in [
        ("AllowedSourceBuckets", "FANFOLD_ALLOWED_SOURCE_BUCKETS"),
        ("AllowedOutputBuckets", "FANFOLD_ALLOWED_OUTPUT_BUCKETS"),
        ("AllowedResultBuckets", "FANFOLD_ALLOWED_RESULT_BUCKETS"),
        ("ResultPrefix", "FANFOLD_RESULT_PREFIX"),
        ("AllowedTables", "FANFOLD_ALLOWED_TABLES"),
        ("AllowedPlanFunctions", "FANFOLD_ALLOWED_PLAN_FUNCTIONS"),
    ] {
        let told = after(&outputs, &format!("{output}: {{ Value:"));
        assert_eq!(told, after(&splitter, &format!("{variable}:")), "{output}");
    }
}

#[test]
fn every_function_is_given_what_it_reads_and_nothing_else() {
    let text = template();
    let lines: Vec<&str> = text.lines().collect();
    let global = variables(&block(&block(&lines, "Globals:", 0), "Function:", 2), 4);
    assert!(global.contains(RUST_LOG));
    let resources = block(&lines, "Resources:", 0);
    for (function, reads) in READS.iter().filter(|(function, _)| *function != Function::Pod) {
        let name = function.to_string();
        let resource = format!("{}{}:", name[..1].to_uppercase(), &name[1..]);
        let given = &global | &variables(&block(&resources, &resource, 2), 6);
        let mut wanted: BTreeSet<String> = reads.iter().map(|name| (*name).to_owned()).collect();
        wanted.insert(RUST_LOG.to_owned());
        assert_eq!(given, wanted, "{function}");
    }
    // In an image it is another function, and SAM's globals are not its.
    let wanted: BTreeSet<String> = reads(Function::Worker).iter().map(|name| (*name).to_owned()).collect();
    let mut given = variables(&block(&resources, "ImageWorker:", 2), 6);
    assert!(given.remove(RUST_LOG));
    assert_eq!(given, wanted);
}

#[test]
fn the_stacks_own_schedule_ticks_as_those_of_documents_do() {
    // Where the scheduler writes the time of each.
    let tick = tick_of("${Pipeline}", "<aws.scheduler.scheduled-time>");
    let said: Value = serde_json::from_str(&tick).expect("a tick is JSON");
    let text = template();
    let input =
        text.lines().find_map(|line| line.trim().strip_prefix("Input: !Sub '")).expect("there is one");
    let input: Value = serde_json::from_str(input.trim_end_matches('\'')).expect("it is JSON");
    assert_eq!(input, said);
}

/// A receive that Lambda throttles counts, and reaches no function. Nothing may end for an hour of such receives.
#[test]
fn messages_outlast_throttled_receives() {
    let text = template();
    let lines: Vec<&str> = text.lines().collect();
    let resources = block(&lines, "Resources:", 0);
    let number = |text: &str| text.trim_end_matches([' ', '}']).parse::<u64>().ok();
    for queue in ["Intake", "Chunks", "Launches", "Completions", "Folds"] {
        let properties = block(&resources, &format!("{queue}Queue:"), 2);
        let find = |name: &str| properties.iter().find_map(|line| Some(line.split_once(name)?.1));
        let receives = find("maxReceiveCount: ").and_then(number).expect("a number");
        match find("VisibilityTimeout: ").and_then(number) {
            Some(seconds) => assert!(receives * seconds >= 3_600, "{queue}: {receives} of {seconds} s"),
            // That of chunks follows from WorkerTimeout. Workers count their deaths by themselves, so that it has SQS's
            // largest count.
            None => assert_eq!((queue, receives), ("Chunks", 1_000)),
        }
    }
}

/// The launcher may not know the runtime, so that it names a pod's variables itself.
#[test]
fn a_pod_is_given_what_it_reads() {
    let job: Value = serde_json::from_str(include_str!("../../services/launcher/tests/specs/builtin.json"))
        .expect("a spec is JSON");
    let env = &job["spec"]["template"]["spec"]["containers"][0]["env"];
    let named = env.as_array().expect("a list").iter().filter_map(|variable| variable["name"].as_str());
    let given: BTreeSet<&str> = named.filter(|name| name.starts_with("FANFOLD_")).collect();
    // Its index is set by Kubernetes.
    let wanted = reads(Function::Pod).iter().copied().filter(|name| *name != JOB_COMPLETION_INDEX);
    assert_eq!(given, wanted.collect());
}
