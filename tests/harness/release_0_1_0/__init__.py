"""The modules by which release 0.1.0 reads records, markers, metadata of objects and documents.

They are kept here as they are, not taken from the history when a test runs, because a clone may have none of it
(``actions/checkout`` fetches one commit). Nothing here is ever changed; what a later release writes is given to it.
"""
