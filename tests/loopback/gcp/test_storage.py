"""The storage server against the vendor's client: what it must not be lenient about."""

from __future__ import annotations

import base64
import hashlib
import io
import urllib.error
import urllib.request

import pytest
import requests
from google.api_core import exceptions
from google.auth import exceptions as auth_errors
from google.auth.transport.requests import Request
from google.cloud import storage
from google.cloud.storage.retry import DEFAULT_RETRY
from google.oauth2 import service_account

from tests.loopback.gcp import keys
from tests.loopback.gcp.cloud import BUCKET, REGION, Cloud
from tests.loopback.gcp.objects import Blob


def test_an_object_is_created_once(bucket: storage.Bucket) -> None:
    bucket.blob("one").upload_from_string(b"first", if_generation_match=0)
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("one").upload_from_string(b"second", if_generation_match=0)
    assert bucket.blob("one").download_as_bytes() == b"first"


def test_an_object_is_replaced_only_at_its_generation(bucket: storage.Bucket) -> None:
    blob = bucket.blob("counter")
    blob.upload_from_string(b"1")
    before = blob.generation
    blob.upload_from_string(b"2", if_generation_match=before)
    assert blob.generation > before
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_string(b"3", if_generation_match=before)
    with pytest.raises(exceptions.PreconditionFailed):
        blob.delete(if_generation_match=before)
    blob.delete(if_generation_match=blob.generation)
    with pytest.raises(exceptions.NotFound):
        blob.download_as_bytes()


def test_bytes_survive_and_ranges_are_served(bucket: storage.Bucket) -> None:
    content = bytes(range(256)) * 4
    bucket.blob("a b/ü?#%").upload_from_string(content)
    blob = bucket.get_blob("a b/ü?#%")
    assert blob is not None
    assert blob.size == 1024
    assert blob.md5_hash == base64.b64encode(hashlib.md5(content).digest()).decode()
    assert blob.download_as_bytes() == content
    assert blob.download_as_bytes(start=10, end=19) == content[10:20]
    assert blob.download_as_bytes(start=1020) == content[1020:]
    with pytest.raises(exceptions.RequestRangeNotSatisfiable):
        blob.download_as_bytes(start=1024)


def test_an_upload_in_pieces(bucket: storage.Bucket, cloud: Cloud) -> None:
    content = bytes(range(256)) * 4096 + b"end"
    blob = bucket.blob("pieces", chunk_size=256 * 1024)
    blob.upload_from_file(io.BytesIO(content), if_generation_match=0)
    assert bucket.blob("pieces").download_as_bytes() == content
    assert cloud.traffic.count("storage.objects.piece") == 5
    with pytest.raises(exceptions.PreconditionFailed):
        blob.upload_from_file(io.BytesIO(b"again"), if_generation_match=0)


def test_a_wrong_checksum_is_refused(bucket: storage.Bucket) -> None:
    blob = bucket.blob("summed")
    blob.md5_hash = base64.b64encode(hashlib.md5(b"other").digest()).decode()
    with pytest.raises(exceptions.BadRequest, match="md5Hash"):
        blob.upload_from_string(b"content")


def test_listing(bucket: storage.Bucket, client: storage.Client, cloud: Cloud) -> None:
    names = ["a/1", "a/2", "a/b/1", "a/b/2", "b/1"]
    for name in names:
        bucket.blob(name).upload_from_string(b"")
    assert [blob.name for blob in client.list_blobs(bucket)] == names
    assert [
        blob.name for blob in client.list_blobs(bucket, prefix="a/", start_offset="a/2", end_offset="a/b/2")
    ] == [
        "a/2",
        "a/b/1",
    ]
    pages = client.list_blobs(bucket, prefix="a/", delimiter="/")
    assert [blob.name for blob in pages] == ["a/1", "a/2"]
    assert pages.prefixes == {"a/b/"}
    cloud.traffic.forget()
    assert [blob.name for blob in client.list_blobs(bucket, page_size=2)] == names
    assert cloud.traffic.count("storage.objects.list") == 3


def test_folders_count_towards_a_page(bucket: storage.Bucket, client: storage.Client) -> None:
    for name in ("a/1", "a/2", "b", "c/1", "d"):
        bucket.blob(name).upload_from_string(b"")
    pages = client.list_blobs(bucket, delimiter="/", page_size=2)
    assert [[blob.name for blob in page] for page in pages.pages] == [["b"], ["d"]]
    assert pages.prefixes == {"a/", "c/"}


def test_a_page_has_at_most_a_thousand_names(
    cloud: Cloud, bucket: storage.Bucket, client: storage.Client
) -> None:
    for number in range(1001):
        cloud.store.put(Blob(BUCKET, f"many/{number:04d}", b"", 0))
    assert len(list(client.list_blobs(bucket, prefix="many/", page_size=5000))) == 1001
    assert cloud.traffic.count("storage.objects.list") == 2


def test_many_are_deleted_in_one_request(
    bucket: storage.Bucket, client: storage.Client, cloud: Cloud
) -> None:
    for name in ("1", "2", "3"):
        bucket.blob(name).upload_from_string(b"")
    with client.batch():
        for name in ("1", "3"):
            bucket.blob(name).delete()
    assert [blob.name for blob in client.list_blobs(bucket)] == ["2"]
    assert cloud.traffic.count("storage.batch") == 1
    with pytest.raises(exceptions.NotFound), client.batch():
        bucket.blob("1").delete()


def test_too_many_in_one_request(bucket: storage.Bucket, client: storage.Client) -> None:
    batch = client.batch(raise_exception=False)
    batch._MAX_BATCH_SIZE = 1000  # the client counts too, and would never ask

    def delete_all() -> None:
        with batch:
            for number in range(101):
                bucket.blob(str(number)).delete()

    with pytest.raises(exceptions.BadRequest, match="maximum is 100"):
        delete_all()


def test_objects_are_joined(bucket: storage.Bucket) -> None:
    for name in ("x", "y"):
        bucket.blob(name).upload_from_string(name.encode())
    bucket.blob("xy").compose([bucket.blob("x"), bucket.blob("y")])
    assert bucket.blob("xy").download_as_bytes() == b"xy"
    with pytest.raises(exceptions.BadRequest, match="32"):
        bucket.blob("many").compose([bucket.blob("x")] * 33)


def test_buckets(client: storage.Client, cloud: Cloud) -> None:
    made = client.create_bucket("another-bucket", location=REGION)
    with pytest.raises(exceptions.Conflict):
        client.create_bucket("another-bucket", location=REGION)
    made.add_lifecycle_delete_rule(age=7, matches_prefix=["mine/"])
    made.patch()
    found = client.get_bucket("another-bucket")
    assert [rule["condition"]["age"] for rule in found.lifecycle_rules] == [7]
    for name in ("mine/1", "theirs/1"):
        made.blob(name).upload_from_string(b"")
    assert cloud.store.age("another-bucket", 6) == []
    assert cloud.store.age("another-bucket", 8) == ["mine/1"]
    with pytest.raises(exceptions.Conflict, match="not empty"):
        made.delete()
    made.blob("theirs/1").delete()
    made.delete()
    assert not made.exists()
    with pytest.raises(exceptions.BadRequest):
        client.create_bucket("Capital", location=REGION)


def test_permissions_asked_about(bucket: storage.Bucket, cloud: Cloud) -> None:
    cloud.accounts.denied.add("storage.objects.create")
    asked = ["storage.objects.list", "storage.objects.create", "storage.objects.get"]
    assert bucket.test_iam_permissions(asked) == ["storage.objects.list", "storage.objects.get"]
    with pytest.raises(exceptions.Forbidden):
        bucket.blob("no").upload_from_string(b"")


def test_names_that_are_none(bucket: storage.Bucket) -> None:
    for name in ("a\nb", "x" * 1025):
        with pytest.raises(exceptions.BadRequest, match="object name"):
            bucket.blob(name).upload_from_string(b"")


def test_who_has_no_token_is_refused(cloud: Cloud) -> None:
    url = f"{cloud.environment['COOPERBENCH_GCP_STORAGE_ENDPOINT']}/{BUCKET}/x"
    for headers in ({}, {"Authorization": "Bearer ya29.made-up"}):
        with pytest.raises(urllib.error.HTTPError, match="401") as refusal:
            urllib.request.urlopen(urllib.request.Request(url, headers=headers))
        refusal.value.close()


def test_a_key_of_somebody_else_is_refused(cloud: Cloud) -> None:
    said = {
        "private_key": keys._pem(keys._new()).private.decode(),
        "client_email": cloud.accounts.harness,
        "token_uri": f"{cloud.environment['COOPERBENCH_GCP_STORAGE_ENDPOINT']}/token",
    }
    scopes = ["https://www.googleapis.com/auth/cloud-platform"]
    credentials = service_account.Credentials.from_service_account_info(said, scopes=scopes)
    with requests.Session() as session, pytest.raises(auth_errors.RefreshError, match="invalid_grant"):
        credentials.refresh(Request(session))


def test_expired_tokens_are_renewed_by_the_client(bucket: storage.Bucket, cloud: Cloud) -> None:
    bucket.blob("kept").upload_from_string(b"1")
    cloud.accounts.expire()
    cloud.traffic.forget()
    assert bucket.blob("kept").download_as_bytes() == b"1"
    assert cloud.traffic.count("oauth.token") == 1


def test_errors_and_lost_answers(bucket: storage.Bucket, cloud: Cloud) -> None:
    bucket.blob("kept").upload_from_string(b"1")
    quick = DEFAULT_RETRY.with_delay(initial=0.01, maximum=0.02)
    cloud.fault("storage.objects.get", status=503, times=2)
    cloud.fault("storage.objects.get", status=429)
    assert bucket.get_blob("kept", retry=quick) is not None
    assert cloud.traffic.count("storage.objects.get") == 4
    cloud.fault("storage.objects.create", subject="lost", lost=True)
    # Done, the answer lost, sent again: the second finds the first's work.
    with pytest.raises(exceptions.PreconditionFailed):
        bucket.blob("lost").upload_from_string(b"2", if_generation_match=0, retry=quick)
    assert bucket.blob("lost").download_as_bytes() == b"2"
    assert cloud.store.writes[BUCKET, "lost"] == 1


def test_what_is_not_served_is_refused(cloud: Cloud, bucket: storage.Bucket) -> None:
    with pytest.raises(exceptions.NotFound, match="no such method"):
        bucket.list_notifications().__next__()
    assert cloud.traffic.unknown == [f"GET /storage/v1/b/{BUCKET}/notificationConfigs"]
    cloud.traffic.unknown.clear()
    with pytest.raises(exceptions.BadRequest, match="not served"):
        list(bucket.list_blobs(match_glob="*"))
