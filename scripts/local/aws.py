"""Runs MiniStack, quicker and counted: `python aws.py` in the environment of scripts/requirements/server.txt.

Its own CRC-64/NVME is pure Python and takes 250 ms a MB while everything else waits; awscrt's is native. It answers a
range of a version with the whole of it, and does not tell a schedule's target the time of its tick. And each request is counted: GET /_fanfold/requests tells how many there were, by the client's application (AWS_SDK_UA_APP_ID),
service and operation.
"""

import json
import re
from collections import Counter
from datetime import UTC, datetime
from urllib.parse import parse_qs

from awscrt import checksums
from ministack import app as ministack
from ministack.services import eventbridge, s3

COUNTS = "/_fanfold/requests"
# Of what signed the request: .../region/service/aws4_request.
SERVICE = re.compile(rb"/([a-z0-9-]+)/aws4_request")
APPLICATION = re.compile(rb"\bapp/([\w.-]+)")

requests: Counter[str] = Counter()
inner = ministack.app


async def counted(scope: dict, receive, send) -> None:
    if scope["type"] == "http":
        if scope["path"] == COUNTS:
            return await answer(send)
        headers = dict(scope["headers"])
        if signed := SERVICE.search(headers.get(b"authorization", b"")):
            application = APPLICATION.search(headers.get(b"user-agent", b""))
            service = signed[1].decode()
            name = operation(service, scope, headers)
            requests[f"{application[1].decode() if application else ''} {service} {name}"] += 1
    await inner(scope, receive, send)


async def answer(send) -> None:
    body = json.dumps(requests).encode()
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


s3._crc64nvme = checksums.crc64nvme
s3._get_object = range_of_version(s3._get_object)
eventbridge._invoke_target = told_the_time(eventbridge._invoke_target)
ministack.app = counted
ministack.main()
