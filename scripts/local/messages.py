"""An ordinary SQS client: `messages.py URL BODY` sends a message."""

import sys

import boto3

url, body = sys.argv[1:]
boto3.client("sqs").send_message(QueueUrl=url, MessageBody=body)
