"""The pictures of benchmarks/results as files of the documentation, so that none has to lie there twice."""

from __future__ import annotations

from pathlib import Path
from typing import Any

from mkdocs.structure.files import File, Files

RESULTS = Path(__file__).parent.parent / "benchmarks" / "results"


def on_files(files: Files, config: Any) -> Files:
    for picture in sorted([*RESULTS.glob("*.png"), *RESULTS.glob("*.svg")]):
        files.append(File.generated(config, f"results/{picture.name}", abs_src_path=str(picture)))
    return files
