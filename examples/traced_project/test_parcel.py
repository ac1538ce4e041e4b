"""One of these claims is true. The other test passes too, and shows nothing."""

import pytest
from parcel import Parcel, refusal


@pytest.mark.requirement("parcel/2/1")
def test_a_parcel_without_an_address_is_refused() -> None:
    assert refusal(Parcel("", 1)) == "no address"
    assert refusal(Parcel("The hive", 1)) is None


@pytest.mark.requirement("parcel/2/2")
def test_a_heavy_parcel_is_refused() -> None:
    refused = [refusal(Parcel("", 1)), refusal(Parcel("The hive", 40))]
    assert any(refused)
