"""gRPC: unary calls and streams between threads of one process."""

from concurrent.futures import ThreadPoolExecutor

import grpc

methods = {
    "Echo": grpc.unary_unary_rpc_method_handler(lambda request, context: request),
    "Sum": grpc.stream_unary_rpc_method_handler(lambda parts, context: b"".join(parts)),
}
server = grpc.server(ThreadPoolExecutor(4))
server.add_generic_rpc_handlers([grpc.method_handlers_generic_handler("test.Echo", methods)])
port = server.add_insecure_port("127.0.0.1:0")
server.start()


def work(number):
    with grpc.insecure_channel(f"127.0.0.1:{port}") as channel:
        echo = channel.unary_unary("/test.Echo/Echo")
        total = channel.stream_unary("/test.Echo/Sum")
        for each in range(30):
            assert echo(b"%d" % each) == b"%d" % each
        return len(total(iter([b"x"] * number)))


with ThreadPoolExecutor(4) as pool:
    print(sum(pool.map(work, range(12))))
server.stop(None).wait()
