"""Rules, dashboard and compose file, by the tools that read them."""
