"""The store: multipart uploads, objects and documents, and the features that this store supports.

The only package that uses aioboto3, aiobotocore and botocore, and that knows the differences between stores.
``S3Client`` makes one attempt; ``PatientStore`` is the only place with retries.

``client`` handles uploads and the contents of their requests; ``bucket``, ``objects`` and ``listings`` handle the rest.
All of them, and the probe's trials, send their requests through ``requests``: to add something to every request of a
kind, such as a header, change its ``Requests._ask``. The features of a store are set in ``settings``, whose values come
from ``store_from_settings``, or determined by ``abilities`` with the trials of ``probe``; ``answers``, ``errors`` and
``outcomes`` interpret answers and refusals.
"""

from .client import S3Client, open_store
from .credentials import KeySettings
from .patience import PatientStore
from .settings import Choice, StoreSettings

__all__ = [
    "Choice",
    "KeySettings",
    "PatientStore",
    "S3Client",
    "StoreSettings",
    "open_store",
]
