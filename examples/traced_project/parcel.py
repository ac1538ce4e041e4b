"""Takes parcels, as parcel-protocol.txt wants it: the example of docs/how-to/trace.md."""

from dataclasses import dataclass

from vespiary.trace import requires

KILOGRAMS_MAX = 31


@dataclass(frozen=True)
class Parcel:
    """What somebody sends."""

    address: str
    kilograms: int


def refusal(parcel: Parcel) -> str | None:
    """Why a parcel is not taken; None when it is."""
    if requires("parcel/2/1", not parcel.address):
        return "no address"
    if requires("parcel/2/2", parcel.kilograms > KILOGRAMS_MAX):
        return "too heavy"
    return None
