"""What the daemon costs, measured against its targets and beside ``aws s3 cp`` and ``s5cmd cp``. Linux only.

``make bench``, or ``python -m bench cpu memory`` for some of it. README.md says what each line of the table means.
"""
