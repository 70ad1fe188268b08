"""What is known of a finished recording: what ffprobe and the boxes say of it, and the document beside the object.

Written and read here, so that the format stands in one place: ``ownership`` recognises a finished file by the document
that ``stream_processor`` has put there.
"""

from .document import StoredDescription, document_key, encode_document, metadata_document, read_document
from .ffprobe import Ffprobe

__all__ = [
    "Ffprobe",
    "StoredDescription",
    "document_key",
    "encode_document",
    "metadata_document",
    "read_document",
]
