"""CefMP4 Stream Processor: the object in S3 is the closed recording, byte for byte."""

__version__ = "0.1.0"
#: How a command is typed where this runs: installed, or in a checkout.
PROGRAM = "cefmp4" if __name__ == "cefmp4" else f"python -m {__name__}"
