"""tox's inline plugin: the environments for EasyEdit's main branch are skipped, with a message, without a clone."""

from __future__ import annotations

import os
from typing import Any

from tox.plugin import impl
from tox.tox_env.errors import Skip


@impl
def tox_on_install(tox_env: Any, arguments: Any, section: str, of_type: str) -> None:
    if "main" in tox_env.conf.name.split("-") and not os.environ.get("EASYEDIT_HOME"):
        raise Skip("EASYEDIT_HOME is not set: clone https://github.com/zjunlp/EasyEdit and point it there")
