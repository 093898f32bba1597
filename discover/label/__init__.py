"""What people say: the queue and its leases, oracles, the web pages."""
