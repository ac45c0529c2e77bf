"""`make demo`: Tenantry at work between a real control plane, a real Postgres and Argo CD's real controller.

It stays until Ctrl-C. With ONCE=1 in the environment it adds one tenant in each source, prints the table and ends; its
exit code then says whether every tenant has its Application.
"""

import asyncio
import ctypes
import os
import shutil
import signal
import sys
import tempfile
from contextlib import suppress
from pathlib import Path
from types import FrameType

from tenantry.errors import TenantryError
from tests.demo.board import Board
from tests.demo.stack import Stack, running
from tests.demo.table import Table, rendered
from tests.support import article
from tests.support.background import background
from tests.support.binaries import Binaries, BuildFailed, ensure
from tests.support.child import PR_SET_PDEATHSIG
from tests.support.control_plane import KubectlFailed
from tests.support.eventually import eventually
from tests.support.postgres import execute
from tests.support.processes import Ended
from tests.support.progress import Progress

_ENDS = (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)
_INTERRUPTED = 130
_NEW_ROW = ("november_media", "trial")
_NEW_TENANT = """\
apiVersion: tenantry.dev/v1alpha1
kind: Tenant
metadata:
  name: mike-analytics
spec:
  parameters:
    status: trial
"""
_SAMPLES = ("kilo-logistics", "lima-foods")


def main() -> int:
    """Run the demo; return its exit code."""
    _end_with_parent()
    for number in _ENDS:
        signal.signal(number, _interrupt)
    directory = Path(tempfile.mkdtemp(prefix="tenantry-demo-"))
    try:
        code = _run(directory, once=bool(os.environ.get("ONCE")))
    except KeyboardInterrupt:
        code = _INTERRUPTED
    if code in (0, _INTERRUPTED):
        shutil.rmtree(directory)
    else:
        print(f"the logs are in {directory}", file=sys.stderr)
    return code


def _end_with_parent() -> None:
    """Have Linux end the demo, cleanly, when `make` is killed."""
    if sys.platform == "linux":
        ctypes.CDLL(None).prctl(PR_SET_PDEATHSIG, int(signal.SIGTERM))


def _interrupt(number: int, frame: FrameType | None) -> None:
    raise KeyboardInterrupt


def _run(directory: Path, *, once: bool) -> int:
    try:
        with Progress() as progress:
            binaries = ensure(progress)
    except BuildFailed as error:
        print(error, file=sys.stderr)
        return 1
    try:
        return asyncio.run(_demo(binaries, directory, once=once))
    except asyncio.CancelledError:
        return _INTERRUPTED if once else 0
    except (AssertionError, Ended, KubectlFailed, OSError, TenantryError) as error:
        print(error, file=sys.stderr)
        return 1


async def _demo(binaries: Binaries, directory: Path, *, once: bool) -> int:
    _cancel_on_signals()
    print(f"starting, with logs in {directory}", flush=True)
    async with running(binaries, directory) as stack:
        board = Board(stack)
        async with background(board.run()) as following:
            await stack.argocd.apply_application_set(article.application_set())
            if once:
                return await _once(stack, board)
            table = Table(_notes(stack, directory))
            while not following.done():
                stack.check()
                table.show(board.lines())
                board.changed.clear()
                with suppress(TimeoutError):
                    async with asyncio.timeout(1):
                        await board.changed.wait()
    return 1


def _cancel_on_signals() -> None:
    """Cancel the calling task at the first signal; the later ones must not cut its tidying up short."""
    task = asyncio.current_task()
    loop = asyncio.get_running_loop()
    pending = [task]

    def end() -> None:
        if pending and (first := pending.pop()) is not None:
            first.cancel()

    for number in _ENDS:
        loop.add_signal_handler(number, end)


async def _once(stack: Stack, board: Board) -> int:
    expected = {*article.TENANTS, *_SAMPLES}
    complete = await _complete(stack, board, expected)
    if complete:
        print("\nadding a row and a Tenant ...", flush=True)
        board.note_change(_NEW_ROW[0])
        await execute(stack.dsn, article.rows(_NEW_ROW))
        expected.add(_NEW_ROW[0])
        complete = await _complete(stack, board, expected)
    if complete:
        board.note_change("mike-analytics")
        await stack.control_plane.kubectl("apply", "--filename=-", stdin=_NEW_TENANT)
        expected.add("mike-analytics")
        complete = await _complete(stack, board, expected)
    print("\n" + "\n".join(rendered(board.lines())))
    if not complete:
        print(f"without an Application or a namespace: {', '.join(board.missing(expected))}", file=sys.stderr)
        return 1
    seconds = {line.tenant: line.seconds for line in board.lines()}
    print(f"\nfrom INSERT to Application: {seconds[_NEW_ROW[0]]:.2f} s")
    print(
        f"from kubectl apply to Application: {seconds['mike-analytics']:.2f} s, kubectl's own start included",
        flush=True,
    )
    return 0


async def _complete(stack: Stack, board: Board, expected: set[str]) -> bool:
    """Wait until every expected tenant is there; return whether it came to that."""

    def complete() -> bool:
        stack.check()
        return not board.missing(expected)

    try:
        await eventually(complete, within=60, what="every tenant has its Application")
    except AssertionError:
        return False
    return True


def _notes(stack: Stack, directory: Path) -> list[str]:
    kubectl, psql = stack.binaries.kubectl, stack.postgres.programs() / "psql"
    insert = "INSERT INTO organization VALUES ('oscar_labs', 'active')"
    return [
        "",
        "Tenants from Kubernetes and from Postgres become Argo CD Applications. Try, in another terminal:",
        f"  export KUBECONFIG={stack.control_plane.kubeconfig} DSN={stack.dsn}",
        f"  {kubectl} get tenants,applications --all-namespaces",
        f'  {psql} "$DSN" --command "{insert}"',
        f"  curl --request POST --header 'Authorization: Bearer {stack.generator.token}' "
        f"{stack.generator.url}/api/v1/getparams.execute",
        f"Logs: {directory}. Argo CD's application controller is played by a stand-in: nothing is deployed.",
        "AFTER: from a tenant's change, or the ApplicationSet's creation if that was later, to its Application.",
        "Ctrl-C ends everything.",
        "",
    ]


if __name__ == "__main__":
    sys.exit(main())
