"""Tables and pages. No torch."""

from __future__ import annotations

import csv
import io
import json
import re
import sys
from dataclasses import replace
from pathlib import Path

import pytest
from rich.console import Console

sys.path.insert(0, str(Path(__file__).parent / "fixture_plugin"))
import unlearn_fixture_plugin

from easyedit_unlearn.errors import OutputExistsError
from easyedit_unlearn.plugins.load import default_plugins
from easyedit_unlearn.report.charts import charts, lens_map, over_size
from easyedit_unlearn.report.compare import against_best, comparison_cells
from easyedit_unlearn.report.html import page
from easyedit_unlearn.report.markdown import markdown
from easyedit_unlearn.report.pages import write_report
from easyedit_unlearn.report.spreadsheet import csv_text
from easyedit_unlearn.report.table import all_rows, best_places, cells, note_lines, quality_tables, table_columns
from easyedit_unlearn.report.terminal import print_leaderboard, print_report
from easyedit_unlearn.results import Results
from easyedit_unlearn.storage import new_directory, prepare_output, write_json, write_outputs, write_text

METRICS = list(default_plugins().metrics)
COLUMNS = table_columns(METRICS)
EVIL = "<script>alert(1)</script> | `x` [bold]"


def row(method, forget, holdout, unique=0.6):
    groups = {f"n_prompts_{g}": 5 for g in ("forget", "rephrase", "retain", "holdout")}
    shares = {column.key: 0.4 for column in COLUMNS if column.format == "share"}
    return {
        "method": method, "label": method, "host": "release 1", "engine": "host", "model": EVIL, "seed": 0,
        "n_forget": 5, **groups, **shares, "forget_answer_rate": forget, "holdout_answer_rate": holdout,
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
    before = row("before", 1.0, 1.0) | {"seconds": None}
    return Results(before, [row(EVIL, 0.0, None)], [record], status="complete", command=f"run {EVIL}")


def test_facts_that_were_not_known_are_told_once_a_setting():
    rows = [row(name, 0.0, 1.0) | {"n_forget": 3, "n_known": 2} for name in ("A", "B")]
    assert note_lines(rows) == ["1 of 3 was not known before, and counts in no share"]
    assert note_lines([row("A", 0.0, 1.0) | {"n_known": 5}]) == []


def test_what_models_say_to_the_forget_set_is_a_table_of_its_own():
    quality = {"n": 5, "specificity": 0.8, "leakage": 0.2, "perplexity": 41.2, "diversity": 0.5, "unique": 0.6}
    (found,) = quality_tables([row("before", 1.0, 1.0, unique=0.0) | {"refusals": None, "replies": quality}])
    assert found.title == "What they say to the forget set"
    assert found.cells == [["before", "5", "80 % (4/5)", "20 % (1/5)", "41.2", "0.50", "60 %"]]


def test_cells_give_share_and_count_and_undefined_is_not_zero():
    table = dict(zip((c.key for c in COLUMNS), cells([row("ROME", 0.4, None)], COLUMNS)[0], strict=True))
    assert table["forget_answer_rate"] == "40 % (2/5)"
    assert table["holdout_answer_rate"] == "-"
    assert table["ppl_after"] == "37.3"
    assert table["seconds"] == "153"
    assert table["peak_memory_mb"] == "-"


def test_model_output_is_text_in_every_format():
    html = page(results(), METRICS)
    assert "<script>alert" not in html
    assert "&lt;script&gt;" in html
    assert html.count("<script") == 2 == html.count("</script")  # the page's own, and its data
    assert re.search(r"""(src|href)\s*=\s*["']?(?!data:,)[^"'#]""", html) is None  # nothing from outside
    text = markdown(results(), METRICS)
    assert not any("<script" in line for line in text.splitlines() if not line.startswith("    "))  # code is literal
    assert "<script" not in "".join(charts(all_rows(results())).values())
    assert all(
        line.count(" | ") == len(COLUMNS) - 1
        for line in text.splitlines()
        if line.startswith("| before") and "37.3" in line
    )
    console = Console(record=True, width=200, file=open("/dev/null", "w"))  # noqa: SIM115, PTH123
    with console.file:
        print_report(console, results(), COLUMNS)
        assert "[bold]" in console.export_text()


def test_a_plugins_metric_has_its_column_everywhere():
    class Words(unlearn_fixture_plugin.Words):
        groups, format, direction = ("forget", "holdout"), "number", "up"

    mine = [*METRICS, Words()]
    columns = {column.key: column for column in table_columns(mine)}
    assert (columns["forget_words"].direction, columns["holdout_words"].direction) == ("up", "down")  # kept: no longer
    assert "retain_words" not in columns
    given = replace(results(), rows=[row("ROME", 0.4, None) | {"forget_words": 7.5, "holdout_words": 3.0}])
    for text in (page(given, mine), markdown(given, mine)):
        assert "forget: words ↑" in text and "holdout: words ↓" in text and "7.5" in text
    console = Console(record=True, width=300, file=io.StringIO())
    print_report(console, given, table_columns(mine))
    print_leaderboard(console, given, table_columns(mine))
    assert console.export_text().count("7.5") == 2  # the table of a run, and that of a bench
    assert "forget_words" in csv_text(given, table_columns(mine))


def test_refusals_have_a_table_where_they_differ():
    given = results()
    for text in (page(given, METRICS), markdown(given, METRICS)):
        assert "names the subject" in text
        assert "80 % (4/5)" in text
        assert "60 % (3/5)" in text
    same = replace(given, before=None, rows=[row("ROME", 0.0, None, unique=0.2)])
    assert "names the subject" not in page(same, METRICS)
    none = replace(given, before=None, rows=[row("GA", 0.0, None) | {"refusals": None}])
    assert "names the subject" not in page(none, METRICS)


def test_charts_of_the_recipes_are_drawn():
    keys = [f"{g}_answer_rate" for g in ("forget", "rephrase", "retain", "holdout")] + ["rephrase_refusal_rate"]
    intervals = {key: [0.3, 0.39999] for key in keys}  # an interval may exclude its own proportion by a rounding error

    def rows(*kinds):
        return [
            row(method, 0.4, None) | {"label": f"{method} {target} {merge}", "target": target, "intervals": intervals,
                                      "n_forget": n}
            for method in ("ROME", "$x$")
            for target, merge, n in kinds
        ]  # fmt: skip

    found = charts(rows(("fixed", "", 5), ("self_improve", "", 5)))
    assert "self_improve" in found["refusals"] and "forget-size" not in found
    grown = charts(
        rows(("fixed", "none", 5), ("fixed", "none", 20), ("fixed", "concat 5", 5), ("fixed", "concat 5", 20))
    )
    assert grown["forget-size"].count("rephrase: refused") == 0 and grown["forget-size"].count("ROME, host") == 1
    assert "refusals" not in charts(rows(("fixed", "", 5)))


def test_a_run_without_rows_still_makes_a_report(tmp_path):
    empty = Results(status="failed", message="why")
    write_report(empty, tmp_path, METRICS)
    assert json.loads((tmp_path / "results.json").read_text())["message"] == "why"
    assert "why" in (tmp_path / "report.html").read_text()


def test_outputs_are_not_overwritten_unasked(tmp_path):
    out = tmp_path / "out"
    prepare_output(out, overwrite=False)
    write_outputs(out, {"results.json": b"{}"})
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


def scored(method, group, question, value):
    return {
        "method": method,
        "group": group,
        "question": question,
        "known": True,
        "scores_after": {"answer_rate": value},
    }


def test_the_best_of_each_column_is_bold_among_methods_of_one_setting():
    rows = [
        row("before", 1.0, 1.0),
        row("A", 0.2, 0.9) | {"balance": 0.8},
        row("B", 0.0, None) | {"balance": 0.9},
        row("C", 0.0, 0.95) | {"balance": 0.5, "setting": "other"},
    ]
    keys = {(n, COLUMNS[place].key) for n, place in best_places(rows, COLUMNS)}
    assert (2, "forget_answer_rate") in keys and (1, "forget_answer_rate") not in keys
    assert (2, "balance") in keys
    assert not any(n in (0, 3) for n, _ in keys)  # what was before, and what has nothing beside it
    assert not any(key in ("holdout_answer_rate", "ppl_after") for _, key in keys)  # one value; no direction
    text = markdown(replace(results(), rows=rows[1:3], samples=[]), METRICS)
    assert "**0 % (0/5)**" in text
    console = Console(record=True, width=120, file=io.StringIO())
    print_leaderboard(console, replace(results(), rows=rows[1:3]), COLUMNS)
    assert [line.split()[1] for line in console.export_text().splitlines() if line.startswith("│")] == [
        "before",
        "B",
        "A",
    ]


def test_methods_are_compared_on_the_same_prompts():
    rows = [row("A", 0.5, 1.0) | {"balance": 0.4}, row("B", 0.0, 1.0) | {"balance": 0.9}]
    samples = [scored("A", "forget", q, v) for q, v in (("1", 1.0), ("2", 0.0), ("3", 1.0), ("4", 1.0))]
    samples += [scored("B", "forget", q, 0.0) for q in ("1", "2", "3")]
    samples += [scored("A", "holdout", "5", 1.0) | {"known": False}, scored("B", "holdout", "5", 0.0)]
    (found,) = against_best(rows, samples)
    assert (found["label"], found["best"]) == ("A", "B")
    assert found["forget"]["difference"] == pytest.approx(2 / 3)
    assert found["forget"]["n"] == 3  # the fourth was asked of one alone, the fifth was not known
    assert set(found) == {"setting", "label", "best", "forget"}
    assert comparison_cells(rows, samples)[0][2].startswith("+67 [")
    assert against_best(rows[:1], samples) == []


def test_a_spreadsheet_has_numbers_and_no_formulas():
    given = results()
    given.rows[0] |= {"label": "=1+1", "overall": {"model_utility": 0.5}, "seeds": [0, 1]}
    first, second = csv.DictReader(io.StringIO(csv_text(given, COLUMNS)))
    assert first["method"] == "before" and first["forget_answer_rate"] == "1.0"
    assert (second["label"], second["seeds"], second["model_utility"]) == ("'=1+1", "0 1", "0.5")
    assert (second["forget_answer_rate_low"], second["forget_answer_rate_high"]) == ("0.1", "0.9")
    assert second["holdout_answer_rate"] == ""


def test_charts_are_drawn_where_there_is_something_to_draw():
    rows = [row("before", 1.0, 1.0), row("$a_b$", 0.4, 0.9) | {"n_forget": 5}]
    assert list(charts(rows)) == ["forget-against-keep"]
    assert charts(rows[:1]) == {}
    grown = [*rows, row("$a_b$", 0.6, 0.8) | {"n_forget": 10, "probes": {"lens": [0.1, 0.5], "facts": 0}}]
    found = charts(grown)
    assert list(found) == ["forget-against-keep", "forget-size", "logit-lens"]
    assert all(svg.startswith("<svg") and "$a_b$" in svg for svg in found.values())
    assert "facts to forget" in over_size({"a": grown[1:]})
    assert "after layer" in lens_map({"a": [0.1, 0.2], "b": [0.3]})


def test_pages_hold_every_metric_before_and_after_and_what_brings_facts_back():
    means = {"answer_prob": {"forget": {"mean": 0.9, "n": 5, "interval": [0.8, 1.0]}}}
    before = row("before", 1.0, 1.0) | {"means": means, "overall": {"model_utility": 0.5}}
    later = {"answer_prob": {"forget": {"mean": 0.25, "n": 5, "interval": [0.2, 0.3]}}}
    back = {"few_shot": {"back": 2, "of": 4}}
    probes = {"facts": 4, "hidden": 2, "forgotten": 2, "back": back, "lens": []}
    after = row("NPO", 0.0, 1.0) | {"means": later, "overall": {"model_utility": 0.25}, "probes": probes}
    given = Results(before, [after])
    for text in (markdown(given, METRICS), page(given, METRICS)):
        assert "0.9 → 0.25 ±0.05" in text
        assert "few" in text and "2/4" in text
        assert "0.5" in text and "model" in text
