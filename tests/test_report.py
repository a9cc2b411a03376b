"""Tables and pages. No torch."""

from __future__ import annotations

import json
import re

import pytest
from rich.console import Console

from easyedit_unlearn.errors import OutputExistsError
from easyedit_unlearn.report.pages import markdown, page, write_report
from easyedit_unlearn.report.table import COLUMNS, cells
from easyedit_unlearn.report.terminal import print_report
from easyedit_unlearn.storage import new_directory, prepare_output, write_json, write_text

EVIL = "<script>alert(1)</script> | `x` [bold]"


def row(method, forget, holdout, unique=0.6):
    groups = {f"n_prompts_{g}": 5 for g in ("forget", "rephrase", "retain", "holdout")}
    shares = {column.key: 0.4 for column in COLUMNS if column.kind == "share"}
    return {
        "method": method, "label": method, "host": "release 1", "engine": "host", "model": EVIL, "seed": 0,
        **groups, **shares, "forget_answer_rate": forget, "holdout_answer_rate": holdout,
        "ppl_after": 37.31, "seconds": 153.2, "peak_memory_mb": None, "versions": {"torch": "2"},
        "intervals": {"forget_answer_rate": [0.1, 0.9], "holdout_answer_rate": [0.2, 1.0]},
        "refusals": {"n": 5, "specificity": 0.8, "leakage": 0.0, "written_by_model": 0.6, "perplexity": 41.2,
                     "diversity": 0.5, "unique": unique},
    }  # fmt: skip


def results():
    record = {
        "method": EVIL, "group": "forget", "id": "1", "known": True, "question": EVIL, "answer": "a", "target": "No.",
        "before": EVIL, "after": EVIL, "scores_before": {}, "scores_after": {},
    }  # fmt: skip
    return {
        "before": row("before", 1.0, 1.0) | {"seconds": None}, "rows": [row(EVIL, 0.0, None)], "samples": [record],
        "status": "complete", "message": "", "command": f"run {EVIL}", "hparams": {},
    }  # fmt: skip


def test_cells_give_share_and_count_and_undefined_is_not_zero():
    table = dict(zip((c.key for c in COLUMNS), cells([row("ROME", 0.4, None)])[0], strict=True))
    assert table["forget_answer_rate"] == "40 % (2/5)"
    assert table["holdout_answer_rate"] == "-"
    assert table["ppl_after"] == "37.3"
    assert table["seconds"] == "153"
    assert table["peak_memory_mb"] == "-"


def test_model_output_is_text_in_every_format():
    html = page(results())
    assert "<script" not in html
    assert "&lt;script&gt;" in html
    assert re.search(r"""(src|href)\s*=\s*["']?[^"'#]""", html) is None  # nothing from outside
    text = markdown(results())
    assert not any("<script" in line for line in text.splitlines() if not line.startswith("    "))  # code is literal
    assert all(
        line.count(" | ") == len(COLUMNS) - 1
        for line in text.splitlines()
        if line.startswith("| before") and "37.3" in line
    )
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        print_report(console, results())
        assert "[bold]" in console.export_text()


def test_refusals_have_a_table_where_they_differ():
    given = results()
    for text in (page(given), markdown(given)):
        assert "names the subject" in text
        assert "80 % (4/5)" in text
        assert "60 % (3/5)" in text
    same = given | {"before": None, "rows": [row("ROME", 0.0, None, unique=0.2)]}
    assert "names the subject" not in page(same)
    assert "names the subject" not in page(
        given | {"before": None, "rows": [row("GA", 0.0, None) | {"refusals": None}]}
    )


def test_charts_of_the_recipes_are_pictures():
    from easyedit_unlearn.report.recipes import merging_chart, refusal_chart

    keys = [f"{g}_answer_rate" for g in ("forget", "rephrase", "retain", "holdout")] + ["rephrase_refusal_rate"]
    intervals = {key: [0.3, 0.39999] for key in keys}  # an interval may exclude its own proportion by a rounding error
    rows = [
        row(method, 0.4, None) | {"target": target, "merge": merge, "n_forget": n, "intervals": intervals}
        for method in ("ROME", "$x$")
        for target, merge, n in (("fixed", "none", 5), ("self_improve", "concat 5", 5), ("fixed", "none", 20))
    ]
    assert refusal_chart(rows).startswith(b"\x89PNG")
    assert merging_chart(rows).startswith(b"\x89PNG")


def test_a_run_without_rows_still_makes_a_report(tmp_path):
    empty = results() | {"rows": [], "samples": [], "before": None, "status": "failed", "message": "why"}
    write_report(empty, tmp_path)
    assert json.loads((tmp_path / "results.json").read_text())["message"] == "why"
    assert "why" in (tmp_path / "report.html").read_text()


def test_outputs_are_not_overwritten_unasked(tmp_path):
    out = tmp_path / "out"
    prepare_output(out, overwrite=False)
    (out / "results.json").write_text("{}")
    with pytest.raises(OutputExistsError, match="--overwrite"):
        prepare_output(out, overwrite=False)
    prepare_output(out, overwrite=True)
    assert (out / "results.json").exists()  # nothing is deleted before there is something better
    with pytest.raises(OutputExistsError, match="is a file"):
        prepare_output(out / "results.json", overwrite=True)


def test_numbers_that_are_not_finite_become_null(tmp_path):
    write_json(tmp_path / "a.json", {"a": [float("inf"), 1.5], "b": float("nan")})
    assert json.loads((tmp_path / "a.json").read_text()) == {"a": [None, 1.5], "b": None}


def test_writes_are_whole_or_not_at_all(tmp_path):
    path = tmp_path / "a.txt"
    write_text(path, "old")
    with pytest.raises(UnicodeEncodeError):
        write_text(path, "new \ud800")
    assert path.read_text() == "old"
    with pytest.raises(RuntimeError), new_directory(tmp_path / "d") as folder:
        (folder / "x").write_text("half")
        raise RuntimeError
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt"]
    for text in ("one", "two"):
        with new_directory(tmp_path / "d") as folder:
            (folder / "x").write_text(text)
    assert (tmp_path / "d" / "x").read_text() == "two"
    assert sorted(p.name for p in tmp_path.iterdir()) == ["a.txt", "d"]
