"""SQLAlchemy on SQLite: a pool of connections shared by threads, which come and go."""

import tempfile
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from sqlalchemy import Column, Integer, create_engine, func, select
from sqlalchemy.orm import Session, declarative_base
from sqlalchemy.pool import QueuePool

Base = declarative_base()


class Entry(Base):
    __tablename__ = "entries"
    id = Column(Integer, primary_key=True)
    number = Column(Integer)


with tempfile.TemporaryDirectory() as folder:
    engine = create_engine(
        f"sqlite:///{Path(folder, 'data')}",
        poolclass=QueuePool,
        pool_size=3,
        max_overflow=2,
        connect_args={"check_same_thread": False, "timeout": 60},
    )
    Base.metadata.create_all(engine)

    def work(number):
        with Session(engine) as session:
            session.add(Entry(number=number))
            session.commit()
        with Session(engine) as session:
            return session.scalar(select(func.count()).where(Entry.number == number))

    for _ in range(3):
        with ThreadPoolExecutor(8) as pool:
            print(sum(pool.map(work, range(60))))
        engine.dispose()
