"""What a fault of a plug-in or of a worker costs the rest of a server."""
