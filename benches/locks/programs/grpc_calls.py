"""gRPC in steady state: clients call a server in the same process; prints the CPU time of a call.

Arguments: calls per thread, of which as many come before as are measured.
"""

import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor

import grpc

THREADS = 4
calls = int(sys.argv[1])
together = threading.Barrier(THREADS + 1)


def echo(request: bytes, context: grpc.ServicerContext) -> bytes:
    return request


methods = {"Echo": grpc.unary_unary_rpc_method_handler(echo)}
server = grpc.server(ThreadPoolExecutor(THREADS))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("bench.Echo", methods)])
port = server.add_insecure_port("127.0.0.1:0")
server.start()


def work() -> None:
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        call = channel.unary_unary("/bench.Echo/Echo")
        for _ in range(2):
            together.wait()
            for number in range(calls):
                assert call(b"x" * 100) == b"x" * 100, number
            together.wait()


threads = [threading.Thread(target=work) for _ in range(THREADS)]
for thread in threads:
    thread.start()
together.wait()
together.wait()
began = time.process_time_ns()
together.wait()
together.wait()
used = time.process_time_ns() - began
for thread in threads:
    thread.join()
server.stop(0).wait()
print("grpc", used / (THREADS * calls))
