"""The store: multipart uploads, objects and documents, and what this store can and cannot do.

aioboto3, aiobotocore and botocore are known here alone, and so is every way in which stores differ. ``S3Client`` makes
one attempt; ``PatientStore`` repeats it, and nobody else does.

``client`` has the uploads, with what is sent in each of their requests; ``bucket``, ``objects`` and ``listings`` have
the rest. All of them, the probe's trials too, ask by ``requests``: what every request of a kind must carry, such as a
header, belongs in its ``Requests._ask``. What a store can do is known by ``settings``, or learnt by ``abilities``
with the trials of ``probe``; what its answers and refusals mean is in ``answers``, ``errors`` and ``outcomes``.
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
