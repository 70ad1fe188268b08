"""The documents agree with the code, with each other, and with the tests that they name."""
