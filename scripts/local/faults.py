"""S3 and DynamoDB that are too busy for some requests of functions: a part of `scripts/stack up --strict`.

Before anything is done: a request that is answered like this has had no effect. Functions alone are refused, known by the
trace header that they send, so that what a test looks at by itself is there.
"""

import json
import random
from collections import Counter

SLOW_DOWN = b"""<?xml version="1.0" encoding="UTF-8"?>
<Error><Code>SlowDown</Code><Message>Please reduce your request rate.</Message></Error>"""
THROTTLED = json.dumps({
    "__type": "com.amazonaws.dynamodb.v20120810#ProvisionedThroughputExceededException",
    "message": "The level of configured provisioned throughput for the table was exceeded.",
}).encode()
ANSWERS = {
    "s3": (503, b"application/xml", SLOW_DOWN),
    "dynamodb": (400, b"application/x-amz-json-1.0", THROTTLED),
}

counts: Counter[str] = Counter()


class Faults:
    def __init__(self, rate: float):
        self.rate = rate
        self.dice = random.Random()

    def strikes(self, service: str, headers: dict[bytes, bytes]) -> bool:
        return b"x-amzn-trace-id" in headers and service in ANSWERS and self.dice.random() < self.rate


async def refuse(service: str, receive, send) -> None:
    counts[f"refused {service}"] += 1
    # The whole of it first: a client that still sends does not read.
    while (message := await receive()).get("more_body"):
        if message["type"] != "http.request":
            return
    status, kind, body = ANSWERS[service]
    headers = [(b"content-type", kind), (b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": status, "headers": headers})
    await send({"type": "http.response.body", "body": body})
