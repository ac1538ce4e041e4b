"""Which circles of orders are reported, on orders made up for it."""

from dataclasses import replace

from vespiary.prove.locks.facts import Edge, Thread
from vespiary.prove.locks.graph import circles


def thread(number: int, parent: int | None = None, born: int = 0) -> Thread:
    return Thread(
        number=number,
        tid=number,
        alive=True,
        parent=parent,
        born=born,
        joiner=None,
        joined=0,
        waiting=None,
        waiting_shared=False,
        waiting_stack=None,
        waiting_since=0,
        operations=1,
        contended=0,
        name=f"t{number}",
        held=(),
    )


def order(of: int, first: int, to: int, *gates: int, moment: int = 10) -> Edge:
    return Edge(of, moment, first, to, False, False, None, 0, 0, frozenset(gates))


THREADS = {number: thread(number) for number in range(40)}


def test_a_ring_of_any_length_is_one_circle() -> None:
    for length in (2, 3, 7, 25):
        ring = [order(number, number, (number + 1) % length) for number in range(length)]
        (found,) = circles(ring, THREADS)
        assert found.threads == length
        assert found.locks == frozenset(range(length))


def test_a_ring_begins_with_the_order_that_was_seen_first() -> None:
    ring = [replace(order(number, number, (number + 1) % 3), time=90 - number) for number in (0, 1)]
    (found,) = circles([*ring, replace(order(2, 2, 0), time=5)], THREADS)
    assert [edge.thread for edge in found.edges] == [2, 0, 1]


def test_a_ring_in_which_a_thread_comes_twice_is_not_a_circle() -> None:
    ring = [order(1, 0, 1), order(2, 1, 2), order(1, 2, 0)]
    assert circles(ring, THREADS) == []


def test_another_thread_with_the_same_order_makes_it_one() -> None:
    ring = [order(1, 0, 1), order(2, 1, 2), order(1, 2, 0), order(3, 2, 0)]
    (found,) = circles(ring, THREADS)
    assert found.threads == 3


def test_a_common_gate_keeps_it_apart_and_different_gates_do_not() -> None:
    assert circles([order(1, 0, 1, 9), order(2, 1, 0, 9)], THREADS) == []
    assert len(circles([order(1, 0, 1, 8), order(2, 1, 0, 9)], THREADS)) == 1


def test_an_order_made_both_under_the_gate_and_without_it_counts() -> None:
    orders = [order(1, 0, 1, 9), order(2, 1, 0, 9), order(2, 1, 0)]
    assert len(circles(orders, THREADS)) == 1


def test_what_was_over_before_a_thread_was_made_is_not_a_circle_with_it() -> None:
    threads = {**THREADS, 2: thread(2, parent=1, born=20)}
    early, late = order(1, 0, 1, moment=10), order(2, 1, 0, moment=25)
    assert circles([early, late], threads) == []
    assert len(circles([replace(early, segment=21), late], threads)) == 1


def test_what_was_joined_before_is_not_a_circle_with_what_comes_after() -> None:
    joined = replace(thread(1, parent=0, born=5), joiner=0, joined=15)
    threads = {**THREADS, 0: thread(0), 1: joined, 2: thread(2, parent=0, born=20)}
    assert circles([order(1, 0, 1, moment=6), order(2, 1, 0, moment=21)], threads) == []
    beside = {**threads, 2: thread(2, parent=0, born=10)}
    assert len(circles([order(1, 0, 1, moment=6), order(2, 1, 0, moment=11)], beside)) == 1


def test_readers_that_meet_do_not_wait_for_each_other() -> None:
    one = replace(order(1, 0, 1), first_shared=True, to_shared=True)
    other = replace(order(2, 1, 0), first_shared=True, to_shared=True)
    assert circles([one, other], THREADS) == []
    assert len(circles([one, replace(other, first_shared=False)], THREADS)) == 0
    writes = replace(other, first_shared=False, to_shared=False)
    assert len(circles([replace(one, first_shared=True), writes], THREADS)) == 1


def test_many_orders_without_a_circle_are_seen_through_fast() -> None:
    orders = [order(number % 8, number, number + 1) for number in range(20_000)]
    assert circles(orders, THREADS) == []


def test_what_hundreds_of_threads_do_alike_is_looked_through_once() -> None:
    threads = {number: thread(number) for number in range(600)}
    gated = [order(number, 0, 1, 9) for number in range(300)]
    gated += [order(number, 1, 0, 9) for number in range(300, 600)]
    limits: list[frozenset[int]] = []
    assert circles(gated, threads, limits.append) == []
    assert not limits
    free = order(599, 1, 0, 8)
    (found,) = circles([*gated, free], threads, limits.append)
    assert found.edges[1] == free


def test_orders_of_a_chain_of_hundreds_of_threads_are_in_its_order() -> None:
    threads = {0: thread(0)}
    threads |= {number: thread(number, number - 1, number * 10) for number in range(1, 300)}
    early, late = order(0, 0, 1, moment=5), order(299, 1, 0, moment=5000)
    assert circles([early, late], threads) == []


def test_locks_in_every_order_are_reported_in_pairs() -> None:
    orders = [
        order(first, first, second)
        for first in range(30)
        for second in range(30)
        if first != second
    ]
    found = circles(orders, THREADS)
    assert len(found) == 30 * 29 // 2
    assert {len(circle.edges) for circle in found} == {2}


def test_a_search_that_gives_up_says_so() -> None:
    # Each circle has a gate, so that none is reported; and there are very many.
    orders = [
        order(int(second < first), first, second, 99)
        for first in range(40)
        for second in range(40)
        if first != second
    ]
    limits: list[frozenset[int]] = []
    assert circles(orders, THREADS, limits.append) == []
    assert limits
