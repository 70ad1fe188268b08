"""What the rings of tests share: servers, proxies that harm, fakes, recorders, and auditors."""
