"""Runs MiniStack, quicker and counted: `python aws.py` in the environment of scripts/requirements/server.txt.

Its own CRC-64/NVME is pure Python and takes 250 ms a MB while everything else waits; awscrt's is native. It answers a
range of a version with the whole of it, does not tell a schedule's target the time of its tick, and gives each item of
a Distributed Map a child of its own, whatever its ItemBatcher says. And it hands out what is there, ten messages at most,
without waiting; here a function gets batches as AWS makes them: as many messages as its mapping says, once they are there
or the first has waited long enough. (One batch of a queue is gathered at a time; AWS begins with five.) Where a template's
condition joins or splits texts, it takes that for a text that equals no other.

With --strict it has limits of AWS besides: see strict.py.

And requests are counted: GET /_fanfold/requests tells how many there were, by the client's application
(AWS_SDK_UA_APP_ID), service and operation; GET /_fanfold/entries how many messages or items these held.
"""

import json
import re
import sys
import threading
import time
from collections import Counter
from datetime import UTC, datetime
from urllib.parse import parse_qs

import strict
from awscrt import checksums
from ministack import app as ministack
from ministack.services import eventbridge, lambda_svc, s3, sqs, stepfunctions
from ministack.services.cloudformation import changesets, handlers, stacks

# What a batch of Step Functions may be, unless the state machine says less.
MAX_BATCH_BYTES = 262_144
# Of what signed the request: .../region/service/aws4_request.
SERVICE = re.compile(rb"/([a-z0-9-]+)/aws4_request")
APPLICATION = re.compile(rb"\bapp/([\w.-]+)")

requests: Counter[str] = Counter()
entries: Counter[str] = Counter()
COUNTS = {"/_fanfold/requests": lambda: requests, "/_fanfold/entries": lambda: entries}
inner = ministack.app


async def counted(scope: dict, receive, send) -> None:
    if scope["type"] == "http":
        if limited and (scope["method"], scope["path"]) == ("PUT", "/_fanfold/strict"):
            return await answer(send, await limited.told(receive))
        if (counts := COUNTS.get(scope["path"])) is not None:
            return await answer(send, counts())
        headers = dict(scope["headers"])
        if signed := SERVICE.search(headers.get(b"authorization", b"")):
            application = APPLICATION.search(headers.get(b"user-agent", b""))
            service = signed[1].decode()
            name = f"{application[1].decode() if application else ''} {service} {operation(service, scope, headers)}"
            requests[name] += 1
            if b"x-amz-target" in headers:
                receive = entries_counted(name, receive)
            if limited and await limited.answers(service, scope, headers, receive, send):
                return
    await inner(scope, receive, send)


def entries_counted(name: str, receive):
    """Passes a body of JSON on, and counts what it holds once all of it is there."""
    body = bytearray()

    async def passed() -> dict:
        message = await receive()
        if message["type"] == "http.request":
            body.extend(message.get("body", b""))
            if not message.get("more_body"):
                entries[name] += entries_of(json.loads(body or b"{}"))
        return message

    return passed


def entries_of(request: dict) -> int:
    """Messages of a batch, items of a transaction or of a batch of rows; 1 of any other request."""
    if "RequestItems" in request:
        return sum(len(items) for items in request["RequestItems"].values())
    return len(request.get("Entries") or request.get("TransactItems") or [request])


async def answer(send, counts: Counter[str]) -> None:
    body = json.dumps(counts).encode()
    await send({"type": "http.response.start", "status": 200, "headers": [(b"content-type", b"application/json")]})
    await send({"type": "http.response.body", "body": body})


def operation(service: str, scope: dict, headers: dict[bytes, bytes]) -> str:
    if target := headers.get(b"x-amz-target"):
        return target.decode().rpartition(".")[2]
    return operation_of_s3(scope, b"x-amz-copy-source" in headers) if service == "s3" else scope["method"]


def operation_of_s3(scope: dict, copies: bool) -> str:
    query = parse_qs(scope["query_string"].decode(), keep_blank_values=True)
    is_of_object = "/" in scope["path"].strip("/")
    if not is_of_object:
        return f"{scope['method']} bucket"
    match scope["method"]:
        case "PUT" if "uploadId" in query:
            return "UploadPartCopy" if copies else "UploadPart"
        case "PUT":
            return "CopyObject" if copies else "PutObject"
        case "POST" if "uploads" in query:
            return "CreateMultipartUpload"
        case "POST" if "uploadId" in query:
            return "CompleteMultipartUpload"
        case "DELETE" if "uploadId" in query:
            return "AbortMultipartUpload"
        case method:
            return f"{method.title()}Object"


def range_of_version(get):
    """S3's GetObject that heeds a range of a version too."""

    def answer(bucket: str, key: str, headers: dict, query: dict | None = None):
        status, answered, body = get(bucket, key, headers, query)
        wanted = headers.get("range", "")
        if status != 200 or not wanted or not (query or {}).get("versionId"):
            return status, answered, body
        found = s3._parse_range(wanted, len(body))
        if found is None:
            return 416, {"Content-Range": f"bytes */{len(body)}"}, b""
        start, end = found
        part = body[start : end + 1]
        place = {"Content-Length": str(len(part)), "Content-Range": f"bytes {start}-{end}/{len(body)}"}
        # A checksum is of the whole.
        kept = {name: value for name, value in answered.items() if not name.lower().startswith("x-amz-checksum")}
        return 206, kept | place, part

    return answer


def told_the_time(invoke):
    """The scheduler that fills in the one context attribute that is used here."""

    def told(target: dict, event: dict, rule: dict, view=None):
        if event.get("Source") == "aws.scheduler" and target.get("Input"):
            # Its own ticks are up to a few seconds late, and its schedules to the minute.
            tick = datetime.fromtimestamp(event["Time"] // 60 * 60, tz=UTC)
            filled = target["Input"].replace("<aws.scheduler.scheduled-time>", tick.strftime("%Y-%m-%dT%H:%M:%SZ"))
            target = target | {"Input": filled}
        return invoke(target, event, rule, view)

    return told


def batched(run):
    """The Distributed Map that heeds an ItemBatcher: as many items a child as it says, and as AWS takes."""

    def mapped(state: dict, raw: dict, effective: dict, *rest):
        if "ItemBatcher" not in state:
            return run(state, raw, effective, *rest)
        items = stepfunctions._read_map_items(state["ItemReader"], effective, rest[-1])
        kept = {name: value for name, value in state.items() if name not in ("ItemReader", "ItemBatcher")}
        return run(kept | {"ItemsPath": "$.batches"}, raw, {"batches": list(batches(items, state["ItemBatcher"]))}, *rest)

    return mapped


def batches(items: list, batcher: dict):
    most, most_bytes = batcher.get("MaxItemsPerBatch", len(items)), batcher.get("MaxInputBytesPerBatch", MAX_BATCH_BYTES)
    batch, size = [], 0
    for item in items:
        item_size = len(json.dumps(item)) + 1
        if batch and (len(batch) == most or size + item_size > most_bytes):
            yield {"Items": batch}
            batch, size = [], 0
        batch.append(item)
        size += item_size
    if batch:
        yield {"Items": batch}


def windowed(receive):
    """The poller that waits for a batch."""
    since: dict[str, float] = {}

    def received(url: str, most: int) -> list:
        window = window_s(url)
        if not window:
            return receive(url, most)
        with sqs._queues_lock:
            queue, now = sqs._get_q(url), time.time()
            sqs._expire_retained(queue)
            sqs._dlq_sweep(queue)
            there = sum(message.get("visible_at", 0) <= now for message in queue["messages"])
            if there == 0:
                return []
            if url not in since:
                since[url] = now
                wake = threading.Timer(window, lambda_svc._esm_wake.set)
                wake.daemon = True
                wake.start()
            if there < most and now - since[url] < window:
                return []
            del since[url]
            return sqs._collect_msgs(queue, most, int(queue["attributes"].get("VisibilityTimeout", "30")))

    return received


def window_s(url: str) -> float:
    name = url.rpartition("/")[2]
    mappings = (mapping for _, _, mapping in lambda_svc._iter_all_esms())
    return next((mapping.get("MaximumBatchingWindowInSeconds") or 0 for mapping in mappings
                 if mapping.get("EventSourceArn", "").endswith(f":{name}")), 0)


def joined(evaluate):
    """Conditions in which texts are joined and split."""

    def evaluated(template: dict, parameters: dict) -> dict[str, bool]:
        conditions = texts(template.get("Conditions") or {}, parameters)
        return evaluate({**template, "Conditions": conditions}, parameters)

    return evaluated


def texts(node, parameters: dict):
    match node:
        case {"Fn::Join": [separator, items]}:
            items = texts(items, parameters)
            # A parameter that is a list is one text.
            return separator.join(items.split(",") if isinstance(items, str) else items)
        case {"Fn::Split": [separator, text]}:
            return texts(text, parameters).split(separator)
        case {"Ref": name} if name in parameters:
            return str(parameters[name]["Value"])
        case dict():
            return {key: texts(item, parameters) for key, item in node.items()}
        case list():
            return [texts(item, parameters) for item in node]
        case _:
            return node


s3._crc64nvme = checksums.crc64nvme
s3._get_object = range_of_version(s3._get_object)
eventbridge._invoke_target = told_the_time(eventbridge._invoke_target)
stepfunctions._run_distributed_map = batched(stepfunctions._run_distributed_map)
sqs._receive_messages_for_esm = windowed(sqs._receive_messages_for_esm)
for module in (changesets, handlers, stacks):
    module._evaluate_conditions = joined(module._evaluate_conditions)
limited = strict.asked_for(sys.argv[1:])
if limited:
    COUNTS["/_fanfold/strict"] = limited.counts
# The server has a command line of its own.
del sys.argv[1:]
ministack.app = counted
ministack.main()
