"""TLS: CPU time of echoes and handshakes, and memory of idle connections, beside the peers."""
