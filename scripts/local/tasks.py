"""What needs boto3: run by commands.py in the environment that has it, as `local.tasks <task> <port> ...`."""

import sys
import time

from .check import check
from .commands import since
from .deploy import Aws, deploy


def main(task: str, port: str, *parameters: str) -> int:
    aws = Aws(int(port))
    began = time.monotonic()
    if task == "deploy":
        deploy(aws, int(port), list(parameters))
        print(f"deployed {since(began)}", flush=True)
        began = time.monotonic()
    right = check(aws)
    print(f"checked {since(began)}")
    return 0 if right else 1


sys.exit(main(*sys.argv[1:]))
