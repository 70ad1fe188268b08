"""The properties of a finished recording, from ffprobe and from its boxes, and the metadata document beside the object.

The document is written and read here, so that its format is defined in one place: ``ownership`` recognises a finished
file by the document that ``stream_processor`` has stored.

To add a property of the media, see ``domain.recording.MediaStream``; of the whole file, ``Probe`` beside it.
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
