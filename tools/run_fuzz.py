"""Fuzz each target for a bounded time: python tools/run_fuzz.py SECONDS [TARGET...].

The targets are in `fuzz/`, their inputs in `fuzz/corpus`, and what they check in
`crates/*/tests/fuzzed/checks.rs`. They are built with libFuzzer's instrumentation, which the
stable compiler has as a pass of LLVM. What is new goes to `.cache/fuzz`, what fails too, with the
command that repeats it; an input that failed belongs into the corpus once it is mended.
"""

import os
import subprocess
import sys
from pathlib import Path

CHECKOUT = Path(__file__).resolve().parents[1]
FUZZ = CHECKOUT / "fuzz"
CACHE = CHECKOUT / ".cache" / "fuzz"
BUILT = CHECKOUT / "target" / "fuzz"
INPUT_BYTES_MAX = 4096

INSTRUMENTED = (
    "-Cpasses=sancov-module",
    "-Cllvm-args=-sanitizer-coverage-level=4",
    "-Cllvm-args=-sanitizer-coverage-inline-8bit-counters",
    "-Cllvm-args=-sanitizer-coverage-pc-table",
    "-Cllvm-args=-sanitizer-coverage-trace-compares",
    "--cfg=fuzzing",
)


def host() -> str:
    """The compiler's own platform; naming it keeps build scripts free of instrumentation."""
    told = subprocess.run(["rustc", "-vV"], capture_output=True, text=True, check=True).stdout
    return next(line.partition(": ")[2] for line in told.splitlines() if line.startswith("host"))


def build() -> Path:
    """Build every target; the folder of the programs."""
    platform = host()
    command = ["cargo", "build", "--quiet", "--locked", "--release", "--target", platform]
    environment = {**os.environ, "RUSTFLAGS": " ".join(INSTRUMENTED)}
    environment["CARGO_TARGET_DIR"] = str(BUILT)
    subprocess.run(command, cwd=FUZZ, env=environment, check=True)
    return BUILT / platform / "release"


def fuzz(program: Path, seconds: float) -> bool:
    """Fuzz one target; whether nothing failed."""
    found = CACHE / program.name
    found.mkdir(parents=True, exist_ok=True)
    command = [
        str(program),
        f"-max_total_time={seconds:g}",
        f"-max_len={INPUT_BYTES_MAX}",
        f"-artifact_prefix={found}/failed-",
        "-print_final_stats=1",
        str(found),
        str(FUZZ / "corpus" / program.name),
    ]
    log = CACHE / f"{program.name}.log"
    with log.open("wb") as output:
        status = subprocess.run(command, stdout=output, stderr=output, check=False).returncode
    lines = log.read_text(errors="replace").splitlines()
    runs = next((it.split()[-1] for it in lines if it.startswith("stat::number_of_exec")), "?")
    print(f"{program.name}: {runs} inputs, {'no failure' if status == 0 else f'FAILED: {log}'}")
    return status == 0


def main(arguments: list[str]) -> int:
    """Fuzz the targets named, or all."""
    seconds = float(arguments[0])
    targets = sorted(path.stem for path in (FUZZ / "src" / "bin").glob("*.rs"))
    named = arguments[1:] or targets
    if unknown := set(named) - set(targets):
        print(f"no target is called {', '.join(unknown)}: there are {', '.join(targets)}")
        return 2
    folder = build()
    outcomes = [fuzz(folder / name, seconds) for name in named]
    return 0 if all(outcomes) else 1


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
