"""An ordinary S3 client: `objects.py upload FILE BUCKET KEY` or `objects.py download BUCKET KEY FILE`.

`objects.py upload-all FOLDER BUCKET PREFIX` and `objects.py download-all BUCKET PREFIX FOLDER` do so with all files of a
folder, and with all objects whose keys begin with the prefix.
"""

import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import boto3
from boto3.s3.transfer import TransferConfig

# One PUT for what a person would upload at once: a multipart upload works as well.
CONFIG = TransferConfig(multipart_threshold=1 << 30)


AT_ONCE = 8


def main(task: str, *words: str) -> None:
    s3 = boto3.client("s3")
    match task, words:
        case "upload", (file, bucket, key):
            s3.upload_file(file, bucket, key, Config=CONFIG)
        case "download", (bucket, key, file):
            s3.download_file(bucket, key, file, Config=CONFIG)
        case "upload-all", (folder, bucket, prefix):
            files = [file for file in Path(folder).iterdir() if file.is_file()]
            each(lambda file: s3.upload_file(str(file), bucket, prefix + file.name, Config=CONFIG), files)
        case "download-all", (bucket, prefix, folder):
            pages = s3.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix)
            keys = [found["Key"] for page in pages for found in page.get("Contents", [])]
            to = Path(folder)
            to.mkdir(parents=True, exist_ok=True)
            each(lambda key: s3.download_file(bucket, key, str(to / Path(key).name), Config=CONFIG), keys)
        case _:
            sys.exit(__doc__)


def each(work, items: list) -> None:
    with ThreadPoolExecutor(AT_ONCE) as threads:
        # Asked for, so that what failed is raised.
        list(threads.map(work, items))


main(*sys.argv[1:])
