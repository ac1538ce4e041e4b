"""Installs the peers under `.cache`, builds what is compiled, and says what could not be installed.

Nothing outside the checkout is touched, but Go's cache of modules. Python peers are pinned by
`requirements.txt`, Node's and Bun by `peers/package-lock.json`, Go's by `peers/go_ws/go.sum`; the
C++ peers are compiled here against Debian's headers of Boost and OpenSSL.
"""

import hashlib
import os
import shutil
import subprocess
import sys
from collections.abc import Iterable, Set
from dataclasses import dataclass, field
from pathlib import Path

from benches.catalogue import HERE, PEERS, Server

CACHE = HERE / ".cache"
COMPILER_FLAGS = ("-std=c++17", "-O3", "-DNDEBUG", "-march=native", "-pthread")
TLS_LIBRARIES = ("-lssl", "-lcrypto")
OPENSSL_SETTINGS = """\
openssl_conf = all
[all]
ssl_conf = tls
[tls]
system_default = servers
[servers]
Ciphersuites = TLS_AES_128_GCM_SHA256
"""
"""Go and ours prefer this cipher. OpenSSL takes what its client offers first, which is AES-256 if
the client is OpenSSL too."""
BOOST_HEADER = Path("/usr/include/boost/version.hpp")
COMMAND_SECONDS_MAX = 900


@dataclass
class Toolbox:
    """What servers are started with, and what is missing.

    Attributes:
        words: What stands for `{python}`, `{node}`, `{bun}`, `{modules}` and `{bin}`, and with TLS
            for `{ca}`, `{certificate}` and `{key}`.
        load: The load client.
        missing: For a server's key, why it cannot be measured.
    """

    words: dict[str, str]
    load: Path
    missing: dict[str, str] = field(default_factory=dict)

    def fill(self, text: str, port: int = 0) -> str:
        """Replace the words in braces."""
        for name, value in self.words.items():
            text = text.replace("{" + name + "}", value)
        return text.replace("{port}", str(port))

    def environment(self, server: Server) -> dict[str, str]:
        """The whole environment for a server."""
        added = {name: self.fill(value) for name, value in server.environment.items()}
        return {**os.environ, **added}


def say(text: str) -> None:
    """Tell the person who waits."""
    print(text, file=sys.stderr, flush=True)


def _try(command: Iterable[str | Path], **options: object) -> tuple[bool, str]:
    """Run a command; say whether it succeeded, and its output's last line if not."""
    words = [str(word) for word in command]
    try:
        done = subprocess.run(
            words,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_SECONDS_MAX,
            **options,  # type: ignore[call-overload]
        )
    except (OSError, subprocess.TimeoutExpired) as error:
        return False, str(error)
    lines = [line for line in done.stdout.splitlines() if line.strip()]
    return done.returncode == 0, lines[-1].strip() if lines else f"status {done.returncode}"


def _python_peers() -> Path:
    """A virtual environment with the Python peers, of the interpreter that runs this."""
    version = f"{sys.version_info.major}.{sys.version_info.minor}"
    home = CACHE / f"venv-{version}"
    python = home / "bin" / "python"
    pins = HERE / "requirements.txt"
    stamp = home / "installed.txt"
    if stamp.exists() and stamp.read_text() == pins.read_text():
        return python
    say(f"==> Installing the Python peers for Python {version}")
    if not python.exists():
        subprocess.run([sys.executable, "-m", "venv", str(home)], check=True)
    pip = [str(python), "-m", "pip", "install", "--quiet", "--disable-pip-version-check"]
    good, reason = _try([*pip, "-r", pins])
    if good:
        stamp.write_text(pins.read_text())
        return python
    say(f"    not all at once ({reason}); one by one")
    for line in pins.read_text().splitlines():
        if line and not line.startswith("#"):
            good, reason = _try([*pip, "--no-deps", line])
            if not good:
                say(f"    {line}: {reason}")
    return python


def _node_peers() -> Path:
    """The folder with Node's modules and Bun, or where it would be."""
    home = CACHE / "node"
    home.mkdir(parents=True, exist_ok=True)
    lock = (PEERS / "package-lock.json").read_bytes()
    kept = home / "package-lock.json"
    modules = home / "node_modules"
    if modules.exists() and kept.exists() and kept.read_bytes() == lock:
        return modules
    say("==> Installing Bun and the Node peers")
    for name in ("package.json", "package-lock.json"):
        shutil.copy(PEERS / name, home / name)
    good, reason = _try(["npm", "ci", "--ignore-scripts", "--no-audit", "--no-fund"], cwd=home)
    if not good:
        say(f"    npm: {reason}")
        kept.unlink(missing_ok=True)
    return modules


def _bun(modules: Path) -> Path:
    """The Bun that runs here: the plain build wants AVX2, the baseline build does not."""
    plain = modules / "@oven" / "bun-linux-x64" / "bin" / "bun"
    if plain.exists() and _try([plain, "--version"])[0]:
        return plain
    return modules / "@oven" / "bun-linux-x64-baseline" / "bin" / "bun"


def _compiled_peers(names: Set[str]) -> Path:
    """The folder with the C++ peers of these names, as far as they could be compiled."""
    programs = CACHE / "bin"
    programs.mkdir(parents=True, exist_ok=True)
    compiler = shutil.which("g++")
    if compiler is None or not BOOST_HEADER.exists():
        return programs
    header = BOOST_HEADER.read_bytes()
    for source in sorted(it for it in PEERS.glob("*.cpp") if it.stem in names):
        program = programs / source.stem
        inputs = source.read_bytes() + header + " ".join(COMPILER_FLAGS).encode()
        digest = hashlib.sha256(inputs).hexdigest()
        stamp = programs / f"{source.stem}.sha256"
        if program.exists() and stamp.exists() and stamp.read_text() == digest:
            continue
        say(f"==> Compiling {source.name}")
        libraries = TLS_LIBRARIES if source.stem.endswith("_tls") else ()
        good, reason = _try([compiler, *COMPILER_FLAGS, "-o", program, source, *libraries])
        if good:
            stamp.write_text(digest)
        else:
            program.unlink(missing_ok=True)
            say(f"    {reason}")
    return programs


def _go_peers(programs: Path) -> None:
    """Compile the peers in Go: files that need its standard library only, and folders."""
    compiler = shutil.which("go")
    if compiler is None:
        return
    for source in sorted([*PEERS.glob("*.go"), *PEERS.glob("*/main.go")]):
        folder = source.parent
        program = programs / (source.stem if folder == PEERS else folder.name)
        if program.exists() and program.stat().st_mtime > source.stat().st_mtime:
            continue
        say(f"==> Compiling {program.name}")
        what = source.name if folder == PEERS else "."
        good, reason = _try([compiler, "build", "-o", program, what], cwd=folder)
        if not good:
            say(f"    {reason}")


def certificates() -> tuple[Path, Path, Path]:
    """Files of an authority, of a certificate for 127.0.0.1 that it has signed, and of its key."""
    from vespiary._core import make_authority, make_certificate

    folder = CACHE / "certificates"
    folder.mkdir(parents=True, exist_ok=True)
    ca, certificate, key = (folder / name for name in ("ca.pem", "server.pem", "server-key.pem"))
    authority, authority_key = make_authority()
    pair = make_certificate(authority_key, ["127.0.0.1", "localhost"], 7)
    for path, text in zip((ca, certificate, key), (authority, *pair), strict=True):
        path.write_text(text)
    return ca, certificate, key


def _load_client() -> Path:
    """Build the project's load client; it is the instrument, so it has to be there."""
    say("==> Building the load client")
    root = HERE.parent
    target = Path(os.environ.get("CARGO_TARGET_DIR", root / "target"))
    good, reason = _try(
        ["cargo", "build", "--release", "--locked", "-p", "vespiary-load", "--example", "load"],
        cwd=root,
    )
    if not good:
        raise SystemExit(f"benches: the load client could not be built: {reason}")
    return target / "release" / "examples" / "load"


def _why_missing(server: Server, reason: str) -> str:
    if server.command[0].startswith("{bin}/go_"):
        return "Go is not installed" if shutil.which("go") is None else reason
    if server.command[0].startswith("{bin}") and not BOOST_HEADER.exists():
        return "Boost's headers are absent: apt-get install libboost1.81-dev (or libboost-dev)"
    if server.command[0] == "{node}" and shutil.which("node") is None:
        return "node is not installed"
    return reason


def provide(servers: Iterable[Server], load: Path | None, *, wants_load: bool = True) -> Toolbox:
    """Install and build what the servers need; note why the missing ones are missing.

    Args:
        servers: Which.
        load: The load client, if it has been built elsewhere.
        wants_load: Whether it is needed at all.
    """
    chosen = list(servers)
    starters = {server.command[0] for server in chosen}
    words = {"python": sys.executable, "node": "node", "bun": "bun", "modules": "", "bin": ""}
    if "{python}" in starters:
        words["python"] = str(_python_peers())
    if starters & {"{node}", "{bun}"}:
        modules = _node_peers()
        words.update(modules=str(modules), bun=str(_bun(modules)))
    compiled = {it.removeprefix("{bin}/") for it in starters if it.startswith("{bin}")}
    if compiled:
        words["bin"] = str(_compiled_peers(compiled))
        _go_peers(Path(words["bin"]))
    if any("{certificate}" in word for server in chosen for word in server.command):
        ca, certificate, key = certificates()
        words.update(ca=str(ca), certificate=str(certificate), key=str(key))
        settings = ca.with_name("openssl.cnf")
        settings.write_text(OPENSSL_SETTINGS)
        words["openssl"] = str(settings)
    toolbox = Toolbox(words, load or (_load_client() if wants_load else Path()))
    for server in chosen:
        if not server.probe:
            continue
        probe = [toolbox.fill(word) for word in server.probe]
        good, reason = _try(probe, env=toolbox.environment(server))
        if not good:
            toolbox.missing[server.key] = _why_missing(server, reason)
    return toolbox
