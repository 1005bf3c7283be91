"""An ordinary S3 client: `objects.py upload FILE BUCKET KEY` or `objects.py download BUCKET KEY FILE`."""

import sys

import boto3
from boto3.s3.transfer import TransferConfig

# One PUT for what a person would upload at once: a multipart upload works as well.
CONFIG = TransferConfig(multipart_threshold=1 << 30)


def main(task: str, *words: str) -> None:
    s3 = boto3.client("s3")
    if task == "upload":
        file, bucket, key = words
        s3.upload_file(file, bucket, key, Config=CONFIG)
    else:
        bucket, key, file = words
        s3.download_file(bucket, key, file, Config=CONFIG)


main(*sys.argv[1:])
