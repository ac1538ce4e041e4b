"""CherryPy: its pool of threads, asked by several clients."""

import urllib.request
from concurrent.futures import ThreadPoolExecutor

import cherrypy


class Root:
    @cherrypy.expose
    def add(self, number="0"):
        return str(int(number) + 1)


cherrypy.config.update({"server.socket_port": 0, "server.thread_pool": 6, "log.screen": False})
cherrypy.tree.mount(Root(), "/")
cherrypy.engine.start()
port = cherrypy.server.bound_addr[1]


def ask(number):
    return int(urllib.request.urlopen(f"http://127.0.0.1:{port}/add?number={number}").read())


with ThreadPoolExecutor(6) as pool:
    print(sum(pool.map(ask, range(150))))
cherrypy.engine.exit()
