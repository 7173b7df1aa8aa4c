"""The package's page, held to the library by the type checker."""

import os
import re
import textwrap
from pathlib import Path

from mypy import api

HERE = Path(__file__).parent.parent

PRELUDE = """
import grpc, httpx, jotsmith, jotsmith.httpx, jotsmith.requests, requests
client: jotsmith.Client
aio_client: jotsmith.aio.Client
tls: grpc.ChannelCredentials
url: str
"""


def test_what_the_page_shows_is_there(tmp_path, monkeypatch):
    blocks = re.findall(r"```python\n(.*?)```", (HERE / "README.md").read_text(), re.DOTALL)
    assert len(blocks) == 5
    # In functions of asyncio, so that a block may await; a name may be given anew in each.
    shown = [f"async def block_{n}() -> None:\n{textwrap.indent(block, '    ')}" for n, block in enumerate(blocks)]
    program = tmp_path / "shown.py"
    program.write_text(PRELUDE + "\n".join(shown))
    monkeypatch.setenv("MYPYPATH", str(HERE / "src"))
    # Errors of the library itself are found elsewhere.
    cache = os.environ.get("PYTHONPYCACHEPREFIX", str(tmp_path)) + "/readme"
    told, wrong, status = api.run(["--follow-imports=silent", "--cache-dir", cache, "--config-file=", str(program)])
    assert status == 0, told + wrong
