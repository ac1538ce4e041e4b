"""What a server does while the process, its peers or its queues are in trouble, in figures."""
