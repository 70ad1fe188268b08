"""The whole conduct on fakes in virtual time: its recorders, its scenes, and its auditor."""
