"""Lambda's detection of recursive loops, as AWS documents it: a part of `scripts/stack up --strict`.

An invocation is given a trace header, the SDK sends it along with whatever the function sends, SQS keeps it with the
message, and the next invocation goes on counting: what would be a function's 17th invocation in one chain is dropped,
unless its RecursiveLoop is `Allow`. The server itself counts a function that invokes a function, and nothing by queues.

AWS does not say how it writes the count, nor whose chain a batch of messages continues: here it is that of each, the
longest of every function. A chain ends where a message is sent by EventBridge or Step Functions.
"""

import hashlib
import json
import re
import secrets
import time
from collections import Counter
from contextvars import ContextVar

from ministack.services import lambda_svc, sqs

MOST = 16
LINEAGE = re.compile(r";Lineage=([0-9a-f:|]*)")
INVOCATION = re.compile(r"/functions/[^/]+/invocations$")

counts: Counter[str] = Counter()
# The trace header of the request that is answered, if it sends a message or invokes a function.
inbound: ContextVar[str | None] = ContextVar("inbound", default=None)
# The trace header of the invocation that is under way.
outbound: ContextVar[str | None] = ContextVar("outbound", default=None)

Hops = dict[str, int]


def hops_of(header: str | None) -> Hops:
    """How often each function was invoked in the chain that a header is of."""
    found = LINEAGE.search(header or "")
    pairs = (pair.split(":") for pair in found[1].split("|")) if found and found[1] else ()
    return {function: int(count) for function, count in pairs}


def longest(headers: list[str | None]) -> Hops:
    hops: Hops = {}
    for header in headers:
        for function, count in hops_of(header).items():
            hops[function] = max(count, hops.get(function, 0))
    return hops


def header_with(hops: Hops) -> str:
    root = f"1-{int(time.time()):08x}-{secrets.token_hex(12)}"
    lineage = "|".join(f"{function}:{count}" for function, count in hops.items())
    return f"Root={root};Parent={secrets.token_hex(8)};Sampled=0;Lineage={lineage}"


def key_of(name: str) -> str:
    return hashlib.sha256(name.encode()).hexdigest()[:8]


def remembered(scope: dict, headers: dict[bytes, bytes]) -> None:
    """Notes the header of a request, before it is answered."""
    sends = headers.get(b"x-amz-target", b"").startswith(b"AmazonSQS.Send")
    header = headers.get(b"x-amzn-trace-id") if sends or INVOCATION.search(scope["path"]) else None
    inbound.set(header.decode("latin-1") if header else None)


def kept(build):
    """SQS's attributes of a message that is sent, with the header of the request."""

    def built(now: float, given: dict) -> dict:
        attributes = build(now, given)
        if header := inbound.get():
            attributes.setdefault("AWSTraceHeader", header)
        return attributes

    return built


def counted(dispatch):
    """An invocation that goes on with its chain, or is dropped."""

    def dispatched(function: dict, config: dict, event, *rest) -> dict:
        name = config["FunctionName"]
        hops = longest(headers_of(event))
        hops[key_of(name)] = hops.get(key_of(name), 0) + 1
        if hops[key_of(name)] > MOST and not may_recur(name):
            counts[f"dropped {name}"] += 1
            return dropped(name)
        counts["longest chain"] = max(counts["longest chain"], *hops.values())
        token = outbound.set(header_with(hops))
        try:
            return dispatch(function, config, event, *rest)
        finally:
            outbound.reset(token)

    return dispatched


def headers_of(event) -> list[str | None]:
    records = event.get("Records", []) if isinstance(event, dict) else []
    if records and records[0].get("eventSource") == "aws:sqs":
        return [record["attributes"].get("AWSTraceHeader") for record in records]
    return [inbound.get()]


def may_recur(name: str) -> bool:
    function = lambda_svc._functions.get(name) or {}
    return function.get("recursive_loop") == "Allow"


def dropped(name: str) -> dict:
    said = f"Lambda has detected that {name} is invoked in a recursive loop, and stopped its invocation"
    body = {"errorType": "RecursiveInvocationException", "errorMessage": said}
    return {"error": True, "body": body, "log": json.dumps(body)}


def traced(make):
    """The trace header that a function is given with an invocation."""

    def made(config: dict, given: str | None = None) -> str | None:
        return outbound.get() or make(config, given)

    return made


def install() -> None:
    sqs._build_send_sys_attrs = kept(sqs._build_send_sys_attrs)
    lambda_svc._execute_function_dispatch = counted(lambda_svc._execute_function_dispatch)
    lambda_svc._xray_trace_id_for_invocation = traced(lambda_svc._xray_trace_id_for_invocation)
