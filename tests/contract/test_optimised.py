"""What images run, compiled as they compile it: no failpoint is left, and nothing else goes with them."""

import ast
import dis
from collections.abc import Iterator
from pathlib import Path
from types import CodeType
from typing import Final

import pytest

ROOT: Final = Path(__file__).parents[2]
OWN: Final = ROOT / "libs" / "runtime" / "failpoint.py"
MODULES: Final = sorted(
    path for folder in ("services", "libs", "deploy") for path in (ROOT / folder).rglob("*.py") if path != OWN
)
SAMPLE: Final = """
from libs.runtime import failpoint

async def work():
    if __debug__:
        await failpoint.reached("sample.begun")
    return 1
"""


def codes(code: CodeType) -> Iterator[CodeType]:
    """The code and all that is inside it."""
    yield code
    for constant in code.co_consts:
        if isinstance(constant, CodeType):
            yield from codes(constant)


def failpoints(source: str, optimise: int) -> list[str]:
    """Where the compiled source uses failpoints."""
    return [
        f"{code.co_name}: {step.argval}"
        for code in codes(compile(source, "module", "exec", optimize=optimise))
        for step in dis.get_instructions(code)
        if step.opname.startswith("LOAD") and step.argval == "failpoint"
    ]


def is_failpoint(statement: ast.stmt) -> bool:
    """``await failpoint.reached("…")``."""
    match statement:
        case ast.Expr(
            value=ast.Await(
                value=ast.Call(
                    func=ast.Attribute(value=ast.Name(id="failpoint"), attr="reached"),
                    args=[ast.Constant(value=str())],
                    keywords=[],
                )
            )
        ):
            return True
    return False


def is_for_failpoints(node: ast.If) -> bool:
    return all(map(is_failpoint, node.body)) and not node.orelse


def hides_failpoints(node: ast.AST) -> bool:
    """Whether it imports them under a name that ``failpoints`` does not know."""
    match node:
        case ast.ImportFrom(module="libs.runtime", names=names):
            return any(each.name == "failpoint" and each.asname for each in names)
        case ast.ImportFrom(module="libs.runtime.failpoint"):
            return True
        case ast.Import(names=names):
            return any(each.name == "libs.runtime.failpoint" for each in names)
    return False


def misuses(source: str) -> list[str]:
    """What would behave differently in an image besides failpoints, or would hide one."""
    tree = ast.parse(source)
    allowed = {node.test for node in ast.walk(tree) if isinstance(node, ast.If) and is_for_failpoints(node)}
    found = []
    for node in ast.walk(tree):
        if isinstance(node, ast.Assert):
            found.append(f"line {node.lineno}: assert")
        if isinstance(node, ast.Name) and node.id == "__debug__" and node not in allowed:
            found.append(f"line {node.lineno}: __debug__")
        if hides_failpoints(node):
            found.append("an import of failpoints under another name")
    return found


def test_a_failpoint_is_there_without_optimisation_and_gone_with_it() -> None:
    assert failpoints(SAMPLE, 0)
    assert failpoints(SAMPLE, 1) == []
    assert failpoints(SAMPLE.replace("if __debug__", "if True"), 1)


@pytest.mark.parametrize(
    "wrong",
    [
        SAMPLE.replace("return 1", "assert True"),
        SAMPLE.replace('await failpoint.reached("sample.begun")', "pass"),
        SAMPLE.replace("    return 1", "    else:\n        return 2"),
        SAMPLE.replace('"sample.begun"', "name"),
        SAMPLE.replace("return 1", "return __debug__"),
        SAMPLE.replace("if __debug__", "if not __debug__"),
        SAMPLE.replace("import failpoint", "import failpoint as place"),
        SAMPLE.replace("libs.runtime import failpoint", "libs.runtime.failpoint import reached"),
    ],
)
def test_nothing_but_a_failpoint_may_depend_on_optimisation(wrong: str) -> None:
    assert misuses(SAMPLE) == []
    assert misuses(wrong) != []


@pytest.mark.parametrize("module", MODULES, ids=lambda path: str(path.relative_to(ROOT)))
def test_no_module_of_an_image_has_a_failpoint_or_needs_its_assertions(module: Path) -> None:
    source = module.read_text("utf-8")
    assert failpoints(source, 1) == []
    assert misuses(source) == []
