"""The real process: its daemon, its bucket, and its recorders."""
