"""Run other projects' tests: of event loops on Vespiary's loop, and of HTTP with its server.

    python -m tests.suites asyncio [--version 3.12] [--driver epoll] [PATTERN...]
    python -m tests.suites uvloop
    python -m tests.suites http [--driver epoll] [--every-cut]
    python -m tests.suites h1spec
    python -m tests.suites peers [--driver epoll] [--requests 4000] [--every-cut]
    python -m tests.suites starlette [--driver epoll] [test_routing.py...]
    python -m tests.suites fastapi
    python -m tests.suites tls [--driver epoll] [--conversations 0] [PATTERN...]

PATTERN chooses modules: `test_unix*`. The exit status is 1 when a test that the stock loop passes
does not pass on ours and is not listed in differences.toml, or when a listed one passes.

`http` sends the requests of llhttp's and gunicorn's own tests to our HTTP server, and compares what
it accepts and refuses; http_differences.toml lists what differs, and why. `h1spec` sends the cases
that h1spec describes. `peers` sends odd and generated requests to our server, uvicorn and granian,
and compares what they make of them; peer_differences.toml lists what differs, and why.

`starlette` and `fastapi` run the frameworks' own tests, with a client that sends real requests to a
server of ours; framework_differences.toml lists what differs, and why.

`tls` runs tlsfuzzer's scripts against our TLS server: `tls_runs.py` says where it is expected.
"""

import argparse
import asyncio
import fnmatch
import sys
import tempfile
from pathlib import Path

from . import peers
from .differences import Difference, differing, known
from .frameworks import FRAMEWORKS, Reasons, compare, run
from .h1spec import failures, h1_cases
from .http_corpora import cases
from .http_requests import differences, reasons
from .odd_requests import odd_requests
from .runs import CHECKOUT, DRIVERS, asyncio_modules, interpreters, run_modules, version_of
from .tls_runs import TlsSuiteMissing, run_script, scripts, serving, sources, unlisted
from .uvloop_tests import uvloop_modules

SUITES = ("asyncio", "uvloop", "http", "h1spec", "peers", "tls", *FRAMEWORKS)


def main() -> int:
    """Run what was asked for."""
    parser = argparse.ArgumentParser(prog="python -m tests.suites", description=__doc__)
    parser.add_argument("suite", choices=SUITES)
    parser.add_argument("pattern", nargs="*", help="modules, such as test_unix*")
    parser.add_argument("--version", action="append", help="CPython versions; default: all here")
    parser.add_argument("--driver", action="append", choices=DRIVERS, help="default: both")
    parser.add_argument("--texts", action="store_true", help="print each failure's text")
    parser.add_argument("--tlsfuzzer", type=Path, help="tls: the folder of tlsfuzzer's sources")
    parser.add_argument(
        "--conversations", type=int, default=8, help="tls: of each script; 0: all (default 8)"
    )
    parser.add_argument(
        "--every-cut", action="store_true", help="http, peers: cut each case everywhere"
    )
    parser.add_argument("--requests", type=int, default=4000, help="peers: default 4000")
    asked = parser.parse_intermixed_args()
    if asked.suite == "http":
        return _compare_requests(asked)
    if asked.suite == "h1spec":
        return _run_h1spec(asked)
    if asked.suite == "peers":
        return _compare_peers(asked)
    if asked.suite in FRAMEWORKS:
        return _compare_frameworks(asked)
    if asked.suite == "tls":
        return _run_tls(asked)
    if asked.suite == "uvloop":
        folder, modules = uvloop_modules(CHECKOUT / ".cache" / "suites")
        return _compare(asked, Path(sys.executable), modules, folder)
    status = 0
    found = [it for it in interpreters() if not asked.version or version_of(it) in asked.version]
    if not found:
        print("no CPython here has its tests and a build of Vespiary")
        return 1
    for python in found:
        status |= _compare(asked, python, asyncio_modules(python), None)
    return status


def _compare_requests(asked: argparse.Namespace) -> int:
    sent, listed, status = cases(CHECKOUT / ".cache" / "suites"), reasons(), 0
    for driver in asked.driver or DRIVERS:
        found = differences(sent, driver, every_cut=asked.every_cut)
        print(f"{driver}: {len(sent) - len(found)} of {len(sent)} requests as expected")
        for name, text in found.items():
            print(f"  {name}: {text}: {listed.get(name, 'NOT LISTED')}")
            status |= name not in listed
        for name in listed.keys() - found.keys():
            print(f"  as expected, but listed as different: {name}")
            status = 1
    return status


def _run_h1spec(asked: argparse.Namespace) -> int:
    status, count = 0, len(h1_cases())
    for driver in asked.driver or DRIVERS:
        found = failures(driver)
        print(f"{driver}: {count - len(found)} of {count} cases as expected")
        for name, text in found.items():
            print(f"  {name}: {text}")
            status = 1
    return status


def _compare_peers(asked: argparse.Namespace) -> int:
    odd, listed, status = odd_requests(), peers.Listed(), 0
    with peers.serving(*peers.OURS, *peers.PEERS) as addresses:
        found = asyncio.run(peers.compare(addresses, asked.requests, odd, listed))
        for key, text in sorted(found.items()):
            server, cause, aspect = key
            reason = listed.reason(*key)
            status |= reason is None
            print(f"{server}: {cause}: {aspect}: {reason or 'NOT LISTED: ' + text}")
        for cause in listed.stale(found):
            print(f"no difference, but listed as one: {cause}")
            status = 1
        print(f"{asked.requests} generated requests, {len(odd)} odd ones", flush=True)
        for name in peers.OURS if asked.every_cut else ():
            for text in asyncio.run(peers.cuts_that_matter(addresses[name], odd)):
                print(f"{name}: DEPENDS ON THE CUT: {text}")
                status = 1
            print(f"{name}: {len(odd)} odd requests cut at every place", flush=True)
    return status


def _compare_frameworks(asked: argparse.Namespace) -> int:
    framework, chosen = asked.suite, tuple(asked.pattern)
    reasons_known, status = Reasons(framework), 0
    stock = run(framework, "stock", chosen=chosen)
    print(
        f"{framework}'s own client: {_summary([it.outcome for it in stock.values()])}", flush=True
    )
    for driver in asked.driver or DRIVERS:
        live = run(framework, "live", driver, chosen)
        asking = sum(it.has_asked for it in live.values())
        summary = _summary([it.outcome for it in live.values()])
        print(f"a live server on {driver}: {summary}; {asking} have started a server", flush=True)
        different = compare(stock, live)
        for test in different:
            reason = reasons_known.of(test)
            print(f"  {test}: {reason or 'NOT LISTED'}")
            status |= reason is None
            if asked.texts:
                text = live[test].text if test in live else "not run"
                print("    " + text.replace("\n", "\n    "))
        for pattern in reasons_known.stale(stock, different):
            print(f"  passes, but is listed as different: {pattern}")
            status = 1
    return status


def _run_tls(asked: argparse.Namespace) -> int:
    try:
        path = sources(asked.tlsfuzzer, CHECKOUT / ".cache" / "suites")
    except TlsSuiteMissing as error:
        print(error)
        return 2
    patterns = asked.pattern or ["*"]
    chosen = [it for it in scripts() if any(fnmatch.fnmatchcase(it.name, one) for one in patterns)]
    status = 0
    for driver in asked.driver or DRIVERS:
        with tempfile.TemporaryDirectory() as folder, serving(driver, Path(folder)) as port:
            for script in chosen:
                outcome = run_script(script, port, path, asked.conversations)
                count = f"{outcome.passed} as expected, {len(outcome.failed)} not"
                print(f"{driver}: {script.name}: {outcome.problem or count}", flush=True)
                for name, text in outcome.failed.items():
                    print(f"  {name}: {text}: {script.reason(name) or 'NOT LISTED'}", flush=True)
                status |= bool(outcome.problem or unlisted(script, outcome))
    return status


def _compare(
    asked: argparse.Namespace, python: Path, modules: list[str], folder: Path | None
) -> int:
    if asked.pattern:
        modules = [
            module
            for module in modules
            if any(fnmatch.fnmatchcase(module.split(".")[-1], it) for it in asked.pattern)
        ]
    version = version_of(python)
    print(f"==> {asked.suite} on CPython {version} ({python})", flush=True)
    stock, _ = run_modules(python, "stock", modules, folder)
    print(f"    stock loop: {_summary(list(stock.values()))}", flush=True)
    status = 0
    for driver in asked.driver or DRIVERS:
        ours, texts = run_modules(python, driver, modules, folder)
        print(f"    Vespiary's loop on {driver}: {_summary(list(ours.values()))}", flush=True)
        listed = [it for it in known() if it.test.startswith(_prefix(asked.suite))]
        different = differing(stock, ours)
        for test in different:
            reasons = [it.reason for it in listed if it.covers(test, version, driver)]
            print(f"      {ours.get(test)}: {test}: {reasons[0] if reasons else 'NOT LISTED'}")
            status |= not reasons
            if asked.texts:
                print("        " + texts.get(test, "").replace("\n", "\n        "))
        passing = [it.test for it in listed if _is_stale(it, stock, different, version, driver)]
        for test in passing:
            print(f"      passes, but is listed as different: {test}")
            status = 1
    return status


def _prefix(suite: str) -> str:
    return "test." if suite == "asyncio" else "tests."


def _is_stale(
    difference: Difference, stock: dict[str, str], different: list[str], version: str, driver: str
) -> bool:
    """Whether a listed difference was looked for and is none."""
    if difference.may_pass:
        return False
    covered = [test for test in stock if difference.covers(test, version, driver)]
    return any(stock[test] == "passed" for test in covered) and not set(covered) & set(different)


def _summary(outcomes: list[str]) -> str:
    kinds = ("passed", "failed", "skipped", "hung or crashed")
    counts = [(kind, outcomes.count(kind)) for kind in kinds]
    return ", ".join(f"{count} {kind}" for kind, count in counts if count)


if __name__ == "__main__":
    raise SystemExit(main())
