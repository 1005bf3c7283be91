"""The properties of the template that are compared after a deployment, each read by its service's own API."""

import json
from typing import Any, Callable, NamedTuple

from .deploy import Aws
from .template import Unknown


class Aspect(NamedTuple):
    title: str
    # The type of the resources that have it.
    kind: str
    # What their properties want; None is nothing.
    wanted: Callable[[dict], Any]
    # What is there, by a physical id.
    found: Callable[[Aws, str], Any]
    # Sets what is wanted.
    put: Callable[[Aws, str, Any], Any] | None = None
    # The property that names whom it is about, one or several, where that is not the resource itself.
    about: str | None = None
    # Whether it is set whatever is found, since the local AWS shows it right where it is not.
    always: bool = False


def numbers(properties: dict, *names: str) -> dict[str, int]:
    return {name: int(properties[name]) for name in names if name in properties}


def sids(policy: Any) -> list[str] | None:
    policy = json.loads(policy) if isinstance(policy, str) else policy
    return sorted(statement["Sid"] for statement in policy["Statement"]) if policy else None


# ---- Buckets


def lifecycle_wanted(properties: dict) -> list[dict]:
    """The rules in the shape of S3's API."""
    return [rule_of_api(rule) for rule in properties["LifecycleConfiguration"]["Rules"]]


def rule_of_api(rule: dict) -> dict:
    converted = {"ID": rule["Id"], "Status": rule["Status"], "Filter": {"Prefix": rule.get("Prefix", "")}}
    if days := rule.get("ExpirationInDays"):
        converted["Expiration"] = {"Days": int(days)}
    if rule.get("ExpiredObjectDeleteMarker"):
        converted["Expiration"] = {"ExpiredObjectDeleteMarker": True}
    if noncurrent := rule.get("NoncurrentVersionExpiration"):
        converted["NoncurrentVersionExpiration"] = numbers(noncurrent, "NoncurrentDays")
    if abandoned := rule.get("AbortIncompleteMultipartUpload"):
        converted["AbortIncompleteMultipartUpload"] = numbers(abandoned, "DaysAfterInitiation")
    return converted


def set_lifecycle(aws: Aws, bucket: str, rules: list[dict]) -> None:
    aws.s3.put_bucket_lifecycle_configuration(Bucket=bucket, LifecycleConfiguration={"Rules": rules})


def encryption(configuration: dict) -> list[str]:
    key = next(key for key in ("ServerSideEncryptionConfiguration", "Rules") if key in configuration)
    first = "ServerSideEncryptionByDefault"
    return [rule.get(first, rule.get(f"Apply{first}"))["SSEAlgorithm"] for rule in configuration[key]]


def ownership(controls: dict) -> list[str]:
    return [rule["ObjectOwnership"] for rule in controls["Rules"]]


BUCKETS = [
    Aspect(
        "bucket: versioning", "AWS::S3::Bucket",
        lambda p: p.get("VersioningConfiguration", {}).get("Status"),
        lambda aws, bucket: aws.s3.get_bucket_versioning(Bucket=bucket).get("Status"),
    ),
    Aspect(
        "bucket: events to EventBridge", "AWS::S3::Bucket",
        lambda p: True if "NotificationConfiguration" in p else None,
        lambda aws, bucket: "EventBridgeConfiguration" in aws.s3.get_bucket_notification_configuration(Bucket=bucket),
    ),
    Aspect(
        "bucket: lifecycle", "AWS::S3::Bucket",
        lifecycle_wanted,
        lambda aws, bucket: aws.s3.get_bucket_lifecycle_configuration(Bucket=bucket)["Rules"],
        set_lifecycle,
    ),
    Aspect(
        "bucket: encryption", "AWS::S3::Bucket",
        lambda p: encryption(p["BucketEncryption"]),
        lambda aws, bucket: encryption(
            aws.s3.get_bucket_encryption(Bucket=bucket)["ServerSideEncryptionConfiguration"]),
    ),
    Aspect(
        "bucket: public access block", "AWS::S3::Bucket",
        lambda p: p["PublicAccessBlockConfiguration"],
        lambda aws, bucket: aws.s3.get_public_access_block(Bucket=bucket)["PublicAccessBlockConfiguration"],
    ),
    Aspect(
        "bucket: ownership", "AWS::S3::Bucket",
        lambda p: ownership(p["OwnershipControls"]),
        lambda aws, bucket: ownership(aws.s3.get_bucket_ownership_controls(Bucket=bucket)["OwnershipControls"]),
    ),
    Aspect(
        "bucket: policy", "AWS::S3::BucketPolicy",
        lambda p: sids(p["PolicyDocument"]),
        lambda aws, bucket: sids(aws.s3.get_bucket_policy(Bucket=bucket)["Policy"]),
        about="Bucket",
    ),
]


# ---- Tables


def table(aws: Aws, name: str) -> dict:
    return aws.dynamodb.describe_table(TableName=name)["Table"]


def indexes(properties: dict) -> dict[str, str]:
    return {i["IndexName"]: i["Projection"]["ProjectionType"] for i in properties.get("GlobalSecondaryIndexes", [])}


def lives(aws: Aws, name: str) -> str | None:
    description = aws.dynamodb.describe_time_to_live(TableName=name)["TimeToLiveDescription"]
    return description.get("AttributeName") if description["TimeToLiveStatus"].startswith("ENABL") else None


def set_lives(aws: Aws, name: str, attribute: str) -> None:
    wanted = {"Enabled": True, "AttributeName": attribute}
    aws.dynamodb.update_time_to_live(TableName=name, TimeToLiveSpecification=wanted)


def recovery(aws: Aws, name: str) -> bool:
    backups = aws.dynamodb.describe_continuous_backups(TableName=name)["ContinuousBackupsDescription"]
    return backups["PointInTimeRecoveryDescription"]["PointInTimeRecoveryStatus"] == "ENABLED"


def set_recovery(aws: Aws, name: str, enabled: bool) -> None:
    wanted = {"PointInTimeRecoveryEnabled": enabled}
    aws.dynamodb.update_continuous_backups(TableName=name, PointInTimeRecoverySpecification=wanted)


TABLES = [
    Aspect(
        "table: billing", "AWS::DynamoDB::Table",
        lambda p: p["BillingMode"],
        lambda aws, name: table(aws, name)["BillingModeSummary"]["BillingMode"],
    ),
    Aspect(
        "table: keys", "AWS::DynamoDB::Table",
        lambda p: p["KeySchema"],
        lambda aws, name: table(aws, name)["KeySchema"],
    ),
    Aspect(
        "table: indexes", "AWS::DynamoDB::Table",
        lambda p: indexes(p) or None,
        lambda aws, name: indexes(table(aws, name)),
    ),
    Aspect(
        "table: time to live", "AWS::DynamoDB::Table",
        lambda p: p.get("TimeToLiveSpecification", {}).get("AttributeName"),
        lives,
        set_lives,
    ),
    Aspect(
        "table: point-in-time recovery", "AWS::DynamoDB::Table",
        lambda p: p["PointInTimeRecoverySpecification"]["PointInTimeRecoveryEnabled"],
        recovery,
        set_recovery,
    ),
    Aspect(
        "table: encryption", "AWS::DynamoDB::Table",
        lambda p: p["SSESpecification"]["SSEEnabled"],
        lambda aws, name: table(aws, name).get("SSEDescription", {}).get("Status") == "ENABLED",
        lambda aws, name, enabled: aws.dynamodb.update_table(TableName=name, SSESpecification={"Enabled": enabled}),
    ),
]


# ---- Queues


def attribute(aws: Aws, url: str, name: str) -> str | None:
    return aws.sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["All"])["Attributes"].get(name)


def redrive(aws: Aws, url: str) -> int | None:
    policy = attribute(aws, url, "RedrivePolicy")
    return int(json.loads(policy)["maxReceiveCount"]) if policy else None


QUEUES = [
    Aspect(
        "queue: visibility", "AWS::SQS::Queue",
        lambda p: str(p["VisibilityTimeout"]),
        lambda aws, url: attribute(aws, url, "VisibilityTimeout"),
    ),
    Aspect(
        "queue: retention", "AWS::SQS::Queue",
        lambda p: str(p["MessageRetentionPeriod"]),
        lambda aws, url: attribute(aws, url, "MessageRetentionPeriod"),
    ),
    Aspect(
        "queue: encryption", "AWS::SQS::Queue",
        lambda p: p["SqsManagedSseEnabled"],
        lambda aws, url: attribute(aws, url, "SqsManagedSseEnabled") == "true",
    ),
    Aspect(
        "queue: dead letters", "AWS::SQS::Queue",
        lambda p: int(p["RedrivePolicy"]["maxReceiveCount"]) if "RedrivePolicy" in p else None,
        redrive,
    ),
    Aspect(
        "queue: policy", "AWS::SQS::QueuePolicy",
        lambda p: sids(p["PolicyDocument"]),
        lambda aws, url: sids(attribute(aws, url, "Policy")),
        about="Queues",
    ),
]


# ---- Functions


def function(aws: Aws, name: str) -> dict:
    return aws.client("lambda").get_function_configuration(FunctionName=name)


def destination(configuration: dict) -> bool:
    return bool(configuration.get("DestinationConfig", {}).get("OnFailure", {}).get("Destination"))


def invocation(aws: Aws, physical: str) -> dict:
    name, _, qualifier = physical.partition(":")
    return aws.client("lambda").get_function_event_invoke_config(FunctionName=name, Qualifier=qualifier)


def mapping(aws: Aws, uuid: str) -> dict:
    return aws.client("lambda").get_event_source_mapping(UUID=uuid)


LIMITS = ("Timeout", "MemorySize")
TRIES = ("MaximumRetryAttempts", "MaximumEventAgeInSeconds")
BATCH = ("BatchSize", "MaximumBatchingWindowInSeconds")

FUNCTIONS = [
    Aspect(
        "function: timeout, memory", "AWS::Lambda::Function",
        lambda p: numbers(p, *LIMITS),
        lambda aws, name: numbers(function(aws, name), *LIMITS),
    ),
    Aspect(
        "function: variables", "AWS::Lambda::Function",
        lambda p: p["Environment"]["Variables"],
        lambda aws, name: function(aws, name)["Environment"]["Variables"],
    ),
    Aspect(
        "function: own log group", "AWS::Lambda::Function",
        lambda p: p["LoggingConfig"],
        lambda aws, name: function(aws, name).get("LoggingConfig"),
    ),
    Aspect(
        "function: recursive loops", "AWS::Lambda::Function",
        lambda p: p.get("RecursiveLoop", "Terminate"),
        lambda aws, name: aws.client("lambda").get_function_recursion_config(FunctionName=name)["RecursiveLoop"],
        lambda aws, name, loops: aws.client("lambda").put_function_recursion_config(
            FunctionName=name, RecursiveLoop=loops),
    ),
    Aspect(
        "function: tries of an asynchronous call", "AWS::Lambda::EventInvokeConfig",
        lambda p: numbers(p, *TRIES),
        lambda aws, name: numbers(invocation(aws, name), *TRIES),
    ),
    Aspect(
        "function: dead letters of such a call", "AWS::Lambda::EventInvokeConfig",
        destination,
        lambda aws, name: destination(invocation(aws, name)),
    ),
    Aspect(
        "reader: batch and window", "AWS::Lambda::EventSourceMapping",
        lambda p: numbers({"MaximumBatchingWindowInSeconds": 0} | p, *BATCH),
        lambda aws, uuid: numbers(mapping(aws, uuid), *BATCH),
    ),
    Aspect(
        "reader: partial failures", "AWS::Lambda::EventSourceMapping",
        lambda p: p["FunctionResponseTypes"],
        lambda aws, uuid: mapping(aws, uuid).get("FunctionResponseTypes"),
    ),
    Aspect(
        "reader: concurrency", "AWS::Lambda::EventSourceMapping",
        lambda p: numbers(p["ScalingConfig"], "MaximumConcurrency"),
        lambda aws, uuid: mapping(aws, uuid).get("ScalingConfig"),
        lambda aws, uuid, scaling: aws.client("lambda").update_event_source_mapping(UUID=uuid, ScalingConfig=scaling),
        # A parameter's number arrives as a text, and the first one like that stops the readers of all queues.
        always=True,
    ),
    Aspect(
        "role: statements", "AWS::IAM::Role",
        lambda p: sids(p["Policies"][0]["PolicyDocument"]),
        lambda aws, name: sids(aws.iam.get_role_policy(
            RoleName=name, PolicyName=aws.iam.list_role_policies(RoleName=name)["PolicyNames"][0])["PolicyDocument"]),
    ),
    Aspect(
        "log group: retention", "AWS::Logs::LogGroup",
        lambda p: numbers(p, "RetentionInDays"),
        lambda aws, name: next(
            {"RetentionInDays": group.get("retentionInDays")}
            for group in aws.logs.describe_log_groups(logGroupNamePrefix=name)["logGroups"]),
    ),
    Aspect(
        "log group: lines that are counted", "AWS::Logs::MetricFilter",
        lambda p: p["FilterPattern"],
        lambda aws, group: [
            found["filterPattern"]
            for found in aws.logs.describe_metric_filters(logGroupName=group)["metricFilters"]][0],
        about="LogGroupName",
    ),
]


# ---- Rules and alarms


def names_of(aws: Aws, name: str) -> dict[str, str]:
    """A rule's name and its bus, which the local AWS does not put into the physical id."""
    buses = [bus["Name"] for bus in aws.events.list_event_buses()["EventBuses"]]
    bus = next(bus for bus in buses if aws.events.list_rules(EventBusName=bus, NamePrefix=name)["Rules"])
    return {"EventBusName": bus, "Rule": name}


def rule(aws: Aws, name: str) -> dict:
    names = names_of(aws, name)
    return aws.events.describe_rule(EventBusName=names["EventBusName"], Name=name)


def target(aws: Aws, name: str) -> dict:
    return aws.events.list_targets_by_rule(**names_of(aws, name))["Targets"][0]


def schedule(aws: Aws, name: str) -> dict:
    found = aws.scheduler.list_schedules(NamePrefix=name)["Schedules"]
    group = next(schedule["GroupName"] for schedule in found if schedule["Name"] == name)
    return aws.scheduler.get_schedule(GroupName=group, Name=name)


def set_time_zone(aws: Aws, name: str, zone: str) -> None:
    there = schedule(aws, name)
    kept = ("GroupName", "Name", "ScheduleExpression", "FlexibleTimeWindow", "State", "Target")
    aws.scheduler.update_schedule(**{key: there[key] for key in kept}, ScheduleExpressionTimezone=zone)


def alarm(aws: Aws, name: str) -> dict:
    return aws.cloudwatch.describe_alarms(AlarmNames=[name])["MetricAlarms"][0]


ALARM = ("Namespace", "MetricName", "Statistic", "Period", "EvaluationPeriods", "ComparisonOperator")

RULES = [
    Aspect(
        "rule: pattern", "AWS::Events::Rule",
        lambda p: p.get("EventPattern"),
        lambda aws, name: json.loads(rule(aws, name)["EventPattern"]),
    ),
    Aspect(
        "rule: schedule", "AWS::Events::Rule",
        lambda p: p.get("ScheduleExpression"),
        lambda aws, name: rule(aws, name)["ScheduleExpression"],
    ),
    Aspect(
        "rule: dead letters", "AWS::Events::Rule",
        lambda p: True if "DeadLetterConfig" in p["Targets"][0] else None,
        lambda aws, name: "DeadLetterConfig" in target(aws, name),
    ),
    Aspect(
        "rule: tries", "AWS::Events::Rule",
        lambda p: p["Targets"][0].get("RetryPolicy"),
        lambda aws, name: target(aws, name).get("RetryPolicy"),
    ),
    Aspect(
        "alarm: metric", "AWS::CloudWatch::Alarm",
        # The namespace of our own metrics has the stack's name in it, which only the deployment knows.
        lambda p: {name: p[name] if isinstance(p[name], Unknown) else str(p[name]) for name in ALARM},
        lambda aws, name: {key: str(alarm(aws, name).get(key)) for key in ALARM},
    ),
    Aspect(
        "alarm: action", "AWS::CloudWatch::Alarm",
        lambda p: p["AlarmActions"],
        lambda aws, name: alarm(aws, name)["AlarmActions"],
    ),
    Aspect(
        "schedule: expression", "AWS::Scheduler::Schedule",
        lambda p: p["ScheduleExpression"],
        lambda aws, name: schedule(aws, name)["ScheduleExpression"],
    ),
    Aspect(
        "schedule: time zone", "AWS::Scheduler::Schedule",
        lambda p: p["ScheduleExpressionTimezone"],
        lambda aws, name: schedule(aws, name)["ScheduleExpressionTimezone"],
        set_time_zone,
    ),
    Aspect(
        "topic: key", "AWS::SNS::Topic",
        lambda p: p.get("KmsMasterKeyId"),
        lambda aws, arn: aws.sns.get_topic_attributes(TopicArn=arn)["Attributes"].get("KmsMasterKeyId"),
        lambda aws, arn, key: aws.sns.set_topic_attributes(
            TopicArn=arn, AttributeName="KmsMasterKeyId", AttributeValue=key),
    ),
    Aspect(
        "topic: policy", "AWS::SNS::TopicPolicy",
        lambda p: sids(p["PolicyDocument"]),
        lambda aws, arn: sids(aws.sns.get_topic_attributes(TopicArn=arn)["Attributes"].get("Policy")),
        about="Topics",
    ),
]


# ---- State machines


def state_machine(aws: Aws, arn: str) -> dict:
    return aws.stepfunctions.describe_state_machine(stateMachineArn=arn)


MAPS = [
    Aspect(
        "state machine: type", "AWS::StepFunctions::StateMachine",
        lambda p: p["StateMachineType"],
        lambda aws, arn: state_machine(aws, arn)["type"],
    ),
    Aspect(
        "state machine: definition", "AWS::StepFunctions::StateMachine",
        # With nothing left in it that was to be filled in.
        lambda p: [True, True],
        lambda aws, arn: [("DISTRIBUTED" in (text := state_machine(aws, arn)["definition"])), "${" not in text],
    ),
]

ASPECTS = BUCKETS + TABLES + QUEUES + FUNCTIONS + RULES + MAPS
