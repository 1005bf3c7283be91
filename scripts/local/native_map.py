"""What a user of Step Functions does today: a Distributed Map reads a CSV and hands its rows to a function in batches,
each of which leaves an object. `native_map.py deploy BUCKET KEY ROWS AT_ONCE` makes it, `native_map.py run BUCKET` runs it
and prints what it took, as JSON. And what orchestration costs by itself: `native_map.py deploy-nothing AT_ONCE` makes a
Distributed Map whose function does nothing, `native_map.py run-nothing CHILDREN` runs it."""

import io
import json
import sys
import time
import zipfile

import boto3

NAME = "native-map"
NOTHING = "nothing-map"
ROLE = "arn:aws:iam::000000000000:role/native-map"
POLL_S = 0.1
# A part for each batch, named after its first order: nothing tells a child where its rows stand.
FUNCTION = """
import boto3, uuid
s3 = boto3.client("s3")
def handler(event, _context):
    rows = event["Items"]
    lines = [f"{row['Order ID']},{uuid.uuid5(uuid.NAMESPACE_OID, row['Order ID'])}\\n" for row in rows]
    s3.put_object(Bucket="%s", Key="native/" + rows[0]["Order ID"], Body="".join(lines).encode())
    return {"rows": len(rows)}
"""


def deploy(bucket: str, key: str, rows: str, at_once: str) -> None:
    make(NAME, FUNCTION % bucket, at_once, {
        "ItemReader": {
            "Resource": "arn:aws:states:::s3:getObject",
            "ReaderConfig": {"InputType": "CSV", "CSVHeaderLocation": "FIRST_ROW"},
            "Parameters": {"Bucket": bucket, "Key": key},
        },
        "ItemBatcher": {"MaxItemsPerBatch": int(rows)},
    })


def deploy_nothing(at_once: str) -> None:
    make(NOTHING, "def handler(event, _context): pass\n", at_once, {"ItemsPath": "$.items"})


def make(name: str, code: str, at_once: str, items: dict) -> None:
    """A function, and the state machine whose Map has it do these items."""
    function = boto3.client("lambda").create_function(
        FunctionName=name, Runtime="python3.12", Handler="index.handler", Role=ROLE, Timeout=60, MemorySize=1024,
        Code={"ZipFile": zipped(code)},
    )
    definition = {
        "StartAt": "Batches",
        "States": {
            "Batches": items | {
                "Type": "Map",
                "MaxConcurrency": int(at_once),
                "ItemProcessor": {
                    "ProcessorConfig": {"Mode": "DISTRIBUTED", "ExecutionType": "EXPRESS"},
                    "StartAt": "Do",
                    "States": {"Do": {"Type": "Task", "Resource": function["FunctionArn"], "End": True}},
                },
                "End": True,
            }
        },
    }
    boto3.client("stepfunctions").create_state_machine(name=name, definition=json.dumps(definition), roleArn=ROLE)


def run_nothing(children: str) -> None:
    seconds, done = execute(NOTHING, {"items": list(range(int(children)))})
    print(json.dumps({"seconds": seconds, "children": len(done)}))


def execute(name: str, given: dict) -> tuple[float, list]:
    """What an execution takes, and what its children returned."""
    states = boto3.client("stepfunctions")
    machines = states.list_state_machines()["stateMachines"]
    machine = next(machine["stateMachineArn"] for machine in machines if machine["name"] == name)
    began = time.monotonic()
    execution = states.start_execution(stateMachineArn=machine, input=json.dumps(given))["executionArn"]
    while (found := states.describe_execution(executionArn=execution))["status"] == "RUNNING":
        time.sleep(POLL_S)
    seconds = time.monotonic() - began
    if found["status"] != "SUCCEEDED":
        sys.exit(f"the execution ended {found['status']}: {found.get('cause')}")
    return seconds, json.loads(found["output"])


def run(bucket: str) -> None:
    seconds, children = execute(NAME, {})
    pages = boto3.client("s3").get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix="native/")
    parts = sum(page["KeyCount"] for page in pages)
    said = {"seconds": seconds, "children": len(children), "rows": sum(child["rows"] for child in children), "parts": parts}
    print(json.dumps(said))


def zipped(code: str) -> bytes:
    buffer = io.BytesIO()
    with zipfile.ZipFile(buffer, "w") as archive:
        archive.writestr("index.py", code)
    return buffer.getvalue()


DOES = {"deploy": deploy, "run": run, "deploy-nothing": deploy_nothing, "run-nothing": run_nothing}
DOES[sys.argv[1]](*sys.argv[2:])
