"""Starts processes in every way there is; in each an inversion is made, in a function named so."""

import concurrent.futures
import multiprocessing
import os
import socket
import subprocess
import sys
from pathlib import Path

from inversion import invert

PROGRAM = str(Path(__file__).with_name("inversion.py"))


def by_subprocess() -> None:
    """Python's own options, a shell before it, and an environment that the program has cleared."""
    for option in ("-I", "-E", "-S", "-O"):
        name = f"in_a_child_with_{option[1:]}"
        subprocess.run([sys.executable, option, PROGRAM, name], check=True)
    chain = 'exec sh -c "exec \\"$0\\" \\"$1\\" in_a_chain_of_execs" "$0" "$1"'
    subprocess.run(["sh", "-c", chain, sys.executable, PROGRAM], check=True)
    subprocess.run([sys.executable, PROGRAM, "in_a_cleared_child"], env={}, check=True)


def by_multiprocessing() -> None:
    """Processes and pools of each method."""
    for method in ("fork", "spawn", "forkserver"):
        multiprocessing.set_start_method(method, force=True)
        process = multiprocessing.Process(target=invert, args=(f"in_a_process_by_{method}",))
        process.start()
        process.join()
        assert process.exitcode == 0
        with concurrent.futures.ProcessPoolExecutor(1) as pool:
            pool.submit(invert, f"in_a_pool_by_{method}").result()


def by_fork() -> None:
    """A child, and a grandchild that nobody waits for (daemon(7))."""
    child = os.fork()
    if child == 0:
        invert("in_a_forked_child")
        os.environ.clear()
        grandchild = os.fork()
        if grandchild == 0:
            invert("in_a_child_with_no_environment")
            os._exit(0)
        os.waitpid(grandchild, 0)
        if os.fork() == 0:
            os.setsid()
            if os.fork() == 0:
                for descriptor in range(3):
                    os.close(descriptor)
                invert("in_a_daemon")
        os._exit(0)
    os.waitpid(child, 0)


def by_prefork() -> None:
    """A server whose workers share its listener; the master starts a new one for each that ends."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        for name in ("in_a_first_worker", "in_a_second_worker"):
            worker = os.fork()
            if worker == 0:
                connection, _ = listener.accept()
                with connection:
                    invert(name)
                    connection.sendall(b"done")
                os._exit(0)
            with socket.create_connection(listener.getsockname()) as client:
                assert client.recv(4) == b"done"
            os.waitpid(worker, 0)


if __name__ == "__main__":
    by_prefork()
    by_subprocess()
    by_multiprocessing()
    by_fork()
