"""tlsfuzzer's scripts against our server: they speak TLS of their own, and break its rules.

tlsfuzzer is not on PyPI. Its sources are looked for in a folder, `.cache/suites/tlsfuzzer`:

    git clone https://github.com/tlsfuzzer/tlsfuzzer .cache/suites/tlsfuzzer

What it needs comes from PyPI. `tls_scripts.toml` has the scripts, their options, and each
conversation that does not go as its script expects, with the reason.
"""

from __future__ import annotations

import contextlib
import os
import re
import socket
import ssl
import subprocess
import sys
import tomllib
from collections.abc import Iterator
from dataclasses import dataclass, field
from pathlib import Path

from tests.waiting import wait_until

from .runs import CHECKOUT

__all__ = ["Script", "TlsSuiteMissing", "run_script", "scripts", "serving", "unlisted"]

FILE = Path(__file__).with_name("tls_scripts.toml")
PACKAGES = ("ecdsa==0.19.2", "six==1.17.0", "tlslite-ng==0.9.0b2")
SECONDS_MAX = 600
_SERVER = """
import sys, vespiary
class Greeting(vespiary.Handler):
    def on_request(self, request):
        return vespiary.Response(200, "hello")
tls = vespiary.ServerTLS(sys.argv[2], sys.argv[3])
vespiary.serve(Greeting(), "https://127.0.0.1:" + sys.argv[1], tls=tls)
"""


class TlsSuiteMissing(Exception):
    """tlsfuzzer is not where it should be; the text says what to do."""


@dataclass(frozen=True)
class Script:
    """One of tlsfuzzer's scripts.

    Attributes:
        name: Without `test_` and `.py`.
        options: Behind host and port.
        differences: For patterns of conversations' names, why they do not go as expected.
    """

    name: str
    options: tuple[str, ...] = ()
    differences: dict[str, str] = field(default_factory=dict)

    def reason(self, conversation: str) -> str | None:
        """Why this conversation may fail; None where it may not."""
        for pattern, reason in self.differences.items():
            if re.fullmatch(pattern, conversation):
                return reason
        return None


@dataclass(frozen=True)
class Outcome:
    """What a script printed.

    Attributes:
        passed: How many conversations went as expected.
        failed: The others, with what was unexpected.
        problem: Why there is no result, or empty.
    """

    passed: int
    failed: dict[str, str]
    problem: str = ""


def scripts() -> list[Script]:
    """The chosen scripts, from `tls_scripts.toml`."""
    with FILE.open("rb") as file:
        tables = tomllib.load(file)
    reasons: dict[str, dict[str, str]] = {}
    for difference in tables.get("difference", []):
        for name in difference["scripts"]:
            for pattern in difference["conversations"]:
                reasons.setdefault(name, {})[pattern] = difference["reason"]
    found = [
        Script(name, tuple(group["options"]), reasons.pop(name, {}))
        for group in tables["group"]
        for name in group["scripts"]
    ]
    assert not reasons, f"tls_scripts.toml has differences of unknown scripts: {[*reasons]}"
    return found


def sources(given: Path | None, cache: Path) -> list[Path]:
    """The folders that Python needs: tlsfuzzer's, and one with the packages that it uses.

    Raises:
        TlsSuiteMissing: tlsfuzzer is not there.
    """
    folder = given or cache / "tlsfuzzer"
    if not (folder / "tlsfuzzer" / "_apps").is_dir():
        raise TlsSuiteMissing(
            f"tlsfuzzer is not in {folder}: git clone https://github.com/tlsfuzzer/tlsfuzzer "
            f"{folder}, or name another folder by --tlsfuzzer"
        )
    packages = cache / "tlsfuzzer-packages"
    if not packages.exists():
        command = [sys.executable, "-m", "pip", "install", "--quiet", "--no-deps", "--target"]
        subprocess.run([*command, str(packages), *PACKAGES], check=True)
    return [folder, packages]


@contextlib.contextmanager
def serving(driver: str, folder: Path) -> Iterator[int]:
    """A server of ours with an RSA certificate, which tlsfuzzer's scripts expect: its port."""
    certificate, key = folder / "rsa.pem", folder / "rsa-key.pem"
    command = ["openssl", "req", "-x509", "-newkey", "rsa:2048", "-nodes", "-days", "2"]
    command += ["-subj", "/CN=localhost", "-keyout", str(key), "-out", str(certificate)]
    subprocess.run(command, check=True, capture_output=True)
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = int(probe.getsockname()[1])
    environment = {**os.environ, "VESPIARY_DRIVER": driver, "PYTHONPATH": str(CHECKOUT / "src")}
    process = subprocess.Popen(
        [sys.executable, "-c", _SERVER, str(port), str(certificate), str(key)],
        env=environment,
        stderr=subprocess.DEVNULL,
    )
    try:
        wait_until(lambda: process.poll() is not None or _answers(port))
        assert process.poll() is None, "the server did not start"
        yield port
        assert process.poll() is None, "the server ended"
    finally:
        process.kill()
        process.wait()


def _answers(port: int) -> bool:
    context = ssl.create_default_context()
    context.check_hostname, context.verify_mode = False, ssl.CERT_NONE
    try:
        with socket.create_connection(("127.0.0.1", port), 10) as plain:
            context.wrap_socket(plain).close()
    except OSError:
        return False
    return True


def run_script(script: Script, port: int, path: list[Path], count: int) -> Outcome:
    """Run one script, with `count` conversations of it, or with all for 0."""
    module = f"tlsfuzzer._apps.test_{script.name}"
    command = [sys.executable, "-m", module, "-h", "127.0.0.1", "-p", str(port), "-n", str(count)]
    environment = {**os.environ, "PYTHONPATH": os.pathsep.join(map(str, path))}
    try:
        done = subprocess.run(
            [*command, *script.options],
            env=environment,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=SECONDS_MAX,
            check=False,
        )
    except subprocess.TimeoutExpired:
        return Outcome(0, {}, f"it did not end within {SECONDS_MAX} s")
    passed = re.search(r"^PASS: (\d+)$", done.stdout, re.MULTILINE)
    if passed is None:
        lines = done.stdout.strip().splitlines() or ["no output"]
        return Outcome(0, {}, lines[-1])
    return Outcome(int(passed[1]), _failures(done.stdout))


def _failures(output: str) -> dict[str, str]:
    """The conversations that failed, and the last line of each traceback."""
    failed: dict[str, str] = {}
    conversation = ""
    for line in output.splitlines():
        started = re.fullmatch(r"(\S.*) \.\.\.", line)
        if started is not None:
            conversation = started[1]
        elif re.match(r"\w*(Error|Exception|timeout)\b", line) and conversation:
            failed[conversation] = line
    listed = output.partition("\nFAILED:\n")[2]
    names = [line[2:-1] for line in listed.splitlines() if line.startswith("\t")]
    return {name: failed.get(name, "it failed") for name in names}


def unlisted(script: Script, outcome: Outcome) -> list[str]:
    """The conversations that failed without a reason in the list."""
    return [name for name in outcome.failed if script.reason(name) is None]
