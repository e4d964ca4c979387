"""An S3 server on this machine that checks keys, signatures and policies as AWS does."""

from __future__ import annotations

import json
import uuid
from collections.abc import Iterator
from contextlib import contextmanager

import boto3
import pytest
from moto import settings
from moto.core.responses import ActionAuthenticatorMixin
from moto.server import ThreadedMotoServer

POLICY = {"Effect": "Allow", "Action": "s3:*", "Resource": "*"}


@contextmanager
def s3(*buckets: str) -> Iterator[tuple[str, str, str]]:
    """Serve buckets; gives the address, and key and secret of the only user."""
    server = ThreadedMotoServer(ip_address="127.0.0.1", port=0, verbose=False)
    server.start()
    address = "http://{}:{}".format(*server.get_host_and_port())

    def client(service: str) -> object:
        return boto3.client(
            service, endpoint_url=address, region_name="us-east-1",
            aws_access_key_id="root", aws_secret_access_key="root",
        )  # fmt: skip

    with pytest.MonkeyPatch.context() as patch:
        # Another server of this process may be checking credentials already.
        patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", float("inf"))
        made, users = client("s3"), client("iam")
        for bucket in buckets:
            made.create_bucket(Bucket=bucket)
        user = f"user-{uuid.uuid4().hex}"  # servers of one process share their users
        users.create_user(UserName=user)
        policy = json.dumps({"Version": "2012-10-17", "Statement": [POLICY]})
        users.put_user_policy(UserName=user, PolicyName="s3", PolicyDocument=policy)
        key = users.create_access_key(UserName=user)["AccessKey"]
        made.close()
        users.close()
        patch.setattr(settings, "INITIAL_NO_AUTH_ACTION_COUNT", 0.0)
        patch.setattr(ActionAuthenticatorMixin, "request_count", 1)
        yield address, key["AccessKeyId"], key["SecretAccessKey"]
    server.stop()
