"""Stores: the real ones that the suite runs on, and the personalities of others."""
