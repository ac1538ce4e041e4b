"""A report as text for people."""

from collections.abc import Sequence

from vespiary._counted import counted
from vespiary._credentials import bare_url
from vespiary.prove.load.expectations import Expectation
from vespiary.prove.load.plan import Plan
from vespiary.prove.load.report import Latency, Problem, Report

__all__ = ["as_text"]

_BUSY = 0.9
"""From this share of the time on, the client's own work may be what was measured."""

_COLUMNS = ("minimum", "mean", "p50", "p90", "p99", "p99_9", "maximum")
_HEADS = ("minimum", "mean", "50 %", "90 %", "99 %", "99.9 %", "maximum")

_FAULTS = {
    "refused": ("connection was refused", "connections were refused"),
    "reset": ("connection was reset by the server", "connections were reset by the server"),
    "closed": (
        "connection was closed by the server before the end",
        "connections were closed by the server before the end",
    ),
    "unclosed": (
        "connection was not closed cleanly by the server",
        "connections were not closed cleanly by the server",
    ),
    "altered": ("message came back altered", "messages came back altered"),
    "lost": ("message never came back", "messages never came back"),
    "reordered": ("message came back after a later one", "messages came back after later ones"),
    "duplicated": ("message came back twice", "messages came back twice"),
    "unsent": (
        "message was due and not sent",
        "messages were due and not sent",
    ),
    "extra_bytes": ("byte came that answers nothing", "bytes came that answer nothing"),
    "failed": ("call of the script failed", "calls of the script failed"),
    "violations": (
        "connection broke the protocol",
        "connections broke the protocol",
    ),
}

_FAULTS_OF_REQUESTS = {
    "lost": ("request was not answered", "requests were not answered"),
    "unsent": ("request was due and not sent", "requests were due and not sent"),
    "failed": (
        "request was answered with an error status",
        "requests were answered with an error status",
    ),
}


def as_text(plan: Plan, report: Report, expectations: Sequence[Expectation] = ()) -> str:
    """The report: throughput, a table of latencies, the verdict, and the first problems."""
    opened = f"{report.connected:,} of {counted(report.connections, 'connection')}"
    head = f"{_where(plan)}: {opened} in {report.connect_seconds:.3f} s, {report.driver}"
    size = f"messages of {counted(report.size, 'byte')}"
    if plan.is_http:
        size = f"{plan.method} requests"
    if plan.script is not None:
        size = plan.script
    elif plan.data:
        size = f"{counted(len(plan.data), 'message')} from a file"
    lines = [f"{head}, {size}", ""]
    if plan.script is not None:
        lines += [f"throughput   {report.messages_per_second:,.1f}/s, calls of the script", ""]
    elif report.sent and plan.echo:
        lines += [*_throughput(plan, report), _limited(plan, report), ""]
    elif not plan.echo:
        lines += [*_one_way(report), ""]
    if latencies := _latencies(plan, report):
        lines += [*latencies, ""]
    if plan.steps:
        lines += [*_steps(plan, report), ""]
    lines += _verdict(plan, report)
    if expectations:
        lines += ["", *(_expectation(each, report) for each in expectations)]
    return "\n".join(lines)


def _throughput(plan: Plan, report: Report) -> list[str]:
    per_second = report.messages_per_second
    seconds = report.seconds or 1.0
    busy = report.client_cpu_seconds / seconds
    each_way = f"{_bytes(per_second * report.size)}/s each way"
    if plan.is_http:
        out, back = report.bytes_sent / seconds, report.bytes_received / seconds
        each_way = f"{_bytes(out)}/s of requests, {_bytes(back)}/s of responses"
    return [
        f"throughput   {per_second:,.0f} {_unit(plan)}s/s, {each_way}",
        f"time         {report.seconds:.3f} s for {counted(report.received, _unit(plan))}",
        f"client       {report.client_cpu_seconds:.3f} s of processor time ({busy:.0%})",
    ]


def _unit(plan: Plan) -> str:
    """What is sent."""
    return "request" if plan.is_http else "message"


def _where(plan: Plan) -> str:
    further = len(plan.further_urls)
    return bare_url(plan.url) + (f" and {further} more" if further else "")


def _one_way(report: Report) -> list[str]:
    """The throughput in each direction, where no echo is expected."""
    seconds = report.seconds or 1.0
    rows = (
        ("sent", report.sent, report.bytes_sent),
        ("came", report.received, report.bytes_received),
    )
    return [
        f"{name:<12} {counted(count, 'message')}, {count / seconds:,.0f}/s;"
        f" {_bytes(size / seconds)}/s with framing"
        for name, count, size in rows
    ]


def _limited(plan: Plan, report: Report) -> str:
    """What the throughput was limited by."""
    busy = report.client_cpu_seconds / report.seconds if report.seconds else 0.0
    if report.paced is not None and report.paced.reached:
        limit = f"the rate of {report.paced.planned_per_second:,.0f} {_unit(plan)}s/s"
    elif busy > _BUSY and report.seconds > 0.1:
        limit = "this client, which was busy all the time: the server may do better"
    elif plan.pipeline:
        echoes = "responses" if plan.is_http else "echoes"
        limit = f"waiting for {echoes}, with {counted(plan.pipeline, _unit(plan))} in flight"
        if report.connected != 1:
            limit += " on each connection"
    else:
        limit = "the server, or the network"
    return f"limited by   {limit}"


def _bytes(count: float) -> str:
    for unit in ("B", "kB", "MB"):
        if count < 1000:
            return f"{count:.1f} {unit}"
        count /= 1000
    return f"{count:.2f} GB"


def _steps(plan: Plan, report: Report) -> list[str]:
    """The rates of each step; intervals of the series count for the step that they begin in."""
    lines = ["step         messages/s       sent       back   99 % in the worst interval"]
    end = 0.0
    for rate, seconds in plan.steps:
        begin, end = end, end + seconds
        points = [it for it in report.series if begin <= it.start_seconds < end]
        sent = sum(it.sent for it in points) / seconds
        back = sum(it.received for it in points) / seconds
        worst = max((it.latency_seconds.p99 for it in points), default=0.0)
        lines.append(
            f"  {begin:5.1f} s   {rate:12,.0f} {sent:10,.0f} {back:10,.0f}   {_time(worst)}"
        )
    return lines


def _latencies(plan: Plan, report: Report) -> list[str]:
    what = _unit(plan) if plan.script is None else "call"
    rows = [("connect", report.connect_latency_seconds), (what, report.latency_seconds)]
    cases = [f"  {name:<9}{_row(latency)}" for name, latency in rows if latency.count]
    if not cases:
        return []
    return ["latency    " + "".join(f"{head:>11}" for head in _HEADS), *cases]


def _row(latency: Latency) -> str:
    return "".join(f"{_time(getattr(latency, column)):>11}" for column in _COLUMNS)


def _time(seconds: float) -> str:
    if seconds < 1e-3:
        return f"{seconds * 1e6:.1f} us"
    if seconds < 1:
        return f"{seconds * 1e3:.2f} ms"
    return f"{seconds:.3f} s"


def _verdict(plan: Plan, report: Report) -> list[str]:
    lines = _stopped(plan, report)
    if report.clean:
        return [*lines, _no_fault(plan, report)]
    if (paced := report.paced) is not None and not paced.reached and report.complete:
        rates = f"{paced.reached_per_second:,.0f} of {paced.planned_per_second:,.0f}"
        lines.append(f"FAILED: the rate was not reached: {rates} {_unit(plan)}s/s.")
    for host, why in report.hosts_failed.items():
        lines.append(f"FAILED: host {host} did not do its share to the end: {why}.")
    faults = _FAULTS | _FAULTS_OF_REQUESTS if plan.is_http else _FAULTS
    for name, (one, several) in faults.items():
        count: int = getattr(report, name)
        if count:
            lines.append(f"FAILED: {counted(count, one, several)}.")
    if report.problems:
        lines += ["", "The first problems:"]
    for problem in report.problems:
        lines += _problem(problem)
    if report.problems_omitted:
        lines.append(f"  and {report.problems_omitted:,} more")
    if plan.script is None:
        lines.append(f"--seed {report.seed} sends the same again.")
    return lines


def _expectation(expectation: Expectation, report: Report) -> str:
    measured = expectation.measured(report)
    text = _time(measured) if expectation.is_time else f"{measured:,.0f}"
    if expectation.is_share:
        text = f"{measured:.3g}%"
    if expectation.is_met(report):
        return f"expected {expectation.text}: met, {text}"
    return f"FAILED: expected {expectation.text}, but it was {text}."


def _stopped(plan: Plan, report: Report) -> list[str]:
    if report.complete:
        return []
    if not report.abandoned:
        return ["The run was stopped before its end."]
    if plan.script is not None:
        left = counted(report.abandoned, "call was", "calls were")
        return [f"The run was stopped before its end; {left} not over."]
    left = counted(report.abandoned, f"{_unit(plan)} was", f"{_unit(plan)}s were")
    return [f"The run was stopped before its end; {left} still in flight."]


def _no_fault(plan: Plan, report: Report) -> str:
    if plan.script is not None:
        return f"{counted(report.received, 'call')} of the script ended without an exception."
    if plan.is_http and report.sent:
        return f"{counted(report.received, 'request was', 'requests were')} answered."
    if plan.echo:
        return _all_came_back(report)
    opened = counted(report.connected, "connection was", "connections were")
    return f"{opened} opened and closed; what came was counted and not compared with anything."


def _all_came_back(report: Report) -> str:
    if not report.sent:
        if not report.connected:
            return "No connection was opened."
        opened = counted(report.connected, "connection was", "connections were")
        return f"{opened} opened and closed; no message was sent."
    if report.received < report.sent:
        back = f"{report.received:,} of {counted(report.sent, 'message')}"
        return f"{back} came back, as they were sent."
    if report.sent == 1:
        return "The message came back as it was sent."
    return f"All {report.sent:,} messages came back as they were sent."


def _problem(problem: Problem) -> list[str]:
    where = f"connection {problem.connection}"
    if problem.message is not None:
        where += f", message {problem.message}"
    if problem.offset is not None:
        where += f", byte {problem.offset}"
    text = f": {problem.text}" if problem.text else ""
    lines = [f"  {problem.fault}: {where}{text}"]
    if problem.expected or problem.got:
        lines.append(f"    expected {_excerpt(problem.expected)}")
        lines.append(f"    got      {_excerpt(problem.got)}")
    return lines


def _excerpt(excerpt: bytes) -> str:
    return excerpt.hex(" ") if excerpt else "nothing"
