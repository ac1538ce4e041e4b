"""`vespiary drain ENDPOINT`: stop an endpoint gracefully."""

from vespiary.cli._operating import endpoint_command

__all__ = ["drain"]

drain = endpoint_command(
    "drain",
    "Stop an endpoint of a running server gracefully.\n\nIt no longer listens, and its connections"
    " have drain_seconds to finish. 'vespiary resume' and a reload start it again. FILE is"
    " wasp.toml by default.",
)
