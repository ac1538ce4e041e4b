"""SQLAlchemy on PostgreSQL by psycopg2: a pool of connections shared by threads, which come and go.

It starts a server of its own (Debian's postgresql), as the user postgres where it is run by root.
"""

import os
import shutil
import socket
import subprocess
import tempfile
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import Column, Integer, create_engine, func, select
from sqlalchemy.exc import OperationalError
from sqlalchemy.orm import Session, declarative_base

Base = declarative_base()
PROGRAMS = sorted(Path("/usr/lib/postgresql").glob("*/bin"))[-1]


class Entry(Base):
    __tablename__ = "entries"
    id = Column(Integer, primary_key=True)
    number = Column(Integer)


def free_port():
    with socket.create_server(("127.0.0.1", 0)) as listener:
        return listener.getsockname()[1]


def as_user(program, *words):
    command = [str(PROGRAMS / program), *words]
    if os.geteuid() != 0:
        return command
    return ["runuser", "-u", "postgres", "--preserve-environment", "--", *command]


def work(number):
    with Session(engine) as session:
        session.add(Entry(number=number))
        session.commit()
    with Session(engine) as session:
        return session.scalar(select(func.count()).where(Entry.number == number))


folder = tempfile.mkdtemp()
data = f"{folder}/data"
if os.geteuid() == 0:
    shutil.chown(folder, "postgres")
quiet = {"stdout": subprocess.DEVNULL, "stderr": subprocess.DEVNULL, "cwd": folder}
begin = as_user("initdb", "-D", data, "-U", "postgres", "-A", "trust", "-N")
subprocess.run(begin, check=True, **quiet)
port = free_port()
server = subprocess.Popen(
    as_user("postgres", "-D", data, "-p", str(port), "-h", "127.0.0.1", "-k", folder), **quiet
)
engine = create_engine(
    f"postgresql+psycopg2://postgres@127.0.0.1:{port}/postgres", pool_size=3, max_overflow=2
)
for _ in range(600):
    try:
        engine.connect().close()
        break
    except OperationalError:
        time.sleep(0.1)
Base.metadata.create_all(engine)
for _ in range(3):
    with ThreadPoolExecutor(8) as pool:
        print(sum(pool.map(work, range(60))))
    engine.dispose()
server.terminate()
server.wait(60)
shutil.rmtree(folder)
