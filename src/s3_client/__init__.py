"""The store: multipart uploads, objects and documents, and what this store can and cannot do.

aioboto3, aiobotocore and botocore are known here alone, and so is every way in which stores differ. ``S3Client`` makes
one attempt; ``PatientStore`` repeats it, and nobody else does.
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
