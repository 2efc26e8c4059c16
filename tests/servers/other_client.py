#!/usr/bin/python3
"""Another client of S3, Amazon's own for Python, to compare with: what one writes the other reads.

    other_client.py write PREFIX FILE   writes objects with keys of every kind below PREFIX/, and a line
                                        of key and body each, in hexadecimal, into FILE
    other_client.py check FILE          the objects of FILE are there, just so, and listed; removes them
    other_client.py count [PREFIX]      how many objects there are

Where and as whom comes from the environment, as tests/servers/*.sh print it."""
import hashlib
import os
import sys

import boto3
import botocore.config

client = boto3.client(
    "s3", endpoint_url=os.environ["AWS_ENDPOINT_URL_S3"], region_name=os.environ["AWS_REGION"],
    config=botocore.config.Config(s3={"addressing_style": "path"}))
bucket = os.environ["WP_TEST_S3_BUCKET"]

KEYS = ["a b", " blanks  inside and around ", "plus+plus", "equals=", "percent%", "%41%2f%25",
        "//two slashes first", "a//b", "../up", "a/../b", "a/./b", ".", "..", "ends in slash/",
        "q?a=b&c=d#e", "!'()*;:@$,[]{}|^`\"<>\\~", "umlaut \u00e4", "\u20ac/\U0001f600", "UPPER",
        "upper", "k" * 1000]


def listed(prefix):
    for page in client.get_paginator("list_objects_v2").paginate(Bucket=bucket, Prefix=prefix):
        for entry in page.get("Contents", []):
            yield entry["Key"], entry["Size"]


def write(prefix, name):
    with open(name, "w") as out:
        for number, key in enumerate(KEYS):
            body = hashlib.sha256(key.encode()).digest() * (number * number * 30)
            client.put_object(Bucket=bucket, Key=prefix + "/" + key, Body=body)
            out.write("%s .%s\n" % ((prefix + "/" + key).encode().hex(), body.hex()))


def check(name):
    expected = {}
    for line in open(name):
        key, body = line.split()
        expected[bytes.fromhex(key).decode()] = bytes.fromhex(body[1:])
    for key, body in expected.items():
        got = client.get_object(Bucket=bucket, Key=key)["Body"].read()
        assert got == body, "%r: %d bytes, other than the %d that were written" % (
            key, len(got), len(body))
    prefix = min(expected).split("/")[0] + "/"
    got = list(listed(prefix))
    assert got == sorted((key, len(body)) for key, body in expected.items()), got
    for key in expected:
        client.delete_object(Bucket=bucket, Key=key)
    print(len(expected), "objects")


if __name__ == "__main__":
    command, *words = sys.argv[1:]
    if command == "count":
        print(sum(1 for _ in listed(*words or [""])))
    else:
        {"write": write, "check": check}[command](*words)
