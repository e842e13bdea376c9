"""Any program as a case, with its text as the name. What it raises, or how it ends, is the finding."""

from .draw import Draw, Finding, Verdict


def program(name: str, draw: Draw) -> str:
    return name


def judge(name: str, draw: Draw, stage) -> Verdict:
    stage("program")
    try:
        exec(name, {})
    except Exception as error:
        return Verdict("raises", [Finding("raises", f"{type(error).__name__}: {error}")])
    return Verdict("runs")
