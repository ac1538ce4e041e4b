"""Configuration files with a mistake each: the line of it, and words of the error."""

PLUGIN = """\
import dataclasses
import msgspec
import pydantic
import vespiary

class Settings(msgspec.Struct, forbid_unknown_fields=True):
    greeting: str
    repeat: int = 1

    def __post_init__(self):
        if self.repeat > 9:
            raise ValueError("repeat is 9 at most")

class Model(pydantic.BaseModel, extra="forbid"):
    greeting: str
    port: int = 1

@dataclasses.dataclass
class Data:
    greeting: str

class Echo(vespiary.Handler):
    def on_message(self, connection, message):
        connection.send(message)

class Typed(Echo):
    def __init__(self, config: Settings):
        self.config = config

class Modelled(Echo):
    def on_start(self, server, config: Model):
        pass

class Held(Echo):
    def on_start(self, server, config: Data):
        pass

class Failing(Echo):
    def __init__(self):
        raise RuntimeError("there is no database")

class Misspelt(vespiary.Handler):
    def on_mesage(self, connection, message):
        pass

class Ending(Echo):
    def __init__(self):
        raise SystemExit("there is no license")

one = Echo()

def plain(connection):
    pass
"""

HEAD = '[endpoints.a]\nurl = "tcp://127.0.0.1:0"\nplugin = "plug.py:Echo"\n'
WS = '[endpoints.a]\nurl = "ws://127.0.0.1:0/"\nplugin = "plug.py:Echo"\n'
STATIC = '[endpoints.a]\nurl = "http://127.0.0.1:0/"\nhost = "static"\n'
GATEWAY = STATIC.replace("static", "gateway")
TYPED = HEAD.replace("Echo", "Typed")

BROKEN: dict[str, tuple[str, int, str]] = {
    "what is not TOML": ('[endpoints.a]\nurl = "x\n', 2, "is not valid TOML:"),
    "a table that is not closed": ("[endpoints.a\n", 1, "is not valid TOML:"),
    "a key that is there twice": (HEAD + 'url = "tcp://127.0.0.1:1"\n', 4, "is not valid TOML:"),
    "tables in tables": (
        "[[endpoints]]\nurl = 'tcp://127.0.0.1:0'\n",
        1,
        "endpoints: expected a table; got [{ url = 'tcp://127.0.0.1:0' }]",
    ),
    "keys that are nested too deeply": ("a." * 2000 + "b = 1\n", 1, "nested too deeply"),
    "an empty file": ("", 1, "endpoints: is missing: expected a table"),
    "no endpoint": ("[endpoints]\n", 1, "endpoints: expected at least one endpoint"),
    "a misspelt table": (
        HEAD.replace("endpoints", "endpoint"),
        1,
        "endpoint: unknown key: did you mean 'endpoints'?",
    ),
    "an unknown key of the file": ("greeting = 1\n" + HEAD, 1, "greeting: unknown key: there are"),
    "a misspelt key of an endpoint": (
        HEAD + "limit = {}\n",
        4,
        "endpoints.a.limit: unknown key: did you mean 'limits'?",
    ),
    "a port of its own": (HEAD + "port = 80\n", 4, "endpoints.a.port: unknown key: the port is"),
    "an interface as host": (
        HEAD + 'host = "0.0.0.0"\n',
        4,
        "for the requests of one host name write host_name",
    ),
    "a misspelt host": (HEAD + 'host = "inlin"\n', 4, "did you mean 'inline'?"),
    "a host for an application": (
        HEAD.replace("tcp:", "http:") + 'host = "asgi"\n',
        4,
        "ASGI and WSGI applications need no host",
    ),
    "the address of the administration": (
        HEAD.replace(":0", ":4711") + '[admin]\nurl = "http://127.0.0.1:4711"\n',
        5,
        "admin.url: cannot listen on http://127.0.0.1:4711/ and on tcp://127.0.0.1:4711",
    ),
    "a URL with a query": (
        WS.replace(":0/", ":0/?token=abc"),
        2,
        "endpoints.a.url: 'ws://127.0.0.1:0/' cannot be served: only the path",
    ),
    "a date as a limit": (
        HEAD + "limits.connections_max = 2020-01-01\n",
        4,
        "or 'none' for no limit; got 2020-01-01",
    ),
    "a folder that does not exist": (
        STATIC + 'config = { folder = "publc" }\n',
        4,
        "endpoints.a.config.folder: folder does not exist",
    ),
    "no folder": (STATIC, 1, "endpoints.a.config.folder: is missing: expected a string"),
    "a misspelt option of files": (
        STATIC + "config = { folder = '.', indx = ['a'] }\n",
        4,
        "endpoints.a.config.indx: unknown key: did you mean 'index'?",
    ),
    "a page that does not exist": (
        STATIC + "[endpoints.a.config]\nfolder = '.'\nnot_found = '404.html'\n",
        6,
        "endpoints.a.config.not_found: not_found is a file that does not exist",
    ),
    "a plug-in of a host that has none": (
        STATIC + "plugin = 'plug.py:Echo'\nconfig.folder = '.'\n",
        4,
        "endpoints.a.plugin: has no effect with host = 'static': remove it",
    ),
    "files over TCP": (
        STATIC.replace("http:", "tcp:") + "config.folder = '.'\n",
        1,
        "StaticFiles applications are served on http:// and https:// endpoints",
    ),
    "no servers of a gateway": (GATEWAY, 1, "endpoints.a.config.upstreams: is missing"),
    "an empty list of servers": (
        GATEWAY + "config.upstreams = []\n",
        4,
        "endpoints.a.config.upstreams: expected at least one URL",
    ),
    "a server of another protocol": (
        GATEWAY + "config.upstreams = ['http://a:1', 'udp://a:2']\n",
        4,
        "a gateway on http:// does not pass anything on to udp://a:2: expected a URL that begins",
    ),
    "a server with a path": (
        GATEWAY + "config.upstreams = ['http://a:1/app']\n",
        4,
        "http://a:1/app has a path, but requests keep their own",
    ),
    "a misspelt option of a gateway": (
        GATEWAY + "config = { upstreams = ['http://a:1'], retry_max = 1 }\n",
        4,
        "endpoints.a.config.retry_max: unknown key: did you mean 'retries_max'?",
    ),
    "a form of forwarding that does not exist": (
        GATEWAY + "config = { upstreams = ['http://a:1'], forwarded = 'forward' }\n",
        4,
        "endpoints.a.config.forwarded: expected one of 'x-forwarded', 'forwarded', 'both', 'none'",
    ),
    "an option of another kind of gateway": (
        GATEWAY + "config = { upstreams = ['http://a:1'], clients_max = 1 }\n",
        4,
        "endpoints.a.config.clients_max: has no effect here",
    ),
    "a response later than the handshake": (
        GATEWAY + "config = { upstreams = ['http://a:1'], response_seconds = 60 }\n",
        4,
        "a request is answered with 503 after deadlines.handshake_seconds (10)",
    ),
    "a health check without a path": (
        GATEWAY + "config = { upstreams = ['http://a:1'], health.path = 'up' }\n",
        4,
        "endpoints.a.config.health.path: expected a path such as '/health'; there is 'up'",
    ),
    "a limit in the wrong table": (
        HEAD + "message_bytes_max = 10\n",
        4,
        "unknown key: write limits.message_bytes_max",
    ),
    "no plug-in": (
        '[endpoints.a]\nurl = "tcp://127.0.0.1:0"\n',
        1,
        "endpoints.a.plugin: is missing: expected a string",
    ),
    "a plug-in that is a number": (
        HEAD.replace('"plug.py:Echo"', "1"),
        3,
        "endpoints.a.plugin: expected a string; got 1",
    ),
    "no URL": (
        '[endpoints.a]\nplugin = "plug.py:Echo"\n',
        1,
        "endpoints.a: expected url or urls",
    ),
    "url and urls": (HEAD + "urls = []\n", 1, "url and urls exclude each other"),
    "no URL in the list": (
        '[endpoints.a]\nplugin = "plug.py:Echo"\nurls = []\n',
        3,
        "endpoints.a.urls: is empty",
    ),
    "a URL of a list": (
        '[endpoints.a]\nplugin = "plug.py:Echo"\nurls = [\n"tcp://127.0.0.1:0",\n"tpc://x:1"]\n',
        5,
        "endpoints.a.urls[1]: ",
    ),
    "a scheme that does not exist": (
        HEAD.replace("tcp:", "tpc:"),
        2,
        "endpoints.a.url: ",
    ),
    "a URL without a port": (HEAD.replace(":0", ""), 2, "endpoints.a.url: "),
    "a limit that is a truth value": (
        HEAD + "limits.message_bytes_max = true\n",
        4,
        "endpoints.a.limits.message_bytes_max: expected a number such as 1000 or '64KiB'",
    ),
    "a limit in another unit": (
        HEAD + 'limits.message_bytes_max = "64 apples"\n',
        4,
        "got '64 apples'",
    ),
    "a limit of zero": (
        HEAD + "[endpoints.a.limits]\nmessage_bytes_max = 0\n",
        5,
        "a whole number of at least 1",
    ),
    "a misspelt limit": (
        HEAD + "limits.mesage_bytes_max = 1\n",
        4,
        "endpoints.a.limits.mesage_bytes_max: unknown key: did you mean 'message_bytes_max'?",
    ),
    "a deadline below zero": (HEAD + "deadlines.idle_seconds = -1\n", 4, "idle_seconds: "),
    "a framing that does not exist": (
        HEAD + 'framing = "lines"\n',
        4,
        "endpoints.a.framing: expected 'raw', 'line', 'crlf', 'length', a table, or a plug-in such"
        " as 'file.py:message_size'; got 'lines': did you mean 'line'?",
    ),
    "a length of three bytes": (
        HEAD + "framing = { width = 3 }\n",
        4,
        "endpoints.a.framing.width: a length prefix has 1, 2, 4 or 8 bytes; got 3",
    ),
    "a framing on WebSocket": (WS + 'framing = "line"\n', 4, "endpoints.a.framing: "),
    "WebSocket options on TCP": (
        HEAD + 'websocket.messages = "text"\n',
        4,
        "endpoints.a.websocket: ",
    ),
    "a version of WebSocket": (
        WS + "websocket.versions = [14]\n",
        4,
        "endpoints.a.websocket.versions: WebSocket.versions cannot be 14",
    ),
    "a level of compression": (
        WS + "websocket.compression.level = 10\n",
        4,
        "endpoints.a.websocket.compression.level: ",
    ),
    "TLS without a file": (
        HEAD.replace("tcp:", "tls:") + 'tls.certificate = "none.pem"\n',
        4,
        "endpoints.a.tls.certificate: ",
    ),
    "TLS that is missing": (
        HEAD.replace("tcp:", "tls:"),
        2,
        "endpoints.a.url: tls://127.0.0.1:0 needs a certificate: add tls = { certificate = ",
    ),
    "a limit with which others are compared": (
        HEAD + 'limits.write_high_bytes = "much"\nlimits.write_low_bytes = "100KiB"\n',
        4,
        "endpoints.a.limits.write_high_bytes: ",
    ),
    "permissions that are not octal": (
        HEAD.replace("tcp://127.0.0.1:0", "unix:///tmp/x.sock") + 'mode = "rw"\n',
        4,
        "endpoints.a.mode: expected permissions as an octal string, as '660'; got 'rw'",
    ),
    "a file of a plug-in that is missing": (
        HEAD.replace("plug.py", "plugg.py"),
        3,
        "endpoints.a.plugin: there is no file",
    ),
    "an object that is missing": (
        HEAD.replace("Echo", "Ecko"),
        3,
        "endpoints.a.plugin: plug.py has no 'Ecko'; did you mean Echo?",
    ),
    "a file without an object": (
        HEAD.replace(":Echo", ""),
        3,
        "endpoints.a.plugin: 'plug.py' is a file: name the object in it too",
    ),
    "an installed plug-in that is missing": (
        HEAD.replace("plug.py:Echo", "chatter"),
        3,
        "endpoints.a.plugin: there is no plug-in 'chatter'",
    ),
    "a plain function": (HEAD.replace("Echo", "plain"), 3, "plug.py:plain is a plain function"),
    "a plug-in that raises": (HEAD.replace("Echo", "Failing"), 3, "there is no database"),
    "a plug-in that ends the program": (
        HEAD.replace("Echo", "Ending"),
        3,
        "plug.py:Ending could not be created:\n  File",
    ),
    "a file that ends the program": (
        HEAD.replace("plug.py", "ending.py"),
        3,
        "ending.py could not be imported:\n  File",
    ),
    "a misspelt method": (
        HEAD.replace("Echo", "Misspelt"),
        3,
        "Misspelt.on_mesage is not a hook",
    ),
    "a configuration that nobody takes": (
        HEAD + "config.x = 1\n",
        4,
        "endpoints.a.config: plug.py:Echo takes no configuration",
    ),
    "a key of a plug-in's own that is missing": (
        TYPED + "[endpoints.a.config]\nrepeat = 2\n",
        4,
        "endpoints.a.config.greeting: is missing: expected a string",
    ),
    "a misspelt key of a plug-in's own": (
        TYPED + '[endpoints.a.config]\ngreting = "x"\n',
        5,
        "endpoints.a.config.greting: unknown key: did you mean 'greeting'?",
    ),
    "a value of a plug-in's own": (
        TYPED + '[endpoints.a.config]\ngreeting = "x"\nrepeat = "often"\n',
        6,
        "endpoints.a.config.repeat: expected a whole number; got 'often'",
    ),
    "what a plug-in's own check refuses": (
        TYPED + '[endpoints.a.config]\ngreeting = "x"\nrepeat = 10\n',
        4,
        "endpoints.a.config: repeat is 9 at most",
    ),
    "what pydantic refuses": (
        HEAD.replace("Echo", "Modelled") + '[endpoints.a.config]\ngreeting = "x"\nport = "y"\n',
        6,
        "endpoints.a.config.port: Input should be a valid integer",
    ),
    "what a dataclass does not take": (
        HEAD.replace("Echo", "Held") + "config.greeting = 1\n",
        4,
        "endpoints.a.config.greeting: Expected `str`, got `int`",
    ),
    "a variable that is not set": (
        HEAD.replace("127.0.0.1", "${NO_SUCH_VARIABLE}"),
        2,
        "endpoints.a.url: the environment variable NO_SUCH_VARIABLE is not set",
    ),
    "a secret that is missing": (
        TYPED + 'config.greeting = "${file:none.txt}"\n',
        4,
        "endpoints.a.config.greeting: ${file:none.txt}: ",
    ),
    "braces without a meaning": (
        HEAD.replace("127.0.0.1", "${a b}"),
        2,
        "endpoints.a.url: ${a b} has no meaning: expected ${NAME}",
    ),
    "an included file that is missing": (
        'include = ["more.toml"]\n' + HEAD,
        1,
        "more.toml: there is no such file",
    ),
    "a file that includes itself": (
        'include = ["wasp.toml"]\n' + HEAD,
        1,
        "includes itself",
    ),
    "a list of files that is a text": (
        'include = "more.toml"\n' + HEAD,
        1,
        "include: expected a list of files",
    ),
    "workers below one": ("workers = 0\n" + HEAD, 1, "workers: Workers.count must be"),
    "a time of workers": (
        '[workers]\ncount = 2\nhang_seconds = "soon"\n' + HEAD,
        3,
        "workers.hang_seconds: expected a time such as 10",
    ),
    "a log level": (
        '[log]\nlevel = "warn"\n' + HEAD,
        2,
        "log.level: expected one of 'debug', 'info', 'warning', 'error'; got 'warn':"
        " did you mean 'warning'?",
    ),
    "a user that does not exist": (
        'user = "no-such-user"\n' + HEAD,
        1,
        "user: there is no user 'no-such-user'",
    ),
    "a name without letters": (
        HEAD.replace("endpoints.a", 'endpoints.""'),
        1,
        'endpoints."": expected a name that can be read',
    ),
    "a name of two lines": (
        HEAD.replace("endpoints.a", 'endpoints."a\\nb"'),
        1,
        "expected a name that can be read",
    ),
    "a name with a slash": (
        HEAD.replace("endpoints.a", 'endpoints."a/b"'),
        1,
        "endpoints.a/b: expected a name that can be read and is a part of a URL's path",
    ),
    "a reserved name": (
        HEAD.replace("endpoints.a", "endpoints.admin"),
        1,
        "endpoints.admin: this name is reserved",
    ),
    "two endpoints on one address": (
        HEAD.replace(":0", ":4711")
        + HEAD.replace("endpoints.a", "endpoints.b").replace(":0", ":4711"),
        5,
        "endpoints.b.url: cannot listen on tcp://127.0.0.1:4711",
    ),
    "one object for two endpoints": (
        HEAD.replace("Echo", "one")
        + HEAD.replace("Echo", "one").replace("endpoints.a", "endpoints.b"),
        6,
        "endpoints.b.plugin: plug.py:one is one object, which endpoints.a has already",
    ),
}
