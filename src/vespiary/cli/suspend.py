"""`vespiary suspend ENDPOINT`: accept no new connections."""

from vespiary.cli._operating import endpoint_command

__all__ = ["suspend"]

suspend = endpoint_command(
    "suspend",
    "Accept no new connections on an endpoint of a running server.\n\nClients that connect wait in"
    " the kernel until 'vespiary resume'. Open connections are not affected. FILE is wasp.toml by"
    " default.",
)
