"""An ordinary SNS and SQS client, of a queue that is told what a topic is told:

    topics.py subscribe TOPIC QUEUE   makes the queue, and prints its URL
    topics.py hear URL                prints the next messages, one a line
    topics.py leave TOPIC URL         deletes it
"""

import json
import sys

import boto3

sns, sqs = boto3.client("sns"), boto3.client("sqs")


def arn_of(url: str) -> str:
    return sqs.get_queue_attributes(QueueUrl=url, AttributeNames=["QueueArn"])["Attributes"]["QueueArn"]


def subscribe(topic: str, queue: str) -> None:
    url = sqs.create_queue(QueueName=queue)["QueueUrl"]
    allowed = {
        "Effect": "Allow",
        "Principal": {"Service": "sns.amazonaws.com"},
        "Action": "sqs:SendMessage",
        "Resource": arn_of(url),
        "Condition": {"ArnEquals": {"aws:SourceArn": topic}},
    }
    policy = json.dumps({"Version": "2012-10-17", "Statement": [allowed]})
    sqs.set_queue_attributes(QueueUrl=url, Attributes={"Policy": policy})
    # As they were published, without an envelope of SNS's.
    attributes = {"RawMessageDelivery": "true"}
    sns.subscribe(TopicArn=topic, Protocol="sqs", Endpoint=arn_of(url), Attributes=attributes)
    print(url)


def hear(url: str) -> None:
    for message in sqs.receive_message(QueueUrl=url, MaxNumberOfMessages=10).get("Messages", []):
        print(json.dumps(json.loads(message["Body"])))
        sqs.delete_message(QueueUrl=url, ReceiptHandle=message["ReceiptHandle"])


def leave(topic: str, url: str) -> None:
    endpoint = arn_of(url)
    pages = sns.get_paginator("list_subscriptions_by_topic").paginate(TopicArn=topic)
    for subscription in [found for page in pages for found in page["Subscriptions"]]:
        if subscription["Endpoint"] == endpoint:
            sns.unsubscribe(SubscriptionArn=subscription["SubscriptionArn"])
    sqs.delete_queue(QueueUrl=url)


{"subscribe": subscribe, "hear": hear, "leave": leave}[sys.argv[1]](*sys.argv[2:])
