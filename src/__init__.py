"""CefMP4 Stream Processor: the object in S3 is the closed recording, byte for byte."""

__version__ = "0.1.0"
