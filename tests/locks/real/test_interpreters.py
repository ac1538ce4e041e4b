"""CPython's own tests under the detector, on each CPython; all of them: `real.interpreter`."""

from concurrent.futures import Future, ThreadPoolExecutor

import pytest

from tests.locks.real.interpreter import QUICK, Verdict, modules, pythons, run_tests

PYTHONS = pythons()


@pytest.fixture(scope="module")
def verdicts() -> dict[str, Future[Verdict]]:
    """All interpreters at once: their tests sleep for a good part of their time."""
    with ThreadPoolExecutor(len(PYTHONS)) as pool:
        return {
            version: pool.submit(run_tests, python, *QUICK, watched=True)
            for version, python in PYTHONS.items()
            if set(QUICK) <= set(modules(python))
        }


@pytest.mark.parametrize("version", PYTHONS)
def test_cpythons_own_tests_pass_without_an_alarm(
    version: str, verdicts: dict[str, Future[Verdict]]
) -> None:
    if version not in verdicts:
        pytest.skip(f"CPython {version} was installed without its tests")
    verdict = verdicts[version].result()
    assert verdict.tests > 40, verdict.said
    assert not verdict.failed, verdict.said
    assert not verdict.told, verdict.said
    assert verdict.status == 0, verdict.said
    assert verdict.report["coverage"]["operations"] > 1000
