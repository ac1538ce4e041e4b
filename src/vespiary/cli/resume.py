"""`vespiary resume ENDPOINT`: accept connections again."""

from vespiary.cli._operating import endpoint_command

__all__ = ["resume"]

resume = endpoint_command(
    "resume",
    "Accept connections on an endpoint again, after 'vespiary suspend' or 'vespiary drain'.\n\nFILE"
    " is wasp.toml by default.",
)
