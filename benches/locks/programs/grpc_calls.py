"""gRPC in steady state: clients call a server in the same process; prints the CPU time of a call.

Arguments: calls per thread, of which as many come before as are measured.
"""

import sys
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor

import grpc
from rounds import THREADS, processor_time

calls = int(sys.argv[1])


def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
    return request


methods = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
server = grpc.server(ThreadPoolExecutor(THREADS))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Echo", methods)])
port = server.add_insecure_port("127.0.0.1:0")
server.start()


def connect() -> Iterator[Callable[[int], None]]:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/bench.Echo/Echo")

        def request(number: int) -> None:
            assert call(b"x" * 100) == b"x" * 100, number

        yield request


used = processor_time(calls, connect)
server.stop(0).wait()
print("grpc", used)
